// Package contact knows address books (.vcf, vCard 2.1 to 4.0). It finds the cards in one
// and adds cards to one, without changing a byte of any card (docs/SPEC.md section 9.1);
// and its Rules bring cards into the form that a target takes, and together with those
// that it has (sections 9.3 and 9.4). Nothing that a card says is lost without an item.Change
// that tells it.
package contact

import (
	"bytes"
	"slices"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// maxDepth is how many cards may stand inside one another (the AGENT property of vCard 2.1).
const maxDepth = 16

// Records returns the cards of an address book in their order. One that is not closed is
// there with a Problem. The time is linear in the length of data, and the memory in the
// number of cards; the result does not refer to data.
func Records(data []byte) []contentline.Record {
	p := parser{scanner: contentline.NewScanner(data), data: data, open: -1}
	for p.scanner.Next() {
		p.line()
	}
	if p.open >= 0 {
		p.broken(len(data), contentline.ProblemNoEnd)
	}
	return p.records
}

type parser struct {
	scanner *contentline.Scanner
	data    []byte
	records []contentline.Record

	open  int // where the card begins that is not closed yet; -1 outside
	depth int
	uid   []byte
	agent bool // the last line that is not blank was AGENT without a value, so a card inside may follow
}

func (p *parser) line() {
	s := p.scanner
	name := s.Name()
	agent := p.agent
	p.agent = p.agent && name == nil && len(bytes.TrimSpace(p.data[s.Start:s.End])) == 0
	switch {
	case contentline.EqualFold(name, "BEGIN") && p.value("VCARD"):
		p.begin(agent)
	case p.open < 0:
	case contentline.EqualFold(name, "END") && p.value("VCARD"):
		if p.depth--; p.depth == 0 {
			p.end()
		}
	case contentline.EqualFold(name, "AGENT"):
		v, _ := s.Value(64)
		p.agent = len(v) == 0
		if contentline.EqualFold(v, "BEGIN:VCARD") {
			p.begin(true)
		}
	case p.depth == 1 && p.uid == nil && contentline.EqualFold(name, "UID"):
		if v, ok := s.Value(contentline.MaxUID); ok && len(v) > 0 {
			p.uid = bytes.Clone(contentline.NormalUID(v))
		}
	}
}

func (p *parser) value(want string) bool {
	v, _ := p.scanner.Value(64)
	return contentline.EqualFold(v, want)
}

// begin opens a card: one inside the present one if it is an agent, else a new one, and
// then the present one has no end.
func (p *parser) begin(agent bool) {
	if p.open >= 0 && agent && p.depth < maxDepth {
		p.depth++
		return
	}
	if p.open >= 0 {
		p.broken(p.scanner.Start, contentline.ProblemNoEnd)
	}
	p.open, p.depth, p.uid = p.scanner.Start, 1, nil
}

func (p *parser) end() {
	r := contentline.Record{Ranges: p.ranges(p.scanner.End)}
	if p.uid != nil {
		r.Identity = contentline.UIDIdentity(p.uid)
	} else {
		r.Identity = contentline.ContentIdentity(p.data[p.open:p.scanner.End])
	}
	p.records = append(p.records, r)
	p.open = -1
}

func (p *parser) broken(end int, problem string) {
	p.records = append(p.records, contentline.Record{Ranges: p.ranges(end), Problem: problem})
	p.open = -1
}

func (p *parser) ranges(end int) []item.Range {
	return []item.Range{{Offset: int64(p.open), Length: int64(end - p.open)}}
}

// Compare tells for each run of cards in add how existing stands to it: New if it has
// none of their identities, Same if it has all of them line for line.
func Compare(existing []byte, add [][]byte) []contentline.State {
	have := know(existing)
	states := make([]contentline.State, len(add))
	for i, a := range add {
		states[i] = have.state(a)
	}
	return states
}

// Merge returns existing with the cards of add behind its own, in the line breaks of
// existing, whose bytes all stay. A card that is there already line for line is not added
// again, so merging twice is merging once; one of the same identity with other content
// is added: neither is lost. Each element of add may hold several cards, or a whole file.
// Merge returns nil if that would lose something: if add holds a card that could not be
// parsed or text outside of cards, or existing is no text that cards can be added to (a
// card at its end would swallow them), or either holds NUL, as UTF-16 does. Keep both
// files then.
func Merge(existing []byte, add [][]byte) []byte {
	if bytes.IndexByte(existing, 0) >= 0 {
		return nil
	}
	have := know(existing)
	brk := contentline.Break(existing)
	out := slices.Clip(existing)
	var added [][32]byte
	for _, a := range add {
		records := Records(a)
		if bytes.IndexByte(a, 0) >= 0 || !whole(a, records) {
			return nil
		}
		for _, r := range records {
			card := r.Bytes(a)
			sum := contentline.Fingerprint(card)
			if have.content[sum] {
				continue
			}
			have.content[sum] = true
			added = append(added, sum)
			if n := len(out); n > 0 && out[n-1] != '\n' && out[n-1] != '\r' {
				out = append(out, brk...)
			}
			out = contentline.AppendLines(out, card, brk)
		}
	}
	if len(added) == 0 {
		return existing
	}
	if now := know(out); slices.ContainsFunc(added, func(sum [32]byte) bool { return !now.content[sum] }) {
		return nil
	}
	return out
}

// whole reports whether data is nothing but well-formed cards and blank lines.
func whole(data []byte, records []contentline.Record) bool {
	at := 0
	for _, r := range records {
		g := r.Ranges[0]
		if r.Problem != "" || !blank(data[at:g.Offset]) {
			return false
		}
		at = int(g.Offset + g.Length)
	}
	return blank(data[at:])
}

func blank(b []byte) bool {
	return len(bytes.TrimSpace(bytes.TrimPrefix(b, []byte("\ufeff")))) == 0
}

// known is what a file holds.
type known struct {
	identity map[string]bool
	content  map[[32]byte]bool
}

func know(data []byte) known {
	k := known{map[string]bool{}, map[[32]byte]bool{}}
	for _, r := range Records(data) {
		if r.Problem == "" {
			k.identity[string(r.Identity)] = true
			k.content[contentline.Fingerprint(r.Bytes(data))] = true
		}
	}
	return k
}

func (k known) state(cards []byte) contentline.State {
	same, met := true, false
	for _, r := range Records(cards) {
		same = same && k.content[contentline.Fingerprint(r.Bytes(cards))]
		met = met || k.identity[string(r.Identity)]
	}
	switch {
	case same:
		return contentline.Same
	case met:
		return contentline.Differs
	}
	return contentline.New
}
