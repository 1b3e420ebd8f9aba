package corpus

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"
	"unicode/utf16"
)

// Contents says what a generated file has, so that a measurement can tell whether all of it arrived.
type Contents struct {
	Records    int // all of them
	Copies     int // byte for byte the same as an earlier one
	Variations int // meant to be the same as an earlier one, and not equal to it
	Parts      int // of MMS, overrides of events, folders of bookmarks: what is inside of records
}

var (
	givenNames  = strings.Fields("Ana Bjørn Chloé Dmitri Élodie Fatima Grace Hiroshi Ines José Khadija Liam Mei Nuño Olga Péter Qiang Rosa Søren Tomás Uma Vera Wanjiru Xiu Yara Zoë 京子 Юлия שרה Ömer")
	familyNames = strings.Fields("Almeida Brown Čapek Dubois Eriksson Fernández García Haddad Ivanova Jones Kowalski Li Müller Nakamura O'Neil Petrović Quinn Rossi Şahin Tanaka Ünal Virtanen Wang Xu Yılmaz Zhang van\u00a0Dijk Smith-Jones")
	sayings     = strings.Fields("yes no maybe see you at the station tomorrow morning bring bread and milk happy birthday 🎂 on my way 🚲 call me back later ❤️ 👨‍👩‍👧 " +
		"thanks a lot ¡hola! größe façade Привет 東京 שלום 😀 ok, fine; done \\o/ \"quoted\" <tag> & more it's 50% = half")
	labels = []string{"Friends", "Family", "Work", "Choir", "Neighbours"}
)

func some[T any](r *rand.Rand, from []T) T { return from[r.IntN(len(from))] }

// say returns n words.
func say(r *rand.Rand, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(some(r, sayings))
	}
	return b.String()
}

// numbered returns the random numbers of the i-th record of a series, so that it can be made again without the others.
func numbered(seed uint64, series string, i int) *rand.Rand {
	for _, c := range []byte(series) {
		seed = (seed ^ uint64(c)) * 0x100000001b3
	}
	return rand.New(rand.NewPCG(seed, uint64(i)))
}

func instant(r *rand.Rand) time.Time {
	from, to := stamp.AddDate(-9, 0, 0).Unix(), stamp.Unix()
	return time.Unix(from+r.Int64N(to-from), r.Int64N(1000)*1e6).UTC()
}

func identifier(r *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48))
}

// folded writes content lines, folded at 75 bytes between characters.
type folded struct {
	*bufio.Writer
}

func (f folded) line(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	for limit := 75; len(s) > limit; limit = 74 {
		cut := limit
		for s[cut]&0xc0 == 0x80 {
			cut--
		}
		f.WriteString(s[:cut])
		f.WriteString("\r\n ")
		s = s[cut:]
	}
	f.WriteString(s)
	f.WriteString("\r\n")
}

// quoted writes a property of vCard 2.1 in quoted-printable with soft breaks.
func (f folded) quoted(name, value string) {
	line := name + ";CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:"
	for i := range len(value) {
		next := value[i : i+1]
		if c := value[i]; c < 0x20 || c > 0x7e || c == '=' {
			next = fmt.Sprintf("=%02X", c)
		}
		if len(line)+len(next) > 75 {
			f.WriteString(line + "=\r\n")
			line = ""
		}
		line += next
	}
	f.WriteString(line + "\r\n")
}

