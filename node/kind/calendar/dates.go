package calendar

import (
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// singleDates have one DATE or DATE-TIME, stamps one DATE-TIME in UTC, dateLists several dates.
const (
	singleDates = " DTSTART DTEND DUE RECURRENCE-ID "
	stamps      = " DTSTAMP CREATED LAST-MODIFIED COMPLETED ACKNOWLEDGED "
	dateLists   = " EXDATE RDATE "
)

// dates mends the dates and durations of a component and those below it, each by itself.
func (s *shaper) dates(top *contentline.Component) {
	for c := range top.All() {
		for p := range c.Properties() {
			switch name := p.Name(); {
			case within(singleDates, name):
				s.date(c, p)
			case within(stamps, name):
				if m, ok := mendMoment(p.Value()); ok {
					s.utc(c, p, m)
				} else {
					s.keep(c, p, "it is no time")
				}
			case name == "DURATION" && c.Name != "VALARM":
				s.duration(c, p)
			case name == "FREEBUSY":
				if !allOf(p.Value(), validPeriod) {
					s.keep(c, p, "it is no list of periods")
				}
			}
		}
	}
}

// date mends a property with one DATE or DATE-TIME.
func (s *shaper) date(c *contentline.Component, p *contentline.Property) {
	m, ok := mendMoment(p.Value())
	if !ok {
		s.keep(c, p, "it is no date")
		if strings.HasSuffix(p.Name(), "RECURRENCE-ID") {
			s.occurrence(c)
		}
		return
	}
	if m.second == 60 {
		m.second = 59
	}
	s.set(c, p, m.String(), item.EffectRepaired, "it was not written as a date is")
	s.form(c, p, m)
}

// occurrence says of a component that does not say which occurrence it is about that it is
// the one of its start: without that it would stand for the whole series, beside another one that does.
func (s *shaper) occurrence(c *contentline.Component) {
	others := 0
	for range s.tops() {
		others++
	}
	start := c.Get("DTSTART")
	if start == nil || others < 2 || c.Parent != s.cal {
		return
	}
	if m, ok := mendMoment(start.Value()); ok {
		tzid, zoned := start.Param("TZID")
		p := s.add(c, "RECURRENCE-ID", m.String(), "it is an exception, and its own was no date; it is made of the start")
		if zoned && !m.date && !m.utc {
			p.SetParam("TZID", tzid)
		}
		s.form(c, p, m)
	}
}

// form brings VALUE and TZID in line with a value.
func (s *shaper) form(c *contentline.Component, p *contentline.Property, m moment) {
	before := lineOf(p)
	value, _ := p.Param("VALUE")
	if m.date {
		p.SetParam("VALUE", "DATE")
		p.SetParam("TZID")
	} else {
		if value != "" && !strings.EqualFold(value, "DATE-TIME") {
			p.SetParam("VALUE")
		}
		if m.utc {
			p.SetParam("TZID")
		}
	}
	if after := lineOf(p); after != before {
		s.note(c, p.Name(), item.EffectRepaired, "its parameters did not fit its value", before, after)
	}
}

// utc brings a time that has to be in UTC there.
func (s *shaper) utc(c *contentline.Component, p *contentline.Property, m moment) {
	tzid, zoned := p.Param("TZID")
	why := "it has to be in UTC"
	switch loc := locate(resolve(tzid)); {
	case m.utc:
	case zoned && loc != nil && !m.date:
		m = momentOf(m.in(loc).UTC())
	default:
		why = "it has to be in UTC, and said nothing else"
	}
	m.date, m.utc = false, true
	if m.second == 60 {
		m.second = 59
	}
	p.SetParam("TZID")
	if v, _ := p.Param("VALUE"); v != "" && !strings.EqualFold(v, "DATE-TIME") {
		p.SetParam("VALUE")
	}
	s.set(c, p, m.String(), item.EffectRepaired, why)
}

// stamp adds a DTSTAMP where it is missing: the time of the last change as far as it is known.
func (s *shaper) stamp(c *contentline.Component) {
	if c.Get("DTSTAMP") != nil {
		return
	}
	for _, name := range []string{"LAST-MODIFIED", "CREATED"} {
		if m, ok := parseMoment(c.Text(name)); ok {
			s.add(c, "DTSTAMP", m.String(), "every component has one; it is its "+name)
			return
		}
	}
	s.add(c, "DTSTAMP", "19700101T000000Z", "every component has one")
}

// clock is what a date stands on: "date", "utc", "" for floating, or a TZID.
func clock(p *contentline.Property) string {
	m, _ := parseMoment(p.Value())
	switch tzid, _ := p.Param("TZID"); {
	case m.date:
		return "date"
	case m.utc:
		return "utc"
	default:
		return tzid
	}
}

// span mends start, end and duration, each against the other.
func (s *shaper) span(c *contentline.Component) {
	start := c.Get("DTSTART")
	endName := "DTEND"
	if c.Name == "VTODO" {
		endName = "DUE"
	}
	end, length := c.Get(endName), c.Get("DURATION")
	if c.Name == "VEVENT" && start == nil {
		start = s.invent(c, end, length)
		if start == nil {
			s.missing = "it has no start (DTSTART), without which an event can't stand in a calendar"
			return
		}
	}
	if end != nil && length != nil {
		s.keep(c, length, "there is a "+endName+" too, and only one can be")
	}
	if start != nil && end != nil && c.Name != "VTODO" {
		s.align(c, start, end)
	}
	if start != nil && end != nil && s.before(end, start) {
		s.keep(c, end, "it is before DTSTART")
	}
}

// invent finds when an event without DTSTART begins.
func (s *shaper) invent(c *contentline.Component, end, length *contentline.Property) *contentline.Property {
	from := c.Get("RECURRENCE-ID")
	if from == nil {
		from = end
	}
	if from == nil {
		return nil
	}
	m, ok := parseMoment(from.Value())
	if !ok {
		return nil
	}
	if from == end && length != nil {
		if d, ok := duration(length.Value()); ok {
			m = m.add(-d)
		}
	}
	p := contentline.NewProperty(contentline.ICal20, s.brk, "DTSTART")
	p.SetParams(from.Params())
	p.SetValue(m.String())
	c.Append(p)
	s.note(c, "DTSTART", item.EffectAdded, "an event needs one; it is made of its "+from.Name(), "", p.Value())
	return p
}

// align brings the end of an event to the kind of date that its start is.
func (s *shaper) align(c *contentline.Component, start, end *contentline.Property) {
	a, b := clock(start), clock(end)
	if a == b || a != "date" && b != "date" && a != "" && b != "" {
		return
	}
	const why = "start and end have to be of one kind"
	before := lineOf(end)
	m, _ := parseMoment(end.Value())
	switch {
	case a == "date":
		if m.hour+m.minute+m.second > 0 {
			m = m.add(24 * time.Hour)
		}
		m.date, m.utc = true, false
		end.SetParam("TZID")
		end.SetParam("VALUE", "DATE")
	case b == "date":
		m.date, m.utc = false, a == "utc"
		end.SetParam("VALUE")
		setZone(end, a)
	case b == "":
		m.utc = a == "utc"
		setZone(end, a)
	case b == "utc": // the start is floating
		s.moveTo(c, start, b, why)
		return
	default:
		s.moveTo(c, start, b, why)
		return
	}
	end.SetValue(m.String())
	s.note(c, end.Name(), item.EffectRepaired, why, before, lineOf(end))
}

// moveTo puts a floating time on a clock.
func (s *shaper) moveTo(c *contentline.Component, p *contentline.Property, clock, why string) {
	before := lineOf(p)
	m, _ := parseMoment(p.Value())
	m.utc = clock == "utc"
	setZone(p, clock)
	p.SetValue(m.String())
	s.note(c, p.Name(), item.EffectRepaired, why, before, lineOf(p))
}

func setZone(p *contentline.Property, clock string) {
	if clock == "" || clock == "utc" || clock == "date" {
		p.SetParam("TZID")
		return
	}
	p.SetParam("TZID", clock)
}

// before reports whether one time is certainly before another.
func (s *shaper) before(a, b *contentline.Property) bool {
	x, okX := parseMoment(a.Value())
	y, okY := parseMoment(b.Value())
	ca, cb := clock(a), clock(b)
	if !okX || !okY || (ca == "date") != (cb == "date") {
		return false
	}
	if ca == cb {
		return x.in(nil).Before(y.in(nil))
	}
	zx, zy := zoneOf(ca), zoneOf(cb)
	return zx != nil && zy != nil && x.in(zx).Before(y.in(zy))
}

func zoneOf(clock string) *time.Location {
	if clock == "utc" {
		return time.UTC
	}
	return locate(resolve(clock))
}

// recurrence mends the rules and the lists of dates.
func (s *shaper) recurrence(c *contentline.Component) {
	exception := c.Get("RECURRENCE-ID") != nil
	start := c.Get("DTSTART")
	if start == nil && c.Name == "VTODO" {
		start = c.Get("DUE")
	}
	for p := range c.Properties() {
		name := p.Name()
		if name != "RRULE" && name != "EXRULE" && !within(dateLists, name) {
			continue
		}
		switch {
		case exception:
			s.keep(c, p, "one occurrence does not repeat")
		case name == "RRULE" || name == "EXRULE":
			v, ok := mendRule(p.Value())
			if !ok {
				s.keep(c, p, "it is no rule that the target takes")
				continue
			}
			s.set(c, p, v, item.EffectRepaired, "it was not well formed")
			if start != nil {
				if k := clock(start); k == "utc" {
					s.until(c, p, time.UTC)
				} else if loc := locate(resolve(k)); loc != nil {
					s.until(c, p, loc)
				}
			}
		default:
			s.dateList(c, p, start)
		}
	}
}

// dateList brings a list of dates to the kind of date that the start is.
func (s *shaper) dateList(c *contentline.Component, p, start *contentline.Property) {
	before, value := lineOf(p), p.Value()
	ref, clockOf := moment{}, ""
	if start != nil {
		ref, _ = parseMoment(start.Value())
		clockOf = clock(start)
	}
	tzid, _ := p.Param("TZID")
	var out []string
	date, ok := false, true
	for v := range strings.FieldsFuncSeq(value, func(r rune) bool { return r == ',' || r == ';' || r == ' ' }) {
		v, _, _ = strings.Cut(v, "/")
		m, good := mendMoment(v)
		if !good {
			ok = false
			break
		}
		if start != nil {
			m = m.like(ref)
		}
		date = m.date
		if !m.date && !m.utc && tzid == "" && clockOf == "utc" {
			m.utc = true
		}
		out = append(out, m.String())
	}
	if len(out) == 0 && ok {
		s.keep(c, p, "it is empty")
		return
	}
	if !ok {
		s.keep(c, p, "it is no list of dates")
		return
	}
	s.listForm(p, date, strings.HasSuffix(out[0], "Z"), tzid, clockOf)
	p.SetValue(strings.Join(out, ","))
	if after := lineOf(p); after != before {
		effect, why := item.EffectRepaired, "it has to be of the kind that the start is"
		if strings.Contains(value, "/") {
			effect, why = item.EffectAltered, "only the starts of its periods: servers take no periods"
		}
		s.note(c, p.Name(), effect, why, before, after)
	}
}

// listForm brings the parameters of a list in line with its values.
func (s *shaper) listForm(p *contentline.Property, date, utc bool, tzid, clockOf string) {
	if date {
		p.SetParam("VALUE", "DATE")
		p.SetParam("TZID")
		return
	}
	if v, _ := p.Param("VALUE"); v != "" && !strings.EqualFold(v, "DATE-TIME") {
		p.SetParam("VALUE")
	}
	switch {
	case utc:
		p.SetParam("TZID")
	case tzid == "" && clockOf != "utc" && clockOf != "date":
		setZone(p, clockOf)
	case clockOf == "":
		p.SetParam("TZID")
	}
}

// like returns the moment as a date or with a time of day, as another one is.
func (m moment) like(ref moment) moment {
	switch {
	case m.date == ref.date:
	case ref.date:
		m.date, m.utc = true, false
		m.hour, m.minute, m.second = 0, 0, 0
	default:
		m.date, m.utc = false, ref.utc
		m.hour, m.minute, m.second = ref.hour, ref.minute, ref.second
	}
	return m
}

func validPeriod(v string) bool {
	a, b, ok := strings.Cut(v, "/")
	if _, valid := parseMoment(a); !ok || !valid {
		return false
	}
	_, valid := parseMoment(b)
	return valid || validDuration(b)
}

// until writes the end of a rule in UTC, where the start says in which zone it is.
func (s *shaper) until(c *contentline.Component, p *contentline.Property, loc *time.Location) {
	parts := strings.Split(p.Value(), ";")
	for i, part := range parts {
		v, ok := strings.CutPrefix(part, "UNTIL=")
		if m, valid := parseMoment(v); ok && valid && !m.utc && !m.date {
			parts[i] = "UNTIL=" + momentOf(m.in(loc).UTC()).String()
		}
	}
	s.set(c, p, strings.Join(parts, ";"), item.EffectRepaired, "its end has to be in UTC, as the start is in a zone")
}
