package calendar

import (
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// once are the properties that a component has at most once (RFC 5545 3.6, RFC 7986 4).
var once = map[string]string{
	"VCALENDAR": " PRODID VERSION CALSCALE METHOD ",
	"VEVENT": " DTSTAMP UID DTSTART CLASS CREATED DESCRIPTION GEO LAST-MODIFIED LOCATION ORGANIZER PRIORITY SEQUENCE STATUS SUMMARY TRANSP " +
		"URL RECURRENCE-ID DTEND DURATION COLOR ",
	"VTODO": " DTSTAMP UID DTSTART CLASS COMPLETED CREATED DESCRIPTION GEO LAST-MODIFIED LOCATION ORGANIZER PERCENT-COMPLETE PRIORITY " +
		"SEQUENCE STATUS SUMMARY URL RECURRENCE-ID DUE DURATION COLOR ",
	"VJOURNAL":  " DTSTAMP UID DTSTART CLASS CREATED DESCRIPTION LAST-MODIFIED ORGANIZER SEQUENCE STATUS SUMMARY URL RECURRENCE-ID COLOR ",
	"VFREEBUSY": " DTSTAMP UID DTSTART DTEND DURATION CONTACT ORGANIZER URL ",
	"VALARM":    " ACTION TRIGGER DURATION REPEAT DESCRIPTION SUMMARY ACKNOWLEDGED ",
	"VTIMEZONE": " TZID LAST-MODIFIED TZURL ",
	"STANDARD":  " DTSTART TZOFFSETFROM TZOFFSETTO RRULE ",
	"DAYLIGHT":  " DTSTART TZOFFSETFROM TZOFFSETTO RRULE ",
}

// texts are the properties whose value is one text.
const texts = " SUMMARY DESCRIPTION LOCATION COMMENT CONTACT RELATED-TO UID CLASS STATUS TRANSP ACTION METHOD CALSCALE NAME COLOR "

// maxParams is how many parameters a property may have: with more it is taken for no property.
const maxParams = 200

// links are the properties whose value is a URI.
const links = " URL ATTACH IMAGE CONFERENCE SOURCE TZURL "

func within(list, name string) bool { return strings.Contains(list, " "+name+" ") }

// repair mends the object for a target that parses strictly.
func (s *shaper) repair() {
	for c := range s.cal.All() {
		if c.End == nil {
			c.Close()
			s.note(c, "", item.EffectRepaired, "it had no end", "", "")
		}
		s.componentName(c)
		s.lines(c)
		s.singles(c)
	}
	s.header()
	s.zones()
	s.nameZones()
	s.identify()
	for c := range s.tops() {
		s.component(c)
	}
	s.master()
}

// componentName gives a component a name that parsers take.
func (s *shaper) componentName(c *contentline.Component) {
	if validName(c.Name) {
		return
	}
	before := c.Name
	c.Name = "X-" + strings.Map(func(r rune) rune {
		if r < 0x80 && validName(string(r)) {
			return r
		}
		return -1
	}, c.Name)
	c.Begin.SetValue(c.Name)
	c.End.SetValue(c.Name)
	s.note(c, "", item.EffectRepaired, "its name was none", before, c.Name)
}

// lines mends what no parser takes, whatever the property means.
func (s *shaper) lines(c *contentline.Component) {
	for p := range c.Properties() {
		if strings.TrimSpace(string(p.Raw())) == "" {
			continue
		}
		if name := p.Name(); !validName(name) || name == "BEGIN" || name == "END" || len(p.Params()) > maxParams {
			s.strange(c, p)
			continue
		}
		if g := p.Group(); g != "" {
			before := lineOf(p)
			p.SetGroup("")
			p.SetParam("X-GROUP", g)
			s.note(c, p.Name(), item.EffectAltered, "its group is a parameter: calendars have no groups", before, lineOf(p))
		}
		s.params(c, p)
		s.encoding(c, p)
		s.characters(c, p)
		s.text(c, p)
	}
}

func validName(name string) bool {
	for _, c := range []byte(name) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return name != ""
}

// strange keeps a line that is no property as the text of one.
func (s *shaper) strange(c *contentline.Component, p *contentline.Property) {
	raw := oneLine(string(p.Raw()))
	text := clean(decode(raw))
	q := contentline.NewProperty(contentline.ICal20, s.brk, kept+"LINE")
	q.SetValue(contentline.Escape(text, contentline.ICal20))
	*p = *q
	s.note(c, "", item.EffectMoved, "the line is no property", raw, kept+"LINE:"+text)
}

// params mends parameters: those without a name, with quotes inside, or empty ones.
func (s *shaper) params(c *contentline.Component, p *contentline.Property) {
	params := p.Params()
	if len(params) == 0 {
		return
	}
	before := lineOf(p)
	var out []contentline.Param
	for _, q := range params {
		switch {
		case q.Name == "" && len(q.Values) > 0 && q.Values[0] == "":
			continue
		case q.Name == "":
			q.Name = bareParam(q.Values)
		case !validName(q.Name):
			q = contentline.Param{Name: "X-PARAM", Values: []string{q.Name + "=" + strings.Join(q.Values, ",")}}
		}
		q.Values = slices.Clone(q.Values)
		for i, v := range q.Values {
			lines := strings.Split(decode(v), "\n") // a break has an escape here (RFC 6868)
			for i, line := range lines {
				lines[i] = clean(line)
			}
			v = strings.ReplaceAll(strings.Join(lines, "\n"), `"`, "'")
			if q.Name != "ENCODING" && strings.Contains(strings.ToUpper(v), quotedPrintable) {
				v = "QP" // else a value that ends with "=" takes the next line along
			}
			q.Values[i] = v
		}
		if len(q.Values) == 1 && q.Values[0] == "" && q.Name != "CN" {
			continue
		}
		if i := slices.IndexFunc(out, func(o contentline.Param) bool { return o.Name == q.Name }); i >= 0 {
			out[i].Values = slices.Concat(out[i].Values, q.Values)
			continue
		}
		out = append(out, q)
	}
	p.SetParams(out)
	if after := lineOf(p); after != before {
		s.note(c, p.Name(), item.EffectRepaired, "its parameters are not well formed", before, after)
	}
	p.QuoteCarets()
}

const quotedPrintable = "QUOTED-PRINTABLE"

// bareParam returns the name of a parameter without one.
func bareParam(values []string) string {
	switch strings.ToUpper(strings.Join(values, ",")) {
	case quotedPrintable, "BASE64", "8BIT", "7BIT":
		return "ENCODING"
	}
	return "X-TYPE"
}

// lineOf returns a property as it is written, without folds.
func lineOf(p *contentline.Property) string { return oneLine(string(p.Raw())) }

// encoding undoes quoted-printable and charsets, which iCalendar has not, and mends base64.
func (s *shaper) encoding(c *contentline.Component, p *contentline.Property) {
	encoding, has := p.Param("ENCODING")
	charset, _ := p.Param("CHARSET")
	if !has && charset == "" {
		return
	}
	switch strings.ToUpper(encoding) {
	case quotedPrintable, "Q", "QP", "":
		before, text := lineOf(p), p.Text()
		p.SetParam("ENCODING")
		p.SetParam("CHARSET")
		p.SetValue(contentline.Escape(text, contentline.ICal20))
		s.note(c, p.Name(), item.EffectRepaired, "it is plain text: iCalendar has no "+strings.ToLower(strings.TrimSpace(encoding+" "+charset)), before, lineOf(p))
	case "BASE64", "B":
		if _, _, ok := p.Binary(); !ok {
			s.keep(c, p, "it is no base64")
		}
	default:
		before := lineOf(p)
		p.SetParam("ENCODING")
		p.SetParam("CHARSET")
		s.note(c, p.Name(), item.EffectAltered, "iCalendar has no such encoding of text", before, lineOf(p))
	}
}

// characters mends what is not UTF-8 and takes control characters out.
func (s *shaper) characters(c *contentline.Component, p *contentline.Property) {
	v := p.Value()
	mended := clean(decode(v))
	if mended == v {
		return
	}
	why := "it had control characters"
	if !utf8.ValidString(v) {
		why = "it was not in UTF-8: read as Windows-1252"
		v = strings.ToValidUTF8(v, "\ufffd")
	}
	p.SetValue(mended)
	s.note(c, p.Name(), item.EffectRepaired, why, v, mended)
}

// decode reads text that is no UTF-8 as what old programs most often wrote.
func decode(v string) string {
	if utf8.ValidString(v) {
		return v
	}
	out, err := charmap.Windows1252.NewDecoder().String(v)
	if err != nil {
		return strings.ToValidUTF8(v, "\ufffd")
	}
	return out
}

func clean(v string) string {
	if !strings.ContainsFunc(v, isControl) {
		return v
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return -1
		}
		return r
	}, v)
}

