package calendar

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// upgrade turns vCalendar 1.0 (versit, 1996) into iCalendar. What has no counterpart is
// kept under a name of ours; recurrences and alarms get the grammar of the new form.
func (s *shaper) upgrade() {
	if s.cal.Get("VERSION") == nil {
		s.add(s.cal, "VERSION", "2.0", "every calendar has one")
		moveFirst(s.cal, "VERSION")
	}
	for c := range s.cal.All() {
		var alarms []*contentline.Component
		for p := range c.Properties() {
			if p.Name() == "" {
				continue
			}
			if a := s.upgradeProperty(c, p); a != nil {
				alarms = append(alarms, a)
			}
		}
		if len(alarms) > 0 {
			c.DeleteFunc(func(n contentline.Node) bool {
				return n.Property != nil && (n.Property.Name() == "DALARM" || n.Property.Name() == "AALARM")
			})
			c.AppendComponent(alarms...)
		}
	}
}

// upgradeProperty turns one property over. It returns the alarm that the property is to become, if it is one.
func (s *shaper) upgradeProperty(c *contentline.Component, p *contentline.Property) *contentline.Component {
	switch name := p.Name(); name {
	case "VERSION":
		if before := p.Value(); before != "2.0" {
			s.modern(p, "2.0")
			s.note(c, name, item.EffectAltered, "vCalendar 1.0 is turned into iCalendar", before, "2.0")
		}
	case "CATEGORIES", "RESOURCES":
		s.list(c, p)
	case "EXDATE", "RDATE":
		s.set(c, p, strings.ReplaceAll(p.Value(), ";", ","), item.EffectAltered, "iCalendar has commas in lists")
	case "RRULE", "EXRULE":
		s.oldRule(c, p)
	case "DALARM", "AALARM":
		return s.oldAlarm(c, p)
	case "DCREATED":
		p.SetName("CREATED")
		s.note(c, name, item.EffectAltered, "it is called CREATED in iCalendar", p.Value(), "CREATED:"+p.Value())
	case "TRANSP":
		if v, ok := map[bool]string{true: "OPAQUE", false: "TRANSPARENT"}[p.Value() == "0"]; ok && isNumber(p.Value()) {
			s.set(c, p, v, item.EffectAltered, "iCalendar has words for it")
		}
	case "STATUS":
		s.oldStatus(c, p)
	case "GEO":
		if east, north, ok := strings.Cut(p.Value(), ","); ok {
			s.set(c, p, strings.TrimSpace(north)+";"+strings.TrimSpace(east), item.EffectAltered, "iCalendar has the latitude first")
		}
	case "ATTENDEE":
		s.oldAttendee(c, p)
	case "ATTACH":
		s.oldAttachment(c, p)
	case "DAYLIGHT", "TZ", "RNUM", "MALARM", "PALARM":
		text := p.Text()
		s.modern(p, text)
		s.keep(c, p, "iCalendar has no such property")
	default:
		if text := p.Text(); p.Encoding() != "" || len(p.Values("CHARSET")) > 0 || text != contentline.Unescape(p.Value(), contentline.ICal20) || contentline.Escape(text, contentline.ICal20) != p.Value() && within(texts, name) {
			before := lineOf(p)
			s.modern(p, text)
			if after := lineOf(p); after != before {
				s.note(c, name, item.EffectAltered, "its text is written as iCalendar does", before, after)
			}
		}
	}
	return nil
}

func isNumber(v string) bool { _, err := strconv.Atoi(v); return err == nil }

// modern gives a property a text in the form of iCalendar.
func (s *shaper) modern(p *contentline.Property, text string) {
	p.SetDialect(contentline.ICal20)
	unencode(p)
	p.SetValue(contentline.Escape(text, contentline.ICal20))
}

// unencode removes what a property says about its encoding.
func unencode(p *contentline.Property) {
	params := slices.DeleteFunc(p.Params(), func(q contentline.Param) bool {
		return q.Name == "ENCODING" || q.Name == "CHARSET" || q.Name == "" && bareParam(q.Values) == "ENCODING"
	})
	p.SetParams(params)
}

func (s *shaper) list(c *contentline.Component, p *contentline.Property) {
	before := lineOf(p)
	fields := p.Fields()
	for i, f := range fields {
		fields[i] = contentline.Escape(f, contentline.ICal20)
	}
	p.SetDialect(contentline.ICal20)
	unencode(p)
	p.SetValue(strings.Join(fields, ","))
	if after := lineOf(p); after != before {
		s.note(c, p.Name(), item.EffectAltered, "iCalendar has commas in lists", before, after)
	}
}

