package handset

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf16"
)

// Exports are the files that apps on the handset have exported.
type Exports struct {
	Contacts  string // vCard
	Calendar  string // iCalendar
	Messages  string // SMS Backup & Restore
	Calls     string // the same
	Bookmarks string // Netscape HTML
	Notes     string // directory of a Google Keep takeout
	Networks  string // directory of NetworkManager keyfiles
}

// How many of each Export makes at the usual scale.
const (
	exportedContacts  = 60
	exportedEvents    = 40
	exportedMessages  = 400
	exportedCalls     = 80
	exportedBookmarks = 120
	exportedNotes     = 30
	exportedNetworks  = 6
)

// Export makes in dir, which must be empty or absent, what apps export. Together with what Settle makes on the other device
// it shows everything that bringing records together can meet:
//
//   - Grace Lovelace is on both devices, byte for byte;
//   - Rosa Quinn is on both with the same number, and each side knows something that the other does not: a merge;
//   - Tomás Eriksson has the same UID and another birthday, which both cards can't have as one: the other one is kept as an extension;
//   - the event "Flight" has the same UID and version on both, and another time: a conflict;
//   - Liam Brown has the number of the other device's Mum: a suggestion;
//   - Ünal has a line that is no property: kept, and flagged;
//   - the event "Dentist" was moved since the other device got it;
//   - bookmarks have tags and keywords, which Chromium does not keep: a loss.
func Export(dir string, o Options) (Exports, error) {
	x := Exports{Contacts: "contacts.vcf", Calendar: "calendar.ics", Messages: "sms.xml", Calls: "calls.xml", Bookmarks: "bookmarks.html", Notes: "Keep", Networks: "networks"}
	files := map[string][]byte{x.Contacts: exportedBook(o), x.Calendar: exportedAgenda(o), x.Messages: messages(o), x.Calls: calls(o), x.Bookmarks: bookmarks(o)}
	for i := range exportedNotes {
		keep(o, i, x.Notes, files)
	}
	for i := range exportedNetworks {
		files[filepath.Join(x.Networks, fmt.Sprintf("network %d.nmconnection", i))] = network(o, i)
	}
	for _, p := range []*string{&x.Contacts, &x.Calendar, &x.Messages, &x.Calls, &x.Bookmarks, &x.Notes, &x.Networks} {
		*p = filepath.Join(dir, *p)
	}
	return x, writeFiles(dir, files)
}

// Settled are the files of a device that has been used already.
type Settled struct {
	Contacts  string // vCard
	Calendar  string // iCalendar
	Bookmarks string // Chromium's
}

// Settle makes in dir, which must be empty or absent, what the other device has of its own.
func Settle(dir string, o Options) (Settled, error) {
	s := Settled{Contacts: "contacts.vcf", Calendar: "calendar.ics", Bookmarks: "Bookmarks"}
	err := writeFiles(dir, map[string][]byte{s.Contacts: settledBook(), s.Calendar: settledAgenda(), s.Bookmarks: []byte(settledBookmarks)})
	return Settled{filepath.Join(dir, s.Contacts), filepath.Join(dir, s.Calendar), filepath.Join(dir, s.Bookmarks)}, err
}

