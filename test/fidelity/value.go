package fidelity

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Separators within a compared value; none of them can be typed into a text.
const (
	component = "\x1f" // between the components of a structured value
	element   = "\x1e" // between the elements of a list
)

// What values consist of. A name that is in none of these is text of unknown structure: its separators count for Strict.
var (
	structured = names("N ADR ORG GENDER CLIENTPIDMAP REQUEST-STATUS X-ANDROID-CUSTOM X-PHONETIC-ORG")
	lists      = names("CATEGORIES NICKNAME RESOURCES EXDATE RDATE FREEBUSY")
	rules      = names("RRULE EXRULE")
	dates      = names("BDAY ANNIVERSARY DEATHDATE X-ANNIVERSARY X-EVOLUTION-ANNIVERSARY X-KADDRESSBOOK-X-ANNIVERSARY X-MS-ANNIVERSARY")
	texts      = names("FN NOTE TITLE ROLE LABEL SUMMARY DESCRIPTION LOCATION COMMENT CONTACT NAME MAILER SORT-STRING UID URL EMAIL TEL " +
		"X-ABLABEL X-WR-CALNAME X-WR-CALDESC TZNAME TZID ATTENDEE ORGANIZER IMPP RELATED MEMBER SOURCE KIND LANG XML")
	media = names("PHOTO LOGO SOUND KEY ATTACH IMAGE")
)

func names(s string) map[string]bool {
	m := map[string]bool{}
	for _, n := range strings.Fields(s) {
		m[n] = true
	}
	return m
}

// old reports whether a version has no general escapes: vCard 2.1, vCalendar 1.0.
func old(version string) bool { return version == "2.1" || version == "1.0" }

// property makes what is compared of a line. version is that of the component, path where it stands.
func (l *line) property(path, version string) Property {
	p := Property{Path: path, Name: l.name, Raw: l.value, Line: l.number, group: l.group}
	if l.name == "" {
		p.Value, p.Raw = strings.TrimRight(decodeCharset(l.text, ""), " \t"), l.text
		return p
	}
	r := reader{line: l, version: version, name: l.name}
	p.Value, p.form = r.read(l.value, old(version))
	if old(version) {
		p.others = r.others()
	}
	p.params = l.strictParams()
	if r.binary {
		p.params = l.mediaParams(r.mediaType)
		p.form = ""
	}
	return p
}

// reader decodes one value in one or several ways.
type reader struct {
	line          *line
	version, name string
	binary        bool
	mediaType     string
}

// others are the readings that a translator of an old version may choose instead.
func (r *reader) others() (out []string) {
	for _, raw := range []string{r.line.value, r.line.other} {
		for _, literal := range []bool{true, false} {
			v, _ := r.read(raw, literal)
			out = append(out, v)
		}
	}
	if r.line.quotedPrintable() && strings.Contains(strings.ToUpper(r.line.value), "=3B") { // a semicolon that was encoded is no separator
		v, _ := r.read(regexp.MustCompile(`(?i)=3B`).ReplaceAllString(r.line.value, `=5C=3B`), false)
		out = append(out, v)
	}
	if lists[r.name] { // vCard 2.1 knows no lists
		v, _ := r.read(strings.ReplaceAll(r.line.value, ",", `\,`), false)
		out = append(out, v)
	}
	return out
}

// read decodes a value. literal says that backslashes are but for those before a semicolon.
func (r *reader) read(raw string, literal bool) (value, form string) {
	if r.line.base64() {
		if b, ok := lenientBase64(raw); ok {
			r.binary, r.mediaType = true, r.line.mediaType()
			return digest(b), ""
		}
		return strings.Join(strings.Fields(raw), ""), ""
	}
	if t, b, ok := dataURI(raw); ok && (media[r.name] || strings.HasPrefix(r.name, "X-")) {
		r.binary, r.mediaType = true, t
		return digest(b), ""
	}
	if r.line.quotedPrintable() {
		raw = decodeQP(raw)
	}
	raw = newlines.Replace(decodeCharset(raw, r.line.get("CHARSET")))
	return r.text(raw, literal)
}

