package transfer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/apply"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/source/folder"
	target "github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// device is a receiver that stages into a directory what one manifest after the other says.
type device struct {
	w      *world
	dir    string
	target *target.Target
	plan   *preview.Plan
	stager *target.Stager
	d      *Downloader
}

type stagerSink struct {
	*target.Stager
	t *target.Target
}

func (s stagerSink) Sync() error { return s.t.Sync() }

func pagesOf(items []item.Item) preview.Pages {
	return func(yield func([]item.Item, error) bool) {
		for len(items) > 0 {
			n := 1
			for n < len(items) && items[n].Kind == items[0].Kind {
				n++
			}
			if !yield(items[:n], nil) {
				return
			}
			items = items[n:]
		}
	}
}

// plan extends the device's plan, or makes it.
func (v *device) extend(items []item.Item) {
	v.w.t.Helper()
	ctx := context.Background()
	var err error
	if v.plan != nil {
		err = v.plan.Extend(ctx, pagesOf(items))
	} else {
		v.dir = v.w.t.TempDir()
		if v.target, err = target.Open(v.dir, v.w.sid, target.Options{}); err == nil {
			v.w.t.Cleanup(func() { v.target.Close() })
			v.plan, err = preview.Build(ctx, v.target, pagesOf(items), preview.MemStore{}, preview.Options{})
		}
		if err == nil {
			v.stager = v.target.NewStager(v.plan)
			v.d, err = NewDownloader(DownloadConfig{Journal: v.w.journal("device"), Store: v.w.store, Keys: v.w.keys, Session: v.w.sid,
				Class: v.w.class, Sink: stagerSink{v.stager, v.target}})
		}
	}
	if err != nil {
		v.w.t.Fatal(err)
	}
}

func (v *device) fetch(refs []manifest.PackRef) {
	v.w.t.Helper()
	ch := make(chan manifest.PackRef, len(refs))
	for _, r := range refs {
		ch <- r
	}
	close(ch)
	if err := v.d.Fetch(context.Background(), ch); err != nil {
		v.w.t.Fatal(err)
	}
}

// settle fetches what a final root names, settles it, and compares the staged tree with the source.
func (v *device) settle(root *manifest.Root) {
	v.w.t.Helper()
	items := v.w.items(root)
	v.extend(items)
	refs, err := Refs(v.w.j)
	if err != nil {
		v.w.t.Fatal(err)
	}
	v.fetch(refs)
	settled, err := apply.Settle(context.Background(), v.plan, v.stager, pagesOf(items), apply.SettleOptions{})
	if err != nil || !settled.OK() {
		v.w.t.Fatalf("settled %+v, %v", settled, err)
	}
	staged, err := filepath.Glob(filepath.Join(v.dir, ".decant-*", "tree"))
	if err != nil || len(staged) != 1 {
		v.w.t.Fatalf("staged: %v, %v", staged, err)
	}
	if got, want := tree(v.w.t, filepath.Join(staged[0], filepath.Base(v.w.root))), tree(v.w.t, v.w.root); !slices.Equal(got, want) {
		v.w.t.Errorf("staged\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// tree describes what lies below a directory.
func tree(t testing.TB, dir string) (out []string) {
	t.Helper()
	err := filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		line := fmt.Sprintf("%s %v %d", rel, fi.Mode(), fi.ModTime().UnixNano())
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x", len(b), b[:min(len(b), 8)])
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPlannedThenChanged has a device that planned and staged one epoch before the next: files become directories and the
// other way round, come back after they were removed, grow, shrink and change their kind.
func TestPlannedThenChanged(t *testing.T) {
	w := newWorld(t)
	v := &device{w: w}
	w.write("file", random(100))
	w.write("dir/inner", random(100))
	w.write("back", random(200_000))
	w.write("grows", random(300))
	w.write("shrinks", random(1<<20))
	w.write("megabyte", random(1<<20))
	w.write("book.vcf", []byte(card("a")+card("b")))
	w.write("same", random(500_000))
	v.settle(w.mustSend(1, id.Commit{1}))

	w.remove("file", "dir", "back")
	w.write("file/inside", random(10))
	w.write("dir", random(50))
	w.write("grows", random(3<<20))
	w.write("megabyte", random(5<<20))
	w.write("shrinks", random(10))
	w.write("book.vcf", []byte(card("b")+card("c")+card("d")))
	v.settle(w.mustSend(2, id.Commit{2}))

	w.write("back", random(1000))
	w.write("shrinks", nil)
	w.write("book.vcf", []byte(card("z")))
	v.settle(w.mustSend(3, id.Commit{3}))
}

// TestChangedAfterCatalog has a device that planned by the catalog, before the sender read files which by then are others:
// one whose first piece is as long as the whole was announced, and one that grew beyond all bounds.
func TestChangedAfterCatalog(t *testing.T) {
	w := newWorld(t)
	w.class = wire.ClassL
	w.write("megabyte", random(1<<20))
	w.write("log", random(100))
	w.write("other", random(100))
	w.scan(1)
	src, err := folder.New([]string{w.root})
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	u, err := NewUploader(UploadConfig{Source: src, Journal: w.j, Store: w.store, Keys: w.keys, Session: w.sid, Class: w.class})
	if err != nil {
		t.Fatal(err)
	}
	catalog, err := u.Manifest(context.Background(), 0, false, id.Commit{})
	if err != nil {
		t.Fatal(err)
	}
	v := &device{w: w}
	v.extend(w.items(catalog))
	w.write("megabyte", random(3<<20))
	w.write("log", random(70<<20))
	root := w.mustSend(1, id.Commit{1})
	v.settle(root)
}