func writeFiles(dir string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if old, err := os.ReadDir(dir); err != nil || len(old) > 0 {
		return fmt.Errorf("handset: %s is not empty", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for name, data := range files {
		if err := root.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		if err := root.WriteFile(name, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// card makes a card of version 3.0.
func card(more ...string) []string {
	return append(append([]string{"BEGIN:VCARD", "VERSION:3.0"}, more...), "END:VCARD")
}

// The people of both devices.
var (
	grace = card("UID:8f2f1d4e-0001-4000-8000-00000000000a", "N:Lovelace;Grace;;;", "FN:Grace Lovelace", "TEL;TYPE=CELL:+44 20 7946 0001", "EMAIL;TYPE=HOME:grace@example.org", "NOTE:Taught us to count\\; by hand")
	rosa  = [2][]string{
		card("N:Quinn;Rosa;;;", "FN:Rosa Quinn", "TEL;TYPE=CELL:+49 30 5550101", "EMAIL;TYPE=HOME:rosa@example.org", "BDAY:1984-02-29", "CATEGORIES:Choir"),
		card("N:Quinn;Rosa;;;", "FN:Rosa Quinn", "TEL;TYPE=CELL:+49305550101", "EMAIL;TYPE=WORK:r.quinn@example.com", "CATEGORIES:Friends"),
	}
	tomas = [2][]string{
		card("UID:8f2f1d4e-0002-4000-8000-00000000000b", "N:Eriksson;Tomás;;;", "FN:Tomás Eriksson", "TEL;TYPE=CELL:+46 8 555 0202", "BDAY:1979-07-15"),
		card("UID:8f2f1d4e-0002-4000-8000-00000000000b", "N:Eriksson;Tomás;;;", "FN:Tomás Eriksson", "TEL;TYPE=CELL:+46 8 555 0202", "BDAY:1979-07-16"),
	}
	liam = card("N:Brown;Liam;;;", "FN:Liam Brown", "TEL;TYPE=HOME:+1 555 010 0303")
	mum  = card("N:;Mum;;;", "FN:Mum", "TEL;TYPE=HOME:+1 555 010 0303", "NOTE:Call on Sundays")
	unal = card("N:Ünal;;;;", "FN:Ünal", "TEL;TYPE=WORK:+90 212 555 0404", "this line is no property")
)

func (l *lines) card(c []string) {
	for _, s := range c {
		if strings.Contains(s, ":") {
			l.add("%s", s)
		} else {
			l.raw(s)
		}
	}
}

func exportedBook(o Options) []byte {
	var l lines
	for _, c := range [][]string{grace, rosa[0], tomas[0], liam, unal} {
		l.card(c)
	}
	for i := range exportedContacts - 5 {
		p := somebody(o, "export", i)
		p.family = fmt.Sprintf("%s-%s", p.family, family[i%len(family)])
		p.given = given[i%len(given)]
		[]func(person, *lines){person.card21, person.card30, person.card40}[i%3](p, &l)
	}
	return l.out
}

func settledBook() []byte {
	var l lines
	for _, c := range [][]string{mum, grace, rosa[1], tomas[1]} {
		l.card(c)
	}
	return l.out
}

func calendarOf(body func(*lines)) []byte {
	var l lines
	for _, s := range []string{"BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//Example//Handset//EN"} {
		l.raw(s)
	}
	for s := range strings.SplitSeq(berlin, "\n") {
		l.raw(s)
	}
	body(&l)
	l.raw("END:VCALENDAR")
	return l.out
}

// dentist is the event that was moved: the handset has the later version.
func dentist(l *lines, sequence int, at, stamp string) {
	for _, s := range []string{"BEGIN:VEVENT", "UID:dentist@example.org", "SEQUENCE:" + fmt.Sprint(sequence), "DTSTAMP:" + stamp, "LAST-MODIFIED:" + stamp,
		"DTSTART;TZID=Europe/Berlin:" + at, "DURATION:PT30M", "SUMMARY:Dentist", "END:VEVENT"} {
		l.raw(s)
	}
}

// flight is the event of which nobody can tell which version is right.
func flight(l *lines, at string) {
	for _, s := range []string{"BEGIN:VEVENT", "UID:flight@example.org", "DTSTAMP:20260401T080000Z", "DTSTART;TZID=Europe/Berlin:" + at, "DURATION:PT2H", "SUMMARY:Flight", "END:VEVENT"} {
		l.raw(s)
	}
}

func exportedAgenda(o Options) []byte {
	return calendarOf(func(l *lines) {
		flight(l, "20260605T091500")
		dentist(l, 1, "20260512T150000", "20260420T080000Z")
		for i := range exportedEvents - 2 {
			r := generator(o, "exported event", i)
			switch {
			case i%10 == 9:
				task(r, i, l)
			case i%3 == 0:
				meeting(r, i, l)
			default:
				appointment(r, i, l)
			}
		}
	})
}

func settledAgenda() []byte {
	return calendarOf(func(l *lines) {
		dentist(l, 0, "20260511T090000", "20260401T080000Z")
		flight(l, "20260606T091500")
		for _, s := range []string{"BEGIN:VEVENT", "UID:own@example.org", "DTSTAMP:20260401T080000Z", "DTSTART;VALUE=DATE:20260701", "SUMMARY:Moving house", "END:VEVENT"} {
			l.raw(s)
		}
	})
}

// attributes appends XML attributes as SMS Backup & Restore writes them, emoji as pairs of surrogates.
func attributes(b *strings.Builder, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		fmt.Fprintf(b, ` %s="`, pairs[i])
		for _, c := range pairs[i+1] {
			switch {
			case strings.ContainsRune(`&<>"`, c) || c < 0x20:
				fmt.Fprintf(b, "&#%d;", c)
			case c > 0xffff:
				high, low := utf16.EncodeRune(c)
				fmt.Fprintf(b, "&#%d;&#%d;", high, low)
			default:
				b.WriteRune(c)
			}
		}
		b.WriteByte('"')
	}
}

func messages(o Options) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<smses count=\"%d\" type=\"full\">\n", exportedMessages)
	for i := range exportedMessages {
		r := generator(o, "message", i)
		number := somebody(o, "export", r.IntN(12)).phone
		date := time.Date(2025, 1, 1, 7, 0, 0, 0, time.UTC).UnixMilli() + int64(i)*5_400_000 + r.Int64N(5_000_000)
		if i%20 == 19 {
			pictureMessage(&b, r, number, date)
			continue
		}
		b.WriteString("  <sms")
		attributes(&b, "protocol", "0", "address", number, "date", fmt.Sprint(date), "type", fmt.Sprint(1+r.IntN(2)), "subject", "null", "body", strings.TrimSpace(prose(r, 5+r.IntN(120))),
			"toa", "null", "sc_toa", "null", "service_center", "null", "read", "1", "status", "-1", "locked", "0", "date_sent", fmt.Sprint(date-1500), "sub_id", "-1",
			"readable_date", time.UnixMilli(date).UTC().Format("Jan 2, 2006 15:04:05"), "contact_name", "(Unknown)")
		b.WriteString(" />\n")
	}
	b.WriteString("</smses>\n")
	return []byte(b.String())
}

// pictureMessage appends an MMS to two people.
func pictureMessage(b *strings.Builder, r *rand.Rand, number string, date int64) {
	b.WriteString("  <mms")
	attributes(b, "date", fmt.Sprint(date/1000*1000), "msg_box", "2", "address", number+"~+1 555 010 0303", "m_type", "128", "ct_t", "application/vnd.wap.multipart.related", "sub", "null",
		"read", "1", "m_id", fmt.Sprintf("%016x", r.Uint64()), "sub_id", "-1", "contact_name", "(Unknown)")
	b.WriteString(">\n    <parts>\n      <part")
	attributes(b, "seq", "0", "ct", "text/plain", "chset", "106", "cl", "text.txt", "text", "Look! "+pick(r, []string{"🎂", "🚲", "☕", "👨‍👩‍👧"}))
	b.WriteString(" />\n      <part")
	attributes(b, "seq", "1", "ct", "image/png", "chset", "null", "cl", "dot.png", "text", "null", "data", dot)
	b.WriteString(" />\n    </parts>\n    <addrs>\n")
	for _, a := range []string{number, "+1 555 010 0303"} {
		b.WriteString("      <addr")
		attributes(b, "address", a, "type", "151", "charset", "106")
		b.WriteString(" />\n")
	}
	b.WriteString("    </addrs>\n  </mms>\n")
}

// dot is a picture of one pixel.
const dot = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func calls(o Options) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<calls count=\"%d\">\n", exportedCalls)
	for i := range exportedCalls {
		r := generator(o, "call", i)
		date := time.Date(2025, 6, 1, 7, 0, 0, 0, time.UTC).UnixMilli() + int64(i)*19_800_000
		b.WriteString("  <call")
		attributes(&b, "number", somebody(o, "export", r.IntN(12)).phone, "duration", fmt.Sprint(r.IntN(1800)), "date", fmt.Sprint(date), "type", fmt.Sprint(1+r.IntN(3)),
			"presentation", "1", "subscription_id", "null", "readable_date", time.UnixMilli(date).UTC().Format("Jan 2, 2006 15:04:05"), "contact_name", "(Unknown)")
		b.WriteString(" />\n")
	}
	b.WriteString("</calls>\n")
	return []byte(b.String())
}