var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// text normalises a decoded value by the structure that its property has.
func (r *reader) text(raw string, literal bool) (value, form string) {
	name := r.name
	switch {
	case name == "N" || name == "ADR" || name == "ORG" || structured[name] || name == "SOUND" && strings.Contains(raw, ";"):
		parts, forms := []string{}, []string{}
		for _, c := range splitEscaped(raw, ";") {
			parts = append(parts, unescape(c, literal))
			forms = append(forms, commas(c, r.version))
		}
		return strings.Join(trimEmpty(parts), component), strings.Join(trimEmpty(forms), component)
	case lists[name]:
		separators := ","
		if r.version == "1.0" {
			separators = ",;"
		}
		parts := splitEscaped(raw, separators)
		for i, c := range parts {
			parts[i] = strings.TrimSpace(unescape(c, literal))
		}
		slices.Sort(parts)
		return strings.Join(trimEmpty(parts), element), ""
	case rules[name]:
		parts := strings.Split(strings.ToUpper(strings.TrimSpace(raw)), ";")
		slices.Sort(parts)
		return strings.Trim(strings.Join(parts, ";"), ";"), ""
	case dates[name]:
		return compactDate(strings.TrimSpace(raw)), ""
	}
	value = unescape(raw, literal)
	switch name {
	case "UID", "MEMBER", "RELATED":
		value = bareUUID(value)
	case "TEL":
		value = strings.TrimPrefix(value, "tel:")
	case "GEO":
		value = strings.ReplaceAll(strings.TrimPrefix(value, "geo:"), ";", ",")
	}
	if texts[name] || name == "GEO" {
		return value, ""
	}
	return value, separators(raw)
}

// splitEscaped cuts at separators that no backslash precedes.
func splitEscaped(s, at string) (out []string) {
	start := 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '\\':
			i++
		case strings.IndexByte(at, s[i]) >= 0:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// unescape undoes backslashes. literal undoes only those before semicolons.
func unescape(s string, literal bool) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch c := s[i]; {
		case c == ';':
			b.WriteByte(c)
		case literal:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == 'n' || c == 'N':
			b.WriteByte('\n')
		case c == '\\' || c == ',' || c == ':' || c == '"':
			b.WriteByte(c)
		default:
			b.WriteByte('\\')
			b.WriteByte(c)
		}
	}
	return b.String()
}

// commas tells the lists in a component of a structured value, which only the newer versions have.
func commas(s, version string) string {
	if old(version) {
		return ""
	}
	if n := len(splitEscaped(s, ",")); n > 1 {
		return fmt.Sprint(n)
	}
	return ""
}

// separators tells where a value of unknown structure has some.
func separators(s string) string {
	return fmt.Sprintf("%d;%d", len(splitEscaped(s, ";")), len(splitEscaped(s, ",")))
}

func trimEmpty(parts []string) []string {
	for len(parts) > 0 && strings.TrimSpace(parts[len(parts)-1]) == "" {
		parts = parts[:len(parts)-1]
	}
	return parts
}

