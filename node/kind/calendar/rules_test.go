package calendar

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/test/fidelity"
)

var strict = rule.Profile{Strict: true}

// fixtures calls f for each public calendar that lies beside the repository on a machine of the project.
func fixtures(t testing.TB, f func(name string, data []byte)) {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "..", "shared", "fixtures", "ics")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public collection is not here")
	}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if e := filepath.Ext(p); err != nil || e != ".ics" && e != ".vcs" {
			return err
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f(d.Name(), data)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// tally counts the lines of a calendar, unfolded, each with the components that it is in. It shares
// no code with the parser. Lines of headers and time zones, which records repeat, are in shared.
func tally(data []byte) (own, shared map[string]int) {
	own, shared = map[string]int{}, map[string]int{}
	text := strings.TrimPrefix(string(data), "\ufeff")
	if !strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, "\r", "\n")
	}
	for _, fold := range []string{"\r\n ", "\n ", "\r\n\t", "\n\t"} {
		text = strings.ReplaceAll(text, fold, "")
	}
	var path []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		name, value, _ := strings.Cut(line, ":")
		value = strings.ToUpper(strings.TrimSpace(value))
		switch strings.ToUpper(name) {
		case "BEGIN":
			if value != "VCALENDAR" {
				path = append(path, value)
			}
			if len(path) > 0 && path[0] != "VTIMEZONE" {
				own[strings.Join(path, "/")]++
			}
			continue
		case "END":
			path = path[:max(0, len(path)-1)]
			continue
		}
		switch where := strings.Join(path, "/"); {
		case strings.TrimSpace(line) == "":
		case len(path) < 1 || path[0] == "VTIMEZONE":
			shared[where+" "+line]++
		default:
			own[where+" "+line]++
		}
	}
	return own, shared
}

func TestSplitLosesNothing(t *testing.T) {
	files, objects := 0, 0
	fixtures(t, func(name string, data []byte) {
		if name == "13-MoonPhase.ics" { // is cut off inside a component, which tally takes for the header
			data = append(data, "END:VEVENT\nEND:VCALENDAR\n"...)
		}
		files++
		wantOwn, wantShared := tally(data)
		gotOwn, gotShared := map[string]int{}, map[string]int{}
		for _, r := range (Rules{}).Split("Calendars/Home.ics", data) {
			objects++
			if r.Kind != item.Calendar || r.Book != "Home" || r.Label == "" && bytes.Contains(r.Data, []byte("SUMMARY")) {
				t.Errorf("%s: %+v", name, r)
			}
			own, shared := tally(r.Data)
			for k, n := range own {
				gotOwn[k] += n
			}
			for k := range shared {
				gotShared[k]++
			}
		}
		for k, n := range wantOwn {
			if gotOwn[k] != n {
				t.Errorf("%s: %q is there %d times, was %d", name, k, gotOwn[k], n)
			}
		}
		for k := range gotOwn {
			if wantOwn[k] == 0 {
				t.Errorf("%s: %q came from nowhere", name, k)
			}
		}
		for k := range wantShared {
			if gotShared[k] == 0 {
				t.Errorf("%s: %q is lost", name, k)
			}
		}
	})
	t.Logf("%d files, %d objects", files, objects)
}

// TestShapeOfPublicCalendars checks for all objects that what Shape gives is stable, and
// that each property that is not as it was is told.
func TestShapeOfPublicCalendars(t *testing.T) {
	objects, refused := 0, 0
	fixtures(t, func(name string, data []byte) {
		for _, r := range (Rules{}).Split(name, data) {
			objects++
			if same, _, ok := (Rules{}).Shape(r, rule.Profile{}); !ok || !bytes.Equal(same.Data, r.Data) {
				t.Errorf("%s, %s: a target that takes all gets something else", name, r.Label)
			}
			out, changes, ok := (Rules{}).Shape(r, strict)
			if !ok {
				refused++
				if len(changes) == 0 || changes[len(changes)-1].Effect != item.EffectDropped {
					t.Errorf("%s, %s: refused without a reason", name, r.Label)
				}
				continue
			}
			again, more, _ := (Rules{}).Shape(out, strict)
			if !bytes.Equal(again.Data, out.Data) {
				t.Errorf("%s, %s: shaped again it changes: %+v", name, r.Label, more)
			}
			if lost := untold(r.Data, out.Data, changes); lost != "" {
				t.Errorf("%s, %s: %s", name, r.Label, lost)
			}
		}
	})
	t.Logf("%d of %d objects refused", refused, objects)
}