func bookmarks(o Options) []byte {
	var b strings.Builder
	b.WriteString("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<META HTTP-EQUIV=\"Content-Type\" CONTENT=\"text/html; charset=UTF-8\">\n<TITLE>Bookmarks</TITLE>\n<H1>Bookmarks Menu</H1>\n\n<DL><p>\n")
	const perFolder = 15
	for i := range exportedBookmarks {
		r := generator(o, "bookmark", i)
		if i%perFolder == 0 {
			if i > 0 {
				b.WriteString("    </DL><p>\n")
			}
			toolbar := ""
			if i == 0 {
				toolbar = ` PERSONAL_TOOLBAR_FOLDER="true"`
			}
			fmt.Fprintf(&b, "    <DT><H3 ADD_DATE=\"%d\"%s>%s %d</H3>\n    <DL><p>\n", moment(r).Unix(), toolbar, pick(r, []string{"Reading", "Cooking ☕", "Trains &amp; boats", "東京"}), i/perFolder)
		}
		if i%perFolder == 9 {
			b.WriteString("        <HR>\n")
		}
		tags := ""
		if i%6 == 0 {
			tags = fmt.Sprintf(` SHORTCUTURL="k%d" TAGS="later,%s"`, i, pick(r, []string{"work", "home"}))
		}
		at := moment(r).Unix()
		fmt.Fprintf(&b, "        <DT><A HREF=\"https://example.org/page/%d?a=1&amp;b=2\" ADD_DATE=\"%d\" LAST_MODIFIED=\"%d\"%s>%s</A>\n", i, at, at+5, tags,
			strings.TrimSpace(strings.ReplaceAll(prose(r, 10), "\n", " ")))
	}
	b.WriteString("    </DL><p>\n</DL>\n")
	return []byte(b.String())
}

