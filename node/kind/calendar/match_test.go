package calendar

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// place is a target in memory that does what decisions say.
type place struct {
	records []item.Record
	at      []int // of each number of Decision.With: which record
}

// carryOut does what an engine does by default: conflicts are kept beside.
func (p *place) carryOut(t *testing.T, incoming []item.Record, decisions []rule.Decision) {
	t.Helper()
	p.at = p.at[:0]
	for i := range p.records {
		p.at = append(p.at, i)
	}
	for i, d := range decisions {
		p.at = append(p.at, -1)
		here := len(p.at) - 1
		switch d.Verdict {
		case rule.New, rule.Suggest, rule.Conflict:
			r := incoming[i]
			r.Data = d.Result
			p.records = append(p.records, r)
			p.at[here] = len(p.records) - 1
		case rule.Merge:
			p.at[here] = p.at[d.With]
			p.records[p.at[d.With]].Data = d.Result
		case rule.Same:
			p.at[here] = p.at[d.With]
		default:
			t.Fatalf("record %d: verdict %v", i, d.Verdict)
		}
	}
}

func match(t *testing.T, existing, incoming []item.Record) []rule.Decision {
	t.Helper()
	d, err := Rules{}.Match(context.Background(), existing, incoming, rule.Options{})
	if err != nil || len(d) != len(incoming) {
		t.Fatalf("%d decisions for %d records: %v", len(d), len(incoming), err)
	}
	return d
}

// twice carries incoming records out, and again, which must change nothing.
func (p *place) twice(t *testing.T, incoming []item.Record) []rule.Decision {
	t.Helper()
	first := match(t, p.records, incoming)
	p.carryOut(t, incoming, first)
	for i, d := range match(t, p.records, incoming) {
		if d.Verdict != rule.Same {
			t.Errorf("record %d (%s, %v at first) matched again: %v, %s\n%s", i, incoming[i].Label, first[i].Verdict, d.Verdict, d.Why, incoming[i].Data)
		}
	}
	return first
}

func records(bodies ...string) (all []item.Record) {
	for _, b := range bodies {
		all = append(all, item.Record{Kind: item.Calendar, Data: []byte(cal(b))})
	}
	return all
}

func event(lines string) string {
	return "BEGIN:VEVENT\nUID:u\nDTSTART:20240101T100000Z\n" + lines + "END:VEVENT\n"
}

func TestMatch(t *testing.T) {
	const later = "RECURRENCE-ID:20240108T100000Z\n"
	for _, c := range []struct {
		name               string
		existing, incoming string
		want               rule.Verdict
		has                string // what the target has afterwards, in one record or another
		not                string
	}{
		{"nothing there", "", event("SUMMARY:a\n"), rule.New, "SUMMARY:a", ""},
		{"same", event("SUMMARY:a\n"), event("SUMMARY:a\n"), rule.Same, "", ""},
		{"same but for form", event("SUMMARY:a\\, b\nDURATION:PT60M\nRRULE:FREQ=DAILY;COUNT=3\nX-A;B=1;C=2:x\n"),
			event("x-a;c=2;b=\"1\":x\nRRULE:COUNT=3;INTERVAL=1;FREQ=DAILY\nDURATION:PT1H\nSUMMARY:a\n  , b\nDTSTAMP:20240101T000000Z\n"), rule.Conflict, "", ""},
		{"folded", event("SUMMARY:a\\, b\nDURATION:PT60M\nRRULE:FREQ=DAILY;COUNT=3\nX-A;B=1;C=2:x\n"),
			event("x-a;c=2;b=\"1\":x\nRRULE:COUNT=3;INTERVAL=1;FREQ=DAILY\nDURATION:PT1H\nSUMMARY:a\n \\, b\nDTSTAMP:20240101T000000Z\n"), rule.Same, "", ""},
		{"zone aliases", "BEGIN:VEVENT\nUID:u\nDTSTART;TZID=W. Europe Standard Time:20240101T100000\nEND:VEVENT\n", "BEGIN:VEVENT\nUID:u\nDTSTART;TZID=/x.org/Europe/Berlin:20240101T100000\nEND:VEVENT\n", rule.Same, "", ""},
		{"newer sequence", event("SEQUENCE:1\nSUMMARY:old\n"), event("SEQUENCE:2\nSUMMARY:new\n"), rule.Merge, "SUMMARY:new", "SUMMARY:old"},
		{"older sequence", event("SEQUENCE:2\nSUMMARY:new\n"), event("SEQUENCE:1\nSUMMARY:old\n"), rule.Same, "SUMMARY:new", "SUMMARY:old"},
		{"newer change", event("LAST-MODIFIED:20240101T000000Z\nSUMMARY:old\n"), event("LAST-MODIFIED:20240102T000000Z\nSUMMARY:new\n"), rule.Merge, "SUMMARY:new", "SUMMARY:old"},
		{"newer stamp", event("DTSTAMP:20240101T000000Z\nSUMMARY:old\n"), event("DTSTAMP:20240102T000000Z\nSUMMARY:new\n"), rule.Merge, "SUMMARY:new", "SUMMARY:old"},
		{"contradiction", event("SUMMARY:a\n"), event("SUMMARY:b\n"), rule.Conflict, "SUMMARY:b", ""},
		{"what is lacking", event("SUMMARY:a\n"), event("SUMMARY:a\nLOCATION:x\nCATEGORIES:A,B\nBEGIN:VALARM\nTRIGGER:-PT5M\nEND:VALARM\n"), rule.Merge, "LOCATION:x", ""},
		{"more than incoming", event("SUMMARY:a\nLOCATION:x\n"), event("SUMMARY:a\n"), rule.Same, "LOCATION:x", ""},
		{"cut off by a server", event("URL:http://x/?a=1\n"), event("URL:http://x/?a=1,2\n"), rule.Same, "", ""},
		{"exception", event("RRULE:FREQ=WEEKLY\n"), event(later + "SUMMARY:moved\n"), rule.Merge, "SUMMARY:moved", ""},
		{"exception of a newer series", event("SEQUENCE:3\nRRULE:FREQ=WEEKLY\n"), event("SEQUENCE:2\nRRULE:FREQ=DAILY\n") + event(later+"SUMMARY:moved\n"), rule.Merge, "RRULE:FREQ=WEEKLY", "FREQ=DAILY"},
		{"a task of the UID of an event", event("SUMMARY:a\n"), "BEGIN:VTODO\nUID:u\nSUMMARY:a\nEND:VTODO\n", rule.Conflict, "VTODO", ""},
		{"alike", event("SUMMARY:Lunch\nDURATION:PT1H\n"), strings.Replace(event("SUMMARY:lunch\nDTEND:20240101T110000Z\n"), "UID:u", "UID:v", 1), rule.Suggest, "UID:v", ""},
		{"without UID", noUID, strings.Replace(noUID, "END", "DTSTAMP:20240101T000000Z\nEND", 1), rule.Same, "", ""},
		{"without UID, other content", noUID, strings.Replace(noUID, "END", "LOCATION:x\nEND", 1), rule.Merge, "LOCATION:x", ""},
		{"only zones", zone, zone, rule.Same, "", ""},
		{"UUID in another form", strings.Replace(event(""), "UID:u", "UID:4FBE8971-0BC3-424C-9C26-36C3E1EFF6B1", 1), strings.Replace(event(""), "UID:u", "UID:urn:uuid:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1", 1), rule.Same, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var p place
			if c.existing != "" {
				p.records = records(c.existing)
			}
			if d := p.twice(t, records(c.incoming)); d[0].Verdict != c.want {
				t.Errorf("%v: %s", d[0].Verdict, d[0].Why)
			}
			all := ""
			for _, r := range p.records {
				all += string(r.Data)
			}
			if !strings.Contains(all, c.has) || c.not != "" && strings.Contains(all, c.not) {
				t.Errorf("afterwards:\n%s", all)
			}
		})
	}
}

