package contact

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// check tells whether records are what Records promises of them.
func check(data []byte, records []contentline.Record) error {
	end := int64(0)
	for i, r := range records {
		for _, g := range r.Ranges {
			if g.Offset < end || g.Length <= 0 || g.Offset+g.Length > int64(len(data)) {
				return fmt.Errorf("record %d: range %v after %d of %d", i, g, end, len(data))
			}
			end = g.Offset + g.Length
		}
		if len(r.Ranges) != 1 || (r.Identity == nil) != (r.Problem != "") || len(r.Identity) > item.MaxIdentity {
			return fmt.Errorf("record %d: %+v", i, r)
		}
	}
	return nil
}

func TestRecords(t *testing.T) {
	for _, c := range []struct {
		name, data string
		want       []string // each record's bytes; "!" before a broken one
	}{
		{"two", "BEGIN:VCARD\r\nFN:a\r\nEND:VCARD\r\nBEGIN:VCARD\r\nFN:b\r\nEND:VCARD\r\n",
			[]string{"BEGIN:VCARD\r\nFN:a\r\nEND:VCARD\r\n", "BEGIN:VCARD\r\nFN:b\r\nEND:VCARD\r\n"}},
		{"no break at the end", "begin:vcard\nFN:a\nEnd:vCard", []string{"begin:vcard\nFN:a\nEnd:vCard"}},
		{"text around", "hello\nBEGIN:VCARD\nEND:VCARD\nworld\nEND:VCARD\n", []string{"BEGIN:VCARD\nEND:VCARD\n"}},
		{"byte order mark", "\ufeffBEGIN:VCARD\nEND:VCARD\n", []string{"BEGIN:VCARD\nEND:VCARD\n"}},
		{"agent", "BEGIN:VCARD\nAGENT:\nBEGIN:VCARD\nFN:x\nEND:VCARD\nFN:a\nEND:VCARD\n",
			[]string{"BEGIN:VCARD\nAGENT:\nBEGIN:VCARD\nFN:x\nEND:VCARD\nFN:a\nEND:VCARD\n"}},
		{"agent on one line", "BEGIN:VCARD\nAGENT:BEGIN:VCARD\nFN:x\nEND:VCARD\nFN:a\nEND:VCARD\n",
			[]string{"BEGIN:VCARD\nAGENT:BEGIN:VCARD\nFN:x\nEND:VCARD\nFN:a\nEND:VCARD\n"}},
		{"agent as text", "BEGIN:VCARD\nAGENT:BEGIN:VCARD\\nFN:x\\nEND:VCARD\nFN:a\nEND:VCARD\n",
			[]string{"BEGIN:VCARD\nAGENT:BEGIN:VCARD\\nFN:x\\nEND:VCARD\nFN:a\nEND:VCARD\n"}},
		{"no end", "BEGIN:VCARD\nFN:a\nBEGIN:VCARD\nFN:b\nEND:VCARD\n", []string{"!BEGIN:VCARD\nFN:a\n", "BEGIN:VCARD\nFN:b\nEND:VCARD\n"}},
		{"cut off", "BEGIN:VCARD\nFN:a\nEND:VCA", []string{"!BEGIN:VCARD\nFN:a\nEND:VCA"}},
		{"soft break before the end", "BEGIN:VCARD\nNOTE;ENCODING=QUOTED-PRINTABLE:a=\nEND:VCARD\n",
			[]string{"BEGIN:VCARD\nNOTE;ENCODING=QUOTED-PRINTABLE:a=\nEND:VCARD\n"}},
		{"card inside of text", "BEGIN:VCARD\nNOTE;ENCODING=QUOTED-PRINTABLE:BEGIN:VCARD=0A=\nEND:VCARD=0A\nEND:VCARD\n",
			[]string{"BEGIN:VCARD\nNOTE;ENCODING=QUOTED-PRINTABLE:BEGIN:VCARD=0A=\nEND:VCARD=0A\nEND:VCARD\n"}},
		{"not a card", "BEGIN:VNOTE\nEND:VNOTE\n", nil},
		{"nothing", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			records := Records([]byte(c.data))
			if err := check([]byte(c.data), records); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, r := range records {
				s := string(r.Bytes([]byte(c.data)))
				if r.Problem != "" {
					s = "!" + s
				}
				got = append(got, s)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	id := func(card string) string {
		r := Records([]byte("BEGIN:VCARD\n" + card + "\nEND:VCARD\n"))
		if len(r) != 1 || r[0].Problem != "" {
			t.Fatalf("%q: %+v", card, r)
		}
		return string(r[0].Identity)
	}
	if a, b := id("UID:urn:uuid:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1\nFN:x"), id("FN:y\nitem1.uid;X=y:4FBE8971-0BC3-424C-9C26-36C3E1EFF6B1"); a != b || a != "\x014fbe8971-0bc3-424c-9c26-36c3e1eff6b1" {
		t.Errorf("%q and %q", a, b)
	}
	if a, b := id("FN:x"), id("FN:y"); a == b || len(a) != 33 || a[0] != 2 {
		t.Errorf("%q and %q", a, b)
	}
	if id("UID:\nFN:x") == id("UID:\nFN:y") {
		t.Error("an empty UID is an identity")
	}
	if long := id("UID:" + strings.Repeat("x", contentline.MaxUID+1)); long[0] != 2 {
		t.Error("a UID beyond the limit is an identity")
	}
	if a := id("AGENT:\nBEGIN:VCARD\nUID:inner\nEND:VCARD\nUID:outer"); a != "\x01outer" {
		t.Errorf("%q is the identity of a card with an agent", a)
	}
}

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRealBooks(t *testing.T) {
	for name, want := range map[string]struct{ cards, broken int }{
		"multiple.vcf": {3, 0}, "gmail-list.vcf": {3, 0}, "quoted-list.vcf": {1, 0}, "rfc6350-example.vcf": {1, 0},
		"v21_japanese_2.vcf": {1, 0}, "v21_complicated.vcf": {1, 0}, "v21_nest.vcf": {2, 1},
	} {
		data := read(t, name)
		records := Records(data)
		broken := 0
		for _, r := range records {
			if r.Problem != "" {
				broken++
			}
		}
		if err := check(data, records); err != nil || len(records)-broken != want.cards || broken != want.broken {
			t.Errorf("%s: %d cards, %d broken, %v", name, len(records)-broken, broken, err)
		}
	}
}

// TestPublicBooks runs over the larger collection that lies beside the repository on a
// machine of the project: as many cards as a count of their first lines, and none broken
// but where the file is.
func TestPublicBooks(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "fixtures", "vcard")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public collection is not here")
	}
	files := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(p) != ".vcf" {
			return err
		}
		files++
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		records := Records(data)
		if err := check(data, records); err != nil {
			t.Errorf("%s: %v", d.Name(), err)
		}
		if want := bytes.Count(bytes.ToUpper(data), []byte("BEGIN:VCARD")); len(records) != want {
			t.Errorf("%s: %d records, want %d", d.Name(), len(records), want)
		}
		broken := slices.ContainsFunc(records, func(r contentline.Record) bool { return r.Problem != "" })
		if broken != (d.Name() == "v21_nest.vcf") {
			t.Errorf("%s: broken: %v", d.Name(), broken)
		}
		merged := Merge(nil, [][]byte{data})
		if again := Merge(merged, [][]byte{data}); merged != nil && !bytes.Equal(again, merged) {
			t.Errorf("%s: merging twice adds something", d.Name())
		}
		return nil
	})
	if err != nil || files == 0 {
		t.Fatal(files, err)
	}
}

