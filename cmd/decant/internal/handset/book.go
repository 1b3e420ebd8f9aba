package handset

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

var (
	given  = strings.Fields("Ana Bjørn Chloé Dmitri Élodie Fatima Grace Hiroshi Ines José Khadija Liam Mei Nuño Olga Péter Qiang Rosa Søren Tomás Uma Vera Wanjiru Xiu Yara Zoë")
	family = strings.Fields("Almeida Brown Čapek Dubois Eriksson Fernández García Haddad Ivanova Jones Kowalski Li Müller Nakamura O'Neil Petrović Quinn Rossi Şahin Tanaka Ünal Virtanen Wang Yılmaz Zhang")
	kinds  = []string{"CELL", "HOME", "WORK"}
)

// person is one made-up contact.
type person struct {
	given, family, phone, mail, uid, note string
	category                              string
	photo                                 []byte
	index                                 int
}

func somebody(o Options, series string, i int) person {
	r := generator(o, series, i)
	p := person{given: pick(r, given), family: pick(r, family), index: i, note: strings.TrimSpace(strings.ReplaceAll(prose(r, 10+r.IntN(200)), "\n", " ")),
		phone: fmt.Sprintf("+%d 555 %03d %04d", 1+r.IntN(90), r.IntN(1000), r.IntN(10000)), category: pick(r, []string{"Friends", "Family", "Work", "Choir"})}
	p.mail = fmt.Sprintf("person%d@example.org", r.IntN(100000))
	p.uid = fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48))
	if i%9 == 0 {
		p.photo = make([]byte, 700+r.IntN(2000))
		fill(r, p.photo)
		copy(p.photo, "\xff\xd8\xff\xe0")
	}
	return p
}

// books returns three address books, in the three versions of the format.
func books(o Options) []file {
	return []file{
		book("Contacts/contacts.vcf", o, "phone", 120, person.card21),
		book("Contacts/work.vcf", o, "work", 80, person.card30),
		book("Contacts/family and friends.vcf", o, "family", 60, person.card40),
	}
}

func book(path string, o Options, series string, count int, card func(person, *lines)) file {
	return file{path: path, perm: 0o600, mtime: moment(generator(o, path, 0)), data: func(*rand.Rand) []byte {
		var l lines
		for i := range count {
			card(somebody(o, series, i), &l)
		}
		return l.out
	}}
}

// lines is a file of content lines.
type lines struct{ out []byte }

// add adds a line, folded at 75 bytes between characters.
func (l *lines) add(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	for limit := 75; len(s) > limit; limit = 74 {
		cut := limit
		for s[cut]&0xc0 == 0x80 {
			cut--
		}
		l.out = append(append(l.out, s[:cut]...), "\r\n "...)
		s = s[cut:]
	}
	l.out = append(append(l.out, s...), "\r\n"...)
}

// raw adds a line as it is.
func (l *lines) raw(s string) { l.out = append(append(l.out, s...), "\r\n"...) }

// quoted adds a line in quoted-printable with soft breaks, as vCard 2.1 has it.
func (l *lines) quoted(name, value string) {
	line := name + ";CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:"
	for i := range len(value) {
		next := string(value[i])
		if c := value[i]; c < 0x20 || c > 0x7e || c == '=' {
			next = fmt.Sprintf("=%02X", c)
		}
		if len(line)+len(next) > 75 {
			l.raw(line + "=")
			line = ""
		}
		line += next
	}
	l.raw(line)
}

func escaped(s string) string {
	return strings.NewReplacer(`\`, `\\`, ";", `\;`, ",", `\,`, "\n", `\n`).Replace(s)
}

func (p person) card21(l *lines) {
	l.raw("BEGIN:VCARD")
	l.raw("VERSION:2.1")
	l.quoted("N", p.family+";"+p.given+";;;")
	l.quoted("FN", p.given+" "+p.family)
	l.raw("TEL;" + kinds[p.index%3] + ":" + p.phone)
	l.raw("EMAIL;HOME:" + p.mail)
	l.quoted("NOTE", p.note)
	l.raw("X-ANDROID-CUSTOM:vnd.android.cursor.item/nickname;" + strings.ToLower(p.given[:1]) + ";1;;;;;;;;;;;;;")
	if p.photo != nil {
		l.raw("PHOTO;ENCODING=BASE64;JPEG:")
		for b := base64.StdEncoding.EncodeToString(p.photo); len(b) > 0; b = b[min(len(b), 72):] {
			l.raw(" " + b[:min(len(b), 72)])
		}
		l.raw("")
	}
	l.raw("END:VCARD")
}

func (p person) card30(l *lines) {
	l.add("BEGIN:VCARD")
	l.add("VERSION:3.0")
	l.add("N:%s;%s;;;", escaped(p.family), escaped(p.given))
	l.add("FN:%s %s", escaped(p.given), escaped(p.family))
	l.add("item1.TEL;type=CELL;type=VOICE;type=pref:%s", p.phone)
	l.add("item1.X-ABLabel:_$!<Mobile>!$_")
	l.add("item2.URL:https\\://example.org/~%d", p.index)
	l.add("item2.X-ABLabel:_$!<HomePage>!$_")
	l.add("EMAIL;type=INTERNET;type=WORK:%s", p.mail)
	l.add("CATEGORIES:%s,Everyone", p.category)
	l.add("NOTE:%s", escaped(p.note+"\nSecond line; with, punctuation"))
	if p.photo != nil {
		l.add("PHOTO;ENCODING=b;TYPE=JPEG:%s", base64.StdEncoding.EncodeToString(p.photo))
	}
	if p.index%2 == 0 {
		l.add("UID:%s", strings.ToUpper(p.uid))
	}
	l.add("END:VCARD")
}

func (p person) card40(l *lines) {
	l.add("BEGIN:VCARD")
	l.add("VERSION:4.0")
	l.add("UID:urn:uuid:%s", p.uid)
	if p.index%20 == 19 {
		l.add("KIND:group")
		l.add("FN:%s", p.category)
		l.add("MEMBER:urn:uuid:%s", p.uid)
		l.add("END:VCARD")
		return
	}
	l.add("FN:%s %s", escaped(p.given), escaped(p.family))
	l.add("N:%s;%s;;;", escaped(p.family), escaped(p.given))
	l.add("TEL;VALUE=uri;PREF=1;TYPE=\"voice,home\":tel:%s", strings.ReplaceAll(p.phone, " ", "-"))
	l.add("EMAIL;TYPE=home:%s", p.mail)
	l.add("BDAY:--%02d%02d", 1+p.index%12, 1+p.index%28)
	l.add("ADR;LABEL=\"1 Main Road: upstairs; left\":;;1 Main Road;Town;;12345;")
	l.add("NOTE:%s", escaped(p.note))
	if p.photo != nil {
		l.add("PHOTO:data:image/jpeg;base64,%s", base64.StdEncoding.EncodeToString(p.photo))
	}
	l.add("END:VCARD")
}
