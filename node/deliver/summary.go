package deliver

import (
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Part is what one goal gets of one kind, counted.
type Part struct {
	Goal     string `json:"goal"`
	Kind     string `json:"kind"`
	Total    int64  `json:"total"`
	New      int64  `json:"new"`
	Same     int64  `json:"same"`
	Merge    int64  `json:"merge"`
	Conflict int64  `json:"conflict"`
	Suggest  int64  `json:"suggest"` // new, and perhaps the same as one that is there
	Refused  int64  `json:"refused"` // the target can't take them

	Changes     map[string]int64 `json:"changes,omitempty"` // properties by effect
	Properties  map[string]int64 `json:"losses,omitempty"`  // dropped ones by name
	Lines       []Line           `json:"lines,omitempty"`   // of what was merged, is in conflict, may be the same or is refused: at most MaxLines
	LinesBeyond int64            `json:"lines_beyond,omitempty"`

	told map[repeated]struct{} // what was counted already of whole calendars, at most maxTold
}

// repeated is a change of a calendar's header, which each object of the calendar repeats.
type repeated struct{ book, property, why, before, after string }

// maxTold bounds what is remembered of headers; beyond it they are counted again.
const maxTold = 1 << 10

// Line tells of one record. Labels are untrusted: escape them before showing.
type Line struct {
	Verdict string `json:"verdict"`
	Record  string `json:"record"`
	With    string `json:"with,omitempty"`
	Why     string `json:"why,omitempty"`
}

// MaxLines bounds the lines of a Part.
const MaxLines = 200

// maxNames bounds the property names that a Part counts; a hostile file has no end of them.
const maxNames = 100

func (p *Part) count(s *Step) {
	p.Total++
	switch {
	case s.Refused:
		p.Refused++
	case s.Verdict == rule.New:
		p.New++
	case s.Verdict == rule.Same:
		p.Same++
	case s.Verdict == rule.Merge:
		p.Merge++
	case s.Verdict == rule.Conflict:
		p.Conflict++
	case s.Verdict == rule.Suggest:
		p.Suggest++
	}
	for i := range s.Changes {
		c := &s.Changes[i]
		if p.again(s, *c) {
			continue
		}
		if p.Changes == nil {
			p.Changes = map[string]int64{}
		}
		p.Changes[c.Effect.String()]++
		if c.Effect != item.EffectDropped {
			continue
		}
		if p.Properties == nil {
			p.Properties = map[string]int64{}
		}
		if _, ok := p.Properties[c.Property]; ok || len(p.Properties) < maxNames {
			p.Properties[c.Property]++
		}
	}
	if line, ok := s.line(); ok {
		if len(p.Lines) == MaxLines {
			p.LinesBeyond++
			return
		}
		p.Lines = append(p.Lines, line)
	}
}

// again reports whether a change of a calendar's header was counted with another object of it, and remembers it.
func (p *Part) again(s *Step, c item.Change) bool {
	if c.Kind = s.Kind; !c.Header() {
		return false
	}
	h := repeated{s.Book, c.Property, c.Why, c.Before, c.After}
	if _, ok := p.told[h]; ok {
		return true
	}
	if p.told == nil {
		p.told = map[repeated]struct{}{}
	}
	if len(p.told) < maxTold {
		p.told[h] = struct{}{}
	}
	return false
}

// line is what a person may want to look at before saying yes.
func (s *Step) line() (Line, bool) {
	switch {
	case s.Refused:
		why := "the target can't take it"
		if n := len(s.Changes); n > 0 {
			why = s.Changes[n-1].Why
		}
		return Line{"refused", s.Label, "", why}, true
	case s.Verdict == rule.Merge, s.Verdict == rule.Conflict, s.Verdict == rule.Suggest:
		return Line{s.Verdict.String(), s.Label, s.With, s.Why}, true
	}
	return Line{}, false
}

// Summary returns what is to be done, by goal and kind.
func (d *Delivery) Summary() (parts []Part) {
	for i := range d.head.Goals {
		for j := range d.head.Goals[i].Parts {
			parts = append(parts, d.head.Goals[i].Parts[j].Part)
		}
	}
	return parts
}

// Conflicts returns how many conflicts a person may decide about.
func (d *Delivery) Conflicts() (n int64) {
	for _, p := range d.Summary() {
		n += p.Conflict
	}
	return n
}