var escapes = strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`)

// someone is a made-up contact.
type someone struct {
	index                                     int
	uid, given, family, phone, mail, note, in string
	picture                                   []byte
}

func contact(seed uint64, i int) someone {
	r := numbered(seed, "contact", i)
	c := someone{index: i, uid: identifier(r), given: some(r, givenNames), family: some(r, familyNames), in: some(r, labels), note: say(r, r.IntN(30))}
	c.family = fmt.Sprintf("%s %d", c.family, i%997) // so many people have few names between them
	c.phone = fmt.Sprintf("+49 30 %07d", 1_000_000+i)
	c.mail = fmt.Sprintf("person%d@example.org", i)
	if i%10 == 0 {
		c.picture = append([]byte("\xff\xd8\xff\xe0"), make([]byte, 500+r.IntN(3000))...)
		for k := range c.picture[4:] {
			c.picture[4+k] = byte(r.Uint32())
		}
	}
	return c
}

// Contacts writes an address book of n cards: mixed versions, a picture in every tenth card, groups as cards, categories and
// labels. Of twenty cards one is a copy of an earlier one, and one is the same person as an earlier one: the number written
// another way, with another address.
func Contacts(w io.Writer, n int, seed uint64) (Contents, error) {
	f := folded{bufio.NewWriterSize(w, 1<<16)}
	c := Contents{Records: n}
	for i := range n {
		switch i % 20 {
		case 7:
			contact(seed, i-7).write(f)
			c.Copies++
		case 13:
			s := contact(seed, i-12)
			s.vary()
			s.write(f)
			c.Variations++
		default:
			contact(seed, i).write(f)
		}
	}
	return c, f.Flush()
}

// vary makes the same person of another address book.
func (c *someone) vary() {
	c.index += 1000 // of another version
	c.uid = ""
	c.phone = "030 " + strings.TrimPrefix(c.phone, "+49 30 ")
	c.mail = "other." + c.mail
	c.note, c.picture = "", nil
}

func (c someone) write(f folded) {
	f.line("BEGIN:VCARD")
	switch v := c.index % 3; {
	case c.index%50 == 49:
		f.line("VERSION:3.0")
		f.line("UID:%s", c.uid)
		f.line("N:%s", c.in)
		f.line("FN:%s", c.in)
		f.line("X-ADDRESSBOOKSERVER-KIND:group")
		f.line("X-ADDRESSBOOKSERVER-MEMBER:urn:uuid:%s", c.uid)
	case v == 0:
		c.old(f)
	case v == 1:
		c.middle(f)
	default:
		c.recent(f)
	}
	f.line("END:VCARD")
}

func (c someone) old(f folded) {
	f.line("VERSION:2.1")
	f.quoted("N", c.family+";"+c.given+";;;")
	f.quoted("FN", c.given+" "+c.family)
	f.line("TEL;CELL:%s", c.phone)
	f.line("EMAIL;HOME:%s", c.mail)
	if c.note != "" {
		f.quoted("NOTE", c.note)
	}
	f.line("X-ANDROID-CUSTOM:vnd.android.cursor.item/nickname;nick%d;1;;;;;;;;;;;;;", c.index)
	if c.picture != nil {
		f.WriteString("PHOTO;ENCODING=BASE64;JPEG:\r\n")
		for s := base64.StdEncoding.EncodeToString(c.picture); s != ""; s = s[min(len(s), 72):] {
			f.WriteString(" " + s[:min(len(s), 72)] + "\r\n")
		}
		f.WriteString("\r\n")
	}
}

func (c someone) middle(f folded) {
	f.line("VERSION:3.0")
	if c.uid != "" {
		f.line("UID:%s", strings.ToUpper(c.uid))
	}
	f.line("N:%s;%s;;;", escapes.Replace(c.family), escapes.Replace(c.given))
	f.line("FN:%s %s", escapes.Replace(c.given), escapes.Replace(c.family))
	f.line("item1.TEL;type=CELL;type=VOICE;type=pref:%s", c.phone)
	f.line("item1.X-ABLabel:_$!<Mobile>!$_")
	f.line("EMAIL;type=INTERNET;type=WORK:%s", c.mail)
	f.line("item2.URL:https\\://example.org/~%d", c.index)
	f.line("item2.X-ABLabel:_$!<HomePage>!$_")
	f.line("CATEGORIES:%s,Everyone", c.in)
	f.line("ADR;TYPE=HOME:;;%d Main Road;Town;;12345;Germany", c.index%200)
	if c.note != "" {
		f.line("NOTE:%s", escapes.Replace(c.note+"\nsecond line"))
	}
	if c.picture != nil {
		f.line("PHOTO;ENCODING=b;TYPE=JPEG:%s", base64.StdEncoding.EncodeToString(c.picture))
	}
}

func (c someone) recent(f folded) {
	f.line("VERSION:4.0")
	if c.uid != "" {
		f.line("UID:urn:uuid:%s", c.uid)
	}
	f.line("FN:%s %s", escapes.Replace(c.given), escapes.Replace(c.family))
	f.line("N:%s;%s;;;", escapes.Replace(c.family), escapes.Replace(c.given))
	f.line("TEL;VALUE=uri;PREF=1;TYPE=\"voice,home\":tel:%s", strings.ReplaceAll(c.phone, " ", "-"))
	f.line("EMAIL;TYPE=home:%s", c.mail)
	f.line("BDAY:--%02d%02d", 1+c.index%12, 1+c.index%28)
	f.line("CATEGORIES:%s", c.in)
	if c.note != "" {
		f.line("NOTE:%s", escapes.Replace(c.note))
	}
	if c.picture != nil {
		f.line("PHOTO:data:image/jpeg;base64,%s", base64.StdEncoding.EncodeToString(c.picture))
	}
}

const zones = "BEGIN:VTIMEZONE\r\nTZID:Europe/Berlin\r\nBEGIN:DAYLIGHT\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nTZNAME:CEST\r\nDTSTART:19700329T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\n" +
	"BEGIN:STANDARD\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nTZNAME:CET\r\nDTSTART:19701025T030000\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\n" +
	"BEGIN:VTIMEZONE\r\nTZID:Romance Standard Time\r\nBEGIN:STANDARD\r\nTZOFFSETFROM:+0200\r\nTZOFFSETTO:+0100\r\nDTSTART:16011028T030000\r\nRRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU\r\nEND:STANDARD\r\n" +
	"BEGIN:DAYLIGHT\r\nTZOFFSETFROM:+0100\r\nTZOFFSETTO:+0200\r\nDTSTART:16010325T020000\r\nRRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"

// Events writes a calendar of n objects: appointments in two zones and in none, whole days every year, weekly meetings with
// exceptions and moved occurrences, alarms, attendees, tasks.
func Events(w io.Writer, n int, seed uint64) (Contents, error) {
	const local, utc, day = "20060102T150405", "20060102T150405Z", "20060102"
	f := folded{bufio.NewWriterSize(w, 1<<16)}
	c := Contents{Records: n}
	f.WriteString("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Example//Corpus//EN\r\nX-WR-CALNAME:Corpus\r\n" + zones)
	for i := range n {
		r := numbered(seed, "event", i)
		at, uid := instant(r), fmt.Sprintf("%s@example.org", identifier(r))
		zone := some(r, []string{"Europe/Berlin", "Romance Standard Time"})
		name := "VEVENT"
		if i%10 == 9 {
			name = "VTODO"
		}
		f.line("BEGIN:%s", name)
		f.line("UID:%s", uid)
		f.line("DTSTAMP:%s", at.Format(utc))
		f.line("SUMMARY:%s", escapes.Replace(say(r, 1+r.IntN(8))))
		switch {
		case name == "VTODO":
			f.line("DUE;VALUE=DATE:%s", at.Format(day))
			f.line("PERCENT-COMPLETE:%d", r.IntN(101))
		case i%10 < 2:
			f.line("DTSTART;VALUE=DATE:%s", at.Format(day))
			f.line("RRULE:FREQ=YEARLY")
		case i%10 < 5:
			f.line("DTSTART;TZID=%s:%s", zone, at.Format(local))
			f.line("DURATION:PT45M")
			f.line("RRULE:FREQ=WEEKLY;COUNT=52")
			f.line("EXDATE;TZID=%s:%s,%s", zone, at.AddDate(0, 0, 14).Format(local), at.AddDate(0, 0, 21).Format(local))
			f.line("ATTENDEE;CN=\"%s: guest\";RSVP=TRUE:mailto:guest%d@example.org", some(r, givenNames), r.IntN(1000))
		default:
			f.line("DTSTART;TZID=%s:%s", zone, at.Format(local))
			f.line("DTEND;TZID=%s:%s", zone, at.Add(time.Hour).Format(local))
			f.line("DESCRIPTION:%s", escapes.Replace(say(r, r.IntN(40))))
			f.line("BEGIN:VALARM")
			f.line("ACTION:DISPLAY")
			f.line("DESCRIPTION:%s", escapes.Replace(say(r, 2)))
			f.line("TRIGGER:-PT15M")
			f.line("END:VALARM")
		}
		f.line("END:%s", name)
		if i%10 == 3 {
			c.Parts++
			f.line("BEGIN:VEVENT")
			f.line("UID:%s", uid)
			f.line("DTSTAMP:%s", at.Format(utc))
			f.line("RECURRENCE-ID;TZID=%s:%s", zone, at.AddDate(0, 0, 7).Format(local))
			f.line("DTSTART;TZID=%s:%s", zone, at.AddDate(0, 0, 8).Format(local))
			f.line("DURATION:PT1H")
			f.line("SUMMARY:moved")
			f.line("END:VEVENT")
		}
	}
	f.line("END:VCALENDAR")
	return c, f.Flush()
}

// attribute writes an XML attribute as SMS Backup & Restore does: what is outside of the first plane as a pair of surrogates.
func attribute(w *bufio.Writer, name, value string) {
	w.WriteByte(' ')
	w.WriteString(name)
	w.WriteString(`="`)
	for _, c := range value {
		switch {
		case c == '&':
			w.WriteString("&amp;")
		case c == '<':
			w.WriteString("&lt;")
		case c == '>':
			w.WriteString("&gt;")
		case c == '"':
			w.WriteString("&quot;")
		case c < 0x20:
			fmt.Fprintf(w, "&#%d;", c)
		case c > 0xffff:
			high, low := utf16.EncodeRune(c)
			fmt.Fprintf(w, "&#%d;&#%d;", high, low)
		default:
			w.WriteRune(c)
		}
	}
	w.WriteByte('"')
}

