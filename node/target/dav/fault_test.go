package dav

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target"
)

// TestLostAnswers: a write whose answer is lost is done once, whether it had been carried out or not.
func TestLostAnswers(t *testing.T) {
	for _, method := range []string{http.MethodPut, http.MethodDelete} {
		for _, carried := range []bool{false, true} {
			for _, noTags := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s carried out %v, no tags %v", method, carried, noTags), func(t *testing.T) {
					w := newWorld(t)
					w.noTags = noTags
					shelf := w.add("/me/book/", "addressbook", "Book")
					to := w.open(t)
					lose := 0
					w.fault = func(_ *world, r *http.Request, stored func()) bool {
						if r.Method != method || lose == 0 {
							return false
						}
						lose--
						if carried {
							stored()
						}
						return true
					}
					lose = 1
					now, errs := write(t, to, item.Contact, target.Write{Key: "k", Record: item.Record{Data: card("u", "")}})
					if errs[0] != nil || len(shelf.held) != 1 || now[0].Version == "" {
						t.Fatalf("created: %v, %v", errs[0], shelf.held)
					}
					lose = 1
					now, errs = write(t, to, item.Contact, target.Write{ID: now[0].ID, Version: now[0].Version, Record: item.Record{Data: card("u", "NOTE:x\r\n")}})
					if errs[0] != nil || !strings.Contains(shelf.held["k.vcf"], "NOTE:x") {
						t.Fatalf("replaced: %v, %v", errs[0], shelf.held)
					}
					lose = 1
					if _, errs = write(t, to, item.Contact, target.Write{ID: now[0].ID, Version: now[0].Version}); errs[0] != nil || len(shelf.held) != 0 {
						t.Fatalf("deleted: %v, %v", errs[0], shelf.held)
					}
				})
			}
		}
	}
}

// TestServerGone: what has no known outcome is not told as done, and Write can be called again.
func TestServerGone(t *testing.T) {
	w := newWorld(t)
	shelf := w.add("/me/book/", "addressbook", "Book")
	to := w.open(t)
	var writes []target.Write
	for i := range 100 {
		writes = append(writes, target.Write{Key: fmt.Sprint("k", i), Record: item.Record{Data: card(fmt.Sprint("u", i), "")}})
	}
	puts := 0
	w.fault = func(_ *world, r *http.Request, stored func()) bool {
		if r.Method == http.MethodPut {
			puts++
		}
		return puts > 40
	}
	told := 0
	err := to.Write(t.Context(), item.Contact, writes, func(i int, now target.Existing, err error) error {
		if i != told || err != nil || now.ID == "" {
			t.Errorf("%d: %+v, %v", i, now, err)
		}
		told++
		return nil
	})
	if err == nil || told != window {
		t.Fatalf("%d told: %v", told, err)
	}
	w.mu.Lock()
	w.fault = nil
	w.mu.Unlock()
	_, errs := write(t, to, item.Contact, writes[told:]...)
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) || len(shelf.held) != 100 {
		t.Errorf("%d records, %v", len(shelf.held), errs)
	}
}

// TestEditedBetween: another's edit is not overwritten, also where the server gives no entity tags.
func TestEditedBetween(t *testing.T) {
	for _, noTags := range []bool{false, true} {
		w := newWorld(t)
		w.noTags = noTags
		shelf := w.add("/me/book/", "addressbook", "Book")
		to := w.open(t)
		now, _ := write(t, to, item.Contact, target.Write{Key: "k", Record: item.Record{Data: card("u", "")}})
		edited := string(card("u", "NOTE:by another\r\n"))
		shelf.held["k.vcf"] = edited
		for _, data := range [][]byte{card("u", "NOTE:by us\r\n"), nil} {
			_, errs := write(t, to, item.Contact, target.Write{ID: now[0].ID, Version: now[0].Version, Record: item.Record{Data: data}})
			if !errors.Is(errs[0], target.ErrEdited) || shelf.held["k.vcf"] != edited {
				t.Errorf("%v: %q", errs[0], shelf.held["k.vcf"])
			}
		}
		// A record of that name with another UID is not ours.
		_, errs := write(t, to, item.Contact, target.Write{Key: "k", Record: item.Record{Data: card("other", "")}})
		if !errors.Is(errs[0], target.ErrEdited) || shelf.held["k.vcf"] != edited {
			t.Errorf("created over another: %v", errs[0])
		}
	}
}