// isControl reports what iCalendar has no place for, and what ends a line for some parsers.
func isControl(r rune) bool {
	return r < 0x20 && r != '\t' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x2028 || r == 0x2029
}

// text escapes commas in texts, where servers end the value else.
func (s *shaper) text(c *contentline.Component, p *contentline.Property) {
	v, name := p.Value(), p.Name()
	value, _ := p.Param("VALUE")
	if e, _ := p.Param("ENCODING"); e != "" || strings.EqualFold(value, "BINARY") {
		return
	}
	switch {
	case within(texts, name):
		if badEscapes(v) || strings.Contains(bare(v), ",") {
			s.set(c, p, contentline.Escape(contentline.Unescape(v, contentline.ICal20), contentline.ICal20), item.EffectRepaired, "its commas and backslashes are escaped")
		}
	case within(links, name):
		if strings.Contains(bare(v), ",") {
			if low := strings.ToLower(v); strings.HasPrefix(low, "http:") || strings.HasPrefix(low, "https:") {
				s.set(c, p, strings.ReplaceAll(strings.ReplaceAll(v, `\,`, ","), ",", "%2C"), item.EffectAltered, "a comma in an address is written %2C: servers cut it off else")
			} else {
				s.set(c, p, escapeCommas(v), item.EffectAltered, "its commas are escaped: servers cut it off else")
			}
		}
	case strings.HasPrefix(name, "X-"):
		if strings.Contains(bare(v), ",") {
			s.set(c, p, escapeCommas(v), item.EffectAltered, "its commas are escaped: servers cut it off else")
		}
	}
}