const (
	ada   = "BEGIN:VCARD\nUID:ada\nFN:Ada\nEND:VCARD\n"
	ada2  = "BEGIN:VCARD\nUID:ada\nFN:Ada L.\nEND:VCARD\n"
	bob   = "BEGIN:VCARD\nFN:Bob\nEND:VCARD\n"
	badly = "BEGIN:VCARD\nFN:Bob\n"
)

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func TestMerge(t *testing.T) {
	for _, c := range []struct {
		name, existing string
		add            []string
		want           string // "nil" for none
	}{
		{"new", ada, []string{bob}, ada + bob},
		{"whole file", ada, []string{"\ufeff\n" + ada + "\n" + bob}, ada + bob},
		{"into nothing", "", []string{ada, bob}, crlf(ada + bob)},
		{"same", ada + bob, []string{bob, ada}, ada + bob},
		{"same in other breaks", ada, []string{crlf(ada)}, ada},
		{"other breaks", crlf(ada), []string{bob}, crlf(ada + bob)},
		{"same twice in one", ada, []string{bob, bob}, ada + bob},
		{"other content", ada, []string{ada2}, ada + ada2},
		{"no break at the end", strings.TrimSpace(ada), []string{bob}, ada + bob},
		{"rubbish stays", "hello\n" + ada + "world", []string{bob}, "hello\n" + ada + "world\n" + bob},
		{"broken card in existing", ada + badly, []string{bob}, ada + badly + bob},
		{"broken card to add", ada, []string{bob + badly}, "nil"},
		{"text to add", ada, []string{"hello\n" + bob}, "nil"},
		{"card that would be swallowed", "BEGIN:VCARD\nAGENT:\n", []string{bob}, "nil"},
		{"UTF-16", "\xff\xfeB\x00E\x00", []string{bob}, "nil"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var add [][]byte
			for _, a := range c.add {
				add = append(add, []byte(a))
			}
			before := strings.Clone(c.existing)
			got := Merge([]byte(c.existing), add)
			if s := string(got); s != c.want && !(got == nil && c.want == "nil") {
				t.Fatalf("got %q, want %q", s, c.want)
			}
			if c.existing != before {
				t.Fatal("existing was changed")
			}
			if again := Merge(got, add); got != nil && !bytes.Equal(again, got) {
				t.Fatalf("merged again: %q", again)
			}
		})
	}
}