// Messages writes n messages as SMS Backup & Restore does, in the order of their times: 400 conversations, and of 25 messages
// one MMS with a picture or with several people. Of 100 messages one is a copy of the one before.
func Messages(w io.Writer, n int, seed uint64) (Contents, error) {
	b := bufio.NewWriterSize(w, 1<<16)
	c := Contents{Records: n}
	fmt.Fprintf(b, "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<smses count=\"%d\" backup_set=\"%s\" backup_date=\"%d\" type=\"full\">\n", n, identifier(numbered(seed, "set", 0)), stamp.UnixMilli())
	for i := range n {
		k := i
		if i%100 == 57 {
			k = i - 1
			c.Copies++
		}
		r := numbered(seed, "message", k)
		date := stamp.AddDate(-5, 0, 0).UnixMilli() + int64(k)*600_000 + r.Int64N(600_000)
		address := fmt.Sprintf("+4917%08d", r.IntN(400)*7919)
		if k%25 == 24 {
			c.Parts += multimedia(b, r, date, address)
			continue
		}
		sms(b, r, date, address)
	}
	b.WriteString("</smses>\n")
	return c, b.Flush()
}

func sms(b *bufio.Writer, r *rand.Rand, date int64, address string) {
	box := 1 + r.IntN(2)
	sent := date - r.Int64N(5000)
	if box == 2 {
		sent = 0
	}
	b.WriteString("  <sms")
	for _, a := range [][2]string{{"protocol", "0"}, {"address", address}, {"date", fmt.Sprint(date)}, {"type", fmt.Sprint(box)}, {"subject", "null"},
		{"body", say(r, 1+r.IntN(25))}, {"toa", "null"}, {"sc_toa", "null"}, {"service_center", "null"}, {"read", "1"}, {"status", "-1"}, {"locked", "0"},
		{"date_sent", fmt.Sprint(sent)}, {"sub_id", "-1"}, {"readable_date", time.UnixMilli(date).UTC().Format("Jan 2, 2006 15:04:05")}, {"contact_name", "(Unknown)"}} {
		attribute(b, a[0], a[1])
	}
	b.WriteString(" />\n")
}

