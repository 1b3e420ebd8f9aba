package calendar

import (
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

const stamped = "DTSTAMP:20240101T000000Z\n"

// shapeBody shapes a calendar with a header that is as it should be, and returns what is inside.
func shapeBody(t *testing.T, body string, p rule.Profile) (string, []item.Change, bool) {
	t.Helper()
	const head = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:x\n"
	out, changes, ok := (Rules{}).Shape(item.Record{Kind: item.Calendar, Book: "b", Data: []byte(head + body + "END:VCALENDAR\n")}, p)
	got := strings.ReplaceAll(string(out.Data), "\r\n", "\n")
	return strings.TrimSuffix(strings.TrimPrefix(got, head), "END:VCALENDAR\n"), changes, ok
}

func TestShapeRepairs(t *testing.T) {
	const berlin = "BEGIN:VTIMEZONE\nTZID:Europe/Berlin\nBEGIN:STANDARD\nTZOFFSETFROM:+0200\nTZOFFSETTO:+0100\nDTSTART:19701025T030000\nEND:STANDARD\n" +
		"BEGIN:DAYLIGHT\nTZOFFSETFROM:+0100\nTZOFFSETTO:+0200\nDTSTART:19700329T020000\nEND:DAYLIGHT\nEND:VTIMEZONE\n"
	for _, c := range []struct {
		name, in, want string // lines of an event of UID u
		effects        []item.Effect
	}{
		{"nothing to do", "DTSTART:20240101T100000Z\nSUMMARY:a\\, b\\; c\\n\n", "", nil},
		{"bare commas", "DTSTART:20240101T100000Z\nSUMMARY:a, b\nURL:https://x/?a=1,2\nX-APPLE-STRUCTURED-LOCATION;VALUE=URI:geo:1,2\n",
			"DTSTART:20240101T100000Z\nSUMMARY:a\\, b\nURL:https://x/?a=1%2C2\nX-APPLE-STRUCTURED-LOCATION;VALUE=URI:geo:1\\,2\n", []item.Effect{item.EffectRepaired, item.EffectAltered, item.EffectAltered}},
		{"end of another kind", "DTSTART;VALUE=DATE:20240101\nDTEND:20240101T120000Z\n", "DTSTART;VALUE=DATE:20240101\nDTEND;VALUE=DATE:20240102\n", []item.Effect{item.EffectRepaired}},
		{"end without zone", "DTSTART:20240101T100000Z\nDTEND:20240101T120000\n", "DTSTART:20240101T100000Z\nDTEND:20240101T120000Z\n", []item.Effect{item.EffectRepaired}},
		{"end before the start", "DTSTART:20240101T100000Z\nDTEND:20231231T120000Z\n", "DTSTART:20240101T100000Z\nX-DECANT-DTEND:20231231T120000Z\n", []item.Effect{item.EffectMoved}},
		{"end and duration", "DTSTART:20240101T100000Z\nDTEND:20240101T120000Z\nDURATION:PT1H\n", "DTSTART:20240101T100000Z\nDTEND:20240101T120000Z\nX-DECANT-DURATION:PT1H\n", []item.Effect{item.EffectMoved}},
		{"date said to be a time", "DTSTART:20240101\n", "DTSTART;VALUE=DATE:20240101\n", []item.Effect{item.EffectRepaired}},
		{"exceptions of another kind", "DTSTART:20240101T100000Z\nRRULE:FREQ=DAILY\nEXDATE;VALUE=DATE:20240102,20240103\n",
			"DTSTART:20240101T100000Z\nRRULE:FREQ=DAILY\nEXDATE:20240102T100000Z,20240103T100000Z\n", []item.Effect{item.EffectRepaired}},
		{"periods", "DTSTART:20240101T100000Z\nRDATE;VALUE=PERIOD:20240102T100000Z/PT1H\n", "DTSTART:20240101T100000Z\nRDATE:20240102T100000Z\n", []item.Effect{item.EffectAltered}},
		{"rules", "DTSTART:20240101T100000Z\nRRULE:FREQ=DAILY;;INTERVAL=0;X-A=1;UNTIL=20250101T100000\nRRULE:FREQ=SOMETIMES\n",
			"DTSTART:20240101T100000Z\nRRULE:FREQ=DAILY;UNTIL=20250101T100000Z\nX-DECANT-RRULE:FREQ=SOMETIMES\n", []item.Effect{item.EffectRepaired, item.EffectRepaired, item.EffectMoved}},
		{"twice", "DTSTART:20240101T100000Z\nSUMMARY:a\nSUMMARY:a\nSUMMARY:b\nSEQUENCE:1\nSEQUENCE:2\n",
			"DTSTART:20240101T100000Z\nSUMMARY:a\nCOMMENT:b\nX-DECANT-SEQUENCE:1\nSEQUENCE:2\n", []item.Effect{item.EffectRepaired, item.EffectMoved, item.EffectMoved}},
		{"no property", "DTSTART:20240101T100000Z\nhello, you\n", "DTSTART:20240101T100000Z\nX-DECANT-LINE:hello\\, you\n", []item.Effect{item.EffectMoved}},
		{"group, quotes, controls", "DTSTART:20240101T100000Z\nitem1.SUMMARY:a\x02b\nATTENDEE;CN=\"a \"b\" c\":mailto:x\n", "DTSTART:20240101T100000Z\nSUMMARY;X-GROUP=item1:ab\nATTENDEE;CN=a 'b' c:mailto:x\n",
			[]item.Effect{item.EffectAltered, item.EffectRepaired, item.EffectRepaired}},
		{"quoted-printable", "DTSTART:20240101T100000Z\nSUMMARY;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=C3=A4, b\n", "DTSTART:20240101T100000Z\nSUMMARY:ä\\, b\n", []item.Effect{item.EffectRepaired}},
		{"other charset", "DTSTART:20240101T100000Z\nSUMMARY:\xe4\n", "DTSTART:20240101T100000Z\nSUMMARY:ä\n", []item.Effect{item.EffectRepaired}},
		{"local stamps", "DTSTART:20240101T100000Z\nCREATED;TZID=Europe/Berlin:20240701T120000\nLAST-MODIFIED:20240701\n", "DTSTART:20240101T100000Z\nCREATED:20240701T100000Z\nLAST-MODIFIED:20240701T000000Z\n", []item.Effect{item.EffectRepaired, item.EffectRepaired}},
		{"bare circumflex", "DTSTART:20240101T100000Z\nATTENDEE;CN=a^nb:mailto:x\n", "DTSTART:20240101T100000Z\nATTENDEE;CN=\"a^nb\":mailto:x\n", nil},
		{"alarm", "DTSTART:20240101T100000Z\nBEGIN:VALARM\nTRIGGER;VALUE=DURATION:-P15M\nEND:VALARM\n", "DTSTART:20240101T100000Z\nBEGIN:VALARM\nTRIGGER;VALUE=DURATION:-PT15M\nACTION:DISPLAY\nEND:VALARM\n", []item.Effect{item.EffectAdded, item.EffectRepaired}},
		{"unknown zone", "DTSTART;TZID=Nowhere:20240101T100000\n", "DTSTART;X-TZID=Nowhere:20240101T100000\n", []item.Effect{item.EffectAltered}},
		{"zone called UTC", "DTSTART;TZID=Etc/UTC:20240101T100000\n", "DTSTART:20240101T100000Z\n", []item.Effect{item.EffectAltered}},
		{"only an exception", "DTSTART:20240101T100000Z\nRECURRENCE-ID:20240101T090000Z\n", "DTSTART:20240101T100000Z\nX-DECANT-RECURRENCE-ID:20240101T090000Z\n", []item.Effect{item.EffectAltered, item.EffectMoved}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := c.want
			if want == "" {
				want = c.in
			}
			got, changes, ok := shapeBody(t, "BEGIN:VEVENT\nUID:u\n"+stamped+c.in+"END:VEVENT\n", strict)
			if got != "BEGIN:VEVENT\nUID:u\n"+stamped+want+"END:VEVENT\n" || !ok {
				t.Errorf("got\n%s", got)
			}
			var effects []item.Effect
			for _, x := range changes {
				effects = append(effects, x.Effect)
				if x.UID != "u" || x.Property == "" || x.Why == "" {
					t.Errorf("%+v", x)
				}
			}
			if !slices.Equal(effects, c.effects) {
				t.Errorf("%+v", changes)
			}
		})
	}
	same := "BEGIN:VEVENT\nUID:u\n" + stamped + "DTSTART;TZID=Europe/Berlin:20240101T100000\nEND:VEVENT\n"
	if got, changes, _ := shapeBody(t, berlin+same, strict); got != berlin+same || len(changes) > 0 {
		t.Errorf("%+v\n%s", changes, got)
	}
	lie := strings.ReplaceAll(berlin, "TZOFFSETTO:+0100", "TZOFFSETTO:+0300")
	if got, changes, _ := shapeBody(t, lie+same, rule.Profile{}); got != lie+same || len(changes) != 1 || changes[0].Effect != item.EffectFlagged || changes[0].Property != "VTIMEZONE" {
		t.Errorf("%+v\n%s", changes, got)
	}
}

