package kind

import (
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
)

func TestOf(t *testing.T) {
	for path, want := range map[string]item.Kind{
		"a/IMG_1.JPG": item.Photo, "b.jpeg": item.Photo, "film.webm": item.Photo, "x.m2ts": item.Photo,
		"all.vcf": item.Contact, "all.VCard": item.Contact, "home.ics": item.Calendar, "old.vcs": item.Calendar,
		"notes.txt": item.File, "": item.File, "jpg": item.File, "a.jpg/b": item.File, ".jpg": item.File, "a/.jpg": item.File,
		"x.jpgx": item.File, "x.": item.File, "x.tooLongForUs": item.File, "café.ics": item.Calendar, "x.jp\x00": item.File, ".": item.File, "x.jpg ": item.File,
	} {
		if got := Of(path); got != want {
			t.Errorf("%q is a %v, want a %v", path, got, want)
		}
	}
}

func TestOfDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Of("DCIM/Camera/IMG_20240101_120000.JPG") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestRecordsAndMerge(t *testing.T) {
	card, event := []byte("BEGIN:VCARD\nFN:a\nEND:VCARD\n"), []byte("BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:a\nEND:VEVENT\nEND:VCALENDAR\n")
	for k, data := range map[item.Kind][]byte{item.Contact: card, item.Calendar: event} {
		if !HasRecords(k) || len(Records(k, data)) != 1 {
			t.Errorf("%v: no record", k)
		}
		if got := Merge(k, data, data); string(got) != string(data) {
			t.Errorf("%v: merged with itself: %q", k, got)
		}
	}
	if HasRecords(item.Photo) || Records(item.Photo, card) != nil || Merge(item.File, card, card) != nil {
		t.Error("photos and files have no records")
	}
}

func TestTooMany(t *testing.T) {
	for k, unit := range map[item.Kind]string{item.Contact: "begin:vcard\nEND:VCARD\n", item.Calendar: "BEGIN:VEVENT\nEND:VEVENT\n", item.Message: "{}\n", item.Call: "{}\n", item.Bookmark: "\n"} {
		few, many := []byte(strings.Repeat(unit, 200_000)), []byte(strings.Repeat(unit, MaxRecords+1))
		if TooMany(k, few) || !TooMany(k, many) {
			t.Errorf("%s: %v, %v", k, TooMany(k, few), TooMany(k, many))
		}
	}
	if TooMany(item.Contact, []byte("BEGIN:VCAR")) || TooMany(item.Photo, make([]byte, 1<<20)) {
		t.Error("too many of none")
	}
}
