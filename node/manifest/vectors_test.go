package manifest_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/internal/exact"
	"github.com/decant-dev/decant/node/internal/vector"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/proto/id"
)

var update = flag.Bool("update", false, "write the test vectors again")

var classes = map[error]string{nil: "ok", manifest.ErrEncoding: "encoding", manifest.ErrLimit: "limit", manifest.ErrPath: "path", manifest.ErrItem: "item",
	manifest.ErrExtent: "extent", manifest.ErrPack: "pack", manifest.ErrOrder: "order", manifest.ErrTotals: "totals", manifest.ErrRoot: "root"}

// class names what an error is.
func class(err error) string {
	for e, name := range classes {
		if e != nil && errors.Is(err, e) {
			return name
		}
	}
	return classes[err]
}

// rawPage writes a page of kind file by hand.
func rawPage(items ...[]byte) []byte {
	b := exact.Append([]byte{byte(item.File), 0}, uint64(len(items)))
	return append(b, bytes.Join(items, nil)...)
}

// Heads of items written by hand: a file and a directory with the usual permissions, revision and whole seconds.
const (
	file   = 1<<4 | 1<<5 | 1<<6
	next   = file | 1<<2 // with the next extent
	listed = file | 2<<2
	dir    = file | 1
	record = 1<<4 | 1<<5 | 2
	more   = 1 << 7
)

// raw is an item: its head, and a path that shares nothing, then the rest.
func raw(head byte, path string, rest ...byte) []byte {
	return append(exact.AppendBytes([]byte{head, 0}, path), rest...)
}

type bad struct {
	name, comment, expect string
	body                  []byte
}

