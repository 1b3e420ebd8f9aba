package bookmarks

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/format/firefox"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/bookmarks"
	"github.com/decant-dev/decant/node/target"
)

var _ source.Books = (*bookmarks.Source)(nil)

const fixtures = "../../../../shared/fixtures/bookmarks/radam9__bookmarks-converter/resources/"

// collector is a sink.
type collector struct {
	records []item.Record
	changes []item.Change
}

func (c *collector) Record(r item.Record) error { c.records = append(c.records, r); return nil }
func (c *collector) Change(x item.Change) error { c.changes = append(c.changes, x); return nil }
func (c *collector) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return errors.New("bookmarks have no files")
}

// profileDir makes an empty profile as Firefox has it.
func profileDir(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	schema, err := os.ReadFile(filepath.Join("testdata", "firefox153.sql"))
	if err != nil {
		tb.Fatal(err)
	}
	db, err := firefox.Open(filepath.Join(dir, firefox.Places), "_pragma=journal_mode(wal)")
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := db.Exec(string(schema)); err != nil {
		tb.Fatal(err)
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	return dir
}

func chromiumDir(tb testing.TB) string {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "chromium", "Default")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "Preferences"), []byte("{}"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// places are arguments for a new, empty place of each form.
var places = map[string]func(testing.TB) string{
	"html":     func(tb testing.TB) string { return filepath.Join(tb.TempDir(), "b.html") },
	"json":     func(tb testing.TB) string { return filepath.Join(tb.TempDir(), "b.json") },
	"jsonlz4":  func(tb testing.TB) string { return filepath.Join(tb.TempDir(), "b.jsonlz4") },
	"firefox":  profileDir,
	"chromium": chromiumDir,
}

func readAll(tb testing.TB, arg string) []item.Record {
	tb.Helper()
	s, err := bookmarks.Open(arg)
	if err != nil {
		tb.Fatal(err)
	}
	defer s.Close()
	var to collector
	if err := s.Read(context.Background(), &to); err != nil {
		tb.Fatal(arg, err)
	}
	if len(to.changes) > 0 {
		tb.Logf("%s: %v", arg, to.changes)
	}
	return to.records
}

// delivery is what one delivery did.
type delivery struct {
	decisions []rule.Decision
	changes   []item.Change
	now       []target.Existing // of what was written
	writes    []target.Write
	before    []target.Existing
}

// deliver brings records into a target as the engine does.
func deliver(tb testing.TB, t Target, records []item.Record) *delivery {
	tb.Helper()
	ctx, d, rules := context.Background(), &delivery{}, bookmark.Rules{}
	profile, err := t.Profile(ctx, item.Bookmark)
	if err != nil {
		tb.Fatal(err)
	}
	var shaped []item.Record
	for _, r := range records {
		out, changes, ok := rules.Shape(r, profile)
		d.changes = append(d.changes, changes...)
		if ok {
			shaped = append(shaped, out)
		} else if len(changes) == 0 {
			tb.Errorf("%s is refused without a word", r.Label)
		}
	}
	if err := t.Read(ctx, item.Bookmark, func(e target.Existing) error { d.before = append(d.before, e); return nil }); err != nil {
		tb.Fatal(err)
	}
	var have []item.Record
	for _, e := range d.before {
		have = append(have, e.Record)
	}
	if d.decisions, err = rules.Match(ctx, have, shaped, rule.Options{Profile: profile}); err != nil {
		tb.Fatal(err)
	}
	for i, c := range d.decisions {
		d.changes = append(d.changes, c.Changes...)
		w := target.Write{Record: item.Record{Kind: item.Bookmark, Data: c.Result}, Key: fmt.Sprintf("%x", sha256.Sum256(c.Result))}
		switch c.Verdict {
		case rule.Merge:
			w.ID, w.Version, w.Key = d.before[c.With].ID, d.before[c.With].Version, ""
		case rule.New, rule.Conflict:
		case rule.Same:
			continue
		default:
			tb.Fatalf("%s: %v", shaped[i].Data, c.Verdict)
		}
		d.writes = append(d.writes, w)
	}
	d.now = write(tb, t, d.writes)
	return d
}

func write(tb testing.TB, t Target, writes []target.Write) []target.Existing {
	tb.Helper()
	now := make([]target.Existing, len(writes))
	n := 0
	err := t.Write(context.Background(), item.Bookmark, writes, func(i int, e target.Existing, err error) error {
		if err != nil {
			tb.Errorf("%s: %v", writes[i].Record.Data, err)
		}
		if i != n {
			tb.Errorf("%d was told as number %d", i, n)
		}
		n++
		now[i] = e
		return nil
	})
	if err != nil || n != len(writes) {
		tb.Fatalf("%d of %d written: %v", n, len(writes), err)
	}
	return now
}

// outline is what the bar is about: folder, order, title and address, and times in seconds.
// Addresses are compared as they are, or in the form that browsers bring them into.
func outline(tb testing.TB, records []item.Record, exact bool) (lines []string) {
	tb.Helper()
	for _, r := range records {
		b, err := bookmark.Parse(r.Data)
		if err != nil {
			tb.Fatal(err)
		}
		if !exact {
			b.URL = bookmark.Canonical(b.URL)
		}
		lines = append(lines, fmt.Sprintf("%s|%q|%v|%s|%q|%s|%d", b.Root, b.Path, b.Nth, b.Type, b.Title, b.URL, b.Added/1e6))
	}
	return lines
}

// sources are the fixtures, and one of our own with everything in it.
func sources(tb testing.TB) map[string][]item.Record {
	all := map[string][]item.Record{"made": everything()}
	for _, name := range []string{"bookmarks_firefox.html", "bookmarks_firefox.json", "bookmarks_firefox_with_separator.json", "bookmarks_chrome.html", "bookmarks_chrome.json", "bookmarks_bookmarkie.html"} {
		if _, err := os.Stat(fixtures + name); err == nil {
			all[name] = readAll(tb, fixtures+name)
		}
	}
	return all
}

// everything is a tree with everything that a bookmark can have.
func everything() (records []item.Record) {
	b := bookmark.NewBuilder(bookmark.Menu)
	b.Tree = bookmark.NewTree()
	n := int64(0)
	leaf := func(title, url string) *bookmark.Node {
		n++
		return &bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.URL, Title: title, URL: url, Added: 1.6e15 + n*1e6, Modified: 1.7e15 + n*1e6}}
	}
	for _, root := range bookmark.Roots {
		b.To(root)
		for _, title := range []string{"twin", "twin", "<a> & \"b\"  'c' 😀"} {
			b.Open(&bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.Folder, Title: title, Added: 1.5e15, Modified: 1.6e15}})
			x := leaf(title, "https://a.example/?x=1&copy=2#"+root)
			x.Tags, x.Keyword, x.Description, x.Visited = []string{"one", "two words"}, "", "about\nit", 1.71e15
			b.Add(x)
			b.Add(leaf("", "https://b.example"))
			b.Add(&bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.Separator, Added: 1.5e15, Modified: 1.5e15}})
			b.Add(leaf("same again", "https://a.example/?x=1&copy=2#"+root))
			b.Add(leaf("js", "javascript:alert('%3C')"))
			b.Close()
		}
		b.Add(leaf("end", "https://end.example/"))
		b.Add(leaf("end", "https://end.example/"))
	}
	b.Tree.Each(func(n *bookmark.Node) error { records = append(records, n.Record("", "")); return nil })
	k, _ := bookmark.Parse(records[1].Data)
	k.Keyword = "Key"
	records[1].Data = k.Encode()
	return records
}