// oldStatus turns the states of 1996 into today's, where there are such.
func (s *shaper) oldStatus(c *contentline.Component, p *contentline.Property) {
	v := strings.ToUpper(strings.ReplaceAll(strings.TrimSpace(p.Text()), " ", "-"))
	switch {
	case v == "NEEDS-ACTION" && c.Name == "VTODO", v == "COMPLETED" && c.Name == "VTODO", v == "CONFIRMED" && c.Name == "VEVENT", v == "TENTATIVE" && c.Name == "VEVENT":
		s.set(c, p, v, item.EffectAltered, "it is written so in iCalendar")
	case v == "ACCEPTED" && c.Name == "VEVENT":
		s.set(c, p, "CONFIRMED", item.EffectAltered, "iCalendar has no status ACCEPTED of events")
	default:
		s.keep(c, p, "iCalendar has no such status")
	}
}

// oldAttendee turns "Name <address>" into a URI with a parameter, and STATUS into PARTSTAT.
func (s *shaper) oldAttendee(c *contentline.Component, p *contentline.Property) {
	before := lineOf(p)
	text := strings.TrimSpace(p.Text())
	name, address := "", text
	if i, j := strings.LastIndexByte(text, '<'), strings.LastIndexByte(text, '>'); i >= 0 && j > i {
		name, address = strings.Trim(text[:i], " \""), text[i+1:j]
	}
	p.SetDialect(contentline.ICal20)
	unencode(p)
	if v, ok := p.Param("STATUS"); ok {
		p.SetParam("STATUS")
		p.SetParam("PARTSTAT", strings.ReplaceAll(strings.ToUpper(v), " ", "-"))
	}
	if v, ok := p.Param("RSVP"); ok {
		p.SetParam("RSVP", map[bool]string{true: "TRUE", false: "FALSE"}[strings.EqualFold(v, "YES")])
	}
	if v, ok := p.Param("EXPECT"); ok {
		p.SetParam("EXPECT")
		p.SetParam("X-EXPECT", v)
	}
	if v, ok := p.Param("ROLE"); ok {
		p.SetParam("X-ROLE", v)
		p.SetParam("ROLE")
	}
	if name != "" {
		p.SetParam("CN", name)
	}
	if strings.Contains(address, "@") && !strings.Contains(address, ":") {
		address = "mailto:" + address
	}
	p.SetValue(address)
	if after := lineOf(p); after != before {
		s.note(c, "ATTENDEE", item.EffectAltered, "it is written as iCalendar does", before, after)
	}
}

func (s *shaper) oldAttachment(c *contentline.Component, p *contentline.Property) {
	before := lineOf(p)
	if data, mediaType, ok := p.Binary(); ok && p.Encoding() == "BASE64" {
		p.SetDialect(contentline.ICal20)
		unencode(p)
		p.SetBinary(data, mediaType)
	} else {
		text := p.Text()
		p.SetDialect(contentline.ICal20)
		unencode(p)
		p.SetParam("VALUE")
		p.SetValue(text)
	}
	if after := lineOf(p); after != before {
		s.note(c, "ATTACH", item.EffectAltered, "it is written as iCalendar does", before, after)
	}
}

// oldAlarm turns DALARM and AALARM (when;snooze;repeat;what) into a VALARM.
func (s *shaper) oldAlarm(c *contentline.Component, p *contentline.Property) *contentline.Component {
	fields := append(p.Fields(), "", "", "", "")
	m, ok := mendMoment(fields[0])
	if !ok || m.date {
		s.keep(c, p, "it does not say when")
		return nil
	}
	a := contentline.NewComponent("VALARM", contentline.ICal20, s.brk)
	put := func(name, value string, params ...contentline.Param) {
		q := contentline.NewProperty(contentline.ICal20, s.brk, name)
		q.SetParams(params)
		q.SetValue(value)
		a.Append(q)
	}
	if p.Name() == "AALARM" {
		put("ACTION", "AUDIO")
	} else {
		put("ACTION", "DISPLAY")
	}
	if d, ok := s.ahead(c, m); ok {
		put("TRIGGER", d)
	} else {
		m.utc = true
		put("TRIGGER", m.String(), contentline.Param{Name: "VALUE", Values: []string{"DATE-TIME"}})
	}
	if n, err := strconv.Atoi(strings.TrimSpace(fields[2])); err == nil && n > 0 {
		if d, ok := mendDuration(fields[1]); ok {
			put("DURATION", d)
			put("REPEAT", strconv.Itoa(n))
		}
	}
	what := strings.TrimSpace(fields[3])
	switch {
	case p.Name() == "AALARM" && what != "":
		put("ATTACH", what)
	case p.Name() == "DALARM":
		if what == "" {
			what = c.Text("SUMMARY")
		}
		put("DESCRIPTION", contentline.Escape(what, contentline.ICal20))
	}
	s.note(c, p.Name(), item.EffectAltered, "it is a VALARM in iCalendar", p.Value(), string(a.Bytes()))
	return a
}

