package dav

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/item"
	source "github.com/decant-dev/decant/node/source/dav"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/test/peers/server"
)

func config(s *server.Server, path string) dav.Config {
	c := dav.Config{URL: strings.TrimSuffix(s.URL, "/") + path}
	if s.Auth {
		c.User = server.User
		c.Password = func(context.Context) (string, error) { return server.Password, nil }
	}
	return c
}

func open(t *testing.T, s *server.Server, path string) *Target {
	t.Helper()
	to, err := Open(t.Context(), config(s, path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.Close() })
	return to
}

func card(uid, more string) []byte {
	return []byte("BEGIN:VCARD\r\nVERSION:3.0\r\nUID:" + uid + "\r\nFN:Ada " + uid + "\r\nN:Lovelace;Ada;;;\r\n" + more + "END:VCARD\r\n")
}

func event(component, uid, more string) []byte {
	start := "DTSTART:20240101T100000Z\r\n"
	return []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\nBEGIN:" + component + "\r\nUID:" + uid +
		"\r\n" + start + "DTSTAMP:20240101T000000Z\r\nSUMMARY:S " + uid + "\r\n" + more + "END:" + component + "\r\nEND:VCALENDAR\r\n")
}

// write carries out changes and returns what came of them.
func write(t *testing.T, to *Target, k item.Kind, changes ...target.Write) ([]target.Existing, []error) {
	t.Helper()
	now, errs := make([]target.Existing, len(changes)), make([]error, len(changes))
	next := 0
	err := to.Write(t.Context(), k, changes, func(i int, e target.Existing, err error) error {
		if i != next {
			t.Errorf("done for %d, want %d", i, next)
		}
		next++
		now[i], errs[i] = e, err
		return nil
	})
	if err != nil || next != len(changes) {
		t.Fatalf("%d of %d done: %v", next, len(changes), err)
	}
	return now, errs
}