var (
	extendedDate = regexp.MustCompile(`^(\d{4}-|--)(\d{2})-(\d{2})(T.*)?$`)
	extendedTime = regexp.MustCompile(`^(T\d{2}):(\d{2})(?::(\d{2}))?(.*)$`)
	uuid         = regexp.MustCompile(`(?i)^(?:urn:uuid:)?([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)
)

// compactDate writes a date or time of vCard 3.0 as 4.0 does.
func compactDate(s string) string {
	m := extendedDate.FindStringSubmatch(s)
	if m == nil {
		return s
	}
	year := m[1]
	if year != "--" {
		year = year[:4]
	}
	return year + m[2] + m[3] + extendedTime.ReplaceAllString(m[4], "$1$2$3$4")
}

func bareUUID(s string) string {
	if m := uuid.FindStringSubmatch(strings.TrimSpace(s)); m != nil {
		return strings.ToLower(m[1])
	}
	return s
}

// digest stands for bytes in a comparison.
func digest(b []byte) string { return fmt.Sprintf("%d bytes %x", len(b), sha256.Sum256(b)) }

func lenientBase64(s string) ([]byte, bool) {
	s = strings.TrimRight(strings.Join(strings.Fields(s), ""), "=")
	b, err := base64.RawStdEncoding.DecodeString(s)
	return b, err == nil && len(b) > 0
}

func dataURI(s string) (mediaType string, b []byte, ok bool) {
	if len(s) < 5 || !strings.EqualFold(s[:5], "data:") {
		return "", nil, false
	}
	head, body, ok := strings.Cut(s[5:], ",")
	if !ok {
		return "", nil, false
	}
	head = strings.ReplaceAll(head, `\`, "")
	if t, is := strings.CutSuffix(head, ";base64"); is {
		b, ok = lenientBase64(body)
		return subtype(t), b, ok
	}
	text, err := url.PathUnescape(body)
	return subtype(head), []byte(text), err == nil
}

// subtype names a media type as old cards do: "image/jpeg" and "JPEG" are "jpeg".
func subtype(s string) string {
	s, _, _ = strings.Cut(s, ";")
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		s = s[i+1:]
	}
	return strings.ToLower(strings.TrimSpace(s))
}

func (l *line) mediaType() string {
	for _, n := range []string{"MEDIATYPE", "FMTTYPE", "TYPE"} {
		if t := l.get(n); t != "" {
			return subtype(t)
		}
	}
	for _, p := range l.params {
		if p.name == "" && len(p.values) == 1 && !encodingWord(p.values[0]) {
			return subtype(p.values[0])
		}
	}
	return ""
}

func encodingWord(s string) bool {
	switch strings.ToUpper(s) {
	case "BASE64", "B", "QUOTED-PRINTABLE", "8BIT", "7BIT":
		return true
	}
	return false
}

// mediaParams are the parameters of a binary value: those that say how it is written are left out.
func (l *line) mediaParams(mediaType string) string {
	rest := line{}
	for _, p := range l.params {
		switch p.name {
		case "", "TYPE", "MEDIATYPE", "FMTTYPE", "VALUE", "X-FILENAME-ENCODING":
		default:
			rest.params = append(rest.params, p)
		}
	}
	return mediaType + " " + rest.strictParams()
}

// strictParams writes the parameters in one order, without those that say how the value is encoded.
func (l *line) strictParams() string {
	sets := map[string][]string{}
	for _, p := range l.params {
		name := p.name
		if name == "" {
			name = bareName(p.values[0])
		}
		if name == "ENCODING" || name == "CHARSET" {
			continue
		}
		for _, v := range p.values {
			v = decodeCharset(v, "")
			if name == "TYPE" || name == "VALUE" {
				v = strings.ToLower(strings.TrimSpace(v))
			}
			if !slices.Contains(sets[name], v) {
				sets[name] = append(sets[name], v)
			}
		}
	}
	if l.name == "TEL" { // tel:+1 is how +1 is written as a URI
		delete(sets, "VALUE")
	}
	var out []string
	for n, vs := range sets {
		slices.Sort(vs)
		out = append(out, n+"="+strings.Join(vs, element))
	}
	slices.Sort(out)
	return strings.Join(out, component)
}

// bareName is the name that a parameter without one has: vCard 2.1 leaves out TYPE, ENCODING and VALUE.
func bareName(v string) string {
	switch strings.ToUpper(v) {
	case "BASE64", "B", "QUOTED-PRINTABLE", "8BIT", "7BIT":
		return "ENCODING"
	case "INLINE", "CONTENT-ID", "CID":
		return "VALUE"
	}
	return "TYPE"
}
