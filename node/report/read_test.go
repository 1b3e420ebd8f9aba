package report

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// many tells of n records with seven changes each.
func many(n int, at func(int)) func(func(Entry) error) error {
	return func(add func(Entry) error) error {
		for i := range n {
			at(i)
			e := Entry{Kind: item.Message, Book: "archive", Record: fmt.Sprint("message ", i), From: fmt.Sprint("a.zip:", i), Verdict: rule.Verdict(1 + i%3)}
			if i%100 == 0 {
				e.Refused = "too large"
			}
			for p := range 7 {
				e.Changes = append(e.Changes, item.Change{Property: fmt.Sprint("P", p), Effect: item.EffectDropped, Why: "the target has no such column", Before: strings.Repeat("x", 40)})
			}
			if err := add(e); err != nil {
				return err
			}
		}
		return nil
	}
}

func nothing(int) {}

// forms are the ways to write a report.
var forms = map[string]func(*Report, io.Writer) error{"text": (*Report).WriteText, "JSON": (*Report).WriteJSON, "HTML": (*Report).WriteHTML, "summary": (*Report).WriteSummary}

func TestReadAgain(t *testing.T) {
	for _, n := range []int{10, 20_000} {
		var held, read Report
		if err := many(n, nothing)(func(e Entry) error { held.Add(e); return nil }); err != nil {
			t.Fatal(err)
		}
		open := true
		if err := read.Read(many(n, nothing), func() error { open = false; return nil }); err != nil {
			t.Fatal(err)
		}
		if large := n > 10; open != large || (read.Entries == nil) != large {
			t.Fatalf("%d records: open %v, %d entries are held", n, open, len(read.Entries))
		}
		for name, write := range forms {
			var a, b bytes.Buffer
			if err := errors.Join(write(&held, &a), write(&read, &b)); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(a.Bytes(), b.Bytes()) {
				t.Errorf("%d records as %s: %d bytes are not the same as %d", n, name, b.Len(), a.Len())
			}
		}
		if err := errors.Join(read.Close(), read.Close()); err != nil || open {
			t.Errorf("%v, open %v", err, open)
		}
	}
}

func TestReadFails(t *testing.T) {
	bad := errors.New("the journal is broken")
	for _, n := range []int{1, 20_000} {
		closed := 0
		var r Report
		err := r.Read(func(add func(Entry) error) error { return errors.Join(many(n, nothing)(add), bad) }, func() error { closed++; return nil })
		if !errors.Is(err, bad) || closed != 1 {
			t.Errorf("%v, closed %d times", err, closed)
		}
	}
	var r Report
	calls := 0
	if err := r.Read(func(add func(Entry) error) error {
		if calls++; calls > 1 {
			return bad
		}
		return many(20_000, nothing)(add)
	}, nil); err != nil {
		t.Fatal(err)
	}
	for name, write := range forms {
		if err := write(&r, io.Discard); name != "summary" && !errors.Is(err, bad) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestMemory has a report of 60,000 records with 420,000 changes hold no more of them than a page has.
func TestMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, most := heap(), uint64(0)
	var r Report
	if err := r.Read(many(60_000, func(i int) {
		if i%30_000 == 29_999 {
			most = max(most, heap())
		}
	}), nil); err != nil {
		t.Fatal(err)
	}
	for name, write := range forms {
		if err := write(&r, io.Discard); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if most > before+48<<20 {
		t.Errorf("%d MiB of a report are held", (most-before)>>20)
	}
}

// TestOfBooks tells what becomes of a calendar's own properties once.
func TestOfBooks(t *testing.T) {
	var r Report
	name := item.Change{Property: "VCALENDAR/X-WR-CALNAME", Effect: item.EffectDropped, Why: "the target has its own", Before: "Work"}
	for i := range 5 {
		r.Add(Entry{Kind: item.Calendar, Book: "Work", Record: fmt.Sprint(i), Verdict: rule.New, Changes: []item.Change{name, {Property: "VEVENT/ATTACH", Effect: item.EffectDropped, Before: "x"}}})
	}
	r.Add(Entry{Kind: item.Calendar, Book: "Home", Record: "5", Verdict: rule.New, Changes: []item.Change{name}})
	name.Before = "Other"
	r.Add(Entry{Kind: item.Calendar, Book: "Work", Record: "6", Verdict: rule.New, Changes: []item.Change{name}})
	r.Add(Entry{Kind: item.Calendar, Book: "Work", Record: "7", Verdict: rule.New, Changes: []item.Change{name}})
	name.Property = "X-WR-CALNAME" // as the shaper of a target calls it
	task := item.Change{Property: "VTODO", Effect: item.EffectDropped}
	for i := range 3 {
		r.Add(Entry{Kind: item.Calendar, Book: "Work", Record: fmt.Sprint(8 + i), Verdict: rule.New, Changes: []item.Change{name, task}})
	}
	if k := r.Kinds[0]; k.Dropped != 5+3+1+3 || k.New != 11 || len(r.Entries) != 10 {
		t.Errorf("%+v, %d entries", k, len(r.Entries))
	}
}