func TestWhereRecordsGo(t *testing.T) {
	for name, c := range map[string]struct {
		books  map[string]*shelf
		make   bool
		record item.Record
		want   string // name of the collection; "" is refused
		made   bool
	}{
		"by name":             {map[string]*shelf{"/me/a/": {name: "Work", kind: "addressbook"}, "/me/b/": {name: "Home", kind: "addressbook"}}, true, item.Record{Kind: item.Contact, Book: "home", Data: card("u", "")}, "Home", false},
		"made":                {map[string]*shelf{"/me/a/": {name: "Work", kind: "addressbook"}}, true, item.Record{Kind: item.Contact, Book: "A & B", Data: card("u", "")}, "A & B", true},
		"can't be made":       {map[string]*shelf{"/me/a/": {name: "Z", kind: "addressbook"}, "/me/contacts/": {name: "Mine", kind: "addressbook"}}, false, item.Record{Kind: item.Contact, Book: "X", Data: card("u", "")}, "Mine", false},
		"no book":             {map[string]*shelf{"/me/a/": {name: "Z", kind: "addressbook"}, "/me/b/": {name: "Personal", kind: "addressbook"}}, true, item.Record{Kind: item.Contact, Data: card("u", "")}, "Personal", false},
		"only a calendar":     {map[string]*shelf{"/me/a/": {name: "Z", kind: "calendar"}}, true, item.Record{Kind: item.Contact, Data: card("u", "")}, "Contacts", true},
		"nowhere":             {map[string]*shelf{}, false, item.Record{Kind: item.Contact, Data: card("u", "")}, "", false},
		"read only":           {map[string]*shelf{"/me/a/": {name: "Z", kind: "addressbook", readOnly: true}}, false, item.Record{Kind: item.Contact, Book: "Z", Data: card("u", "")}, "", false},
		"a task elsewhere":    {map[string]*shelf{"/me/a/": {name: "Work", kind: "calendar", components: []string{"VEVENT"}}, "/me/t/": {name: "Tasks", kind: "calendar", components: []string{"VTODO"}}}, true, item.Record{Kind: item.Calendar, Book: "Work", Data: event("VTODO", "u", "")}, "Tasks", false},
		"an event beside":     {map[string]*shelf{"/me/a/": {name: "Work", kind: "calendar", components: []string{"VEVENT"}}, "/me/t/": {name: "Tasks", kind: "calendar", components: []string{"VTODO"}}}, true, item.Record{Kind: item.Calendar, Book: "Work", Data: event("VEVENT", "u", "")}, "Work", false},
		"what none announces": {map[string]*shelf{"/me/a/": {name: "Work", kind: "calendar", components: []string{"VEVENT"}}}, true, item.Record{Kind: item.Calendar, Book: "Work", Data: event("VFREEBUSY", "u", "")}, "Work", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.make = c.make
			for path, s := range c.books {
				s.held = map[string]string{}
				w.books[path] = s
			}
			to := w.open(t)
			for range 2 {
				now, errs := write(t, to, c.record.Kind, target.Write{Key: "k", Record: c.record})
				var refused *target.RefusedError
				if c.want == "" && !errors.As(errs[0], &refused) || c.want != "" && (errs[0] != nil || now[0].Book != c.want) {
					t.Fatalf("%q, %v", now[0].Book, errs[0])
				}
			}
			want := []Placement{{c.record.Kind, c.record.Book, c.want, c.made}}
			if c.want == "" {
				want = nil
			}
			if !slices.Equal(to.Placements(), want) {
				t.Errorf("placed %+v, want %+v", to.Placements(), want)
			}
			for _, s := range w.books {
				if s.name != c.want && len(s.held) > 0 {
					t.Errorf("%s holds %v", s.name, s.held)
				}
			}
		})
	}
}