func badPages() []bad {
	long := strings.Repeat("x", 256)
	deep := strings.Repeat("a/", 256) + "a"
	f := raw(next, "f", 0, 10)
	out := []bad{
		{"empty", "no bytes", "encoding", nil},
		{"trailing-byte", "a byte behind the last item", "encoding", append(rawPage(f), 0)},
		{"cut-off", "the last byte is missing", "encoding", rawPage(f)[:len(rawPage(f))-1]},
		{"fewer-items", "fewer items than the count", "encoding", append([]byte{byte(item.File), 0, 2}, f...)},
		{"count-long", "the count as a varint of two bytes", "encoding", append([]byte{byte(item.File), 0, 0x81, 0}, f...)},
		{"count-4097", "more items than a page may have", "encoding", append([]byte{byte(item.File), 0, 0x81, 0x20}, f...)},
		{"ordinal-large", "a first ordinal of 2²²", "encoding", slices.Concat([]byte{byte(item.File)}, exact.Append(nil, manifest.MaxItems), []byte{1}, f)},
		{"kind-unknown", "kind 99", "item", append([]byte{99, 0, 1}, f...)},
		{"form-4", "a form that does not exist", "encoding", rawPage(raw(next|3, "f", 0, 10))},
		{"extents-3", "extents of an unknown sort", "encoding", rawPage(raw(file|3<<2, "f", 0, 10))},
		{"more-empty", "a byte of more bits without any", "encoding", rawPage(slices.Concat([]byte{next | more, 0, 0, 1, 'f', 0, 10}))},
		{"more-unknown", "an unknown bit: a critical field of another version", "encoding", rawPage(slices.Concat([]byte{next | more, 16, 0, 1, 'f', 0, 10}))},
		{"shared-beyond", "a path shares more than the last one has", "encoding", rawPage([]byte{dir, 1, 1, 'f', 0})},
		{"shared-less", "a path shares more than it says", "encoding", rawPage(raw(dir, "ab", 0), raw(dir, "ac", 0))},
		{"perm-again", "permissions told although they are the same", "encoding", rawPage(raw(next&^(1<<4), "f", 0xa4, 0x03, 0, 10))},
		{"perm-setuid", "permissions of 12 bits", "encoding", rawPage(raw(next&^(1<<4), "f", 0xed, 0x13, 0, 10))},
		{"revision-again", "a revision told although it is the same", "encoding", rawPage([]byte{next &^ (1 << 5), 0, 0, 1, 'f', 0, 10})},
		{"time-not-seconds", "a whole second told in nanoseconds", "encoding", rawPage(raw(next&^(1<<6), "f", append(exact.Append(nil, exact.Zigzag(3_000_000_000)), 10)...))},
		{"time-overflow", "seconds beyond 64 bits of nanoseconds", "encoding", rawPage(raw(next, "f", append(exact.Append(nil, exact.Zigzag(1<<40)), 10)...))},
		{"size-large", "a size of 2⁵⁰ + 1", "encoding", rawPage(raw(file, "f", append([]byte{0}, exact.Append(nil, item.MaxSize+1)...)...))},
		{"extent-of-nothing", "an extent of an empty file", "extent", rawPage(raw(next, "f", 0, 0))},
		{"extent-too-long", "one extent of more than a chunk", "extent", rawPage(raw(next, "f", append([]byte{0}, exact.Append(nil, 1<<20+1)...)...))},
		{"extent-beyond-chunk", "the next extent ends behind its chunk", "extent", rawPage(raw(next, "f", append([]byte{0}, exact.Append(nil, 1<<20)...)...), raw(next, "g", 0, 1))},
		{"extents-none", "a list of no extents", "encoding", rawPage(raw(listed, "f", 0, 10, 0))},
		{"extents-usual", "the next extent in a list", "encoding", rawPage(raw(listed, "f", 0, 10, 1, 4))},
		{"extents-short", "extents of less than the size", "extent", rawPage(raw(listed, "f", 0, 10, 1, 0, 9))},
		{"extents-length-told", "a length told that is the rest", "encoding", rawPage(raw(listed, "f", 0, 10, 2, 0, 4, 0, 6))},
		{"extents-code", "an unknown bit in an extent", "encoding", rawPage(raw(listed, "f", 0, 10, 2, 0, 4, 8|4))},
		{"extents-place", "the next frame told as elsewhere", "encoding", rawPage(raw(listed, "f", 0, 10, 2, 0, 4, 3|4, 2, 0))},
		{"extents-pack", "another pack that is the same", "encoding", rawPage(raw(listed, "f", 0, 10, 2, 0, 4, 2|4, 0, 5, 0))},
		{"extents-pack-large", "a pack beyond all", "encoding", rawPage(raw(listed, "f", append([]byte{0, 10, 1, 2 | 4}, append(exact.Append(nil, exact.Zigzag(1<<20)), 0, 0)...)...))},
		{"lost-with-content", "an item that is lost and has an extent", "extent", rawPage([]byte{next | more, 8, 0, 1, 'f', 0, 10, 1})},
		{"lost-unknown", "a reason that does not exist", "item", rawPage([]byte{file | more, 8, 0, 1, 'f', 0, 10, 200})},
		{"lost-none", "a reason told that is none", "encoding", rawPage([]byte{file | more, 8, 0, 1, 'f', 0, 10, 0})},
		{"xattr-security", "an attribute outside user.", "item", rawPage(slices.Concat([]byte{file | more, 4, 0, 1, 'f', 0, 0, 1}, exact.AppendBytes(nil, "security.selinux"), []byte{0}))},
		{"xattr-order", "attributes out of order", "item", rawPage(slices.Concat([]byte{file | more, 4, 0, 1, 'f', 0, 0, 2}, exact.AppendBytes(nil, "user.b"), []byte{0}, exact.AppendBytes(nil, "user.a"), []byte{0}))},
		{"xattr-none", "a list of no attributes", "encoding", rawPage([]byte{file | more, 4, 0, 1, 'f', 0, 0, 0})},
		{"taken-malformed", "a time taken that is none", "item", rawPage(slices.Concat([]byte{file | more, 1, 0, 1, 'f', 0, 0}, exact.AppendBytes(nil, "yesterday")))},
		{"directory-with-extent", "a directory with content", "encoding", rawPage(raw(dir|1<<2, "f", 0))},
		{"record-first", "a record inside itself", "item", rawPage([]byte{record, 1, 0, 10})},
		{"record-later", "a record inside a later item", "encoding", rawPage([]byte{record &^ (1 << 4), 1, 1, 0, 10})},
		{"record-empty", "a record without ranges", "item", rawPage(f, []byte{record, 0})},
		{"record-no-length", "a record with an empty range", "item", rawPage(f, []byte{record, 1, 0, 0})},
		{"record-joined", "a record of two ranges that are one", "item", rawPage(f, []byte{record, 2, 0, 5, 0, 5})},
		{"record-before", "a range before the start of the container", "item", rawPage(f, []byte{record, 1, 1, 5})},
		{"record-seconds", "a record with a time", "encoding", rawPage(f, []byte{record | 1<<6, 1, 0, 10})},
	}
	for name, p := range map[string]string{"parent": "../../.ssh/authorized_keys", "parent-inside": "a/../../b", "parent-last": "a/..", "parent-backslash": `..\..\x`,
		"parent-encoded": "%2e%2E/x", "this": "a/./b", "absolute": "/etc/cron.d/x", "network": "//srv/share", "drive": `C:\x`, "drive-relative": "C:x", "device": `\\?\GLOBALROOT`, "home": "~/x",
		"none": "", "slash-last": "a/", "slash-twice": "a//b", "nul": "a\x00.jpg", "newline": "a\nb", "return": "a\r", "delete": "a\x7f", "escape": "\x1b]0;pwn\x07", "long-component": long, "deep": deep} {
		out = append(out, bad{"path-" + name, "a path that is not allowed", "path", rawPage(raw(dir, p, 0))})
	}
	return append(out, bad{"path-long", "a path of 4,097 bytes", "encoding", rawPage(raw(dir, strings.Repeat("x/", 2048)+"x", 0))})
}

