package calendar

import (
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// maxWritten is how many time zones are written anew for one object under names that it has made up.
const maxWritten = 32

// zones mends time zones, or writes them anew if they can't be mended.
func (s *shaper) zones() {
	gone, rewritten := map[*contentline.Component]bool{}, 0
	met := map[string]bool{}
	for z := range s.cal.Components() {
		if z.Name != "VTIMEZONE" {
			continue
		}
		id := z.Text("TZID")
		switch {
		case id != "" && met[id]:
			s.note(z, "", item.EffectDropped, "there is another time zone of that name", string(z.Bytes()), "")
			gone[z] = true
			continue
		case s.mendZone(z):
		case resolve(id) != "" && rewritten < maxWritten:
			rewritten++
			text := writeZone(id, resolve(id), s.year())
			s.note(z, "", item.EffectRepaired, "it was not well formed: what the tz database knows stands in its place", string(z.Bytes()), text)
			*z = *parseZone(text, z.Parent)
		default:
			s.note(z, "", item.EffectDropped, "it is not well formed, and no known time zone has that name", string(z.Bytes()), "")
			gone[z] = true
			continue
		}
		met[id] = true
	}
	if len(gone) > 0 {
		s.cal.DeleteFunc(func(n contentline.Node) bool { return gone[n.Component] })
	}
}

func parseZone(text string, parent *contentline.Component) *contentline.Component {
	for c := range contentline.Parse([]byte(text)).Root.Components() {
		c.Parent = parent
		return c
	}
	return nil
}

// year is the first year that the object is about.
func (s *shaper) year() int {
	if s.first == 0 {
		s.first = s.firstYear()
	}
	return s.first
}

func (s *shaper) firstYear() int {
	first := 9999
	for c := range s.tops() {
		for p := range c.Properties() {
			if n := p.Name(); within(singleDates, n) || within(dateLists, n) {
				if m, ok := mendMoment(p.Value()[:min(len(p.Value()), 20)]); ok {
					first = min(first, m.year)
				} else if m, ok := mendMoment(strings.SplitN(p.Value(), ",", 2)[0]); ok {
					first = min(first, m.year)
				}
			}
		}
	}
	return first
}

// mendZone mends what can be, and reports whether the zone is one then.
func (s *shaper) mendZone(z *contentline.Component) bool {
	if p := z.Get("TZID"); p == nil || p.Value() == "" {
		return false
	} else if len(p.Params()) > 0 {
		before := lineOf(p)
		p.SetParams(nil)
		s.note(z, "TZID", item.EffectRepaired, "it has no parameters", before, lineOf(p))
	}
	parts := 0
	for c := range z.Components() {
		if c.Name != "STANDARD" && c.Name != "DAYLIGHT" {
			continue
		}
		parts++
		if !s.mendObservance(c) {
			return false
		}
	}
	return parts > 0
}

func (s *shaper) mendObservance(c *contentline.Component) bool {
	from, to, start := c.Get("TZOFFSETFROM"), c.Get("TZOFFSETTO"), c.Get("DTSTART")
	if from == nil || to == nil || start == nil {
		return false
	}
	for p := range c.Properties() {
		ok := true
		switch p.Name() {
		case "TZOFFSETFROM", "TZOFFSETTO":
			ok = s.offset(c, p)
		case "DTSTART":
			ok = s.onset(c, p)
		case "RDATE":
			ok = s.onsets(c, p)
		case "RRULE":
			v, valid := mendRule(p.Value())
			if ok = valid; ok {
				s.set(c, p, v, item.EffectRepaired, "it was not well formed")
				if off, known := parseOffset(from.Value()); known {
					s.until(c, p, time.FixedZone("", off))
				}
			}
		case "TZNAME":
			if len(p.Params()) > 0 {
				before := lineOf(p)
				p.SetParams(nil)
				s.note(c, "TZNAME", item.EffectAltered, "servers take no parameters there", before, lineOf(p))
			}
		}
		if !ok {
			return false
		}
	}
	return true
}

// offset mends "+100" and "-5:00".
func (s *shaper) offset(c *contentline.Component, p *contentline.Property) bool {
	v := strings.ReplaceAll(strings.ReplaceAll(p.Value(), ":", ""), " ", "")
	sign := "+"
	if v != "" && (v[0] == '+' || v[0] == '-') {
		sign, v = v[:1], v[1:]
	}
	if len(v) == 1 || len(v) == 2 {
		v += "00"
	}
	if len(v) == 3 || len(v) == 5 {
		v = "0" + v
	}
	v = sign + v
	if _, ok := parseOffset(v); !ok {
		return false
	}
	p.SetParams(nil)
	s.set(c, p, v, item.EffectRepaired, "it was not written as an offset is")
	return true
}

// onset mends the start of an observance, which is a local time without a zone.
func (s *shaper) onset(c *contentline.Component, p *contentline.Property) bool {
	m, ok := mendMoment(p.Value())
	if !ok {
		return false
	}
	before := lineOf(p)
	m.date, m.utc = false, m.utc && !m.date
	p.SetParams(nil)
	p.SetValue(m.String())
	if after := lineOf(p); after != before {
		s.note(c, p.Name(), item.EffectRepaired, "it is a local time", before, after)
	}
	return true
}

func (s *shaper) onsets(c *contentline.Component, p *contentline.Property) bool {
	before := lineOf(p)
	var out []string
	for v := range strings.SplitSeq(p.Value(), ",") {
		v, _, _ = strings.Cut(v, "/")
		m, ok := mendMoment(v)
		if !ok {
			return false
		}
		m.date = false
		out = append(out, m.String())
	}
	p.SetParams(nil)
	p.SetValue(out[0])
	after := lineOf(p)
	for _, v := range out[1:] {
		q := contentline.NewProperty(contentline.ICal20, s.brk, "RDATE")
		q.SetValue(v)
		c.Append(q)
		after = "several lines"
	}
	if after != before {
		s.note(c, "RDATE", item.EffectRepaired, "it is a local time on a line of its own: servers keep the first of several", before, after)
	}
	return true
}

// nameZones sees to it that every zone that is named is there.
func (s *shaper) nameZones() {
	have := map[string]bool{}
	for z := range s.cal.Components() {
		if z.Name == "VTIMEZONE" {
			have[z.Text("TZID")] = true
		}
	}
	fallback := resolve(s.cal.Text("X-WR-TIMEZONE"))
	for top := range s.tops() {
		for c := range top.All() {
			for p := range c.Properties() {
				if id, ok := p.Param("TZID"); ok && !have[id] && !losesZone(p) {
					s.nameZone(c, p, id, fallback, have)
				}
			}
		}
	}
}

func (s *shaper) nameZone(c *contentline.Component, p *contentline.Property, id, fallback string, have map[string]bool) {
	zone := resolve(id)
	why := "its rules were missing: they are those of the tz database"
	switch {
	case zone == "UTC" || zone == "Etc/UTC":
		s.toUTC(c, p, id)
		return
	case zone == "" && fallback != "":
		zone, why = fallback, "no known time zone has that name: it is taken for the calendar's (X-WR-TIMEZONE)"
		fallthrough
	case zone != "" && (strings.ContainsAny(id, "\r\n\";:,") || len(have) > maxWritten):
		before := lineOf(p)
		p.SetParam("TZID", zone)
		s.note(c, p.Name(), item.EffectRepaired, why, before, lineOf(p))
		if id = zone; have[id] {
			return
		}
	case zone == "":
		before := lineOf(p)
		p.SetParam("TZID")
		p.SetParam("X-TZID", id)
		s.note(c, p.Name(), item.EffectAltered, "no known time zone has that name and its rules are missing: it is a time without zone", before, lineOf(p))
		return
	}
	z := parseZone(writeZone(id, zone, s.year()), s.cal)
	at := 0
	for i, n := range s.cal.Nodes {
		if n.Component == nil {
			at = i + 1
			continue
		}
		break
	}
	s.cal.Insert(at, contentline.Node{Component: z})
	have[id] = true
	s.note(z, "", item.EffectAdded, "rules of the time zone "+id+": "+why, "", "")
}

// toUTC turns times in a zone that is called UTC into UTC.
func (s *shaper) toUTC(c *contentline.Component, p *contentline.Property, id string) {
	before := lineOf(p)
	var out []string
	for v := range strings.SplitSeq(p.Value(), ",") {
		if m, ok := mendMoment(v); ok && !m.date {
			m.utc = true
			v = m.String()
		}
		out = append(out, v)
	}
	p.SetParam("TZID")
	if within(singleDates, p.Name()) || within(dateLists, p.Name()) {
		p.SetValue(strings.Join(out, ","))
	}
	s.note(c, p.Name(), item.EffectAltered, "UTC is written with a Z", before, lineOf(p))
}

// flagZones tells of time zones that say something else than the tz database about
// their names. They are kept: the times were written with them.
func (s *shaper) flagZones() {
	year := 0
	for z := range s.cal.Components() {
		if z.Name != "VTIMEZONE" {
			continue
		}
		loc := locate(resolve(z.Text("TZID")))
		if loc == nil {
			continue
		}
		if year == 0 {
			year = min(max(s.year(), 1980), lastYear)
		}
		if !agrees(z, loc, year) {
			s.note(z, "", item.EffectFlagged, "it does not say what the time zone "+z.Text("TZID")+" has in "+strconv.Itoa(year), "", "")
		}
	}
}

// agrees reports whether the offsets that a zone has in a year are among those of a VTIMEZONE.
func agrees(z *contentline.Component, loc *time.Location, year int) bool {
	offsets := map[int]bool{}
	for c := range z.Components() {
		if off, ok := parseOffset(c.Text("TZOFFSETTO")); ok {
			offsets[off] = true
		}
	}
	for _, month := range []time.Month{1, 7} {
		if _, off := time.Date(year, month, 1, 12, 0, 0, 0, loc).Zone(); !offsets[off] {
			return false
		}
	}
	return true
}

// losesZone reports whether a property will have no TZID in the end, as it is a date or in UTC.
func losesZone(p *contentline.Property) bool {
	name := p.Name()
	m, _ := mendMoment(p.Value()[:min(len(p.Value()), 40)])
	return within(stamps, name) || name == "TRIGGER" || within(singleDates, name) && (m.utc || m.date)
}
