package dav

import (
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/test/peers/server"
)

func places(t *testing.T, to *Target, k item.Kind) []string {
	t.Helper()
	out, err := to.Places(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// put makes records in books and returns what the target then holds.
func put(t *testing.T, to *Target, k item.Kind, books ...string) []target.Existing {
	t.Helper()
	var changes []target.Write
	for i, b := range books {
		data := card(fmt.Sprint("made-", i), "")
		if k == item.Calendar {
			data = event("VEVENT", fmt.Sprint("made-", i), "")
		}
		changes = append(changes, target.Write{Key: fmt.Sprint("made-", i), Record: item.Record{Kind: k, Book: b, Data: data}})
	}
	now, errs := write(t, to, k, changes...)
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
	return now
}

// TestPeersMadePlaces has servers end as they were.
func TestPeersMadePlaces(t *testing.T) {
	server.Each(t, func(t *testing.T, s *server.Server) {
		for _, k := range []item.Kind{item.Contact, item.Calendar} {
			to := open(t, s, "/")
			before := places(t, to, k)
			now := put(t, to, k, "Trips", "Kept")
			if got := len(places(t, to, k)); got != len(before)+2 {
				t.Fatalf("%d places became %d", len(before), got)
			}
			if _, errs := write(t, to, k, target.Write{ID: now[0].ID, Version: now[0].Version}); errs[0] != nil {
				t.Fatal(errs[0])
			}
			later := open(t, s, "/") // undone by another process
			for range 2 {
				if err := later.RemovePlaces(t.Context(), k, before, []string{now[0].ID, now[1].ID}); err != nil {
					t.Fatal(err)
				}
			}
			if got := len(places(t, later, k)); got != len(before)+1 || len(readAll(t, later, k)) == 0 {
				t.Errorf("%d places, were %d", got, len(before))
			}
			if _, errs := write(t, later, k, target.Write{ID: now[1].ID, Version: now[1].Version}); errs[0] != nil {
				t.Fatal(errs[0])
			}
			if err := later.RemovePlaces(t.Context(), k, before, []string{now[1].ID}); err != nil || !slices.Equal(places(t, later, k), before) {
				t.Errorf("%v, %q, were %q", err, places(t, later, k), before)
			}
		}
	})
}

// TestPlacesThatStay leaves what is not ours, or not empty.
func TestPlacesThatStay(t *testing.T) {
	for name, c := range map[string]struct {
		meanwhile func(w *world, made string, s *shelf)
		before    bool // it was there before
		other     bool // no record of ours was in it
	}{
		"somebody else's record": {meanwhile: func(_ *world, _ string, s *shelf) { s.held["theirs.vcf"] = string(card("x", "")) }},
		"renamed":                {meanwhile: func(_ *world, _ string, s *shelf) { s.name = "Ours" }},
		"read only now":          {meanwhile: func(_ *world, _ string, s *shelf) { s.readOnly = true }},
		"there before":           {before: true},
		"not ours":               {other: true},
		"the server refuses": {meanwhile: func(w *world, made string, _ *shelf) {
			w.keep = nil
			delete(w.books, made)
			w.books[made] = &shelf{name: "Trips", kind: "addressbook", held: map[string]string{}}
			w.fault = func(_ *world, r *http.Request, _ func()) bool { return r.Method == http.MethodDelete }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.add("/me/a/", "addressbook", "Work")
			to := w.open(t)
			before := places(t, to, item.Contact)
			now := put(t, to, item.Contact, "Trips")
			if _, errs := write(t, to, item.Contact, target.Write{ID: now[0].ID, Version: now[0].Version}); errs[0] != nil {
				t.Fatal(errs[0])
			}
			made := "/me/" + element(item.Contact, "Trips") + "/"
			w.mu.Lock()
			s := w.books[made]
			if s == nil || len(w.books) != 2 {
				t.Fatal("nothing was made")
			}
			if c.meanwhile != nil {
				c.meanwhile(w, made, s)
			}
			w.mu.Unlock()
			if c.before {
				before = places(t, to, item.Contact)
			}
			ids := []string{now[0].ID}
			if c.other {
				ids = []string{w.URL + "/me/a/x.vcf"}
			}
			err := w.open(t).RemovePlaces(t.Context(), item.Contact, before, ids)
			if lost := name == "the server refuses"; (err != nil) != lost {
				t.Error(err)
			}
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.books[made] == nil || w.books["/me/a/"] == nil {
				t.Error("it is gone")
			}
		})
	}
}
