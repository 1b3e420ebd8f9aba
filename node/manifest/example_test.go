package manifest_test

import (
	"fmt"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// A sender encodes items into pages; a receiver believes nothing of them before the
// whole manifest has passed a Validator.
func Example() {
	b := manifest.NewPageBuilder(item.File, 0)
	for i, path := range []string{"letters", "letters/mother.txt"} {
		it := item.Item{Kind: item.File, Ordinal: item.Ordinal(i), Form: item.FormFile, Path: path, Size: 120}
		if i == 0 {
			it.Form, it.Size = item.FormDir, 0
		}
		if _, err := b.Add(&it); err != nil {
			fmt.Println(err)
		}
	}
	root := &manifest.Root{Class: wire.ClassS, ManifestPacks: []manifest.PackRef{{Blob: id.NewBlob()}},
		Totals: []manifest.Total{{Kind: item.File, Items: 2, Dirs: 1, Bytes: 120}},
		Pages:  []manifest.PageRef{{Type: pack.Page, Kind: item.File, Count: 2, Bytes: uint32(len(b.Bytes()))}}}

	v, err := manifest.NewValidator(root, key.Limits{MaxItems: 1000})
	if err != nil {
		fmt.Println(err)
	}
	page, err := manifest.DecodePage(b.Bytes())
	if err != nil {
		fmt.Println(err)
	}
	fmt.Println(v.Page(page), v.Finish())
	fmt.Println(manifest.CheckPath("letters/../../.ssh/authorized_keys"))
	// Output:
	// <nil> <nil>
	// manifest: path not allowed: component at byte 8
}