func TestMatchAmongIncoming(t *testing.T) {
	var p place
	d := p.twice(t, records(event("SUMMARY:a\n"), event("SUMMARY:a\n"), event("SUMMARY:b\n"), event("SUMMARY:a\nLOCATION:x\n"), event("RECURRENCE-ID:20240108T100000Z\n"), event("SUMMARY:b\n")))
	want := []rule.Verdict{rule.New, rule.Same, rule.Conflict, rule.Merge, rule.Merge, rule.Same}
	for i := range d {
		if d[i].Verdict != want[i] {
			t.Errorf("%d: %v (%s), want %v", i, d[i].Verdict, d[i].Why, want[i])
		}
	}
	if len(p.records) != 2 || !strings.Contains(string(p.records[0].Data), "LOCATION:x") || !strings.Contains(string(p.records[0].Data), "RECURRENCE-ID") {
		t.Errorf("%s", p.records)
	}
	if d[2].Replace == nil || !strings.Contains(string(d[2].Replace), "UID:u\n") || strings.Contains(string(d[2].Result), "UID:u\n") {
		t.Errorf("both: %s\ninstead: %s", d[2].Result, d[2].Replace)
	}
}

func TestMergeBringsTheZoneAlong(t *testing.T) {
	var p place
	p.records = records("BEGIN:VEVENT\nUID:u\nDTSTART:20240101T100000Z\nRRULE:FREQ=WEEKLY\nEND:VEVENT\n")
	p.twice(t, records(zone+"BEGIN:VEVENT\nUID:u\nRECURRENCE-ID:20240108T100000Z\nDTSTART;TZID=Here:20240108T110000\nEND:VEVENT\n"))
	if got := string(p.records[0].Data); strings.Count(got, "TZID:Here") != 1 || strings.Index(got, "VTIMEZONE") > strings.Index(got, "VEVENT") {
		t.Error(got)
	}
}

func TestMatchIsNotQuadratic(t *testing.T) {
	var a, b []item.Record
	for i := range 3000 { // of one UID and all different: what makes pairwise comparison stand still
		a = append(a, records(event(fmt.Sprintf("SUMMARY:%d\n", i)))...)
		b = append(b, records(event(fmt.Sprintf("SUMMARY:%d\n", i+3000)))...)
	}
	p := place{records: a}
	p.twice(t, b)
}

func TestMatchEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (Rules{}).Match(ctx, nil, records(event("")), rule.Options{}); err == nil {
		t.Error("it did not end with its context")
	}
}