// without is a server that drops some lines of what it gets.
func without(pattern string) func(string) (string, int) {
	lines := regexp.MustCompile(`(?m)^(?:` + pattern + `)[^\n]*\r\n(?:[ \t][^\n]*\r\n)*`)
	return func(data string) (string, int) { return lines.ReplaceAllString(data, ""), 0 }
}

func TestProfileLearns(t *testing.T) {
	refuse := func(pattern string) func(string) (string, int) {
		bad := regexp.MustCompile(pattern)
		return func(data string) (string, int) {
			if bad.MatchString(data) {
				return "", 400
			}
			return data, 0
		}
	}
	for name, c := range map[string]struct {
		keep    func(string) (string, int)
		kind    item.Kind
		strict  bool
		version string
		drops   string
		keeps   string
	}{
		"keeps everything": {func(d string) (string, int) { return d, 0 }, item.Contact, false, "", "", ""},
		"keeps all events": {func(d string) (string, int) { return d, 0 }, item.Calendar, false, "", "", ""},
		"drops photos":     {without("PHOTO|MAILER"), item.Contact, false, "", "MAILER PHOTO", ""},
		"drops extensions": {without("X-[B-Z]"), item.Contact, true, "", "X-* X-PHONETIC-FIRST-NAME X-SOCIALPROFILE X-SPOUSE", "X-ABDATE X-ABRELATEDNAMES X-ANNIVERSARY"},
		"only 3.0":         {refuse(`VERSION:(4.0|2.1)`), item.Contact, true, "3.0", "", ""},
		"only 4.0":         {refuse(`VERSION:[23]`), item.Contact, true, "4.0", "", ""},
		"makes 3.0 of all": {func(d string) (string, int) { return strings.Replace(d, "VERSION:4.0", "VERSION:3.0", 1), 0 }, item.Contact, false, "3.0", "", ""},
		"wants UIDs":       {refuse(`X-DECANT-PROBE:one`), item.Calendar, true, "", "", ""},
		"drops alarms": {func(d string) (string, int) {
			return regexp.MustCompile(`(?s)BEGIN:VALARM.*END:VALARM\r\n`).ReplaceAllString(d, ""), 0
		}, item.Calendar, false, "", "VEVENT/VALARM", ""},
		"drops attachments":  {without("ATTACH|COLOR|PERCENT"), item.Calendar, false, "", "VEVENT/ATTACH VEVENT/COLOR VTODO/PERCENT-COMPLETE", ""},
		"refuses everything": {func(string) (string, int) { return "", 403 }, item.Contact, true, "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, empty := range []bool{false, true} { // empty: a collection has to be made to try in
				w := newWorld(t)
				w.keep, w.schedules = c.keep, true
				if !empty {
					w.add("/me/a/", "addressbook", "A").maxSize = 5000
					w.add("/me/b/", "calendar", "B")
				}
				to := w.open(t)
				p, err := to.Profile(t.Context(), c.kind)
				if err != nil {
					t.Fatal(err)
				}
				if p.Strict != c.strict || p.Version != c.version || strings.Join(p.Drops, " ") != c.drops || strings.Join(p.Keeps, " ") != c.keeps {
					t.Errorf("%+v", p)
				}
				if !empty && (c.kind == item.Contact) != (p.MaxSize == 5000) {
					t.Errorf("largest %d", p.MaxSize)
				}
				for path, s := range w.books {
					if len(s.held) > 0 || empty {
						t.Errorf("left: %s %v", path, s.held)
					}
				}
				asked := len(w.requests)
				if again, err := to.Profile(t.Context(), c.kind); err != nil || len(w.requests) != asked || again.Strict != p.Strict {
					t.Errorf("asked again: %v", err)
				}
			}
		})
	}
}

