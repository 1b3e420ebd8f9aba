package calendar

import (
	"flag"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/internal/vector"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// splitVector is a file and the objects that it is cut into.
type splitVector struct {
	Comment string   `json:"comment"`
	File    string   `json:"file"`
	Objects []string `json:"objects"`
	Labels  []string `json:"labels"`
}

// shapeVector is an object and what a target gets of it.
type shapeVector struct {
	Comment string        `json:"comment"`
	Profile rule.Profile  `json:"profile"`
	Book    string        `json:"book,omitempty"`
	Object  string        `json:"object"`
	Shaped  string        `json:"shaped"` // "" is refused
	Changes []item.Change `json:"changes"`
}

// matchVector is what becomes of objects, in order.
type matchVector struct {
	Comment  string         `json:"comment"`
	Existing []string       `json:"existing"`
	Incoming []string       `json:"incoming"`
	Results  []matchOutcome `json:"results"`
}

type matchOutcome struct {
	Verdict string `json:"verdict"`
	With    int    `json:"with"`
	Result  string `json:"result,omitempty"`
	Replace string `json:"replace,omitempty"`
}

var splitVectors = []splitVector{
	{Comment: "an event with its exception, a task without UID, zones that are named and one that is not", File: crlf(cal("X-WR-CALNAME:Home\n" + zone + unused + a1 + b1 + a2 + noUID))},
	{Comment: "a second series of one UID, and a task of the same", File: cal(a1 + a3 + strings.ReplaceAll(a1, "VEVENT", "VTODO"))},
	{Comment: "two calendars and an event outside of them", File: cal("METHOD:PUBLISH\n"+a1) + noUID + cal(a1)},
	{Comment: "only time zones", File: cal(zone + unused)},
	{Comment: "no end", File: "BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:x\nBEGIN:VEVENT\nUID:y"},
}

var shapeVectors = []shapeVector{
	{Comment: "nothing is asked for", Object: cal("METHOD:REQUEST\n" + event("SUMMARY:a, b\n"))},
	{Comment: "identity and header", Profile: strict, Book: "Home", Object: "BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VEVENT\nSUMMARY:a\nDTSTART:20240101T100000Z\nEND:VEVENT\nEND:VCALENDAR\n"},
	{Comment: "texts, addresses, extensions", Profile: strict, Object: cal(event(stamped + "SUMMARY:a, b; c\nURL:https://x.org/?a=1,2\nX-A:1,2\nCATEGORIES:A,B\n"))},
	{Comment: "dates", Profile: strict, Object: cal(event(stamped + "DTEND:20240102\nEXDATE;VALUE=DATE:20240103\nRDATE;VALUE=PERIOD:20240104T100000Z/PT1H\nCREATED:20240101\n"))},
	{Comment: "two that exclude each other, twice, not well formed", Profile: strict, Object: cal(event(stamped + "DTEND:20240101T110000Z\nDURATION:PT1H\nCLASS:PUBLIC\nCLASS:PRIVATE\nRRULE:FREQ=DAILY;;INTERVAL=0\nhello\n"))},
	{Comment: "a time zone of Windows without rules", Profile: strict, Object: cal("BEGIN:VEVENT\nUID:u\n" + stamped + "DTSTART;TZID=Tokyo Standard Time:20240101T100000\nEND:VEVENT\n")},
	{Comment: "a time zone that nobody knows", Profile: strict, Object: cal("BEGIN:VEVENT\nUID:u\n" + stamped + "DTSTART;TZID=Nowhere:20240101T100000\nEND:VEVENT\n")},
	{Comment: "no start", Profile: strict, Object: cal("BEGIN:VEVENT\nUID:u\nEND:VEVENT\n")},
	{Comment: "a server that schedules", Profile: rule.Profile{Schedules: true}, Object: cal(event("ORGANIZER:mailto:a@x\nATTENDEE;SCHEDULE-FORCE-SEND=REQUEST:mailto:b@x\n"))},
	{Comment: "what is not kept", Profile: rule.Profile{Drops: []string{"X-*", "VEVENT/VALARM", "VCALENDAR/METHOD"}, Keeps: []string{"X-KEEP"}}, Object: cal("METHOD:PUBLISH\n" + event("X-A:1\nX-KEEP:2\nBEGIN:VALARM\nTRIGGER:PT0S\nEND:VALARM\n"))},
	{Comment: "vCalendar 1.0", Profile: rule.Profile{Version: "2.0"}, Object: "BEGIN:VCALENDAR\nVERSION:1.0\nBEGIN:VEVENT\nDTSTART:20240101T100000Z\nSUMMARY;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:=C3=A4=\n, b\nRRULE:MP1 1+ MO #4\nDALARM:20240101T094500Z;PT5M;2;Go\nCATEGORIES:A;B\nEND:VEVENT\nEND:VCALENDAR\n"},
}

var matchVectors = []matchVector{
	{Comment: "new, the same in another form, newer, older", Existing: []string{cal(event("SUMMARY:a\nDURATION:PT60M\n")), cal(a3)},
		Incoming: []string{cal(noUID), cal(event("DURATION:PT1H\nSUMMARY:a\n")), cal(strings.Replace(a3, "SEQUENCE:2", "SEQUENCE:3", 1)), cal(strings.Replace(a3, "SEQUENCE:2", "SEQUENCE:1\nSUMMARY:x", 1))}},
	{Comment: "an exception and what is lacking", Existing: []string{cal(event("SUMMARY:a\n"))}, Incoming: []string{cal(event("SUMMARY:a\nLOCATION:x\n") + event("RECURRENCE-ID:20240108T100000Z\n"))}},
	{Comment: "a contradiction, and the same again", Existing: []string{cal(event("SUMMARY:a\n"))}, Incoming: []string{cal(event("SUMMARY:b\n")), cal(event("SUMMARY:b\n"))}},
	{Comment: "alike but for the UID", Existing: []string{cal(event("SUMMARY:Lunch\nDURATION:PT1H\n"))}, Incoming: []string{cal(strings.Replace(event("SUMMARY:lunch\nDTEND:20240101T110000Z\n"), "UID:u", "UID:v", 1))}},
}

func TestVectors(t *testing.T) {
	for i := range splitVectors {
		v := &splitVectors[i]
		for _, r := range (Rules{}).Split("Calendars/x.ics", []byte(v.File)) {
			v.Objects, v.Labels = append(v.Objects, string(r.Data)), append(v.Labels, r.Label)
		}
	}
	for i := range shapeVectors {
		v := &shapeVectors[i]
		out, changes, ok := (Rules{}).Shape(item.Record{Book: v.Book, Data: []byte(v.Object)}, v.Profile)
		v.Changes = []item.Change{}
		for _, c := range changes {
			c.Kind = 0
			v.Changes = append(v.Changes, c)
		}
		if ok {
			v.Shaped = string(out.Data)
		}
	}
	for i := range matchVectors {
		v := &matchVectors[i]
		v.Results = nil
		for _, d := range match(t, of(v.Existing), of(v.Incoming)) {
			v.Results = append(v.Results, matchOutcome{d.Verdict.String(), d.With, string(d.Result), string(d.Replace)})
		}
	}
	vector.Pinned(t, *update, "testdata/split.json", "9.4", splitVectors)
	vector.Pinned(t, *update, "testdata/shape.json", "9.4", shapeVectors)
	vector.Pinned(t, *update, "testdata/match.json", "9.4", matchVectors)
}

func of(objects []string) (all []item.Record) {
	for _, o := range objects {
		all = append(all, item.Record{Kind: item.Calendar, Data: []byte(o)})
	}
	return all
}