func TestAnyToAny(t *testing.T) {
	for from, records := range sources(t) {
		for to, place := range places {
			t.Run(from+" to "+to, func(t *testing.T) {
				arg := place(t)
				tg, err := Open(arg)
				if err != nil {
					t.Fatal(err)
				}
				defer tg.Close()
				before, err := tg.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				deliver(t, tg, records)
				profile, _ := tg.Profile(context.Background(), item.Bookmark)
				var want []item.Record
				for _, r := range records {
					if out, _, ok := (bookmark.Rules{}).Shape(r, profile); ok {
						want = append(want, out)
					}
				}
				got := outline(t, readAll(t, arg), true)
				wanted := outline(t, want, true)
				if to == "chromium" { // where the nodes of the menu come into a folder that no record asks for
					got = slices.DeleteFunc(got, func(s string) bool { return strings.HasPrefix(s, `other|[]|[]|folder|"Bookmarks Menu"|`) })
					slices.Sort(got)
					slices.Sort(wanted)
				}
				for i := range max(len(got), len(wanted)) {
					if i >= len(got) || i >= len(wanted) || got[i] != wanted[i] {
						t.Fatalf("%d: got %d, want %d\n%s\n%s", i, len(got), len(wanted), strings.Join(got[min(i, len(got)):min(i+3, len(got))], "\n"), strings.Join(wanted[min(i, len(wanted)):min(i+3, len(wanted))], "\n"))
					}
				}
				after, err := tg.Snapshot()
				if err != nil {
					t.Fatal(err)
				}
				again := deliver(t, tg, records)
				for _, d := range again.decisions {
					if d.Verdict != rule.Same {
						t.Fatalf("the second time: %v %s %s", d.Verdict, d.Result, d.Why)
					}
				}
				if now, _ := tg.Snapshot(); !bytes.Equal(now, after) {
					t.Error("the second time something was written")
				}
				if err := tg.Restore(before, sha256.Sum256(after)); err != nil {
					t.Fatal(err)
				}
				if now, _ := tg.Snapshot(); !bytes.Equal(now, before) {
					t.Error("undone, it is not what it was")
				}
			})
		}
	}
}