// describe gives a page in words.
func describe(p *manifest.Page) (fields []vector.Field) {
	for i := range p.Items {
		it := &p.Items[i]
		s := fmt.Sprintf("ordinal %d, %v, form %d, revision %d, path %q, size %d, time %d, perm %o", it.Ordinal, it.Kind, it.Form, it.Revision, it.Path, it.Size, it.ModTime, it.Perm)
		if it.TakenAt != "" || len(it.Identity) > 0 || it.Lost != 0 {
			s += fmt.Sprintf(", taken %q, identity %q, lost %d", it.TakenAt, it.Identity, it.Lost)
		}
		if it.Form == item.FormRecord {
			s += fmt.Sprintf(", container %d, ranges %v", it.Container, it.Ranges)
		}
		for _, x := range it.XAttrs {
			s += fmt.Sprintf(", attribute %s = %x", x.Name, x.Value)
		}
		for _, e := range it.Extents {
			s += fmt.Sprintf(", extent pack %d frame %d offset %d length %d", e.Pack, e.Frame, e.Offset, e.Length)
		}
		fields = append(fields, vector.Field{Name: fmt.Sprintf("item-%d-text", i), Value: s})
	}
	return fields
}

func makePages(t *testing.T) (files []vector.File) {
	ok := map[string]*manifest.Page{"ok-every-field": everything()}
	for i, p := range valid().pages {
		ok[[]string{"ok-contacts", "ok-photos", "ok-files"}[i]] = p
	}
	for name, p := range ok {
		b, err := manifest.AppendPage(nil, p)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, vector.File{Name: name, Comment: "a page and what it says", Expect: "ok", Fields: describe(p), Body: b})
	}
	for _, c := range badPages() {
		files = append(files, vector.File{Name: c.name, Comment: c.comment, Expect: c.expect, Body: c.body})
	}
	return files
}

