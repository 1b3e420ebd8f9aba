package contact

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	cl "github.com/decant-dev/decant/node/kind/contentline"
)

// Normal forms are for comparing only; what is stored is what the source had.

// phones normalises telephone numbers. It remembers what it has seen.
type phones struct {
	region string
	seen   map[string]string
}

// E164 returns a number in the form of ITU-T E.164, with the extension behind an x, or,
// if it is none (a short code, a name, one with pauses), its digits and letters.
func (p *phones) E164(number string) string {
	number = strings.TrimSpace(number)
	number, _ = cutPrefixFold(number, "tel:")
	if s, ok := p.seen[number]; ok {
		return s
	}
	s := p.parse(number)
	const enough = 1 << 18
	if len(p.seen) < enough {
		p.seen[number] = s
	}
	return s
}

func (p *phones) parse(number string) string {
	const longest = 64
	if len(number) > longest {
		return number
	}
	number = strings.Replace(number, ";ext=", " ext. ", 1)
	if s, ok := plainE164(number); ok {
		return s
	}
	if strings.ContainsAny(number, ",;pPwW*#@") && !strings.Contains(strings.ToLower(number), "ext") {
		return "raw:" + strings.ToLower(strings.Map(noPunctuation, number)) // pauses, codes: dialled as they are
	}
	n, err := phonenumbers.Parse(number, p.region)
	const shortest = 7 // digits; shorter ones are codes that are the same in no other place
	if err != nil || !phonenumbers.IsPossibleNumber(n) || digits(number) < shortest {
		return "raw:" + strings.ToLower(strings.Map(noPunctuation, number))
	}
	s := phonenumbers.Format(n, phonenumbers.E164)
	if e := n.GetExtension(); e != "" {
		s += "x" + e
	}
	return s
}

// plainE164 is the short way for numbers that are written with a plus and digits.
func plainE164(number string) (string, bool) {
	if !strings.HasPrefix(number, "+") || strings.Contains(number, "(0)") {
		return "", false
	}
	var b strings.Builder
	b.WriteByte('+')
	for _, c := range []byte(number[1:]) {
		switch {
		case '0' <= c && c <= '9':
			b.WriteByte(c)
		case strings.IndexByte(" -./()", c) < 0:
			return "", false
		}
	}
	n := b.Len()
	return b.String(), n > 7 && n <= 16
}

func digits(s string) (n int) {
	for _, c := range []byte(s) {
		if '0' <= c && c <= '9' {
			n++
		}
	}
	return n
}

func noPunctuation(r rune) rune {
	if strings.ContainsRune(" -./()\u00a0\u2011", r) {
		return -1
	}
	return r
}

// mail returns an address as it is compared: in small letters. Everything before the @
// could differ by case, and does not anywhere.
func mail(s string) string {
	s, _ = cutPrefixFold(strings.TrimSpace(s), "mailto:")
	return strings.ToLower(s)
}

// foldText makes text comparable: one form for each character, no blanks that differ.
func foldText(s string) string {
	return strings.Join(strings.Fields(norm.NFC.String(s)), " ")
}

// honorifics are no part of a name that tells people apart.
var honorifics = map[string]bool{
	"mr": true, "mrs": true, "ms": true, "miss": true, "dr": true, "prof": true, "professor": true, "sir": true, "herr": true, "frau": true, "hr": true, "fr": true,
	"mme": true, "mlle": true, "m": true, "sr": true, "sra": true, "jr": true, "dipl": true, "ing": true, "phd": true, "md": true, "mag": true, "med": true, "ii": true, "iii": true,
}

var folder = cases.Fold()

// foldName makes a name comparable: without case, diacritics, punctuation and
// honorifics, and with the order of its words of no account ("Last, First").
func foldName(s string) string {
	const longest = 500
	if len(s) > longest {
		s = s[:longest]
	}
	s = folder.String(norm.NFKD.String(s))
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.Is(unicode.Mn, r):
			return -1
		case r == 'ß':
			return 's'
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			return r
		case r == '\'' || r == '’':
			return -1
		}
		return ' '
	}, s)
	words := strings.Fields(s)
	kept := slices.DeleteFunc(slices.Clone(words), func(w string) bool { return honorifics[w] })
	if len(kept) == 0 {
		kept = words
	}
	slices.Sort(kept)
	return strings.Join(kept, " ")
}

// url makes a URL comparable.
func foldURL(s string) string {
	s = strings.TrimSpace(s)
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		host, path, _ := strings.Cut(rest, "/")
		s = strings.ToLower(scheme+"://"+host) + "/" + path
	}
	return strings.TrimSuffix(s, "/")
}

// ignored are the properties that say something of the card and not of the person.
func ignored(name string) bool {
	switch name {
	case "", "VERSION", "UID", "REV", "PRODID", "BEGIN", "END", labelProperty, "X-ABUID", "CLIENTPIDMAP":
		return true
	}
	return false
}

// labelProperty is Apple's name for what a person calls a number, for all of a group.
const labelProperty = "X-ABLABEL"

// keys returns the normal forms of a property's values, each with the name before it:
// several for lists. Two properties with the same key say the same.
func keys(p *cl.Property, tel *phones) []string {
	name := p.Name()
	if n, ok := newNames[name]; ok {
		name = n
	}
	switch formOf(name) {
	case formTel:
		return []string{"TEL\x00" + tel.E164(p.Text())}
	case formComponents, formFields:
		return []string{name + "\x00" + componentsKey(p)}
	case formList:
		var out []string
		for _, v := range p.List() {
			if v = foldText(v); v != "" {
				out = append(out, name+"\x00"+v)
			}
		}
		return out
	case formBinary:
		if b, _, ok := p.Binary(); ok {
			sum := sha256.Sum256(b)
			return []string{name + "\x00" + hex.EncodeToString(sum[:])}
		}
		return []string{name + "\x00" + p.Text()}
	case formURI:
		return []string{name + "\x00" + foldURL(p.Text())}
	case formDate:
		return []string{name + "\x00" + dateKey(p)}
	case formGeo:
		v, _ := cutPrefixFold(p.Text(), "geo:")
		return []string{name + "\x00" + strings.ReplaceAll(v, ";", ",")}
	case formExtension, formRaw:
		if p.Encoding() == "BASE64" {
			return []string{name + "\x00" + strings.Map(noBlanks, p.Value())}
		}
		return []string{name + "\x00" + foldText(strings.ReplaceAll(p.Text(), `\`, ""))}
	}
	if name == "EMAIL" {
		return []string{"EMAIL\x00" + mail(p.Text())}
	}
	return []string{name + "\x00" + foldText(p.Text())}
}

func componentsKey(p *cl.Property) string {
	var fields []string
	for _, parts := range p.Components() {
		fields = append(fields, foldText(strings.Join(parts, ",")))
	}
	return strings.TrimRight(strings.Join(fields, ";"), ";")
}

// dateKey brings a date into the form of 4.0.
func dateKey(p *cl.Property) string {
	v := strings.TrimSpace(p.Text())
	if omit, ok := p.Param(omitYear); ok && strings.HasPrefix(v, omit+"-") {
		v = "--" + v[len(omit)+1:]
	}
	head, tail, _ := strings.Cut(v, "T")
	if strings.HasPrefix(head, "--") {
		head = "--" + strings.ReplaceAll(head[2:], "-", "")
	} else if len(head) == 10 {
		head = strings.ReplaceAll(head, "-", "")
	}
	tail = strings.Trim(strings.ReplaceAll(tail, ":", ""), "0Z")
	return head + "T" + tail
}
