//go:build linux

package hostile

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// sized is a number of bytes or things: "large" is what shows that something is not linear, and "full" what the table says. By
// default it is a sixteenth of large, a quarter of that under the race detector, so that all cases together take a minute or two.
func sized(large, full int) int {
	switch os.Getenv("DECANT_HOSTILE") {
	case "full":
		return full
	case "large":
		return large
	}
	if raced {
		return max(1, large/64)
	}
	return max(1, large/16)
}

const mega = 1 << 20

// trap is what hostile files point to.
type trap struct {
	url    string // a server that must see no request
	secret string // path of a file that must not be read
}

// hostileFile is one file, or directory of files, that means harm.
type hostileFile struct {
	name   string // of the case
	file   string // what it is called
	probe  string // which package reads it: see probes
	scheme string // by which the command reads it, "" is not at all
	write  func(w *out, t trap)
	// dir makes more files beside the one, in its directory, which then is the source.
	dir func(dir string, t trap) error
	// keeps are texts that must be in what comes out of the command, whole or escaped.
	keeps []string
	// known says what is not as it should be yet: it is logged, and does not fail.
	known string
	// whole says that nothing may be lost silently: fidelity compares.
	whole bool
}

// out writes and forgets errors until the end.
type out struct{ *bufio.Writer }

func (o *out) f(format string, args ...any) { fmt.Fprintf(o, format, args...) }

// repeat writes s n times.
func (o *out) repeat(s string, n int) {
	block := strings.Repeat(s, max(1, min(n, 65536/max(1, len(s)))))
	per := len(block) / len(s)
	for ; n >= per; n -= per {
		io.WriteString(o, block)
	}
	io.WriteString(o, strings.Repeat(s, n))
}

func (o *out) card(lines ...string) {
	o.f("BEGIN:VCARD\r\nVERSION:3.0\r\n%s\r\nEND:VCARD\r\n", strings.Join(lines, "\r\n"))
}

func (o *out) event(lines ...string) {
	o.f("BEGIN:VEVENT\r\nDTSTAMP:20200101T000000Z\r\n%s\r\nEND:VEVENT\r\n", strings.Join(lines, "\r\n"))
}

func (o *out) calendar(body func()) {
	o.f("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\n")
	body()
	o.f("END:VCALENDAR\r\n")
}

// marker is in a record that is behind or beside the harm, and must arrive all the same where a case keeps it.
const marker = "Innocent Bystander"

func (o *out) bystander() {
	o.card("UID:bystander", "N:Bystander;Innocent;;;", "FN:"+marker, "TEL:+49 30 1234567")
}