func TestShapeWritesMissingZones(t *testing.T) {
	for id, zone := range map[string]string{"Romance Standard Time": "Europe/Paris", "Asia/Tokyo": "Asia/Tokyo", "/x.org/1/America/New_York": "America/New_York"} {
		got, changes, ok := shapeBody(t, "BEGIN:VEVENT\nUID:u\n"+stamped+"DTSTART;TZID="+id+":20240101T100000\nEND:VEVENT\n", strict)
		if !ok || !strings.HasPrefix(got, strings.ReplaceAll(writeZone(id, zone, 2024), "\r\n", "\n")) || len(changes) != 1 || changes[0].Effect != item.EffectAdded {
			t.Errorf("%s: %+v\n%s", id, changes, got)
		}
	}
	got, _, _ := shapeBody(t, "BEGIN:VTIMEZONE\nTZID:Europe/Berlin\nEND:VTIMEZONE\nBEGIN:VEVENT\nUID:u\n"+stamped+"DTSTART;TZID=Europe/Berlin:20240101T100000\nEND:VEVENT\n", strict)
	if !strings.Contains(got, "TZOFFSETTO:+0200") {
		t.Errorf("an empty time zone is kept:\n%s", got)
	}
}

func TestShapeHeaderAndIdentity(t *testing.T) {
	in := item.Record{Kind: item.Calendar, Book: "b", Data: []byte("BEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VTODO\nSUMMARY:a\nDUE:20240101T100000Z\nLAST-MODIFIED:20230101T000000Z\nEND:VTODO\nEND:VCALENDAR\n")}
	out, changes, ok := (Rules{}).Shape(in, strict)
	const want = "BEGIN:VCALENDAR\nVERSION:2.0\nX-DECANT-METHOD:REQUEST\nPRODID:-//Decant//Decant 1//EN\nBEGIN:VTODO\nSUMMARY:a\nDUE:20240101T100000Z\nLAST-MODIFIED:20230101T000000Z\n" +
		"UID:decant-8c4a3e04d2ee3d9c2c8c4a6bd4cb40c6\nDTSTAMP:20230101T000000Z\nEND:VTODO\nEND:VCALENDAR\n"
	if got := string(out.Data); !ok || got[:strings.Index(got, "UID:")] != want[:strings.Index(want, "UID:")] || len(changes) != 5 {
		t.Errorf("%+v\n%s", changes, out.Data)
	}
	other := in
	other.Book = "c"
	if o, _, _ := (Rules{}).Shape(other, strict); string(o.Data) == string(out.Data) {
		t.Error("two calendars give one UID")
	}
	if o, _, _ := (Rules{}).Shape(in, strict); string(o.Data) != string(out.Data) {
		t.Error("the UID changes from time to time")
	}
}