func makeLists(t *testing.T) (files []vector.File) {
	refs := []manifest.PackRef{packRef(0, 1), packRef(1, 1), packRef(9, 300)}
	refs[1].Padding = true
	good, err := manifest.AppendPackList(nil, refs)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, comment, expect string, body []byte) {
		files = append(files, vector.File{Name: name, Comment: comment, Expect: expect, Body: body})
	}
	name := strings.Repeat("\x00", 48)
	add("ok", "packs 0 of epoch 1, 1 of epoch 1 which is padding, 9 of epoch 300", "ok", good)
	add("empty", "no bytes", "encoding", nil)
	add("none", "a list of no packs", "encoding", []byte{0})
	add("trailing-byte", "a byte behind the last", "encoding", append(bytes.Clone(good), 0))
	add("cut-off", "the last byte is missing", "encoding", good[:len(good)-1])
	add("count-4097", "more packs than a list may have", "encoding", append([]byte{0x81, 0x20}, "\x00\x02"+name...))
	add("index-large", "an index of 2²⁰", "pack", append([]byte{1, 0x80, 0x80, 0x40, 2}, name...))
	add("gap-long", "a gap as a varint of two bytes", "encoding", append([]byte{1, 0x80, 0, 2}, name...))
	add("epoch-large", "an epoch of 2³²", "encoding", slices.Concat([]byte{1, 0}, exact.Append(nil, 1<<33), []byte(name)))
	return files
}

func makeRoots(t *testing.T) (files []vector.File) {
	good, err := validRoot().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	add := func(name, comment, expect string, body []byte) {
		files = append(files, vector.File{Name: name, Comment: comment, Expect: expect, Body: body})
	}
	change := func(at int, to byte) []byte { b := bytes.Clone(good); b[at] = to; return b }
	const epoch, flags, class, prev, packs, total = 17, 18, 19, 20, 52, 54
	add("ok", "epoch 2, final, class L: two pack lists and three pages", "ok", good)
	empty := &manifest.Root{Session: id.Session{1}, Epoch: 1, Final: true, Class: 1, Prev: id.Commit{1}}
	b, err := empty.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	add("ok-empty", "a collection of nothing", "ok", b)
	add("version", "another version", "root", change(0, 2))
	add("epoch-0", "a catalog with content", "root", change(epoch, 0))
	add("epoch-long", "the epoch as a varint of two bytes", "encoding", slices.Concat(good[:epoch], []byte{0x82, 0}, good[flags:]))
	add("flags", "an unknown flag", "encoding", change(flags, 3))
	add("class", "an unknown class", "root", change(class, 3))
	add("prev-none", "no root before epoch 2", "root", change(prev, 0))
	add("packs-more", "more packs than the lists have", "totals", change(packs, 4))
	add("kind-unknown", "a total of kind 11", "totals", change(total, 11))
	add("items-more", "more items than the pages have", "totals", change(total+1, 4))
	add("removed-more", "more items removed than there are", "totals", change(total+2, 4))
	add("items-2-22", "more items than a manifest may have", "limit", slices.Concat(good[:total+1], exact.Append(nil, manifest.MaxItems+1), good[total+2:]))
	add("trailing-byte", "a byte behind the last", "encoding", append(bytes.Clone(good), 0))
	add("cut-off", "the last byte is missing", "encoding", good[:len(good)-1])
	add("page-twice", "two pages in one frame", "pack", pages(t, func(p []manifest.PageRef) { p[4].Frame = p[3].Frame }, good))
	add("page-no-pack", "a page in a pack that is not listed", "pack", pages(t, func(p []manifest.PageRef) { p[4].Pack = 5 }, good))
	add("list-late", "a pack list behind a page", "order", pages(t, func(p []manifest.PageRef) { p[1], p[2] = p[2], p[1] }, good))
	add("lists-order", "pack lists out of order", "order", pages(t, func(p []manifest.PageRef) { p[0], p[1] = p[1], p[0] }, good))
	add("page-large", "a page of no bytes", "order", pages(t, func(p []manifest.PageRef) { p[4].Bytes = 0 }, good))
	add("page-type", "a page of type 1", "order", pages(t, func(p []manifest.PageRef) { p[4].Type = 1 }, good))
	return files
}

