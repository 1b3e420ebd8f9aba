package apply

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/proto/id"
)

const when = 1_600_000_000_123_456_789

// world is a collection on its way into a target, everything on the real file system:
// the plan and the log are files too, so that another process can go on with them.
type world struct {
	t     testing.TB
	dir   string // holds target/, plan/ and log/
	items []item.Item
	data  map[item.Ordinal]string
	opts  preview.Options

	target *folder.Target
	plan   *preview.Plan
	log    Log
}

func newWorld(t testing.TB, dir string) *world {
	w := &world{t: t, dir: dir, data: map[item.Ordinal]string{}}
	for _, d := range []string{"target", "plan", "undo", "outcome"} {
		check(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	if os.Getenv("DECANT_CRASH_DIR") == "" {
		t.Cleanup(func() { reopen(dir) })
	}
	w.log = fileLog{undo: fileStore(filepath.Join(dir, "undo")), outcome: fileStore(filepath.Join(dir, "outcome"))}
	return w
}

// reopen makes every directory writable: the testing package can't remove closed ones unless it is root.
func reopen(dir string) {
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, _ error) error {
		if d != nil && d.IsDir() {
			os.Chmod(p, 0o700)
		}
		return nil
	})
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fileStore is a preview.Store of files, each written whole or not at all.
type fileStore string

func (s fileStore) Put(page int, b []byte) error {
	tmp := filepath.Join(string(s), "tmp")
	if err := os.WriteFile(tmp, b, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, filepath.Join(string(s), strconv.Itoa(page)))
}

func (s fileStore) Get(page int) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(string(s), strconv.Itoa(page)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

type fileLog struct{ undo, outcome fileStore }

func (l fileLog) PutUndo(n int, b []byte) error    { return l.undo.Put(n, b) }
func (l fileLog) Undo(n int) ([]byte, error)       { return l.undo.Get(n) }
func (l fileLog) PutOutcome(n int, b []byte) error { return l.outcome.Put(n, b) }
func (l fileLog) Outcome(n int) ([]byte, error)    { return l.outcome.Get(n) }

func (w *world) add(it item.Item) *item.Item {
	it.Ordinal = item.Ordinal(len(w.items))
	w.items = append(w.items, it)
	return &w.items[len(w.items)-1]
}

// file adds a file, and the records in it if it holds any.
func (w *world) file(path, content string) *item.Item {
	k := kind.Of(path)
	it := w.add(item.Item{Kind: k, Form: item.FormFile, Path: path, Size: int64(len(content)), ModTime: when + int64(len(w.items)), Perm: 0o644})
	o := it.Ordinal
	w.data[o] = content
	for _, r := range kind.Records(k, []byte(content)) {
		n := int64(0)
		for _, g := range r.Ranges {
			n += g.Length
		}
		w.add(item.Item{Kind: k, Form: item.FormRecord, Size: n, Identity: r.Identity, Container: o, Ranges: r.Ranges})
	}
	return &w.items[o]
}

func (w *world) mkdir(path string, perm uint16) *item.Item {
	return w.add(item.Item{Kind: item.File, Form: item.FormDir, Path: path, ModTime: when + 7e9, Perm: perm})
}

// pages yields pages of n items of one kind.
func (w *world) pages(n int) preview.Pages {
	return func(yield func([]item.Item, error) bool) {
		for rest := w.items; len(rest) > 0; {
			k := 1
			for k < len(rest) && k < n && rest[k].Kind == rest[0].Kind {
				k++
			}
			if !yield(rest[:k], nil) {
				return
			}
			rest = rest[k:]
		}
	}
}

// has puts something into the target beforehand.
func (w *world) has(path, content string) {
	full := filepath.Join(w.dir, "target", path)
	check(w.t, os.MkdirAll(filepath.Dir(full), 0o755))
	check(w.t, os.WriteFile(full, []byte(content), 0o640))
	check(w.t, os.Chtimes(full, time.Unix(0, when-5), time.Unix(0, when-5)))
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.target, err = folder.Open(filepath.Join(w.dir, "target"), id.Session{7, 7, 7, 7}, folder.Options{})
	check(w.t, err)
	w.t.Cleanup(func() { w.target.Close() })
}

const pageSize = 4 // small, so that a few items make many pages

// stage plans, stages and settles everything.
func (w *world) stage() {
	w.t.Helper()
	ctx := context.Background()
	w.open()
	var err error
	w.plan, err = preview.Build(ctx, w.target, w.pages(pageSize), fileStore(filepath.Join(w.dir, "plan")), w.opts)
	check(w.t, err)
	s := w.target.NewStager(w.plan)
	for o, c := range w.data {
		check(w.t, s.Write(o, 0, 0, []byte(c)))
	}
	st, err := Settle(ctx, w.plan, s, w.pages(pageSize+1), SettleOptions{})
	check(w.t, err)
	if !st.OK() {
		w.t.Fatalf("missing: %+v", st)
	}
	check(w.t, s.Close())
}

// reload forgets everything that is not on disk, as after a crash.
func (w *world) reload() {
	w.t.Helper()
	if w.target != nil {
		w.target.Close()
	}
	w.open()
	var err error
	w.plan, err = preview.Load(w.target, fileStore(filepath.Join(w.dir, "plan")), preview.Options{})
	check(w.t, err)
}

func (w *world) apply() *Summary {
	w.t.Helper()
	sum, err := Apply(context.Background(), w.plan, w.log, Options{})
	check(w.t, err)
	return sum
}

func (w *world) undo() *Undone {
	w.t.Helper()
	u, err := Undo(context.Background(), w.plan, w.log)
	check(w.t, err)
	return u
}

// tree describes the target but for staging: one line for each name, with content,
// permissions, time, and with inodes if wanted. Without, the times of directories are left
// out that differ from run to run.
func (w *world) tree(inodes bool) string {
	w.t.Helper()
	var lines []string
	root := filepath.Join(w.dir, "target")
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(root, p)
		if errors.Is(err, fs.ErrPermission) {
			lines = append(lines, rel+" is closed")
			return nil
		}
		if err != nil {
			return err
		}
		if strings.HasPrefix(rel, ".decant-") {
			return fs.SkipDir
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %s %d", rel, fi.Mode(), fi.ModTime().UnixNano())
		if !inodes && !fi.Mode().IsRegular() && fi.ModTime().UnixNano() != when+7e9 {
			line = fmt.Sprintf("%s %s", rel, fi.Mode()) // the time of a directory that was there, or that nobody described
		}
		if fi.Mode().IsRegular() {
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			sum := sha256.Sum256(b)
			line += fmt.Sprintf(" %d %s", len(b), hex.EncodeToString(sum[:6]))
		}
		if inodes {
			in, err := w.lstat(rel)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" inode %d", in.Inode)
		}
		lines = append(lines, line)
		return nil
	})
	check(w.t, err)
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func (w *world) lstat(rel string) (folder.Info, error) {
	if rel == "." {
		rel = ""
	}
	return w.target.Final().Lstat(rel)
}

// content reads a file of the target.
func (w *world) content(path string) string {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "target", path))
	check(w.t, err)
	return string(b)
}

