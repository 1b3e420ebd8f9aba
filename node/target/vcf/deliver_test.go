package vcf_test

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/target/vcf"
)

// collection returns the cards of the public collection.
func collection(t *testing.T) (records []item.Record) {
	t.Helper()
	for _, depth := range []string{"*/*/*.vcf", "*/*/*/*.vcf", "*/*/*/*/*.vcf"} {
		files, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "shared", "fixtures", "vcard", depth))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, contact.Rules{}.Split(filepath.Base(name), data)...)
		}
	}
	if len(records) == 0 {
		t.Skip("the public collection is not here")
	}
	return records
}

// world is all that lies below a directory, by path.
func world(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDelivery brings the public collection into an address book that has some cards,
// twice, and takes it back.
func TestDelivery(t *testing.T) {
	records := collection(t)
	const mine = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:mine\r\nFN:Frank Dawson\r\nN:Dawson;Frank;;;\r\nEMAIL:fdawson@earthlink.net\r\nNOTE:mine\r\nEND:VCARD\r\n"
	for name, path := range map[string]string{"file": "book.vcf", "folder": "cards/mine.vcf"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(mine), 0o600); err != nil {
				t.Fatal(err)
			}
			before := world(t, dir)
			at := path
			if name == "folder" {
				at = filepath.Dir(path)
			}
			prepare := func() *deliver.Delivery {
				b, err := vcf.Open(at)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { b.Close() })
				d, err := deliver.Prepare(context.Background(), deliver.MemLog{}, []deliver.Goal{{Name: "vcf:" + at, Target: b}}, func(ctx context.Context, k item.Kind, each func(item.Record) error) error {
					for _, r := range records {
						if err := each(r); err != nil {
							return err
						}
					}
					return nil
				}, deliver.Options{Region: "DE"})
				if err != nil {
					t.Fatal(err)
				}
				return d
			}
			first := prepare()
			part := first.Summary()[0]
			if part.Merge == 0 || part.New == 0 {
				t.Errorf("%+v", part)
			}
			result, err := first.Apply(context.Background(), nil)
			if err != nil || result.Failed != 1 || result.Written == 0 { // one record is text outside of cards
				t.Fatalf("%+v, %v", result, err)
			}
			after := world(t, dir)
			again, err := prepare().Apply(context.Background(), nil)
			if err != nil || again.Written > 0 || !maps.Equal(after, world(t, dir)) {
				t.Errorf("again: %+v, %v", again, err)
			}
			undone, err := first.Undo(context.Background())
			if err != nil || undone.Refused > 0 || !maps.Equal(before, world(t, dir)) {
				t.Errorf("undone: %+v, %v", undone, err)
			}
		})
	}
}
