package apply

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/proto/id"
)

func exampleReceipt() *Receipt {
	s := &Summary{}
	s.kind(item.File).Moved = item.Tally{Items: 3, Bytes: 300}
	s.kind(item.Contact).Merged.Items = 2
	s.kind(item.Photo).Failed = item.Tally{Items: 1, Bytes: 7}
	s.kind(item.Setting) // nothing of it
	return NewReceipt(s, id.Session{1}, 9, id.Commit{2}, Synced, time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
}

func TestReceipt(t *testing.T) {
	d := key.NewDevice()
	r := exampleReceipt()
	b := SignReceipt(d, r)
	got, err := ParseReceipt(b, d.Peer())
	check(t, err)
	if !reflect.DeepEqual(got, r) {
		t.Errorf("got %+v, want %+v", got, r)
	}
	if len(r.Kinds) != 3 || r.Kinds[0].Kind != item.Contact || r.Complete() || r.Total(item.Moved) != (item.Tally{Items: 3, Bytes: 300}) {
		t.Errorf("%+v", r)
	}
	if _, err := ParseReceipt(b, key.NewDevice().Peer()); !errors.Is(err, ErrReceipt) {
		t.Errorf("somebody else's receipt: %v", err)
	}
	for i := range b { // every bit of every field is bound
		for bit := range 8 {
			m := bytes.Clone(b)
			m[i] ^= 1 << bit
			if _, err := ParseReceipt(m, d.Peer()); !errors.Is(err, ErrReceipt) {
				t.Fatalf("byte %d, bit %d flipped: %v", i, bit, err)
			}
		}
	}
	for _, n := range []int{0, 1, receiptHead, len(b) - 1} {
		if _, err := ParseReceipt(b[:n], d.Peer()); !errors.Is(err, ErrReceipt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	if _, err := ParseReceipt(append(bytes.Clone(b), 0), d.Peer()); !errors.Is(err, ErrReceipt) {
		t.Errorf("a byte more: %v", err)
	}
}

// TestE13ReceiptExact: what is signed but malformed is refused all the same.
func TestE13ReceiptExact(t *testing.T) {
	d := key.NewDevice()
	good := SignReceipt(d, exampleReceipt())
	for name, change := range map[string]func(b []byte) []byte{
		"version":            func(b []byte) []byte { b[0] = 2; return b },
		"level 0":            func(b []byte) []byte { b[57] = 0; return b },
		"level 3":            func(b []byte) []byte { b[57] = 3; return b },
		"year 10000":         func(b []byte) []byte { b[58] = 0x7f; return b },
		"unknown kind":       func(b []byte) []byte { b[receiptHead] = 0; return b },
		"kinds out of order": func(b []byte) []byte { b[receiptHead] = byte(item.Setting); return b },
		"negative count":     func(b []byte) []byte { b[receiptHead+1] = 0xff; return b },
		"bytes of nothing":   func(b []byte) []byte { b[receiptHead+16] = 1; return b },
		"empty kind":         func(b []byte) []byte { clear(b[receiptHead+1 : receiptHead+kindSize]); return b },
		"kind missing":       func(b []byte) []byte { return b[:len(b)-kindSize] },
	} {
		body := change(bytes.Clone(good[:len(good)-key.SignatureSize]))
		if _, err := ParseReceipt(append(body, d.Sign(label.Receipt, body)...), d.Peer()); !errors.Is(err, ErrReceipt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	body := good[:len(good)-key.SignatureSize]
	if _, err := ParseReceipt(append(bytes.Clone(body), d.Sign(label.Ack, body)...), d.Peer()); !errors.Is(err, ErrReceipt) {
		t.Errorf("signed for another purpose: %v", err)
	}
}

// receiptVector is one entry of testdata/receipt.json. A failure says what is wrong with it.
type receiptVector struct {
	Name    string `json:"name"`
	Peer    string `json:"peer"`    // hex: the public key it is verified with
	Receipt string `json:"receipt"` // hex
	Failure string `json:"failure,omitempty"`
}

// TestReceiptVectors pins the encoding. DECANT_UPDATE=1 writes the file anew, from a
// device whose seed is 32 bytes of 07.
func TestReceiptVectors(t *testing.T) {
	const path = "testdata/receipt.json"
	if os.Getenv("DECANT_UPDATE") != "" {
		b, err := json.MarshalIndent(makeReceiptVectors(t), "", "  ")
		check(t, err)
		check(t, os.MkdirAll("testdata", 0o755))
		check(t, os.WriteFile(path, append(b, '\n'), 0o644))
	}
	b, err := os.ReadFile(path)
	check(t, err)
	var vectors []receiptVector
	check(t, json.Unmarshal(b, &vectors))
	for i, want := range makeReceiptVectors(t) {
		if vectors[i] != want {
			t.Errorf("%s is not what this code makes", want.Name)
		}
		raw, err := hex.DecodeString(vectors[i].Receipt)
		check(t, err)
		peer, err := hex.DecodeString(vectors[i].Peer)
		check(t, err)
		if _, err := ParseReceipt(raw, id.Peer(peer)); (err == nil) != (want.Failure == "") {
			t.Errorf("%s: %v", want.Name, err)
		}
	}
}

func makeReceiptVectors(t *testing.T) []receiptVector {
	d, err := key.DeviceFromSeed(bytes.Repeat([]byte{7}, 32))
	check(t, err)
	peer := d.Peer()
	vector := func(name string, raw []byte, failure string) receiptVector {
		return receiptVector{name, hex.EncodeToString(peer[:]), hex.EncodeToString(raw), failure}
	}
	good := SignReceipt(d, exampleReceipt())
	nothing := SignReceipt(d, NewReceipt(&Summary{}, id.Session{3}, 1, id.Commit{4}, ReadBack, time.Unix(0, 0)))
	body := bytes.Clone(good[:len(good)-key.SignatureSize])
	level := bytes.Clone(body)
	level[57] = 3
	flipped := bytes.Clone(good)
	flipped[30] ^= 1
	return []receiptVector{
		vector("three kinds", good, ""),
		vector("nothing at all", nothing, ""),
		vector("unknown level, signed", append(level, d.Sign(label.Receipt, level)...), "level"),
		vector("signed as an ack", append(body, d.Sign(label.Ack, body)...), "signature"),
		vector("commit changed", flipped, "signature"),
		vector("a byte more", append(bytes.Clone(good), 0), "length"),
	}
}