// diff names the first line in which two trees differ.
func diff(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	for i := range max(len(x), len(y)) {
		p, q := "", ""
		if i < len(x) {
			p = x[i]
		}
		if i < len(y) {
			q = y[i]
		}
		if p != q {
			return fmt.Sprintf("%s\n%s", p, q)
		}
	}
	return ""
}

// sample is a collection that meets everything: new and existing directories, twins,
// conflicts, the same, books that merge and one that does not, a closed directory, empty
// things, another kind.
func (w *world) sample() {
	card := func(uid, name string) string {
		return "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:" + uid + "\r\nFN:" + name + "\r\nEND:VCARD\r\n"
	}
	w.mkdir("photos", 0o755)
	w.file("photos/a.jpg", "jpeg a")
	w.file("photos/trip/b.jpg", "jpeg b")
	w.mkdir("photos/trip", 0o750)
	w.mkdir("docs", 0o700)
	w.file("docs/same.txt", "the same")
	w.file("docs/retimed.txt", "same bytes")
	w.file("docs/conflict.txt", "ours")
	w.file("docs/length.txt", "12345678")
	w.file("docs/new.txt", "new")
	w.file("docs/new/deep/er/x", "x")
	w.mkdir("closed", 0o500)
	w.mkdir("closed/inner", 0o000)
	w.file("closed/inner/f", "closed")
	w.mkdir("empty", 0o711)
	w.file("empty.txt", "")
	w.file("top.txt", "top")
	w.file("link/f", "beside the link")
	w.file("book.vcf", card("1", "One")+card("2", "Two")+card("3", "Other Three"))
	w.file("fresh.vcf", card("9", "Nine"))
	w.file("known.vcf", card("1", "One"))
	w.file("broken.vcf", "BEGIN:VCARD\r\nFN:No end\r\n")
	w.file("cal.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:e1\r\nSUMMARY:s\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")

	w.has("docs/same.txt", "the same")
	w.has("docs/retimed.txt", "same bytes")
	w.has("docs/conflict.txt", "theirs, and longer")
	w.has("docs/length.txt", "87654321")
	w.has("docs/kept.txt", "not ours to touch")
	w.has("book.vcf", card("1", "One")+card("3", "Three"))
	w.has("known.vcf", card("0", "Zero")+card("1", "One"))
	w.has("broken.vcf", card("0", "Zero"))
	w.has("cal.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:e0\r\nSUMMARY:t\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	w.has("elsewhere/f", "never touched")
	check(w.t, os.Symlink("elsewhere", filepath.Join(w.dir, "target", "link")))
}
