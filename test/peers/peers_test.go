package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target"
	targetdav "github.com/decant-dev/decant/node/target/dav"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/peers/server"
)

// fixtures returns address books and calendars that real programs have written, at most most records of each.
func fixtures(t *testing.T, most int) []file {
	t.Helper()
	root, err := env.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "..", "shared", "fixtures")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the fixtures are not beside the repository")
	}
	files, err := corpus(dir, most)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// bars are the parts of all properties that have to come back, in percent.
var bars = map[item.Kind]float64{item.Contact: 96, item.Calendar: 92}

// TestPeersJourney: what Decant puts on a server is there, or Decant says why not.
func TestPeersJourney(t *testing.T) {
	files := fixtures(t, 5)
	server.Each(t, func(t *testing.T, s *server.Server) {
		for k, bar := range bars {
			profile, err := profileOf(t.Context(), s, k)
			if err != nil {
				t.Fatal(err)
			}
			sc, err := measure(t.Context(), s, files, k, profile)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v: %d of %d records, %.1f %% of %d properties, %d silently lost", k, sc.Accepted, sc.Records, percent(sc.Kept, sc.Properties), sc.Properties, sc.SilentLost)
			if got := percent(sc.Kept, sc.Properties); got < bar {
				t.Errorf("%v: %.1f %% of the properties are there, want %.0f %%", k, got, bar)
			}
			if sc.Silent > 0 {
				t.Errorf("%v: %d properties are lost or changed and nobody says so:", k, sc.Silent)
				for _, l := range sc.lost {
					t.Log(l)
				}
			}
		}
	})
}

// contents returns what a target holds, by what it is known as.
func contents(t *testing.T, to *targetdav.Target, k item.Kind) map[string]string {
	t.Helper()
	out := map[string]string{}
	if err := to.Read(t.Context(), k, func(e target.Existing) error { out[e.ID] = string(e.Data); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPeersTwiceAndBack: delivering again adds and changes nothing, and undo leaves what was there.
func TestPeersTwiceAndBack(t *testing.T) {
	files := fixtures(t, 3)
	server.Each(t, func(t *testing.T, s *server.Server) {
		to, err := targetdav.Open(t.Context(), config(s, s.URL))
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		records := func(part int) deliver.Records {
			return func(_ context.Context, k item.Kind, each func(item.Record) error) error {
				for i, f := range files {
					if f.kind != k || part == 1 && i%2 == 0 {
						continue
					}
					for _, r := range f.records {
						if r.Book = ""; i%3 == 0 {
							r.Book = "Other"
						}
						if err := each(r); err != nil {
							return err
						}
					}
				}
				return nil
			}
		}
		goals := []deliver.Goal{{Name: "dav", Target: to}}
		run := func(part int) (*deliver.Delivery, *deliver.Result) {
			d, err := deliver.Prepare(t.Context(), deliver.MemLog{}, goals, records(part), deliver.Options{})
			if err != nil {
				t.Fatal(err)
			}
			r, err := d.Apply(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v %+v", d.Summary(), r)
			return d, r
		}
		run(1) // what was there
		before := map[item.Kind]map[string]string{}
		for _, k := range to.Kinds() {
			before[k] = contents(t, to, k)
		}
		first, r1 := run(0)
		if r1.Written == 0 {
			t.Fatal("nothing was written")
		}
		after := map[item.Kind]map[string]string{}
		for _, k := range to.Kinds() {
			after[k] = contents(t, to, k)
		}
		_, r2 := run(0)
		if r2.Written != 0 || r2.Failed != r1.Failed {
			t.Errorf("the second time %+v, the first time %+v", r2, r1)
		}
		for _, k := range to.Kinds() {
			same(t, "delivered again", k, contents(t, to, k), after[k])
		}
		u, err := first.Undo(t.Context())
		if err != nil || u.Refused != 0 {
			t.Fatalf("undo: %+v, %v", u, err)
		}
		for _, k := range to.Kinds() {
			same(t, "undone", k, contents(t, to, k), before[k])
		}
	})
}

func same(t *testing.T, what string, k item.Kind, got, want map[string]string) {
	t.Helper()
	for id, data := range want {
		if got[id] != data {
			t.Errorf("%s: %v %s is\n%s\nwant\n%s", what, k, id, got[id], data)
		}
	}
	for id, data := range got {
		if _, ok := want[id]; !ok {
			t.Errorf("%s: %v %s is there and was not:\n%s", what, k, id, data)
		}
	}
}
