package gather

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/calendar"
)

func object(book, header, uid string) item.Record {
	return item.Record{Kind: item.Calendar, Book: book, Data: fmt.Appendf(nil, "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n%sBEGIN:VEVENT\r\nUID:%s\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n", header, uid)}
}

// TestCalendars: each file has one VCALENDAR, a book one file if it can, and taking all apart gives what there was.
func TestCalendars(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "records")
	a := &shelf{}
	for i := range 5 {
		a.records = append(a.records, object("Work", "X-WR-CALNAME:Work\r\n", fmt.Sprint("w", i)), object("Plan_101", "", fmt.Sprint("p", i)))
	}
	a.records = append(a.records, object("Work", "X-WR-CALNAME:Other\r\n", "x"), object("Home", "", "h"), object("Home", "", "h"))
	b := &shelf{}
	for i := range maxCalendars + 3 {
		b.records = append(b.records, object("work", fmt.Sprintf("PRODID:%d\r\n", i), fmt.Sprint("b", i)))
	}
	for range 2 { // the second time all stays what it is
		if _, err := Into(t.Context(), dir, []Source{{"ics:a", "a", a}, {"ics:b", "b", b}}); err != nil {
			t.Fatal(err)
		}
	}
	files := tree(t, dir)
	want := []string{"Calendars/Home.ics", "Calendars/Home_002.ics", "Calendars/Plan_101_001.ics", "Calendars/Work.ics", "Calendars/Work_002.ics", "Calendars/work (2).ics"}
	for i := range maxCalendars {
		want = append(want, fmt.Sprintf("Calendars/work (2)_%03d.ics", i+2))
	}
	if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
		t.Fatalf("%q, not %q", got, want)
	}
	books, had, have := map[string]int{}, map[string]int{}, map[string]int{}
	for _, r := range slices.Concat(a.records, b.records) {
		had[string(r.Data)]++
	}
	for name, data := range files {
		for _, r := range (calendar.Rules{}).Split(name, []byte(data)) {
			books[r.Book]++
			have[string(r.Data)]++
		}
		last := strings.HasSuffix(name, fmt.Sprintf("_%03d.ics", maxCalendars+1))
		if n := strings.Count(data, "BEGIN:VCALENDAR"); n != 1 && !last {
			t.Errorf("%s has %d VCALENDARs", name, n)
		}
	}
	if want := map[string]int{"Work": 6, "Plan_101": 5, "Home": 2, "work (2)": maxCalendars + 3}; !maps.Equal(books, want) || !maps.Equal(had, have) {
		t.Errorf("books %v, not %v; %d objects of %d", books, want, len(have), len(had))
	}
}
