package dav

import (
	"fmt"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
)

func TestAltered(t *testing.T) {
	wrap := func(lines string) []byte {
		return []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:a\r\nBEGIN:VEVENT\r\nUID:u\r\n" + lines + "END:VEVENT\r\nEND:VCALENDAR\r\n")
	}
	for name, c := range map[string]struct{ before, after, want string }{
		"order and escapes":    {"SUMMARY:a\\, b\r\nDTSTART;TZID=\"x\":20240101T000000\r\n", "DTSTART;TZID=x:20240101T000000\r\nSUMMARY:a\\, \r\n b\r\n", ""},
		"time stamp":           {"DTSTAMP:20240101T000000Z\r\n", "DTSTAMP:20250101T000000Z\r\n", ""},
		"dropped":              {"SUMMARY:a\r\nLOCATION:b\r\n", "SUMMARY:a\r\n", "VEVENT/LOCATION dropped b "},
		"value":                {"DURATION:PT24H\r\n", "DURATION:P1D\r\n", "VEVENT/DURATION altered PT24H P1D"},
		"parameter":            {"DTSTART;VALUE=DATE:20240101\r\n", "DTSTART:20240101\r\n", "VEVENT/DTSTART altered DTSTART;VALUE=DATE:20240101 DTSTART:20240101"},
		"added":                {"SUMMARY:a\r\n", "SUMMARY:a\r\nX-Y:z\r\n", "VEVENT/X-Y added  z"},
		"escaped text":         {"SUMMARY:a; b, c\r\n", "SUMMARY:a\\; b\\, c\r\n", ""},
		"separator of no text": {"X-ALT-DESC;FMTTYPE=text/html:&lt;a\r\n", "X-ALT-DESC;FMTTYPE=text/html:&lt\\;a\r\n", `VEVENT/X-ALT-DESC altered &lt;a &lt\;a`},
		"list made one":        {"CATEGORIES:a,b\r\n", "CATEGORIES:a\\,b\r\n", `VEVENT/CATEGORIES altered a,b a\,b`},
		"one of two":           {"COMMENT:a\r\nCOMMENT:b\r\n", "COMMENT:b\r\n", "VEVENT/COMMENT dropped a "},
		"alarm":                {"BEGIN:VALARM\r\nTRIGGER:-PT1H\r\nEND:VALARM\r\n", "", "VEVENT/VALARM/TRIGGER dropped -PT1H "},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, x := range Altered(item.Calendar, wrap(c.before), wrap(c.after)) {
				got = append(got, fmt.Sprintf("%s %v %s %s", x.Property, x.Effect, x.Before, x.After))
			}
			if s := strings.Join(got, "|"); s != c.want {
				t.Errorf("got %q, want %q", s, c.want)
			}
		})
	}
	if Altered(item.Contact, []byte("x"), []byte("x")) != nil || len(Altered(item.Contact, []byte(strings.Repeat("A:1\n", 3000)), nil)) != maxAltered {
		t.Error("limits")
	}
}
