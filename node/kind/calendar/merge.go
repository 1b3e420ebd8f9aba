package calendar

import (
	"bytes"
	"slices"

	"github.com/decant-dev/decant/node/kind/contentline"
)

// header opens a calendar that did not exist before.
const header = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//Decant//Decant 1//EN\r\n"

// Compare tells for each run of components in add how existing stands to it: New if it
// has none of their identities, Same if it has all of them line for line. Time zones
// don't count.
func Compare(existing []byte, add [][]byte) []contentline.State {
	have := know(existing, parse(existing))
	states := make([]contentline.State, len(add))
	for i, a := range add {
		states[i] = have.state(a)
	}
	return states
}

// Merge returns existing with the components of add before its last END:VCALENDAR, in
// the line breaks of existing, whose bytes all stay. A component that is there already
// line for line is not added again, so merging twice is merging once; one of the same
// identity with other content is added: neither is lost. A time zone of add comes along if
// an added component names it and existing has none of that name. Each element of add
// may hold bare components or a whole file, whose header is left behind. Merge returns
// nil if add holds a component that could not be parsed, if existing is no calendar that
// components can be added to, or of another version than a file in add, or if either holds
// NUL, as UTF-16 does: keep both then.
func Merge(existing []byte, add [][]byte) []byte {
	if len(bytes.TrimSpace(existing)) == 0 {
		existing = []byte(header + "END:VCALENDAR\r\n")
	}
	f := parse(existing)
	if f.lastEnd < 0 || bytes.IndexByte(existing, 0) >= 0 {
		return nil
	}
	m := merge{have: know(existing, f), brk: contentline.Break(existing)}
	for _, a := range add {
		g := parse(a)
		if bytes.IndexByte(a, 0) >= 0 {
			return nil
		}
		if g.version != "" && f.version != "" && g.version != f.version {
			return nil
		}
		if slices.ContainsFunc(g.components, func(c component) bool { return c.problem != "" }) {
			return nil
		}
		m.add(a, g)
	}
	if len(m.sums) == 0 {
		return existing
	}
	out := slices.Concat(existing[:f.lastEnd], m.zones, m.components, existing[f.lastEnd:])
	now := know(out, parse(out))
	if slices.ContainsFunc(m.sums, func(sum [32]byte) bool { return !now.content[sum] }) {
		return nil
	}
	return out
}

type merge struct {
	have              known
	brk               string
	zones, components []byte
	sums              [][32]byte // of what was added
}

func (m *merge) add(data []byte, f *file) {
	needed := map[string]bool{}
	for _, c := range f.components {
		body := data[c.start:c.end]
		if c.zone {
			continue
		}
		if sum := contentline.Fingerprint(body); !m.have.content[sum] {
			m.have.content[sum] = true
			m.sums = append(m.sums, sum)
			m.components = contentline.AppendLines(m.components, body, m.brk)
			zonesOf(body, needed)
		}
	}
	for _, c := range f.components {
		if c.zone && needed[c.id] && !m.have.zones[c.id] {
			m.have.zones[c.id] = true
			m.zones = contentline.AppendLines(m.zones, data[c.start:c.end], m.brk)
		}
	}
}

// zonesOf adds the names of the time zones that a component refers to.
func zonesOf(body []byte, names map[string]bool) {
	s := contentline.NewScanner(body)
	for s.Next() {
		if id, ok := s.Param("TZID"); ok {
			names[string(contentline.NormalUID(id))] = true
		}
	}
}

// known is what a file holds.
type known struct {
	identity map[string]bool
	content  map[[32]byte]bool
	zones    map[string]bool
}

func know(data []byte, f *file) known {
	k := known{map[string]bool{}, map[[32]byte]bool{}, map[string]bool{}}
	for _, c := range f.components {
		switch {
		case c.problem != "":
		case c.zone:
			k.zones[c.id] = true
		default:
			sum := contentline.Fingerprint(data[c.start:c.end])
			k.content[sum] = true
			k.identity[c.key(sum)] = true
		}
	}
	return k
}

// key returns the identity of a component by itself.
func (c *component) key(sum [32]byte) string {
	if c.id != "" {
		return "uid " + c.id
	}
	return "sum " + string(sum[:])
}

func (k known) state(data []byte) contentline.State {
	same, met := true, false
	for _, c := range parse(data).components {
		if c.zone {
			continue
		}
		sum := contentline.Fingerprint(data[c.start:c.end])
		same = same && k.content[sum]
		met = met || k.identity[c.key(sum)]
	}
	switch {
	case same:
		return contentline.Same
	case met:
		return contentline.Differs
	}
	return contentline.New
}