func TestExceptionsOfNoDate(t *testing.T) {
	master := "BEGIN:VEVENT\nUID:u\n" + stamped + "DTSTART:20240101T100000Z\nRRULE:FREQ=DAILY\nEND:VEVENT\n"
	got, _, ok := shapeBody(t, master+"BEGIN:VEVENT\nUID:u\n"+stamped+"RECURRENCE-ID:00000000T000000Z\nDTSTART:20240102T110000Z\nEND:VEVENT\n", strict)
	if !ok || got != master+"BEGIN:VEVENT\nUID:u\n"+stamped+"X-DECANT-RECURRENCE-ID:00000000T000000Z\nDTSTART:20240102T110000Z\nRECURRENCE-ID:20240102T110000Z\nEND:VEVENT\n" {
		t.Error(got)
	}
}

func TestShapeRefuses(t *testing.T) {
	for _, data := range []string{"hello", "BEGIN:VCALENDAR\nEND:VCALENDAR\n", cal(zone), cal("BEGIN:VEVENT\nUID:u\nEND:VEVENT\n")} {
		out, changes, ok := (Rules{}).Shape(item.Record{Data: []byte(data)}, strict)
		if ok || len(changes) == 0 || changes[len(changes)-1].Effect != item.EffectDropped || string(out.Data) != data {
			t.Errorf("%q: %v %+v", data, ok, changes)
		}
		if _, changes, ok := (Rules{}).Shape(item.Record{Data: []byte(data)}, rule.Profile{}); !ok || len(changes) > 0 {
			t.Errorf("%q is refused by who takes everything: %+v", data, changes)
		}
	}
}

