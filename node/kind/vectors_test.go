package kind

import (
	"encoding/hex"
	"flag"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/internal/vector"
	"github.com/decant-dev/decant/node/item"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// recordsVector is one file and what is found in it.
type recordsVector struct {
	Comment string       `json:"comment"`
	Kind    string       `json:"kind"`
	File    string       `json:"file"` // JSON text; all vectors are UTF-8
	Records []wantRecord `json:"records"`
}

type wantRecord struct {
	Ranges   [][2]int64 `json:"ranges"`             // offset, length
	Identity string     `json:"identity,omitempty"` // hexadecimal
	Problem  string     `json:"problem,omitempty"`
}

type mergeVector struct {
	Comment string  `json:"comment"`
	Kind    string  `json:"kind"`
	Old     string  `json:"old"`
	New     string  `json:"new"`
	Merged  *string `json:"merged"` // null: both are kept
}

const (
	uuid      = "4fbe8971-0bc3-424c-9c26-36c3e1eff6b1"
	vtimezone = "BEGIN:VTIMEZONE\r\nTZID:Here\r\nEND:VTIMEZONE\r\n"
	event     = "BEGIN:VEVENT\r\nUID:e\r\nDTSTART;TZID=Here:20240101T000000\r\nEND:VEVENT\r\n"
	exception = "BEGIN:VEVENT\r\nUID:e\r\nRECURRENCE-ID:20240108T000000\r\nEND:VEVENT\r\n"
	todo      = "BEGIN:VTODO\r\nSUMMARY:no UID\r\nEND:VTODO\r\n"
)

func vcal(body string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n" + body + "END:VCALENDAR\r\n"
}

func vcard(body string) string { return "BEGIN:VCARD\r\n" + body + "END:VCARD\r\n" }

var recordsInputs = []recordsVector{
	{Comment: "UUIDs in several forms are one identity", Kind: "contact",
		File: vcard("UID:urn:uuid:"+strings.ToUpper(uuid)+"\r\n") + vcard("uid:"+uuid+"\r\n") + vcard("item1.UID;VALUE=text: "+uuid+" \r\n")},
	{Comment: "no UID: the fingerprint does not depend on line breaks", Kind: "contact", File: "BEGIN:VCARD\r\nFN:a\r\nEND:VCARD\r\nBEGIN:VCARD\nFN:a\nEND:VCARD"},
	{Comment: "byte order mark, text outside, small letters", Kind: "contact", File: "\ufeffhello\nbegin:vcard\nFN:a\nend:vcard\nbye\n"},
	{Comment: "folded name and value", Kind: "contact", File: vcard("UI\r\n D:a\r\n bc\r\n")},
	{Comment: "quoted-printable soft breaks", Kind: "contact", File: vcard("NOTE;ENCODING=QUOTED-PRINTABLE:a=\r\nUID:b=\r\nc\r\nUID:d\r\n")},
	{Comment: "a soft break is none before END", Kind: "contact", File: vcard("NOTE;ENCODING=QUOTED-PRINTABLE:a=\r\n")},
	{Comment: "agent", Kind: "contact", File: vcard("AGENT:\r\n" + vcard("UID:inner\r\n") + "UID:outer\r\n")},
	{Comment: "a card without an end", Kind: "contact", File: "BEGIN:VCARD\r\nFN:a\r\n" + vcard("UID:b\r\n") + "BEGIN:VCARD\r\n"},
	{Comment: "only CR", Kind: "contact", File: "BEGIN:VCARD\rUID:a\rEND:VCARD\r"},
	{Comment: "an event with an exception elsewhere, a task without UID, a time zone", Kind: "calendar", File: vcal(vtimezone + event + todo + exception)},
	{Comment: "touching ranges are one", Kind: "calendar", File: vcal(event + exception)},
	{Comment: "an alarm's UID is not the event's", Kind: "calendar", File: vcal("BEGIN:VEVENT\r\nBEGIN:VALARM\r\nUID:x\r\nEND:VALARM\r\nUID:y\r\nEND:VEVENT\r\n")},
	{Comment: "crossed and missing ends", Kind: "calendar", File: vcal("BEGIN:VEVENT\r\nBEGIN:VALARM\r\nEND:VEVENT\r\nBEGIN:VTODO\r\n" + event + "BEGIN:X-OTHER\r\n")},
	{Comment: "without VCALENDAR", Kind: "calendar", File: event},
}

var mergeInputs = []mergeVector{
	{Comment: "new, same, other content", Kind: "contact", Old: vcard("UID:a\r\n") + vcard("UID:b\r\n"), New: vcard("UID:b\r\n") + vcard("UID:a\r\nFN:x\r\n") + vcard("UID:c\r\n")},
	{Comment: "line breaks of the old file", Kind: "contact", Old: "BEGIN:VCARD\nUID:a\nEND:VCARD", New: vcard("UID:a\r\n") + vcard("UID:b\r\n")},
	{Comment: "into an empty file", Kind: "contact", Old: "", New: "BEGIN:VCARD\nUID:a\nEND:VCARD\n"},
	{Comment: "a broken card is kept by keeping both", Kind: "contact", Old: vcard("UID:a\r\n"), New: vcard("UID:b\r\n") + "BEGIN:VCARD\r\n"},
	{Comment: "text outside of cards is kept by keeping both", Kind: "contact", Old: vcard("UID:a\r\n"), New: "hello\r\n" + vcard("UID:b\r\n")},
	{Comment: "the old file would swallow the card", Kind: "contact", Old: "BEGIN:VCARD\r\nAGENT:\r\n", New: vcard("UID:b\r\n")},
	{Comment: "a time zone comes along", Kind: "calendar", Old: vcal(todo), New: vcal(vtimezone + event)},
	{Comment: "a time zone is there already", Kind: "calendar", Old: vcal(vtimezone + todo), New: vcal(vtimezone + event + todo)},
	{Comment: "an exception of a known event", Kind: "calendar", Old: vcal(event), New: vcal(event + exception)},
	{Comment: "into an empty file", Kind: "calendar", Old: "", New: vcal(todo)},
	{Comment: "another version", Kind: "calendar", Old: vcal(todo), New: "BEGIN:VCALENDAR\r\nVERSION:1.0\r\n" + event + "END:VCALENDAR\r\n"},
	{Comment: "no calendar", Kind: "calendar", Old: "hello", New: vcal(todo)},
}

func TestVectors(t *testing.T) {
	records, merges := recordsInputs, mergeInputs
	for i := range records {
		k, _ := item.ParseKind(records[i].Kind)
		records[i].Records = []wantRecord{}
		for _, r := range Records(k, []byte(records[i].File)) {
			w := wantRecord{Identity: hex.EncodeToString(r.Identity), Problem: r.Problem}
			for _, g := range r.Ranges {
				w.Ranges = append(w.Ranges, [2]int64{g.Offset, g.Length})
			}
			records[i].Records = append(records[i].Records, w)
		}
	}
	for i := range merges {
		k, _ := item.ParseKind(merges[i].Kind)
		if m := Merge(k, []byte(merges[i].Old), []byte(merges[i].New)); m != nil {
			s := string(m)
			merges[i].Merged = &s
		}
	}
	vector.Pinned(t, *update, "testdata/records.json", "9.1", records)
	vector.Pinned(t, *update, "testdata/merge.json", "9.1", merges)
}
