package calendar

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
)

// kept is the prefix of the names under which we keep what a target can't have under its own.
const kept = "X-DECANT-"

// maxChanges is how many changes of one object are told.
const maxChanges = 1 << 16

// maxPath is how many components are named around a property, the outermost ones.
const maxPath = 8

// prodID names us as the maker of calendars that have no maker.
const prodID = "-//Decant//Decant 1//EN"

// Shape gives an object the form that a target takes. With Version "2.0", vCalendar 1.0 is
// turned into iCalendar. With Strict it is too, and all else is mended that standards-checking
// servers refuse or garble. With Schedules, organizers and attendees get SCHEDULE-AGENT=CLIENT (RFC 6638)
// so that the server mails nobody. What can't be mended is kept under a name with X-DECANT-
// before it. A bare name in Drops is a property of that name anywhere, "VCALENDAR/X" one of the header,
// "VEVENT/VALARM" a component. Recurrences are never expanded.
func (Rules) Shape(r item.Record, p rule.Profile) (item.Record, []item.Change, bool) {
	s := &shaper{record: r, profile: p}
	out, ok := s.shape()
	for i := range s.changes {
		c := &s.changes[i]
		if c.UID == "" && !strings.HasPrefix(c.Property, "VTIMEZONE") {
			c.UID = s.uid
		}
	}
	return out, s.changes, ok
}

// refuse says why the target can't have the object at all, and what goes with it that
// belongs to no component of its own.
func (s *shaper) refuse(why string) (item.Record, bool) {
	if s.cal != nil {
		for _, n := range s.cal.Nodes {
			switch {
			case n.Component != nil && n.Component.Name == "VTIMEZONE":
				s.note(n.Component, "", item.EffectDropped, "it goes with an object that "+theTarget, "", "")
			case n.Property != nil && n.Property.Name() != "" && !needed(n.Property.Name()):
				s.note(nil, n.Property.Name(), item.EffectDropped, "it goes with an object that "+theTarget, n.Property.Value(), "")
			}
		}
	}
	s.note(nil, "", item.EffectDropped, why, "", "")
	return s.record, false
}

const theTarget = "the target can't have"

func (s *shaper) shape() (item.Record, bool) {
	r, p := s.record, s.profile
	if tooMany(r.Data) {
		if p.Strict {
			return s.refuse("it has more components than can be told apart")
		}
		return r, true
	}
	f := contentline.Parse(r.Data)
	if !s.open(f) {
		if p.Strict {
			return s.refuse("it is no calendar object")
		}
		return r, true
	}
	if s.cal.Dialect == contentline.VCal10 && (p.Strict || p.Version == "2.0") {
		s.upgrade()
		f = contentline.Parse(f.Bytes())
		s.open(f)
	}
	if p.Strict {
		if !s.hasContent() {
			return s.refuse("it holds no event, task or journal entry")
		}
		s.repair()
	}
	s.flagZones()
	if p.Schedules {
		s.quiet()
	}
	s.drop()
	if s.missing != "" {
		return s.refuse(s.missing)
	}
	out := r
	if data := f.Bytes(); string(data) != string(r.Data) {
		out.Data = data
	}
	if p.MaxSize > 0 && int64(len(out.Data)) > p.MaxSize {
		return s.shrink(f, out)
	}
	return out, true
}

// shaper works on one object.
type shaper struct {
	record  item.Record
	profile rule.Profile
	root    *contentline.Component
	cal     *contentline.Component // the VCALENDAR
	brk     string
	uid     string
	name    string // the object's, in changes
	first   int    // year that it is about; 0 is not known yet
	missing string // why the target can't have the object
	changes []item.Change
}

// open takes the first VCALENDAR of a file.
func (s *shaper) open(f *contentline.File) bool {
	s.root, s.cal, s.brk = f.Root, nil, lineBreak(f.Text())
	for c := range f.Root.Components() {
		if c.Name == "VCALENDAR" {
			s.cal = c
			break
		}
	}
	if s.cal == nil {
		return false
	}
	for c := range s.tops() {
		if s.uid == "" {
			s.uid = strings.TrimSpace(c.Text("UID"))
		}
		if s.name == "" {
			s.name = strings.Join(strings.Fields(c.Text("SUMMARY")), " ")
		}
	}
	if s.name = shown(s.name); s.name == "" {
		s.name = s.record.Label
	}
	return true
}