// TestNobodyIsMailed looks whether a server that sends invitations is told not to.
func TestNobodyIsMailed(t *testing.T) {
	body := event("ORGANIZER:mailto:a@example.com\nATTENDEE;RSVP=TRUE;SCHEDULE-FORCE-SEND=REQUEST:mailto:b@example.com\nATTENDEE;SCHEDULE-AGENT=SERVER:mailto:c@example.com\nATTENDEE;SCHEDULE-AGENT=NONE:mailto:d@example.com\n")
	got, changes, ok := shapeBody(t, body, rule.Profile{Schedules: true})
	const want = "ORGANIZER;SCHEDULE-AGENT=CLIENT:mailto:a@example.com\nATTENDEE;RSVP=TRUE;SCHEDULE-AGENT=CLIENT:mailto:b@example.com\n" +
		"ATTENDEE;SCHEDULE-AGENT=CLIENT:mailto:c@example.com\nATTENDEE;SCHEDULE-AGENT=NONE:mailto:d@example.com\n"
	if !ok || got != event(want) || len(changes) != 3 {
		t.Errorf("%+v\n%s", changes, got)
	}
	if d := match(t, records(event(want)), records(body)); d[0].Verdict != rule.Same {
		t.Errorf("the server's parameters make a difference: %+v", d)
	}
}

func TestDropsAndSize(t *testing.T) {
	body := event("ATTACH;ENCODING=BASE64;VALUE=BINARY:" + strings.Repeat("AAAA", 500) + "\nX-A:1\nX-KEEP:2\nBEGIN:VALARM\nTRIGGER:PT0S\nX-A:1\nEND:VALARM\n")
	got, changes, ok := shapeBody(t, body, rule.Profile{Drops: []string{"VEVENT/ATTACH", "X-*", "VEVENT/VALARM", "VCALENDAR/*"}, Keeps: []string{"X-KEEP"}})
	if !ok || got != event("X-KEEP:2\n") || len(changes) != 3 {
		t.Errorf("%+v\n%s", changes, got)
	}
	got, changes, ok = shapeBody(t, body, rule.Profile{MaxSize: 1000})
	if !ok || strings.Contains(got, "ATTACH") || len(changes) != 1 {
		t.Errorf("%+v\n%s", changes, got)
	}
	if _, changes, ok = shapeBody(t, body, rule.Profile{MaxSize: 10}); ok || len(changes) == 0 {
		t.Error("too large and taken")
	}
}

