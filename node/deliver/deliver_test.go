package deliver

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/vcf"
)

func card(uid string, more ...string) string {
	return "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:" + uid + "\r\nN:Example;" + uid + ";;;\r\nFN:" + uid + " Example\r\n" + strings.Join(append(more, ""), "\r\n") + "END:VCARD\r\n"
}

// records yields the cards of a container.
func records(cards ...string) Records {
	all := contact.Rules{}.Split("Contacts/friends.vcf", []byte(strings.Join(cards, "")))
	return func(_ context.Context, k item.Kind, each func(item.Record) error) error {
		for _, r := range all {
			if k == item.Contact {
				if err := each(r); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

func open(t *testing.T, path string) []Goal {
	t.Helper()
	b, err := vcf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return []Goal{{"vcf:" + path, b}}
}

func prepare(t *testing.T, log Log, goals []Goal, r Records) *Delivery {
	t.Helper()
	d, err := Prepare(t.Context(), log, goals, r, Options{Region: "DE"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func apply(t *testing.T, d *Delivery) *Result {
	t.Helper()
	res, err := d.Apply(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// directory makes a vcf directory of one card a file.
func directory(t *testing.T, cards ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i, c := range cards {
		write(t, filepath.Join(dir, fmt.Sprintf("%d.vcf", i)), c)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		out[e.Name()] = string(b)
	}
	return out
}

func holds(t *testing.T, dir, text string) int {
	t.Helper()
	n := 0
	for _, b := range files(t, dir) {
		n += strings.Count(b, text)
	}
	return n
}

var (
	annHere  = card("ann", "TEL;TYPE=CELL:+49 170 1234567")
	annThere = card("ann", "TEL;TYPE=CELL:0170 1234567", "EMAIL:ann@example.org")
	bob      = card("bob", "EMAIL:bob@example.org")
	cid      = card("cid", "NOTE:new")
)

func TestDeliverAndUndo(t *testing.T) {
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("whole %v", whole), func(t *testing.T) {
			dir := directory(t, annHere, bob)
			at := dir
			if whole {
				dir = t.TempDir()
				at = filepath.Join(dir, "book.vcf")
				write(t, at, annHere+bob)
			}
			before := files(t, dir)
			log := MemLog{}
			d := prepare(t, log, open(t, at), records(annThere, bob, cid))
			if !maps.Equal(files(t, dir), before) {
				t.Error("preparing has written to the target")
			}
			p := d.Summary()[0]
			if p.Total != 3 || p.New != 1 || p.Same != 1 || p.Merge != 1 {
				t.Errorf("%+v", p)
			}
			if res := apply(t, d); res.Written != 2 || res.Same != 1 || res.Failed+res.Left != 0 {
				t.Errorf("%+v", res)
			}
			if holds(t, dir, "ann@example.org") != 1 || holds(t, dir, "NOTE:new") != 1 || holds(t, dir, "+49 170 1234567") != 1 {
				t.Errorf("%q", files(t, dir))
			}
			after := files(t, dir)
			if res := apply(t, d); res.Written != 2 { // the same run again
				t.Errorf("again: %+v", res)
			}
			again := prepare(t, MemLog{}, open(t, at), records(annThere, bob, cid))
			if p := again.Summary()[0]; p.Same != 3 {
				t.Errorf("a second delivery: %+v", p)
			}
			if res := apply(t, again); res.Written != 0 || !maps.Equal(files(t, dir), after) {
				t.Errorf("a second delivery: %+v", res)
			}
			loaded, err := Load(log, open(t, at), "")
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // undoing twice is undoing once
				u, err := loaded.Undo(t.Context())
				if err != nil || u.Refused != 0 || !maps.Equal(files(t, dir), before) {
					t.Errorf("%+v, %v: %q", u, err, files(t, dir))
				}
			}
		})
	}
}

// TestUndoLeavesEdits: what somebody has edited since stays, and is listed; the rest goes.
func TestUndoLeavesEdits(t *testing.T) {
	for _, whole := range []bool{false, true} {
		t.Run(fmt.Sprintf("whole %v", whole), func(t *testing.T) {
			dir := directory(t, annHere)
			at := dir
			if whole {
				dir = t.TempDir()
				at = filepath.Join(dir, "book.vcf")
				write(t, at, annHere)
			}
			d := prepare(t, MemLog{}, open(t, at), records(annThere, bob, cid))
			apply(t, d)
			for name, text := range files(t, dir) {
				write(t, filepath.Join(dir, name), strings.Replace(text, "NOTE:new", "NOTE:edited", 1))
			}
			d.goals = open(t, at)
			u, err := d.Undo(t.Context())
			if err != nil || u.Restored != 2 || u.Refused != 1 || len(u.Lines) != 1 || !strings.Contains(u.Lines[0].Record, "cid") {
				t.Errorf("%+v, %v", u, err)
			}
			if holds(t, dir, "NOTE:edited") != 1 || holds(t, dir, "bob@example.org") != 0 || holds(t, dir, "ann@example.org") != 0 {
				t.Errorf("%q", files(t, dir))
			}
		})
	}
}

// TestEditedBetween: what somebody edits between the plan and its execution is not overwritten, but decided anew.
func TestEditedBetween(t *testing.T) {
	dir := directory(t, annHere)
	d := prepare(t, MemLog{}, open(t, dir), records(annThere, cid))
	write(t, filepath.Join(dir, "0.vcf"), strings.Replace(annHere, "END:", "NOTE:typed meanwhile\r\nEND:", 1))
	write(t, filepath.Join(dir, "own.vcf"), cid)
	if res := apply(t, d); res.Failed != 0 {
		t.Errorf("%+v", res)
	}
	if holds(t, dir, "NOTE:typed meanwhile") != 1 || holds(t, dir, "ann@example.org") != 1 {
		t.Errorf("%q", files(t, dir))
	}
}

// dying is a log that fails at the n-th Put from now on, as if the process had died there.
type dying struct {
	MemLog
	left int
}

var errDied = errors.New("died")

func (l *dying) Put(e []Entry) error {
	if l.left--; l.left < 0 {
		return errDied
	}
	return l.MemLog.Put(e)
}

// TestDeathAnywhere: whatever Put is the last, the next run ends where one without a death would have, and undoing restores everything.
func TestDeathAnywhere(t *testing.T) {
	for _, whole := range []bool{false, true} {
		var want []string
		for die := 0; ; die++ {
			dir := directory(t, annHere, bob)
			at := dir
			if whole {
				dir = t.TempDir()
				at = filepath.Join(dir, "book.vcf")
				write(t, at, annHere+bob)
			}
			before := files(t, dir)
			log := &dying{MemLog: MemLog{}, left: 1 << 30}
			d := prepare(t, log, open(t, at), records(annThere, bob, cid, card("dan")))
			log.left = die
			_, err := d.Apply(t.Context(), nil)
			if err == nil {
				if die < 2 {
					t.Fatalf("whole %v: there are only %d steps to die at", whole, die)
				}
				break
			}
			if !errors.Is(err, errDied) {
				t.Fatal(err)
			}
			log.left = 1 << 30
			again, err := Load(log, open(t, at), "")
			if err != nil {
				t.Fatal(err)
			}
			if res := apply(t, again); res.Failed != 0 || res.Written+res.Same != 4 {
				t.Errorf("whole %v, died at %d: %+v", whole, die, res)
			}
			got := slices.Sorted(maps.Values(files(t, dir)))
			if want == nil {
				want = got
			}
			if !slices.Equal(got, want) {
				t.Errorf("whole %v, died at %d:\n%q, want\n%q", whole, die, got, want)
			}
			u, err := again.Undo(t.Context())
			if err != nil || u.Refused != 0 {
				t.Errorf("whole %v, died at %d: %+v, %v", whole, die, u, err)
			}
			for name, text := range before {
				if got := files(t, dir)[name]; strings.ReplaceAll(got, "\r\n", "\n") != strings.ReplaceAll(text, "\r\n", "\n") {
					t.Errorf("whole %v, died at %d: %s holds %q after undoing, want %q", whole, die, name, got, text)
				}
			}
			if len(files(t, dir)) != len(before) {
				t.Errorf("whole %v, died at %d: %q", whole, die, files(t, dir))
			}
		}
	}
}

// shelf is a target that refuses what holds a text.
type shelf struct {
	target.Books
	refuse string
}

func (s *shelf) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	for i, c := range changes {
		if strings.Contains(string(c.Record.Data), s.refuse) {
			if err := done(i, target.Existing{}, &target.RefusedError{Why: "not this one"}); err != nil {
				return err
			}
			continue
		}
		err := s.Books.Write(ctx, k, changes[i:i+1], func(_ int, now target.Existing, err error) error { return done(i, now, err) })
		if err != nil {
			return err
		}
	}
	return nil
}

// maker is a target that makes places.
type maker struct {
	target.Books
	places  []string
	asked   int
	removed [][2][]string // before, ids
	fail    error
}

func (m *maker) Places(context.Context, item.Kind) ([]string, error) {
	m.asked++
	return m.places, m.fail
}

func (m *maker) RemovePlaces(_ context.Context, _ item.Kind, before, ids []string) error {
	m.removed = append(m.removed, [2][]string{before, ids})
	return m.fail
}

// TestPlacesMade: what places there were is known before the first write, and undoing tells it, once more after a failure.
func TestPlacesMade(t *testing.T) {
	broken := errors.New("the server is gone")
	m := &maker{Books: open(t, directory(t, annHere))[0].Target, places: []string{"a", "b"}, fail: broken}
	goals := []Goal{{"x", m}}
	log := MemLog{}
	d := prepare(t, log, goals, records(bob, cid))
	if _, err := d.Apply(t.Context(), nil); !errors.Is(err, broken) || m.asked != 1 {
		t.Fatalf("%v, asked %d times", err, m.asked)
	}
	m.fail = nil
	if res := apply(t, d); res.Written != 2 || m.asked != 2 {
		t.Fatalf("%+v, asked %d times", res, m.asked)
	}
	m.places = append(m.places, "made")
	apply(t, d)
	if m.asked != 2 {
		t.Error("asked again after writing")
	}
	m.fail = broken
	if _, err := d.Undo(t.Context()); !errors.Is(err, broken) {
		t.Error(err)
	}
	m.fail = nil
	loaded, err := Load(log, goals, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := loaded.Undo(t.Context()); err != nil || len(m.removed) != 2 {
		t.Fatalf("%v, %d times", err, len(m.removed))
	}
	for _, r := range m.removed {
		if !slices.Equal(r[0], []string{"a", "b"}) || len(r[1]) != 2 {
			t.Errorf("before %q, records %q", r[0], r[1])
		}
	}
}

// TestRefusals: what a target refuses keeps nothing else from arriving.
func TestRefusals(t *testing.T) {
	dir := directory(t)
	goals := open(t, dir)
	goals[0].Target = &shelf{goals[0].Target, "NOTE:new"}
	d := prepare(t, MemLog{}, goals, records(bob, cid))
	if res := apply(t, d); res.Written != 1 || res.Failed != 1 {
		t.Errorf("%+v", res)
	}
	why := ""
	err := d.Each(func(_ string, s *Step, o *Outcome) error {
		if o.State == Failed {
			why = s.Label + ": " + o.Why
		}
		return nil
	})
	if err != nil || !strings.HasSuffix(why, ": not this one") {
		t.Errorf("%q, %v", why, err)
	}
}

func TestNothing(t *testing.T) {
	if _, err := Load(MemLog{}, nil, ""); !errors.Is(err, ErrNone) {
		t.Errorf("%v", err)
	}
	dir := directory(t)
	d := prepare(t, MemLog{}, open(t, dir), records())
	if res := apply(t, d); *res != (Result{}) || len(d.Summary()) != 0 {
		t.Errorf("%+v", res)
	}
}

// TestTooLarge: a file that can't be brought in is told.
func TestTooLarge(t *testing.T) {
	d := prepare(t, MemLog{}, open(t, directory(t)), func(_ context.Context, k item.Kind, each func(item.Record) error) error {
		return each(item.Record{Kind: k, Label: "Contacts/huge.vcf"})
	})
	p := d.Summary()[0]
	if p.Total != 1 || p.Refused != 1 || len(p.Lines) != 1 || !strings.Contains(p.Lines[0].Why, "too large") {
		t.Errorf("%+v", p)
	}
	if res := apply(t, d); res.Failed != 1 || res.Written != 0 {
		t.Errorf("%+v", res)
	}
}