// untold returns a line that is not in the shaped object as it was in the original and that
// no change tells of.
func untold(before, after []byte, changes []item.Change) string {
	told := map[string]bool{}
	for _, c := range changes {
		told[c.Property] = true
	}
	was, wasShared := tally(before)
	is, isShared := tally(after)
	for _, pair := range [][2]map[string]int{{was, is}, {wasShared, isShared}} {
		for line, n := range pair[0] {
			if pair[1][line] >= n {
				continue
			}
			path, rest, _ := strings.Cut(line, " ")
			name := rest
			if i := strings.IndexAny(rest, ":;"); i >= 0 {
				name = strings.ToUpper(rest[:i])
			}
			if i := strings.LastIndexByte(name, '.'); i >= 0 {
				name = name[i+1:]
			}
			if whole := strings.Split(path, "/"); !told[strings.Trim(path+"/"+strings.TrimSpace(name), "/")] && !told[path] && !told[whole[0]] {
				return fmt.Sprintf("%q is gone, and nothing tells of it", line)
			}
		}
	}
	return ""
}

// TestSecondMatchOfPublicCalendars brings all of them into one place, twice.
func TestSecondMatchOfPublicCalendars(t *testing.T) {
	var all []item.Record
	fixtures(t, func(name string, data []byte) {
		var incoming []item.Record
		for _, r := range (Rules{}).Split(name, data) {
			if out, _, ok := (Rules{}).Shape(r, strict); ok {
				incoming = append(incoming, out)
			}
		}
		alone := place{}
		alone.twice(t, incoming)
		all = append(all, incoming...)
	})
	var p place
	counts := map[rule.Verdict]int{}
	for _, d := range p.twice(t, all) {
		counts[d.Verdict]++
	}
	t.Log(counts)
}

// TestFidelity measures with a tokenizer of its own what is left of each public calendar
// when it was cut into objects and shaped for a strict target, and that all else is told.
func TestFidelity(t *testing.T) {
	for _, profile := range []rule.Profile{{}, strict} {
		var table fidelity.Table
		fixtures(t, func(name string, data []byte) {
			before, err := fidelity.Parse(name, data)
			if err != nil {
				t.Fatal(name, err)
			}
			var after []*fidelity.Document
			var report []fidelity.Change
			for line := range strings.Lines(Stray(data)) { // of which the source tells
				report = append(report, fidelity.Change{Property: "END", Effect: "dropped", Before: strings.TrimSpace(line)})
			}
			for _, r := range (Rules{}).Split(name, data) {
				out, changes, ok := (Rules{}).Shape(r, profile)
				for _, c := range changes {
					report = append(report, fidelity.Change{Record: c.Record, UID: c.UID, Property: c.Property, Effect: c.Effect.String(), Before: c.Before, After: c.After})
				}
				if !ok {
					continue
				}
				d, err := fidelity.Parse(name, out.Data)
				if err != nil {
					t.Fatal(name, err)
				}
				after = append(after, d)
			}
			r := fidelity.Compare(before, fidelity.Join(name, after...), fidelity.Options{Report: report})
			if silent := r.Silent(); len(silent) > 0 {
				t.Errorf("%s, strict %v: %d silent losses, the first: %+v of %+v", name, profile.Strict, len(silent), silent[0].Property, silent[0].Record.Labels)
			}
			table = append(table, r)
		})
		sum := table.Sum()
		t.Logf("strict %v: %+v", profile.Strict, sum)
	}
}