func TestVCalendar1(t *testing.T) {
	in := "BEGIN:VCALENDAR\r\nVERSION:1.0\r\nTZ:+01\r\nBEGIN:VEVENT\r\nUID:u\r\nDTSTAMP:20240101T000000Z\r\nDTSTART:20240101T100000\r\nSUMMARY;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=C3=A4=\r\n, b\r\n" +
		"CATEGORIES:A;B\r\nRRULE:W2 TU TH #5\r\nEXDATE:20240102T100000;20240104T100000\r\nDALARM:20240101T094500;PT5M;2;Wake, up\r\nAALARM:20240101T100000;;;\r\nTRANSP:0\r\nGEO:11.5,48.1\r\n" +
		"ATTENDEE;ROLE=ATTENDEE;STATUS=NEEDS ACTION;RSVP=YES:A B <a@example.com>\r\nDCREATED:20230101T000000Z\r\nPRIORITY:1\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	want := "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nX-DECANT-TZ:+01\r\nPRODID:-//Decant//Decant 1//EN\r\nBEGIN:VEVENT\r\nUID:u\r\nDTSTAMP:20240101T000000Z\r\nDTSTART:20240101T100000\r\nSUMMARY:ä\\, b\r\n" +
		"CATEGORIES:A,B\r\nRRULE:FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH;COUNT=10\r\nEXDATE:20240102T100000,20240104T100000\r\nTRANSP:OPAQUE\r\nGEO:48.1;11.5\r\n" +
		"ATTENDEE;RSVP=TRUE;PARTSTAT=NEEDS-ACTION;X-ROLE=ATTENDEE;CN=A B:mailto:a@ex\r\n ample.com\r\nCREATED:20230101T000000Z\r\nPRIORITY:1\r\n" +
		"BEGIN:VALARM\r\nACTION:DISPLAY\r\nTRIGGER:-PT15M\r\nDURATION:PT5M\r\nREPEAT:2\r\nDESCRIPTION:Wake\\, up\r\nEND:VALARM\r\nBEGIN:VALARM\r\nACTION:AUDIO\r\nTRIGGER:PT0S\r\nEND:VALARM\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
	out, changes, ok := (Rules{}).Shape(item.Record{Data: []byte(in)}, strict)
	if !ok || string(out.Data) != want {
		t.Errorf("%+v\n%s\nwant\n%s", changes, out.Data, want)
	}
	for in, want := range map[string]string{
		"D1 #10": "FREQ=DAILY;COUNT=10", "W1 TU TH #0": "FREQ=WEEKLY;BYDAY=TU,TH", "MP1 1+ SU 2- FR #4": "FREQ=MONTHLY;BYDAY=1SU,-2FR;COUNT=8",
		"MD2 7 LD 3- 20241231T000000Z": "FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=7,-1,-3;UNTIL=20241231T000000Z", "YM1 6": "FREQ=YEARLY;BYMONTH=6;COUNT=2", "YD1 100 #3": "FREQ=YEARLY;BYYEARDAY=100;COUNT=3",
		"": "", "D": "", "X1": "", "W1 XX": "", "MP1 SU": "", "D1 1200": "", "D99999": "", "MD1 32": "",
	} {
		if got, ok := modernRule(in); got != want || ok != (want != "") {
			t.Errorf("%q: %q", in, got)
		}
	}
}