// Everything that is not on the target as the source had it is told.
func TestNothingIsLostSilently(t *testing.T) {
	for from, records := range sources(t) {
		for to, place := range places {
			tg, err := Open(place(t))
			if err != nil {
				t.Fatal(err)
			}
			d := deliver(t, tg, records)
			told := map[string]bool{}
			for _, c := range d.changes {
				told[c.Property+"\x00"+c.Before] = true
			}
			var have []*bookmark.Bookmark
			tg.Read(context.Background(), item.Bookmark, func(e target.Existing) error {
				b, _ := bookmark.Parse(e.Data)
				have = append(have, b)
				return nil
			})
			for _, r := range records {
				b, _ := bookmark.Parse(r.Data)
				for name, v := range map[string]string{"TAGS": strings.Join(b.Tags, ", "), "KEYWORD": b.Keyword, "DESCRIPTION": b.Description, "ICON": b.Icon, "ICON_URI": b.IconURI} {
					kept := slices.ContainsFunc(have, func(h *bookmark.Bookmark) bool {
						x := map[string]string{"TAGS": strings.Join(h.Tags, ", "), "KEYWORD": h.Keyword, "DESCRIPTION": h.Description, "ICON": h.Icon, "ICON_URI": h.IconURI}[name]
						return h.URL == b.URL && h.Title == b.Title && x == v
					})
					if v != "" && !kept && !told[name+"\x00"+v[:min(len(v), item.MaxShown)]] {
						t.Errorf("%s to %s: %s of %s is lost silently: %.80s", from, to, name, b.Label(), v)
					}
				}
			}
		}
	}
}

// What is there already stays, keeps its place, and gets what it lacks; and can be taken
// back record by record.
func TestMergeAndTakeBack(t *testing.T) {
	for to, place := range places {
		t.Run(to, func(t *testing.T) {
			arg := place(t)
			tg, err := Open(arg)
			if err != nil {
				t.Fatal(err)
			}
			old := everything()[:8]
			deliver(t, tg, old)
			was := outline(t, readAll(t, arg), true)
			d := deliver(t, tg, everything())
			if len(d.now) == 0 {
				t.Fatal("nothing is new")
			}
			var back []target.Write
			for i := len(d.now) - 1; i >= 0; i-- {
				w := target.Write{ID: d.now[i].ID, Version: d.now[i].Version, Record: item.Record{Kind: item.Bookmark}}
				if j := slices.IndexFunc(d.before, func(e target.Existing) bool { return e.ID == d.writes[i].ID }); j >= 0 {
					w.Record.Data = d.before[j].Data
				}
				back = append(back, w)
			}
			write(t, tg, back)
			if got := outline(t, readAll(t, arg), true); !slices.Equal(got, was) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(was, "\n"))
			}
		})
	}
}