// bare returns a value without what is escaped.
func bare(v string) string {
	if !strings.Contains(v, `\`) {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' {
			i++
			continue
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

func badEscapes(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] == '\\' {
			if i++; i == len(v) || !strings.ContainsRune(`\;,nN`, rune(v[i])) {
				return true
			}
		}
	}
	return false
}

// escapeCommas puts a backslash before each comma that has none.
func escapeCommas(v string) string {
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		switch {
		case v[i] == '\\' && i+1 < len(v):
			b.WriteByte(v[i])
			i++
		case v[i] == ',':
			b.WriteByte('\\')
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// singles leaves one of each property that a component has at most once.
func (s *shaper) singles(c *contentline.Component) {
	list := once[c.Name]
	if list == "" {
		return
	}
	first := map[string]*contentline.Property{}
	gone := map[*contentline.Property]bool{}
	for p := range c.Properties() {
		name := p.Name()
		if !within(list, name) {
			continue
		}
		f := first[name]
		switch {
		case f == nil:
			first[name] = p
		case strings.TrimSpace(f.Value()) == strings.TrimSpace(p.Value()):
			gone[p] = true
			s.note(c, name, item.EffectRepaired, "it was there twice with the same value", p.Value(), "")
		case name == "SUMMARY" || name == "DESCRIPTION" || name == "LOCATION":
			if c.Name == "VALARM" {
				s.keep(c, p, "there is another one, and only one can be")
				continue
			}
			p.SetName("COMMENT")
			s.note(c, name, item.EffectMoved, "there is another one, and only one can be", p.Value(), "COMMENT:"+p.Value())
		default:
			if newer(name, p.Value(), f.Value()) {
				first[name], p, f = p, f, p
			}
			s.keep(c, p, "there is another one, and only one can be")
		}
	}
	if len(gone) > 0 {
		c.DeleteFunc(func(n contentline.Node) bool { return gone[n.Property] })
	}
}

// newer reports whether of two values of a property that tells the version the first is the later one.
func newer(name, a, b string) bool {
	switch name {
	case "SEQUENCE":
		x, _ := strconv.Atoi(a)
		y, _ := strconv.Atoi(b)
		return x > y
	case "LAST-MODIFIED", "DTSTAMP":
		x, okX := mendMoment(a)
		y, okY := mendMoment(b)
		return okX && (!okY || x.String() > y.String())
	}
	return false
}

// header mends the properties of the VCALENDAR itself.
func (s *shaper) header() {
	cal := s.cal
	if v := cal.Get("VERSION"); v == nil {
		s.add(cal, "VERSION", "2.0", "every calendar has one")
		moveFirst(cal, "VERSION")
	} else if strings.TrimSpace(v.Value()) != "2.0" {
		s.set(cal, v, "2.0", item.EffectRepaired, "it is iCalendar 2.0")
	}
	if cal.Get("PRODID") == nil {
		s.add(cal, "PRODID", prodID, "every calendar has one")
	}
	if m := cal.Get("METHOD"); m != nil {
		s.keep(cal, m, "a stored calendar has none (RFC 4791 4.1)")
	}
}

func moveFirst(c *contentline.Component, name string) {
	p := c.Get(name)
	c.Remove(p)
	c.Insert(0, contentline.Node{Property: p})
}

// identify gives components without UID one.
func (s *shaper) identify() {
	s.uid = "" // it may have been mended
	for c := range s.tops() {
		if s.uid = strings.TrimSpace(c.Text("UID")); s.uid != "" {
			break
		}
	}
	for c := range s.tops() {
		switch c.Name {
		case "VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY":
		default:
			continue
		}
		p := c.Get("UID")
		if p != nil && strings.TrimSpace(p.Value()) != "" {
			continue
		}
		if p != nil {
			c.Remove(p)
		}
		if s.uid == "" {
			s.uid = syntheticUID(c, s.record.Book)
		}
		s.add(c, "UID", s.uid, "the target needs one; it is made of the start, the summary and the rule, and so the same each time")
	}
}

// master makes sure that one component stands for the whole series.
func (s *shaper) master() {
	var first *contentline.Component
	for c := range s.tops() {
		switch c.Name {
		case "VEVENT", "VTODO", "VJOURNAL":
		default:
			return
		}
		if c.Get("RECURRENCE-ID") == nil {
			return
		}
		if first == nil {
			first = c
		}
	}
	if first != nil {
		const why = "the series that it belongs to is not there"
		s.note(first, "", item.EffectAltered, why+": it stands for the whole of it", first.Get("RECURRENCE-ID").Value(), "")
		s.keep(first, first.Get("RECURRENCE-ID"), why)
	}
}

// component mends an event, task, journal entry or list of busy times.
func (s *shaper) component(c *contentline.Component) {
	s.dates(c)
	if c.Name == "VEVENT" || c.Name == "VTODO" || c.Name == "VJOURNAL" || c.Name == "VFREEBUSY" {
		s.stamp(c)
	}
	s.span(c)
	s.recurrence(c)
	s.geo(c)
	for inner := range c.All() {
		if inner.Name == "VALARM" {
			s.alarm(inner)
		}
	}
}

// geo mends positions with a comma, and keeps what is none.
func (s *shaper) geo(c *contentline.Component) {
	for p := range c.Properties() {
		if p.Name() != "GEO" {
			continue
		}
		fields := strings.FieldsFunc(strings.ReplaceAll(p.Value(), `\`, ""), func(r rune) bool { return r == ';' || r == ',' || r == ' ' })
		for _, f := range fields {
			if _, err := strconv.ParseFloat(f, 64); err != nil {
				fields = nil
				break
			}
		}
		if len(fields) != 2 {
			s.keep(c, p, "it is no position")
			continue
		}
		s.set(c, p, strings.Join(fields, ";"), item.EffectRepaired, "latitude and longitude have a semicolon between them")
	}
}

// alarm gives an alarm what it must have.
func (s *shaper) alarm(c *contentline.Component) {
	if p := c.Get("ACTION"); p == nil {
		s.add(c, "ACTION", "DISPLAY", "every alarm has one")
	}
	p := c.Get("TRIGGER")
	if p == nil {
		s.add(c, "TRIGGER", "PT0S", "every alarm has one; this is at the start")
	} else {
		s.trigger(c, p)
	}
	if d := c.Get("DURATION"); d != nil {
		s.duration(c, d)
	}
}

func (s *shaper) trigger(c *contentline.Component, p *contentline.Property) {
	v := p.Value()
	if d, ok := mendDuration(v); ok {
		s.set(c, p, d, item.EffectRepaired, "it was no duration")
		if value, _ := p.Param("VALUE"); value != "" && !strings.EqualFold(value, "DURATION") {
			before := lineOf(p)
			p.SetParam("VALUE")
			s.note(c, "TRIGGER", item.EffectRepaired, "its value is a duration", before, lineOf(p))
		}
		return
	}
	m, ok := mendMoment(v)
	if !ok {
		s.keep(c, p, "it is neither a time nor a duration")
		s.add(c, "TRIGGER", "PT0S", "every alarm has one; this is at the start")
		return
	}
	if value, _ := p.Param("VALUE"); !strings.EqualFold(value, "DATE-TIME") {
		before := lineOf(p)
		p.SetParam("VALUE", "DATE-TIME")
		s.note(c, "TRIGGER", item.EffectRepaired, "its value is a time", before, lineOf(p))
	}
	s.utc(c, p, m)
}

// duration mends one, or keeps it under another name.
func (s *shaper) duration(c *contentline.Component, p *contentline.Property) bool {
	d, ok := mendDuration(p.Value())
	if !ok {
		s.keep(c, p, "it is no duration")
		return false
	}
	s.set(c, p, d, item.EffectRepaired, "it was no duration")
	return true
}