func readAll(t *testing.T, to *Target, k item.Kind) (out []target.Existing) {
	t.Helper()
	if err := to.Read(t.Context(), k, func(e target.Existing) error { out = append(out, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestPeersLifeOfARecord(t *testing.T) {
	server.Each(t, func(t *testing.T, s *server.Server) {
		to := open(t, s, "/")
		if !slices.Equal(to.Kinds(), []item.Kind{item.Contact, item.Calendar}) {
			t.Fatalf("takes %v", to.Kinds())
		}
		for _, k := range to.Kinds() {
			first, second, third := card("u1", ""), card("u1", "NOTE:changed\r\n"), card("u2", "")
			if k == item.Calendar {
				first, second, third = event("VEVENT", "u1", ""), event("VEVENT", "u1", "LOCATION:changed\r\n"), event("VTODO", "u2", "")
			}
			before := len(readAll(t, to, k))
			now, errs := write(t, to, k, target.Write{Key: "key-1", Record: item.Record{Kind: k, Book: "Family & friends", Data: first}},
				target.Write{Key: "key-2", Record: item.Record{Kind: k, Book: "Family & friends", Data: third}})
			if errs[0] != nil || errs[1] != nil {
				t.Fatal(errs)
			}
			if now[0].Book != "Family & friends" || now[0].ID == "" || now[0].Version == "" || dav.UID(now[0].Data) != "u1" {
				t.Errorf("it holds %+v", now[0])
			}
			// The same again is no second record.
			again, errs := write(t, to, k, target.Write{Key: "key-1", Record: item.Record{Kind: k, Book: "Family & friends", Data: first}})
			if errs[0] != nil || again[0].ID != now[0].ID || len(readAll(t, to, k)) != before+2 {
				t.Errorf("twice: %v, %+v", errs[0], again[0])
			}
			changed, errs := write(t, to, k, target.Write{ID: now[0].ID, Version: now[0].Version, Record: item.Record{Kind: k, Data: second}})
			if errs[0] != nil || !strings.Contains(string(changed[0].Data), "changed") || changed[0].ID != now[0].ID {
				t.Fatalf("replaced: %v, %+v", errs[0], changed[0])
			}
			_, errs = write(t, to, k, target.Write{ID: now[0].ID, Version: now[0].Version, Record: item.Record{Kind: k, Data: first}},
				target.Write{ID: now[0].ID, Version: now[0].Version})
			if !errors.Is(errs[0], target.ErrEdited) || !errors.Is(errs[1], target.ErrEdited) {
				t.Errorf("an old version: %v", errs)
			}
			// Undo: the content that was there.
			back, errs := write(t, to, k, target.Write{ID: now[0].ID, Version: changed[0].Version, Record: item.Record{Kind: k, Data: now[0].Data}})
			if errs[0] != nil || string(back[0].Data) != string(now[0].Data) {
				t.Errorf("restored: %v, %q is not %q", errs[0], back[0].Data, now[0].Data)
			}
			_, errs = write(t, to, k, target.Write{ID: now[0].ID, Version: back[0].Version}, target.Write{ID: now[1].ID, Version: now[1].Version},
				target.Write{ID: now[1].ID, Version: now[1].Version})
			if errs[0] != nil || errs[1] != nil || errs[2] != nil || len(readAll(t, to, k)) != before {
				t.Errorf("deleted: %v", errs)
			}
		}
	})
}

func TestPeersProfileLeavesNothing(t *testing.T) {
	server.Each(t, func(t *testing.T, s *server.Server) {
		to := open(t, s, "/")
		for _, k := range to.Kinds() {
			p, err := to.Profile(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%v: %+v", k, p)
			schedules := s.Name == "sabre" && k == item.Calendar
			if !p.Strict || p.Version != "" || p.Schedules != schedules || len(p.Drops) > 0 {
				t.Errorf("%v: %+v", k, p)
			}
			if left := readAll(t, to, k); len(left) > 0 || len(to.stale) > 0 {
				t.Errorf("%v: left %d records, %d probes", k, len(left), len(to.stale))
			}
		}
		again := open(t, s, "/")
		if len(again.place.Collections) != len(to.place.Collections) {
			t.Error("a collection is left")
		}
	})
}

func TestPeersRefusal(t *testing.T) {
	server.Each(t, func(t *testing.T, s *server.Server) {
		to := open(t, s, "/")
		_, errs := write(t, to, item.Contact, target.Write{Key: "a", Record: item.Record{Kind: item.Contact, Data: []byte("no card")}},
			target.Write{Key: "b", Record: item.Record{Kind: item.Contact, Data: card("b", "")}})
		var refused *target.RefusedError
		if s.Name == "radicale" && !errors.As(errs[0], &refused) {
			t.Errorf("nonsense: %v", errs[0])
		}
		if errs[1] != nil {
			t.Errorf("a card after nonsense: %v", errs[1])
		}
	})
}

// records is a sink that keeps what it gets.
type records struct {
	item.Sink
	got     []item.Record
	changes []item.Change
}

func (r *records) Record(x item.Record) error { r.got = append(r.got, x); return nil }
func (r *records) Change(c item.Change) error { r.changes = append(r.changes, c); return nil }

func TestPeersSource(t *testing.T) {
	server.Each(t, func(t *testing.T, s *server.Server) {
		to := open(t, s, "/")
		var contacts, events []target.Write
		for i := range 120 {
			contacts = append(contacts, target.Write{Key: fmt.Sprintf("c%03d", i), Record: item.Record{Kind: item.Contact, Book: "People", Data: card(fmt.Sprintf("c%03d", i), "NOTE:käse\r\n")}})
		}
		events = append(events, target.Write{Key: "e1", Record: item.Record{Kind: item.Calendar, Book: "Work", Data: event("VEVENT", "e1", "")}})
		write(t, to, item.Contact, contacts...)
		held, _ := write(t, to, item.Calendar, events...)
		for path, want := range map[string]int{"/": 121, strings.TrimPrefix(held[0].ID[:strings.LastIndex(held[0].ID, "/")+1], strings.TrimSuffix(s.URL, "/")): 1} {
			from, err := source.Open(config(s, path))
			if err != nil {
				t.Fatal(err)
			}
			defer from.Close()
			found, err := from.Survey(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, f := range found {
				if !f.Can || f.Bytes < 0 {
					t.Errorf("%+v", f)
				}
				n += int(f.Items)
			}
			var got records
			if err := from.Read(t.Context(), &got); err != nil {
				t.Fatal(err)
			}
			if n != want || len(got.got) != want || len(got.changes) != 0 {
				t.Fatalf("%s: found %d, read %d, want %d; %v", path, n, len(got.got), want, got.changes)
			}
			for _, r := range got.got {
				if r.Book == "" || r.Label == "" || !dav.Holds(r.Kind, r.Data) || strings.Count(string(r.Data), "\n") != strings.Count(string(r.Data), "\r\n") {
					t.Fatalf("%+v %q", r, r.Data)
				}
			}
		}
	})
}

// counter counts requests by method.
type counter map[string]int

func (c counter) RoundTrip(r *http.Request) (*http.Response, error) {
	c[r.Method]++
	return http.DefaultTransport.RoundTrip(r)
}

// TestPeersReadInBatches: a large book is not read card by card.
func TestPeersReadInBatches(t *testing.T) {
	server.Each(t, func(t *testing.T, s *server.Server) {
		to := open(t, s, "/")
		for _, k := range to.Kinds() {
			var writes []target.Write
			for i := range 60 {
				uid := fmt.Sprintf("u%02d", i)
				data := card(uid, "")
				if k == item.Calendar {
					data = event("VEVENT", uid, "")
				}
				writes = append(writes, target.Write{Key: uid, Record: item.Record{Kind: k, Data: data}})
			}
			write(t, to, k, writes...)
			requests := counter{}
			c := config(s, "/")
			c.Transport = requests
			again, err := Open(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if got := readAll(t, again, k); len(got) != 60 || requests["GET"] > 0 || requests["REPORT"] == 0 {
				t.Errorf("%v: %d records with %v", k, len(got), requests)
			}
		}
	})
}