func TestEdited(t *testing.T) {
	for to, place := range places {
		tg, err := Open(place(t))
		if err != nil {
			t.Fatal(err)
		}
		d := deliver(t, tg, everything()[:3])
		for _, w := range []target.Write{{ID: d.now[1].ID, Version: "other", Record: item.Record{Data: d.now[1].Data}}, {ID: "none", Version: "x"}} {
			err := tg.Write(context.Background(), item.Bookmark, []target.Write{w}, func(i int, _ target.Existing, err error) error {
				if !errors.Is(err, target.ErrEdited) {
					t.Errorf("%s: %v", to, err)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		w := target.Write{ID: d.now[0].ID, Version: d.now[0].Version}
		err = tg.Write(context.Background(), item.Bookmark, []target.Write{w}, func(i int, _ target.Existing, err error) error {
			if refused := (*target.RefusedError)(nil); !errors.As(err, &refused) {
				t.Errorf("%s: a folder was deleted with what is in it: %v", to, err)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if err := tg.Restore(nil, [32]byte{}); err == nil {
			t.Errorf("%s: restored over what was edited", to)
		}
	}
}

// An attempt whose answer was lost is not repeated as a second record.
func TestTwiceTheSameKey(t *testing.T) {
	for to, place := range places {
		arg := place(t)
		tg, err := Open(arg)
		if err != nil {
			t.Fatal(err)
		}
		d := deliver(t, tg, everything()[:6])
		n := len(readAll(t, arg))
		again := write(t, tg, d.writes)
		if len(readAll(t, arg)) != n || again[1].ID != d.now[1].ID {
			t.Errorf("%s: there are %d instead of %d", to, len(readAll(t, arg)), n)
		}
	}
}

// The counters and hashes of Firefox's database are what its own triggers would make them.
func TestDatabaseIsConsistent(t *testing.T) {
	dir := profileDir(t)
	tg, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, tg, everything())
	db, err := firefox.Open(filepath.Join(dir, firefox.Places), "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	check(t, db)
	var tags, keywords int
	if err := db.QueryRow("SELECT (SELECT count(*) FROM moz_bookmarks WHERE parent = 4), (SELECT count(*) FROM moz_keywords WHERE keyword = 'key')").Scan(&tags, &keywords); err != nil || tags != 2 || keywords != 1 {
		t.Errorf("%d tags, %d keywords, %v", tags, keywords, err)
	}
}

// check looks for what Firefox's own maintenance repairs (PlacesDBUtils.sys.mjs).
func check(t *testing.T, db *sql.DB) {
	t.Helper()
	for what, query := range map[string]string{
		"foreign_count": "SELECT count(*) FROM moz_places p WHERE foreign_count <> (SELECT count(*) FROM moz_bookmarks WHERE fk = p.id) + (SELECT count(*) FROM moz_keywords WHERE place_id = p.id)",
		"positions":     "SELECT count(*) FROM (SELECT position, row_number() OVER (PARTITION BY parent ORDER BY position) - 1 AS want FROM moz_bookmarks WHERE parent > 0) WHERE position <> want",
		"guids":         "SELECT count(*) FROM moz_bookmarks WHERE length(guid) <> 12 OR guid GLOB '*[^a-zA-Z0-9_-]*'",
		"place guids":   "SELECT count(*) FROM moz_places WHERE guid IS NULL OR length(guid) <> 12",
		"parents":       "SELECT count(*) FROM moz_bookmarks b WHERE parent > 0 AND NOT EXISTS (SELECT 1 FROM moz_bookmarks WHERE id = b.parent AND type = 2)",
		"places":        "SELECT count(*) FROM moz_bookmarks b WHERE type = 1 AND NOT EXISTS (SELECT 1 FROM moz_places WHERE id = b.fk)",
		"no places":     "SELECT count(*) FROM moz_bookmarks WHERE type <> 1 AND fk IS NOT NULL",
		"origins":       "SELECT count(*) FROM moz_places p WHERE NOT EXISTS (SELECT 1 FROM moz_origins o WHERE o.id = p.origin_id AND substr(p.url, 1, length(prefix)) = prefix)",
		"integrity":     "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'",
	} {
		var n int
		if err := db.QueryRow(query).Scan(&n); err != nil || n != 0 {
			t.Errorf("%s: %d are wrong, %v", what, n, err)
		}
	}
	rows, err := db.Query("SELECT url, url_hash FROM moz_places")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var url string
		var hash int64
		if err := rows.Scan(&url, &hash); err != nil || hash != firefox.URLHash(url) {
			t.Errorf("%s: hash %d, %v", url, hash, err)
		}
	}
}

func TestLinksAndModes(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "real.html"), filepath.Join(dir, "link.html")
	if err := os.WriteFile(real, nil, 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, link); err != nil {
		t.Skip(err)
	}
	tg, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, tg, everything()[:2])
	if to, err := os.Readlink(link); err != nil || to != real {
		t.Error("the link is gone")
	}
	if info, err := os.Stat(real); err != nil || info.Mode().Perm() != 0o640 || info.Size() == 0 {
		t.Errorf("%v %v", info, err)
	}
}

func TestRunningBrowsersAreLeftAlone(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	dir := chromiumDir(t)
	lock := filepath.Join(filepath.Dir(dir), "SingletonLock")
	fails := func(arg, why string) {
		t.Helper()
		tg, err := Open(arg)
		if err != nil {
			t.Fatal(err)
		}
		r := everything()[1]
		if err := tg.Write(context.Background(), item.Bookmark, []target.Write{{Record: r, Key: "k"}}, func(int, target.Existing, error) error { return nil }); err == nil {
			t.Errorf("%s: it was written", why)
		}
	}
	for _, to := range []string{fmt.Sprintf("%s-%d", host, os.Getpid()), "another-computer-1"} {
		os.Remove(lock)
		if err := os.Symlink(to, lock); err != nil {
			t.Skip(err)
		}
		fails(dir, to)
	}
	ff := profileDir(t)
	if err := os.Symlink(fmt.Sprintf("127.0.0.1:%d", os.Getpid()), filepath.Join(ff, "lock")); err != nil {
		t.Skip(err)
	}
	fails(ff, "a profile without a lock on a file")
	os.Remove(lock)
	os.Symlink(host+"-999999999", lock) // it has crashed
	tg, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, tg, everything()[:2])
}

func TestManyBookmarks(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes some seconds")
	}
	b := bookmark.NewBuilder(bookmark.Toolbar)
	for i := range 10_000 {
		b.Add(&bookmark.Node{Bookmark: bookmark.Bookmark{Type: bookmark.URL, Title: fmt.Sprint("title ", i), URL: fmt.Sprintf("https://s%d.example/%d", i%100, i), Added: 1.6e15, Modified: 1.6e15}})
	}
	var records []item.Record
	b.Tree.Each(func(n *bookmark.Node) error { records = append(records, n.Record("", "")); return nil })
	for to, place := range places {
		arg := place(t)
		tg, err := Open(arg)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		deliver(t, tg, records)
		again := deliver(t, tg, records)
		t.Logf("%s: %v", to, time.Since(begun))
		if len(again.writes) != 0 || len(readAll(t, arg)) != len(records) {
			t.Errorf("%s: %d, and again %d", to, len(readAll(t, arg)), len(again.writes))
		}
	}
}

// Directories may have any names.
func TestOddDirectories(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b#c%20?d=e&é")
	if err := os.Rename(profileDir(t), dir); err != nil {
		t.Fatal(err)
	}
	tg, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	deliver(t, tg, everything()[:3])
	if n := len(readAll(t, dir)); n != 3 {
		t.Errorf("%d", n)
	}
	if s, err := bookmarks.Open(dir); err != nil {
		t.Error(err)
	} else if found, err := s.Survey(context.Background()); err != nil || found[0].Items != 3 {
		t.Errorf("%+v %v", found, err)
	}
	if all, err := os.ReadDir(dir); err != nil || len(all) > 2 {
		t.Errorf("there is %v", all)
	}
}