// ahead returns how long after the start of a component an alarm goes off, if both are on the same clock.
func (s *shaper) ahead(c *contentline.Component, at moment) (string, bool) {
	p := c.Get("DTSTART")
	if p == nil {
		return "", false
	}
	start, ok := mendMoment(p.Value())
	if !ok || start.utc != at.utc || start.date {
		return "", false
	}
	d := at.in(nil).Sub(start.in(nil))
	sign := ""
	if d < 0 {
		sign, d = "-", -d
	}
	if d > 400*24*time.Hour {
		return "", false
	}
	switch {
	case d%time.Minute != 0 || d == 0:
		return fmt.Sprintf("%sPT%dS", sign, d/time.Second), true
	case d%(24*time.Hour) == 0:
		return fmt.Sprintf("%sP%dD", sign, d/(24*time.Hour)), true
	}
	return fmt.Sprintf("%sPT%dM", sign, d/time.Minute), true
}

// oldRule turns a rule of vCalendar 1.0, if it is not of today's grammar already.
func (s *shaper) oldRule(c *contentline.Component, p *contentline.Property) {
	v := strings.TrimSpace(p.Text())
	if strings.Contains(strings.ToUpper(v), "FREQ=") {
		return
	}
	rule, ok := modernRule(v)
	if !ok {
		s.keep(c, p, "iCalendar has no such rule")
		return
	}
	s.set(c, p, rule, item.EffectAltered, "it is written as iCalendar does")
}

// modernRule turns "W2 TU TH #5" into "FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH;COUNT=10". The
// number behind # counts intervals; without it there are two, and 0 is without an end.
func modernRule(v string) (string, bool) {
	fields := strings.Fields(strings.ToUpper(v))
	if len(fields) == 0 {
		return "", false
	}
	head := strings.TrimRight(fields[0], "0123456789")
	interval, err := strconv.Atoi(fields[0][len(head):])
	if err != nil || interval < 1 || interval > 9999 {
		return "", false
	}
	freq, by, ok := oldFrequency(head)
	if !ok {
		return "", false
	}
	count, end := 2, ""
	var list []string
	which := ""
	for _, f := range fields[1:] {
		switch {
		case f[0] == '#':
			if count, err = strconv.Atoi(f[1:]); err != nil || count < 0 || count > 1<<20 {
				return "", false
			}
		case len(f) >= 8 && isMoment(f):
			end = f
		case head == "MP" && isOrdinal(f):
			which = ordinal(f)
		default:
			day, ok := oldPart(head, f)
			if !ok || head == "MP" && which == "" {
				return "", false
			}
			list = append(list, which+day)
		}
	}
	rule := "FREQ=" + freq
	if interval > 1 {
		rule += fmt.Sprintf(";INTERVAL=%d", interval)
	}
	if len(list) > 0 {
		rule += ";" + by + "=" + strings.Join(list, ",")
	}
	switch {
	case end != "":
		rule += ";UNTIL=" + end
	case count > 0:
		rule += fmt.Sprintf(";COUNT=%d", count*max(1, len(list)))
	}
	return rule, true
}

func oldFrequency(head string) (freq, by string, ok bool) {
	switch head {
	case "D":
		return "DAILY", "", true
	case "W":
		return "WEEKLY", "BYDAY", true
	case "MP":
		return "MONTHLY", "BYDAY", true
	case "MD":
		return "MONTHLY", "BYMONTHDAY", true
	case "YM":
		return "YEARLY", "BYMONTH", true
	case "YD":
		return "YEARLY", "BYYEARDAY", true
	}
	return "", "", false
}

func isMoment(s string) bool { _, ok := parseMoment(s); return ok }

// isOrdinal reports whether s is "1+" or "2-".
func isOrdinal(s string) bool {
	return len(s) == 2 && '1' <= s[0] && s[0] <= '5' && (s[1] == '+' || s[1] == '-')
}

func ordinal(s string) string {
	if s[1] == '-' {
		return "-" + s[:1]
	}
	return s[:1]
}

// oldPart turns one element of a rule's list.
func oldPart(head, f string) (string, bool) {
	limit := 0
	switch head {
	case "W", "MP":
		return f, slices.Contains(weekdays[:], f)
	case "MD":
		limit = 31
		if f == "LD" {
			return "-1", true
		}
	case "YM":
		limit = 12
	case "YD":
		limit = 366
	}
	sign, digits := "", strings.TrimSuffix(f, "+")
	if rest, ok := strings.CutSuffix(f, "-"); ok {
		sign, digits = "-", rest
	}
	return sign + digits, limit > 0 && inRange(digits, 1, limit)
}