func TestSchedules(t *testing.T) {
	w := newWorld(t)
	w.add("/me/b/", "calendar", "B")
	w.schedules = true
	p, err := w.openAt(t, "/me/b/").Profile(t.Context(), item.Calendar)
	if err != nil || !p.Schedules {
		t.Errorf("%+v, %v", p, err)
	}
	for _, probe := range []string{fullEvent, sloppyEvent, fullTask} {
		if strings.Contains(probe, "ATTENDEE") || strings.Contains(probe, "ORGANIZER") {
			t.Error("a probe invites somebody")
		}
	}
}

// TestLeftoverProbe: a probe that an earlier process has left is no record of the person's, and goes with the next write.
func TestLeftoverProbe(t *testing.T) {
	w := newWorld(t)
	shelf := w.add("/me/book/", "addressbook", "Book")
	shelf.held[probePrefix+"00.vcf"] = string(card("probe", ""))
	shelf.held["mine.vcf"] = string(card("mine", ""))
	to := w.open(t)
	if got := readAll(t, to, item.Contact); len(got) != 1 || got[0].Label != "Ada mine" {
		t.Errorf("read %+v", got)
	}
	write(t, to, item.Contact, target.Write{Key: "k", Record: item.Record{Data: card("u", "")}})
	if !slices.Equal(names(shelf), []string{"k.vcf", "mine.vcf"}) {
		t.Errorf("holds %v", names(shelf))
	}
}

func TestReadIsExact(t *testing.T) {
	for _, noGet := range []bool{false, true} {
		w := newWorld(t)
		w.noGet = noGet
		shelf := w.add("/me/book/", "addressbook", "Book")
		shelf.held["a.vcf"] = string(card("a", ""))
		shelf.held["b.vcf"] = strings.ReplaceAll(string(card("b", "")), "\r\n", "\n")
		shelf.held["c.vcf"] = strings.Replace(string(card("c", "")), "\r\n", "\n", 2) // of both kinds
		shelf.held["d.vcf"] = "no card"
		got := readAll(t, w.open(t), item.Contact)
		if len(got) != 3 {
			t.Fatalf("read %d", len(got))
		}
		for i, name := range []string{"a.vcf", "b.vcf", "c.vcf"} {
			if string(got[i].Data) != shelf.held[name] {
				t.Errorf("%s is %q", name, got[i].Data)
			}
		}
	}
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	w.add("/me/book/", "addressbook", "Book").maxSize = 1000
	to := w.open(t)
	for _, key := range []string{"", "../x", "a/b", "a b", "a.b", "ä", strings.Repeat("a", 200)} {
		if _, errs := write(t, to, item.Contact, target.Write{Key: key, Record: item.Record{Data: card("u", "")}}); errs[0] == nil {
			t.Errorf("%q is taken", key)
		}
	}
	var refused *target.RefusedError
	if _, errs := write(t, to, item.Contact, target.Write{Key: "k", Record: item.Record{Data: card("u", "NOTE:"+strings.Repeat("x", 2000)+"\r\n")}}); !errors.As(errs[0], &refused) {
		t.Errorf("too large: %v", errs[0])
	}
	for _, id := range []string{"", "x", "http://elsewhere.example/me/book/x.vcf", w.URL + "/me/other/x.vcf", w.URL + "/me/book/"} {
		if _, errs := write(t, to, item.Contact, target.Write{ID: id, Version: `"x"`}); id != "" && errs[0] == nil {
			t.Errorf("%q is found", id)
		}
	}
	for _, r := range w.requests {
		if strings.HasPrefix(r, "PUT") || strings.HasPrefix(r, "DELETE") {
			t.Error(r)
		}
	}
}
