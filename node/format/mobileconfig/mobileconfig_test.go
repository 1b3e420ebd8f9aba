package mobileconfig

import (
	"errors"
	"strings"
	"testing"
)

func TestEdit(t *testing.T) {
	p := New("Networks", "org.example", "u")
	p.Add(Payload{"PayloadType": "com.example.other", "X": []byte{1}})
	p.Add(Payload{"PayloadType": TypeWiFi, "SSID_STR": "Café <&>"})
	b, err := p.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	q, err := Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	w, at := q.WiFi()
	if len(w) != 1 || w[0].String("SSID_STR") != "Café <&>" || at[0] != 1 || q.Others() != 1 {
		t.Fatalf("%v %v", w, at)
	}
	again, _ := q.Bytes()
	if string(again) != string(b) {
		t.Errorf("written again as %s", again)
	}
	q.Put(1, Payload{"PayloadType": TypeWiFi, "SSID_STR": "b"})
	q.Remove(0)
	if w, _ := q.WiFi(); len(w) != 1 || w[0].String("SSID_STR") != "b" || q.Others() != 0 {
		t.Error("not edited")
	}
}

func TestRT19Refused(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"deep":     {"<plist>" + strings.Repeat("<array>", 100_000), ErrLimit},
		"entities": {`<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "b">]><plist><dict><key>&a;</key></dict></plist>`, ErrForm},
		"binary":   {"bplist00", ErrForm},
		"signed":   {"\x30\x82", ErrSigned},
		"openstep": {strings.Repeat("(", 1000), ErrForm},
		"empty":    {"", ErrForm},
		"large":    {strings.Repeat(" ", MaxSize+1), ErrLimit},
	} {
		if _, err := Parse([]byte(c.data)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	b, _ := New("a", "b", "c").Bytes()
	f.Add(b)
	f.Fuzz(func(t *testing.T, data []byte) {
		if p, err := Parse(data); err == nil {
			p.WiFi()
			if _, err := p.Bytes(); err != nil {
				t.Skip("a value that XML can't hold")
			}
		}
	})
}
