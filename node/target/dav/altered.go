package dav

import (
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// maxAltered is how many changes Altered tells of one record.
const maxAltered = 1000

// Altered tells what a server made of a record that was written: a Change for each
// property that it does not hold any more, holds otherwise, or has added. Order, folding, the way of escaping and
// quoting, PRODID and time stamps of the server's own are no changes. Record and UID are those of what was written.
func Altered(k item.Kind, written, held []byte) (out []item.Change) {
	if string(written) == string(held) {
		return nil
	}
	before, after := facts(written), facts(held)
	m := matching{before: before, after: after, used: make([]bool, len(after)), done: make([]bool, len(before))}
	m.pair(func(f *fact) string { return f.path + "\x00" + f.text + "\x00" + f.form }, nil)
	change := func(f *fact, e item.Effect, why, from, to string) {
		if len(out) < maxAltered {
			out = append(out, item.Change{Kind: k, Property: f.path, Effect: e, Why: why, Before: shown(from), After: shown(to)})
		}
	}
	m.pair(func(f *fact) string { return f.path + "\x00" + f.text }, func(b, a *fact) {
		change(b, item.EffectAltered, "the server wrote it with other parameters", b.line, a.line)
	})
	m.pair(func(f *fact) string { return f.path }, func(b, a *fact) {
		change(b, item.EffectAltered, "the server wrote it in its own way", b.text, a.text)
	})
	for i := range before {
		if !m.done[i] {
			change(&before[i], item.EffectDropped, "the server does not keep it", before[i].text, "")
		}
	}
	for i := range after {
		if !m.used[i] {
			change(&after[i], item.EffectAdded, "the server has added it", "", after[i].text)
		}
	}
	return out
}

// Altered tells what the server made of a record; see the function.
func (t *Target) Altered(k item.Kind, written, held []byte) []item.Change {
	return Altered(k, written, held)
}

// fact is one property in the form in which records are compared.
type fact struct {
	path string // "VEVENT/VALARM/TRIGGER"
	text string // its value, decoded
	form string // its group and parameters
	line string
}

// facts lists the properties of a record that are the person's.
func facts(data []byte) (out []fact) {
	var walk func(c *contentline.Component, path string)
	walk = func(c *contentline.Component, path string) {
		for p := range c.Properties() {
			name := p.Name()
			if p.Blank() || name == "PRODID" || name == "VERSION" || name == "REV" || name == "DTSTAMP" {
				continue
			}
			out = append(out, fact{path: path + name, text: text(p), form: form(p), line: strings.TrimRight(string(p.Raw()), "\r\n")})
		}
		for child := range c.Components() {
			below := path
			if child.Name != "VCARD" && child.Name != "VCALENDAR" || path != "" {
				below = path + child.Name + "/"
			}
			walk(child, below)
		}
	}
	walk(contentline.Parse(data).Root, "")
	return out
}

func text(p *contentline.Property) string {
	if p.Encoding() == "BASE64" {
		return p.Value()
	}
	return p.Text()
}

func form(p *contentline.Property) string {
	var params []string
	for _, q := range p.Params() {
		values := slices.Clone(q.Values)
		slices.Sort(values)
		params = append(params, q.Name+"="+strings.ToUpper(strings.Join(values, ",")))
	}
	slices.Sort(params)
	return strings.ToUpper(p.Group()) + "\x00" + strings.Join(params, ";")
}

// matching pairs the properties of two records.
type matching struct {
	before, after []fact
	done, used    []bool
}

// pair takes those that are still alone and have the same key together, in order.
func (m *matching) pair(key func(*fact) string, f func(b, a *fact)) {
	free := map[string][]int{}
	for i := range m.after {
		if !m.used[i] {
			k := key(&m.after[i])
			free[k] = append(free[k], i)
		}
	}
	for i := range m.before {
		k := key(&m.before[i])
		if m.done[i] || len(free[k]) == 0 {
			continue
		}
		j := free[k][0]
		free[k] = free[k][1:]
		m.done[i], m.used[j] = true, true
		if f != nil {
			f(&m.before[i], &m.after[j])
		}
	}
}

func shown(s string) string {
	return strings.ToValidUTF8(s[:min(len(s), item.MaxShown)], "\ufffd")
}