// cards are RT-18's of address books.
var cards = []hostileFile{
	{name: "a folded line", whole: false, write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nNOTE:")
		w.repeat(strings.Repeat("x", 73)+"\r\n ", sized(24*mega, 100*mega)/76)
		w.f("\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "an unfolded line", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nNOTE:")
		w.repeat("x", sized(24*mega, 100*mega))
		w.f("\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "a million properties", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\n")
		w.repeat("X-A:1\r\n", sized(200_000, 1_000_000))
		w.f("END:VCARD\r\n")
		w.bystander()
	}},
	{name: "many cards", write: func(w *out, t trap) {
		for i := range sized(60_000, 260_000) {
			w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A%d\r\nEND:VCARD\r\n", i)
		}
	}},
	{name: "a huge picture", write: func(w *out, t trap) {
		w.bystander()
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nPHOTO;ENCODING=b;TYPE=JPEG:")
		w.repeat("QUJD", sized(64*mega, 2000*mega)/4)
		w.f("\r\nEND:VCARD\r\n")
	}},
	{name: "cards in cards", write: func(w *out, t trap) {
		w.repeat("BEGIN:VCARD\r\n", sized(100_000, 100_000))
		w.bystander()
	}},
	{name: "agents of agents", write: func(w *out, t trap) {
		w.repeat("BEGIN:VCARD\r\nVERSION:2.1\r\nFN:x\r\nAGENT:\r\n", sized(100_000, 100_000))
		w.repeat("END:VCARD\r\n", sized(100_000, 100_000))
		w.bystander()
	}},
	{name: "other components in a card", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\n")
		w.repeat("BEGIN:X-A\r\n", sized(100_000, 100_000))
		w.f("END:VCARD\r\n")
		w.bystander()
	}},
	{name: "garbage of charsets", whole: true, keeps: []string{marker}, write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=SHIFT_JIS:\x83\x65\x83;\xff\r\nFN;CHARSET=UTF-7;ENCODING=QUOTED-PRINTABLE:=ZZ=E=\r\n=3\r\nNOTE;CHARSET=no such;QUOTED-PRINTABLE:=FF=00=1B[2J\r\n" +
			"TEL;CELL;ENCODING=QUOTED-PRINTABLE;ENCODING=BASE64:=41\r\nORG;CHARSET=UTF-16;BASE64:AAAA!!!\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "control characters", whole: true, keeps: []string{marker}, write: func(w *out, t trap) {
		w.card("FN:\x1b]0;pwn\x07\x1b[2J", "N:\x00;\x7f;\u202e", "X-\x1b[31m;\x01=\x02:\x03", "NOTE:\u009b2J\u2028 \xff\xfe")
		w.bystander()
	}},
	{name: "addresses", whole: true, keeps: []string{marker}, write: func(w *out, t trap) {
		w.card("FN:A", "URL:"+t.url+"/url", "PHOTO;VALUE=uri:"+t.url+"/photo", "LOGO;VALUE=URI:file://"+t.secret, "SOUND;VALUE=uri:"+t.url+"/sound", "KEY;VALUE=uri:file://"+t.secret,
			"SOURCE:"+t.url+"/source", "URL:javascript:alert(1)", "FBURL:"+t.url+"/fb", "CALURI:"+t.url, "MEMBER:"+t.url, "RELATED;VALUE=uri:"+t.url, "X-INCLUDE:"+t.secret, "AGENT;VALUE=uri:"+t.url+"/agent")
		w.bystander()
	}},
	{name: "formulas", whole: true, keeps: []string{"=cmd|", marker}, write: func(w *out, t trap) {
		w.card("FN:=cmd|' /C calc'!A0", "N:@SUM(1+1)*cmd|' /C calc'!A0;-2+3", "TEL:+1;ext=1", "NOTE:=HYPERLINK(\""+t.url+"\")", "ORG:<script>alert(1)</script>")
		w.bystander()
	}},
	{name: "one identity for all", write: func(w *out, t trap) {
		for i := range sized(4_000, 20_000) {
			w.card("UID:same", fmt.Sprintf("FN:A%d", i), "TEL:+49 30 1")
		}
	}},
	{name: "one name and number for all", write: func(w *out, t trap) {
		for i := range sized(4_000, 20_000) {
			w.card("FN:Jane Doe", "N:Doe;Jane;;;", "TEL:+49 30 1234567", "EMAIL:a@example.org", fmt.Sprintf("NOTE:%d", i))
		}
	}},
	{name: "one number, many names", write: func(w *out, t trap) {
		for i := range sized(10_000, 50_000) {
			w.card(fmt.Sprintf("FN:Jane %d", i), "TEL:+49 30 1234567")
		}
	}},
	{name: "a number without end", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nTEL:+49 30 ")
		w.repeat("1", sized(4*mega, 4*mega))
		w.f("\r\nEMAIL:")
		w.repeat("a.", sized(2*mega, 2*mega))
		w.f("@example.org\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "parameters without end", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nTEL")
		w.repeat(";TYPE=a", sized(300_000, 1_000_000))
		w.f(":1\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "a quote that never closes", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nNOTE;X=\"")
		w.repeat("a:b;c,", sized(2*mega, 2*mega))
		w.f("\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "many quotes that never close", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\n")
		w.repeat("NOTE;X=\":;\r\n", sized(300_000, 300_000))
		w.f("END:VCARD\r\n")
		w.bystander()
	}},
	{name: "a group without end", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\n")
		w.repeat("a.", sized(2*mega, 2*mega))
		w.f("TEL:1\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "components without end", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:3.0\r\nFN:A\r\nN:")
		w.repeat("a;", sized(1*mega, sized(4*mega, 4*mega)))
		w.f("\r\nCATEGORIES:")
		w.repeat("a,", sized(1*mega, sized(4*mega, 4*mega)))
		w.f("\r\nADR:")
		w.repeat(`\;\,\\`, sized(1*mega, sized(4*mega, 4*mega)))
		w.f("\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "soft breaks without end", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:2.1\r\nFN:A\r\nNOTE;ENCODING=QUOTED-PRINTABLE:")
		w.repeat("=\r\n", sized(2*mega, sized(8*mega, 8*mega)))
		w.f("x\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "folds without end", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\nVERSION:2.1\r\nFN:A\r\nNOTE:")
		w.repeat("\r\n ", sized(2*mega, sized(8*mega, 8*mega)))
		w.f("x\r\nEND:VCARD\r\n")
		w.bystander()
	}},
	{name: "blank lines", write: func(w *out, t trap) { w.repeat("\r\n", sized(8*mega, 30*mega)); w.bystander() }},
	{name: "carriage returns only", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\rVERSION:3.0\rFN:A\r")
		w.repeat("\r", sized(8*mega, 8*mega))
		w.f("END:VCARD\r")
	}},
	{name: "NULs", write: func(w *out, t trap) { w.repeat("\x00", sized(8*mega, 8*mega)); w.bystander() }},
	{name: "byte order marks", write: func(w *out, t trap) { w.repeat("\ufeff", sized(1*mega, 1*mega)); w.bystander() }},
	{name: "half of UTF-16", write: func(w *out, t trap) { w.f("\xff\xfeB\x00E\x00G\x00I\x00N\x00:"); w.repeat("\xd8", sized(mega, mega)) }},
	{name: "nothing", write: func(w *out, t trap) {}},
	{name: "a card that never ends", keeps: nil, write: func(w *out, t trap) {
		w.bystander()
		w.f("BEGIN:VCARD\r\nFN:A\r\n")
		w.repeat("NOTE:x\r\n", sized(100_000, 100_000))
	}},
	{name: "ends without beginnings", write: func(w *out, t trap) { w.repeat("END:VCARD\r\n", sized(300_000, 300_000)); w.bystander() }},
	{name: "versions without end", write: func(w *out, t trap) {
		w.f("BEGIN:VCARD\r\n")
		w.repeat("VERSION:2.1\r\nVERSION:4.0\r\n", sized(100_000, 100_000))
		w.f("FN:A\r\nEND:VCARD\r\n")
		w.bystander()
	}},
}