func multimedia(b *bufio.Writer, r *rand.Rand, date int64, address string) (parts int) {
	box := 1 + r.IntN(2)
	others := []string{address}
	for range r.IntN(3) {
		others = append(others, fmt.Sprintf("+4917%08d", r.IntN(400)*7919))
	}
	b.WriteString("  <mms")
	for _, a := range [][2]string{{"date", fmt.Sprint(date / 1000 * 1000)}, {"msg_box", fmt.Sprint(box)}, {"address", strings.Join(others, "~")}, {"m_type", "132"},
		{"ct_t", "application/vnd.wap.multipart.related"}, {"sub", "null"}, {"read", "1"}, {"m_id", identifier(r)}, {"sub_id", "-1"}, {"contact_name", "(Unknown)"}} {
		attribute(b, a[0], a[1])
	}
	b.WriteString(">\n    <parts>\n      <part")
	for _, a := range [][2]string{{"seq", "0"}, {"ct", "text/plain"}, {"name", "null"}, {"chset", "106"}, {"cl", "text.txt"}, {"text", say(r, 5)}} {
		attribute(b, a[0], a[1])
	}
	b.WriteString(" />\n")
	parts = 1
	if r.IntN(2) == 0 {
		parts++
		data := make([]byte, 1000+r.IntN(4000))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		b.WriteString("      <part")
		for _, a := range [][2]string{{"seq", "1"}, {"ct", "image/jpeg"}, {"name", "image.jpg"}, {"chset", "null"}, {"cl", "image.jpg"}, {"text", "null"}, {"data", base64.StdEncoding.EncodeToString(data)}} {
			attribute(b, a[0], a[1])
		}
		b.WriteString(" />\n")
	}
	b.WriteString("    </parts>\n    <addrs>\n")
	for i, o := range others {
		role := "151"
		if i == 0 && box == 1 {
			role = "137"
		}
		b.WriteString("      <addr")
		for _, a := range [][2]string{{"address", o}, {"type", role}, {"charset", "106"}} {
			attribute(b, a[0], a[1])
		}
		b.WriteString(" />\n")
	}
	b.WriteString("    </addrs>\n  </mms>\n")
	return parts
}

// Calls writes n calls as SMS Backup & Restore does.
func Calls(w io.Writer, n int, seed uint64) (Contents, error) {
	b := bufio.NewWriterSize(w, 1<<16)
	fmt.Fprintf(b, "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<calls count=\"%d\">\n", n)
	for i := range n {
		r := numbered(seed, "call", i)
		date := stamp.AddDate(-2, 0, 0).UnixMilli() + int64(i)*3_600_000 + r.Int64N(3_600_000)
		b.WriteString("  <call")
		for _, a := range [][2]string{{"number", fmt.Sprintf("+4917%08d", r.IntN(400)*7919)}, {"duration", fmt.Sprint(r.IntN(3000))}, {"date", fmt.Sprint(date)}, {"type", fmt.Sprint(1 + r.IntN(6))},
			{"presentation", "1"}, {"subscription_id", "null"}, {"readable_date", time.UnixMilli(date).UTC().Format("Jan 2, 2006 15:04:05")}, {"contact_name", "(Unknown)"}} {
			attribute(b, a[0], a[1])
		}
		b.WriteString(" />\n")
	}
	b.WriteString("</calls>\n")
	return Contents{Records: n}, b.Flush()
}