// pages writes the pages of the valid root by hand, changed, behind the rest of it.
func pages(t *testing.T, change func([]manifest.PageRef), good []byte) []byte {
	refs := slices.Clone(validRoot().Pages)
	const each = 7 // bytes of a list's entry here; a page's has one less
	tail := 1 + 2*each + 3*(each-1)
	b := bytes.Clone(good[:len(good)-tail])
	if int(good[len(good)-tail]) != len(refs) {
		t.Fatal("the pages are not where they are expected")
	}
	change(refs)
	b = append(b, byte(len(refs)))
	for _, r := range refs {
		b = append(b, byte(r.Type), byte(r.Kind), byte(r.Pack), byte(r.Frame))
		if r.Type == 3 {
			b = append(b, byte(r.First))
		}
		b = append(b, byte(r.Count), byte(r.Bytes))
	}
	return b
}

func makeSealed(t *testing.T) []vector.File {
	cryptotest.SetGlobalRandom(t, 1)
	keys, root := testKeys(t), validRoot()
	sealed, commit, err := manifest.SealRoot(keys, root)
	if err != nil {
		t.Fatal(err)
	}
	d, err := key.DeviceFromSeed(bytes.Repeat([]byte{5}, 32))
	if err != nil {
		t.Fatal(err)
	}
	hexField := func(name string, b []byte) vector.Field {
		return vector.Field{Name: name, Value: hex.EncodeToString(b)}
	}
	peer, sig := d.Peer(), manifest.SignCommit(d, commit)
	fields := []vector.Field{hexField("manifest-key", keys.Manifest.Bytes()), hexField("session", root.Session[:]), {Name: "epoch-size", Value: strconv.FormatUint(root.Epoch, 10)},
		hexField("commit", commit[:]), hexField("sender", peer[:]), hexField("signature", sig)}
	flipped := bytes.Clone(sealed)
	flipped[len(flipped)-1] ^= 1
	return []vector.File{
		{Name: "ok", Comment: "a sealed root, its commit and the sender's signature", Expect: "ok", Fields: fields, Body: sealed},
		{Name: "tag-changed", Comment: "a bit of the last tag", Expect: "root", Fields: fields, Body: flipped},
	}
}

func TestVectors(t *testing.T) {
	check := func(dir string, files []vector.File, decode func(vector.File) error) {
		vector.Current(t, dir, files, *update)
		for _, f := range vector.Read(t, dir) {
			if err := decode(f); class(err) != f.Expect {
				t.Errorf("%s/%s: %v, want %s", dir, f.Name, err, f.Expect)
			}
		}
	}
	check("testdata/page", makePages(t), func(f vector.File) error {
		p, err := manifest.DecodePage(f.Body)
		if err == nil && fmt.Sprint(describe(p)) != fmt.Sprint(f.Fields) {
			t.Errorf("page %s says\n%v\nwant\n%v", f.Name, describe(p), f.Fields)
		}
		return err
	})
	check("testdata/list", makeLists(t), func(f vector.File) error {
		_, err := manifest.DecodePackList(f.Body)
		return err
	})
	check("testdata/root", makeRoots(t), func(f vector.File) error {
		_, err := manifest.DecodeRoot(f.Body)
		return err
	})
	check("testdata/sealed", makeSealed(t), func(f vector.File) error { return openVector(t, f) })
}

func openVector(t *testing.T, f vector.File) error {
	field := func(name string) []byte {
		b, err := hex.DecodeString(f.Get(t, name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	k, err := seal.KeyFromBytes(field("manifest-key"))
	if err != nil {
		t.Fatal(err)
	}
	epoch, err := strconv.ParseUint(f.Get(t, "epoch-size"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	_, commit, err := manifest.OpenRoot(&seal.Keys{Manifest: k}, id.Session(field("session")), epoch, f.Body)
	if err != nil {
		return err
	}
	if !bytes.Equal(commit[:], field("commit")) {
		t.Errorf("%s: commit %v", f.Name, commit)
	}
	return manifest.VerifyCommit(id.Peer(field("sender")), commit, field("signature"))
}