// calendars are RT-18's of calendars.
var calendars = []hostileFile{
	{name: "every second", whole: true, keeps: []string{"FREQ=SECONDLY"}, write: func(w *out, t trap) {
		w.calendar(func() {
			w.event("UID:1", "DTSTART:20200101T000000Z", "RRULE:FREQ=SECONDLY;COUNT=2147483647", "SUMMARY:"+marker)
			w.event("UID:2", "DTSTART:19000101T000000", "RRULE:FREQ=SECONDLY;BYSECOND=0,1,2,3;BYMINUTE=59;BYHOUR=23;BYMONTHDAY=31;BYMONTH=2;UNTIL=99991231T000000Z")
			w.event("UID:3", "DTSTART:20200101T000000Z", "RRULE:FREQ=YEARLY;INTERVAL=99999999999999999999;BYSETPOS=-366;BYWEEKNO=53;BYDAY=53SU", "DURATION:P99999999999999999999W")
		})
	}},
	{name: "a million dates", write: func(w *out, t trap) {
		w.calendar(func() {
			w.f("BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20200101T000000Z\r\nRDATE:20200101T000000Z")
			w.repeat(",20200101T000000Z", sized(300_000, 1_000_000))
			w.f("\r\nEND:VEVENT\r\n")
		})
	}},
	{name: "dates that are none", whole: true, write: func(w *out, t trap) {
		w.calendar(func() {
			for i, d := range []string{"00000000T000000", "99999999T999999Z", "-0001", "2020", "20200230", "20200101T240000", "99999999999999999999", "T", ""} {
				w.event(fmt.Sprintf("UID:%d", i), "DTSTART:"+d, "DTEND;TZID=:"+d, "RECURRENCE-ID:"+d, "EXDATE:"+d+","+d, "SEQUENCE:99999999999999999999", "LAST-MODIFIED:"+d)
			}
		})
	}},
	{name: "zones that lead elsewhere", whole: true, write: func(w *out, t trap) {
		w.calendar(func() {
			for i, z := range []string{"../../../../../../../../etc/passwd", t.secret, "file://" + t.secret, t.url, "/dev/zero", "..", "", "Europe/Berlin/../../../../dev/zero", "a\\b", strings.Repeat("x", 5000)} {
				w.f("BEGIN:VTIMEZONE\r\nTZID:%s\r\nTZURL:%s/zone\r\nEND:VTIMEZONE\r\n", z, t.url)
				w.event(fmt.Sprintf("UID:%d", i), "DTSTART;TZID="+z+":20200101T000000")
			}
		})
	}},
	{name: "zones in zones", write: func(w *out, t trap) {
		w.calendar(func() {
			w.repeat("BEGIN:VTIMEZONE\r\nTZID:x\r\nBEGIN:STANDARD\r\n", sized(50_000, 50_000))
			w.event("UID:1", "DTSTART;TZID=x:20200101T000000")
		})
	}},
	{name: "many zones and many that name them", write: func(w *out, t trap) {
		n := sized(4_000, 20_000)
		w.calendar(func() {
			for i := range n {
				w.f("BEGIN:VTIMEZONE\r\nTZID:z%d\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0000\r\nTZOFFSETTO:+0000\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n", i)
			}
			for i := range n {
				w.event(fmt.Sprintf("UID:%d", i), fmt.Sprintf("DTSTART;TZID=z%d:20200101T000000", i))
			}
			w.f("BEGIN:VEVENT\r\nUID:all\r\nDTSTART:20200101T000000\r\n")
			for i := range n {
				w.f("RDATE;TZID=z%d:20200101T000000\r\n", i)
			}
			w.f("END:VEVENT\r\n")
		})
	}},
	{name: "one large zone that all name", write: func(w *out, t trap) {
		w.calendar(func() {
			w.f("BEGIN:VTIMEZONE\r\nTZID:z\r\nBEGIN:STANDARD\r\nDTSTART:19700101T000000\r\nTZOFFSETFROM:+0000\r\nTZOFFSETTO:+0000\r\n")
			w.repeat("COMMENT:x\r\n", mega/10)
			w.f("END:STANDARD\r\nEND:VTIMEZONE\r\n")
			for i := range sized(2_000, 10_000) {
				w.event(fmt.Sprintf("UID:%d", i), "DTSTART;TZID=z:20200101T000000")
			}
		})
	}},
	{name: "alarms in alarms", write: func(w *out, t trap) {
		w.calendar(func() {
			w.f("BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20200101T000000Z\r\n")
			w.repeat("BEGIN:VALARM\r\n", sized(100_000, 100_000))
			w.repeat("END:VALARM\r\n", sized(100_000, 100_000))
			w.f("END:VEVENT\r\n")
		})
	}},
	{name: "calendars in calendars", write: func(w *out, t trap) { w.repeat("BEGIN:VCALENDAR\r\n", sized(100_000, 100_000)) }},
	{name: "one identity for all", write: func(w *out, t trap) {
		w.calendar(func() {
			for i := range sized(10_000, 50_000) {
				w.event("UID:same", fmt.Sprintf("RECURRENCE-ID:%08dT000000Z", i), "DTSTART:20200101T000000Z", "SUMMARY:x")
			}
		})
	}},
	{name: "no identity at all", write: func(w *out, t trap) {
		w.calendar(func() {
			for range sized(10_000, 50_000) {
				w.event("DTSTART:20200101T000000Z", "SUMMARY:x")
			}
		})
	}},
	{name: "addresses", whole: true, write: func(w *out, t trap) {
		w.calendar(func() {
			w.f("SOURCE:%s/source\r\nREFRESH-INTERVAL:PT1S\r\nURL:%s\r\n", t.url, t.url)
			w.event("UID:1", "DTSTART:20200101T000000Z", "ATTACH:file://"+t.secret, "ATTACH:"+t.url+"/attach", "URL:javascript:alert(1)", "IMAGE;VALUE=URI:"+t.url+"/image", "CONFERENCE:"+t.url,
				"ORGANIZER:mailto:a@example.org", "ATTENDEE;DIR=\""+t.url+"\";SENT-BY=\""+t.url+"\":"+t.url, "X-ALT-DESC;FMTTYPE=text/html:<img src=\""+t.url+"/img\">",
				"BEGIN:VALARM", "ACTION:PROCEDURE", "ATTACH:file:///bin/sh", "TRIGGER:-P1000000000D", "REPEAT:2147483647", "DURATION:PT0S", "END:VALARM", "SUMMARY:"+marker)
		})
	}},
	{name: "a huge attachment", write: func(w *out, t trap) {
		w.calendar(func() {
			w.f("BEGIN:VEVENT\r\nUID:1\r\nDTSTART:20200101T000000Z\r\nATTACH;ENCODING=BASE64;VALUE=BINARY:")
			w.repeat("QUJD", sized(24*mega, 400*mega)/4)
			w.f("\r\nEND:VEVENT\r\n")
		})
	}},
	{name: "as many events as are taken apart", write: func(w *out, t trap) {
		w.calendar(func() { w.repeat("BEGIN:VEVENT\r\nEND:VEVENT\r\n", 187_000) })
	}},
	{name: "more events than are taken apart", write: func(w *out, t trap) {
		w.calendar(func() { w.repeat("BEGIN:VEVENT\r\nEND:VEVENT\r\n", 2_000_000) })
	}},
	{name: "old escapes", whole: true, write: func(w *out, t trap) {
		w.f("BEGIN:VCALENDAR\r\nVERSION:1.0\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTART:20200101T000000Z\r\nSUMMARY;ENCODING=QUOTED-PRINTABLE;CHARSET=X:=\r\n=\r\n=FF\r\nDALARM:19960415T235000;PT5M;2;Your Taxes Are Due !!!\r\nPALARM:x;;;file:///bin/sh\r\nRRULE:MP999999 99999+ #0\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	}},
}