func TestMergeLeavesArgumentsAlone(t *testing.T) {
	existing := append(make([]byte, 0, 1000), ada...)
	Merge(existing, [][]byte{[]byte(bob)})
	if string(existing[:cap(existing)][len(ada):len(ada)+5]) == bob[:5] {
		t.Fatal("Merge wrote behind existing")
	}
}

func TestCompare(t *testing.T) {
	got := Compare([]byte(ada), [][]byte{[]byte(crlf(ada)), []byte(ada2), []byte(bob), []byte(ada + bob)})
	if want := []contentline.State{contentline.Same, contentline.Differs, contentline.New, contentline.Differs}; !slices.Equal(got, want) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// TestRT18Limits feeds what is meant to exhaust a parser, and bounds time and memory.
func TestRT18Limits(t *testing.T) {
	for name, c := range map[string]struct {
		data    func() []byte
		records int
		memory  uint64 // bytes allocated in all
	}{
		"folded line of 100 MB": {func() []byte {
			return slices.Concat([]byte("BEGIN:VCARD\nUID:a\nNOTE:"), bytes.Repeat([]byte("\n "+strings.Repeat("x", 73)), 100<<20/75), []byte("\nEND:VCARD\n"))
		}, 1, 1 << 20},
		"folded UID of 50 MB": {func() []byte {
			return slices.Concat([]byte("BEGIN:VCARD\nUID:"), bytes.Repeat([]byte("\n "+strings.Repeat("x", 73)), 50<<20/75), []byte("\nEND:VCARD\n"))
		}, 1, 1 << 20},
		"photo of 100 MB on one line": {func() []byte {
			return slices.Concat([]byte("BEGIN:VCARD\nPHOTO;ENCODING=b:"), bytes.Repeat([]byte("QUJD"), 25<<20), []byte("\nEND:VCARD\n"))
		}, 1, 1 << 20},
		"a million properties": {func() []byte {
			return slices.Concat([]byte("BEGIN:VCARD\n"), bytes.Repeat([]byte("TEL;HOME:+1\n"), 1e6), []byte("END:VCARD\n"))
		}, 1, 1 << 20},
		"a hundred thousand nested": {func() []byte { return bytes.Repeat([]byte("BEGIN:VCARD\nAGENT:\n"), 1e5) }, 1e5 / maxDepth, 16 << 20},
		"a hundred thousand opened": {func() []byte { return bytes.Repeat([]byte("BEGIN:VCARD\n"), 1e5) }, 1e5, 64 << 20},
		"soft breaks":               {func() []byte { return bytes.Repeat([]byte("BEGIN:VCARD\nNOTE;QUOTED-PRINTABLE:=\n"), 1e5) }, 1e5, 64 << 20},
		"control characters":        {func() []byte { return bytes.Repeat([]byte("X-\x1b]0;\x07:\x00\x9b\n"), 1e6) }, 0, 1 << 20},
	} {
		t.Run(name, func(t *testing.T) {
			data := c.data()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			records := Records(data)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			if err := check(data, records); err != nil {
				t.Fatal(err)
			}
			if len(records) != c.records || took > time.Minute || after.TotalAlloc-before.TotalAlloc > c.memory {
				t.Errorf("%d records, %v, %d bytes allocated", len(records), took, after.TotalAlloc-before.TotalAlloc)
			}
		})
	}
}

func seeds(f *testing.F) {
	names, err := filepath.Glob("testdata/*.vcf")
	if err != nil || len(names) == 0 {
		f.Fatal(names, err)
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, []byte(bob))
	}
	f.Add([]byte(ada+badly), []byte(ada2))
	f.Add([]byte("BEGIN:VCARD\nAGENT:\n"), []byte(crlf(bob)))
	f.Add([]byte("BEGIN:VCARD\rEND:VCARD\r"), []byte("\ufeff"+bob))
}

// FuzzContactRecords holds Records and Merge to their promises.
func FuzzContactRecords(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, existing, add []byte) {
		if err := check(existing, Records(existing)); err != nil {
			t.Fatal(err)
		}
		merged := Merge(existing, [][]byte{add})
		if merged == nil {
			return
		}
		if !bytes.HasPrefix(merged, existing) {
			t.Fatal("existing was changed")
		}
		have := know(merged)
		for _, r := range Records(add) {
			if !have.content[contentline.Fingerprint(r.Bytes(add))] {
				t.Fatal("a card is missing")
			}
		}
		if again := Merge(merged, [][]byte{add}); !bytes.Equal(again, merged) {
			t.Fatal("merging twice adds something")
		}
	})
}

func BenchmarkRecords(b *testing.B) {
	data := bytes.Repeat([]byte("BEGIN:VCARD\r\nVERSION:3.0\r\nN:Family;Given;;;\r\nFN:Given Family\r\nTEL;TYPE=CELL:+1 555 000\r\nUID:x\r\nEND:VCARD\r\n"), 1000)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		Records(data)
	}
}