const settledBookmarks = `{
   "roots": {
      "bookmark_bar": {
         "children": [ {
            "date_added": "13380000000000000",
            "guid": "0b1f2e3d-0000-4000-8000-000000000001",
            "id": "4",
            "name": "Own bookmark",
            "type": "url",
            "url": "https://example.org/own"
         } ],
         "date_added": "13380000000000000",
         "guid": "0bc5d13f-2cba-5d74-951f-3f233fe6c908",
         "id": "1",
         "name": "Bookmarks bar",
         "type": "folder"
      },
      "other": {
         "children": [  ],
         "date_added": "13380000000000000",
         "guid": "82b081ec-3dd3-529c-8475-ab6c344590dd",
         "id": "2",
         "name": "Other bookmarks",
         "type": "folder"
      },
      "synced": {
         "children": [  ],
         "date_added": "13380000000000000",
         "guid": "4cf2e351-0e85-532b-bb37-df045d8f8d0f",
         "id": "3",
         "name": "Mobile bookmarks",
         "type": "folder"
      }
   },
   "version": 1
}
`

// keep adds the i-th note and, for some, the picture beside it.
func keep(o Options, i int, dir string, files map[string][]byte) {
	r := generator(o, "keep", i)
	at := moment(r).UnixMicro()
	note := map[string]any{"title": fmt.Sprintf("%s %d", pick(r, words), i), "color": pick(r, []string{"DEFAULT", "YELLOW", "BLUE"}), "isTrashed": i == 17, "isPinned": i%10 == 0, "isArchived": i%7 == 3,
		"createdTimestampUsec": at, "userEditedTimestampUsec": at + 60_000_000}
	switch {
	case i%3 == 0:
		var list []map[string]any
		for k := range 2 + r.IntN(5) {
			list = append(list, map[string]any{"text": pick(r, words) + " " + pick(r, words), "isChecked": k%2 == 0})
		}
		note["listContent"] = list
	default:
		note["textContent"] = prose(r, 20+r.IntN(300))
	}
	if i%4 == 0 {
		note["labels"] = []map[string]string{{"name": pick(r, []string{"Shopping", "Ideas", "Réunion"})}}
	}
	if i%9 == 0 {
		name := fmt.Sprintf("picture %d.jpg", i)
		note["attachments"] = []map[string]string{{"filePath": name, "mimetype": "image/jpeg"}}
		files[filepath.Join(dir, name)] = develop(o, i%negatives).jpeg
	}
	text, err := json.MarshalIndent(note, "", "  ")
	if err != nil {
		panic("handset: " + err.Error()) // strings and numbers always encode
	}
	files[filepath.Join(dir, fmt.Sprintf("note %02d.json", i))] = text
}

// network is one that the handset knows, as NetworkManager keeps it.
func network(o Options, i int) []byte {
	r := generator(o, "network", i)
	ssid := []string{"ssid=Home", "ssid=67;97;102;195;169;32;226;152;149;", "ssid=Train WiFi", "ssid=Office", "ssid=Boat", "ssid=Mum"}[i%exportedNetworks]
	text := fmt.Sprintf("[connection]\nid=%s\nuuid=%08x-0000-4000-8000-%012x\ntype=wifi\n\n[wifi]\nmode=infrastructure\n%s\n",
		[]string{"Home", "Café ☕", "Train WiFi", "Office", "Boat", "Mum"}[i%exportedNetworks], r.Uint32(), r.Uint64N(1<<48), ssid)
	switch i % exportedNetworks {
	case 2:
	case 3:
		text += "\n[wifi-security]\nkey-mgmt=wpa-eap\n\n[802-1x]\neap=peap;\nidentity=me@example.org\npassword=not the real one\nphase2-auth=mschapv2\n"
	case 4:
		text += "hidden=true\n\n[wifi-security]\nkey-mgmt=sae\npsk=calm sea " + fmt.Sprint(r.IntN(1e6)) + "\n"
	default:
		text += fmt.Sprintf("\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=correct horse %06d\n", r.IntN(1e6))
	}
	return []byte(text + "\n[ipv4]\nmethod=auto\n\n[ipv6]\nmethod=auto\n")
}
