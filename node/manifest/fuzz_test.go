package manifest_test

import (
	"bytes"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
)

func FuzzDecodePage(f *testing.F) {
	seeds := []*manifest.Page{everything(), {Kind: item.File, Items: smallFiles(newRand(), 0, 20, false)}}
	for _, p := range append(seeds, valid().pages...) {
		b, err := manifest.AppendPage(nil, p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	var reused manifest.Page
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := manifest.DecodePage(b)
		if again := reused.DecodeInto(b); (again == nil) != (err == nil) {
			t.Fatalf("into a used page: %v, else: %v", again, err)
		}
		if err != nil {
			return
		}
		for _, page := range []*manifest.Page{p, &reused} {
			out, err := manifest.AppendPage(nil, page)
			if err != nil || !bytes.Equal(out, b) {
				t.Fatalf("decoded\n%x\nencoded\n%x\n%v", b, out, err)
			}
		}
	})
}

func FuzzPackList(f *testing.F) {
	for _, l := range valid().lists {
		b, err := manifest.AppendPackList(nil, l)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		refs, err := manifest.DecodePackList(b)
		if err != nil {
			return
		}
		out, err := manifest.AppendPackList(nil, refs)
		if err != nil || !bytes.Equal(out, b) {
			t.Fatalf("decoded %x, encoded %x, %v", b, out, err)
		}
	})
}

func FuzzDecodeRoot(f *testing.F) {
	b, err := validRoot().Append(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := manifest.DecodeRoot(b)
		if err != nil {
			return
		}
		out, err := r.Append(nil)
		if err != nil || !bytes.Equal(out, b) {
			t.Fatalf("decoded %x, encoded %x, %v", b, out, err)
		}
	})
}