// tops yields the components that are not time zones.
func (s *shaper) tops() func(func(*contentline.Component) bool) {
	return func(yield func(*contentline.Component) bool) {
		for c := range s.cal.Components() {
			if c.Name != "VTIMEZONE" && !yield(c) {
				return
			}
		}
	}
}

func (s *shaper) hasContent() bool {
	for range s.tops() {
		return true
	}
	return false
}

// pathOf returns the names of a component and those around it up to the VCALENDAR.
func pathOf(c *contentline.Component) string {
	if c == nil || c.Name == "VCALENDAR" || c.Name == "" {
		return ""
	}
	names := []string{c.Name}
	for c = c.Parent; c != nil && c.Name != "VCALENDAR" && c.Name != ""; c = c.Parent {
		if len(names) == maxPath { // what is deeper has no meaning, and its path would be as long as it is deep
			names = append(names[:0], names[1:]...)
		}
		names = append(names, c.Name)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// note tells of a change of a property in c; an empty name is the component itself.
func (s *shaper) note(c *contentline.Component, name string, e item.Effect, why, before, after string) {
	property := pathOf(c)
	if name != "" {
		property = strings.TrimPrefix(property+"/"+name, "/")
	}
	if len(s.changes) == maxChanges {
		s.changes = append(s.changes, item.Change{Kind: item.Calendar, Record: s.name, From: s.record.From, Effect: item.EffectAltered, Why: "more of it was changed than is told"})
	}
	if len(s.changes) > maxChanges {
		return
	}
	label, uid := s.name, ""
	for z := c; z != nil; z = z.Parent {
		if z.Name == "VTIMEZONE" { // which is the same in many objects
			label, uid = z.Text("TZID"), z.Text("TZID")
		}
	}
	s.changes = append(s.changes, item.Change{Kind: item.Calendar, Record: label, UID: uid, From: s.record.From,
		Property: property, Effect: e, Why: why, Before: shown(before), After: shown(after)})
}

func shown(v string) string {
	if len(v) > item.MaxShown {
		v = strings.ToValidUTF8(v[:item.MaxShown], "")
	}
	return v
}

// set gives a property another value and tells.
func (s *shaper) set(c *contentline.Component, p *contentline.Property, value string, e item.Effect, why string) {
	if before := p.Value(); before != value {
		p.SetValue(value)
		s.note(c, p.Name(), e, why, before, value)
	}
}

// keep gives a property a name of ours, so that its value survives as text.
func (s *shaper) keep(c *contentline.Component, p *contentline.Property, why string) {
	name, value := p.Name(), p.Value()
	params := p.Params()
	for i := range params {
		switch params[i].Name {
		case "TZID", "VALUE", "ENCODING":
			params[i].Name = "X-" + params[i].Name
		}
	}
	p.SetParams(params)
	p.SetName(kept + strings.TrimPrefix(name, kept))
	p.SetValue(escapeCommas(value))
	s.note(c, name, item.EffectMoved, why, value, p.Name()+":"+p.Value())
}

// add puts a new property into a component and tells.
func (s *shaper) add(c *contentline.Component, name, value, why string) *contentline.Property {
	p := contentline.NewProperty(contentline.ICal20, s.brk, name)
	p.SetValue(value)
	c.Append(p)
	s.note(c, name, item.EffectAdded, why, "", value)
	return p
}

// quiet keeps a server from mailing invitations, replies and cancellations.
func (s *shaper) quiet() {
	for c := range s.tops() {
		for p := range c.Properties() {
			if p.Name() != "ORGANIZER" && p.Name() != "ATTENDEE" {
				continue
			}
			before := string(p.Raw())
			if agent, _ := p.Param("SCHEDULE-AGENT"); !strings.EqualFold(agent, "NONE") {
				p.SetParam("SCHEDULE-AGENT", "CLIENT")
			}
			p.SetParam("SCHEDULE-FORCE-SEND")
			if after := string(p.Raw()); after != before {
				s.note(c, p.Name(), item.EffectAltered, "it says SCHEDULE-AGENT=CLIENT so that the server mails nobody", oneLine(before), oneLine(after))
			}
		}
	}
}

// oneLine returns a property as it is written, without folds.
func oneLine(raw string) string {
	raw = strings.TrimRight(raw, "\r\n")
	if strings.Contains(raw, "\n") {
		raw = unfold.Replace(raw)
	}
	return raw
}

var unfold = strings.NewReplacer("\r\n ", "", "\n ", "", "\r\n\t", "", "\n\t", "")

// drop removes what the target does not keep, so that it is told and not lost silently.
func (s *shaper) drop() {
	if len(s.profile.Drops) == 0 {
		return
	}
	for c := range s.cal.All() {
		c.DeleteFunc(func(n contentline.Node) bool {
			name, value := "", ""
			switch {
			case n.Component != nil:
				name = n.Component.Name
			case n.Property.Name() == "":
				return false
			default:
				name, value = n.Property.Name(), n.Property.Value()
			}
			if !s.drops(c, name, n.Component != nil) {
				return false
			}
			s.note(c, name, item.EffectDropped, "the target does not keep it", value, "")
			return true
		})
	}
}

// needed are what makes a calendar one.
func needed(name string) bool { return name == "VERSION" || name == "PRODID" || name == "UID" }

func (s *shaper) drops(c *contentline.Component, name string, component bool) bool {
	path := pathOf(c)
	if path == "" {
		path = "VCALENDAR"
	}
	full := path + "/" + name
	if component {
		full = strings.TrimPrefix(full, "VCALENDAR/")
	}
	match := func(pattern string) bool {
		what := full
		if !strings.Contains(pattern, "/") && !component {
			what = name
		}
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(what, prefix)
		}
		return what == pattern
	}
	return !needed(name) && anyOf(s.profile.Drops, match) && !anyOf(s.profile.Keeps, match)
}

func anyOf(list []string, match func(string) bool) bool {
	for _, x := range list {
		if match(x) {
			return true
		}
	}
	return false
}

// shrink leaves attachments out of an object that is too large for the target.
func (s *shaper) shrink(f *contentline.File, out item.Record) (item.Record, bool) {
	why := fmt.Sprintf("the target takes no object of more than %d bytes", s.profile.MaxSize)
	excess := int64(len(out.Data)) - s.profile.MaxSize
	for c := range s.cal.All() {
		c.DeleteFunc(func(n contentline.Node) bool {
			p := n.Property
			if p == nil || excess <= 0 || p.Size() < 512 || p.Name() != "ATTACH" && p.Name() != "IMAGE" {
				return false
			}
			excess -= int64(len(p.Raw()))
			s.note(c, p.Name(), item.EffectDropped, why, p.Value(), "")
			return true
		})
	}
	if out.Data = f.Bytes(); int64(len(out.Data)) > s.profile.MaxSize {
		return s.refuse(why)
	}
	return out, true
}

// syntheticUID names a component that has no UID, the same each time that it is read: the
// hash of what it is, when it begins, how it repeats and which calendar it is in.
func syntheticUID(c *contentline.Component, book string) string {
	h := sha256.New()
	h.Write([]byte("decant calendar uid 1\x00" + c.Name))
	for _, name := range []string{"DTSTART", "SUMMARY", "RRULE"} {
		value := ""
		if p := c.Get(name); p != nil {
			tzid, _ := p.Param("TZID")
			value = tzid + "\x00" + p.Text()
		}
		fmt.Fprintf(h, "\x00%d %s", len(value), value)
	}
	if c.Get("DTSTART") == nil {
		fmt.Fprintf(h, "\x00%s\x00%s", c.Text("DUE"), c.Text("DESCRIPTION"))
	}
	fmt.Fprintf(h, "\x00%s", book)
	return "decant-" + hex.EncodeToString(h.Sum(nil)[:16])
}
