package dav

import (
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// maxAltered is how many changes Altered tells of one record.
const maxAltered = 1000

// Altered tells what a server made of a record that was written: a Change for each
// property that it does not hold any more, holds otherwise, or has added. Order, folding, the way of escaping plain text and of
// quoting, PRODID and time stamps of the server's own are no changes; a separator that has become text is one, since the value
// has fewer parts then. Record and UID are those of what was written.
func Altered(k item.Kind, written, held []byte) (out []item.Change) {
	if string(written) == string(held) {
		return nil
	}
	before, after := facts(written), facts(held)
	m := matching{before: before, after: after, used: make([]bool, len(after)), done: make([]bool, len(before))}
	m.pair(func(f *fact) string { return f.path + "\x00" + f.text + "\x00" + f.form + "\x00" + f.cuts }, nil)
	change := func(f *fact, e item.Effect, why, from, to string) {
		if len(out) < maxAltered {
			out = append(out, item.Change{Kind: k, Property: f.path, Effect: e, Why: why, Before: shown(from), After: shown(to)})
		}
	}
	m.pair(func(f *fact) string { return f.path + "\x00" + f.text + "\x00" + f.form }, func(b, a *fact) {
		change(b, item.EffectAltered, "the server reads its separators otherwise", b.raw, a.raw)
	})
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
	cuts string // where it is no plain text: how many parts its separators make
	form string // its group and parameters
	raw  string // its value with its escapes
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
			out = append(out, fact{path: path + name, text: text(p), cuts: cuts(p), form: form(p), raw: p.Decoded(), line: strings.TrimRight(string(p.Raw()), "\r\n")})
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

// plain are properties that are one text, address or number, whose semicolons and commas are that text's however they are
// written. Any other may have parts.
var plain = map[string]bool{
	"FN": true, "NOTE": true, "TITLE": true, "ROLE": true, "LABEL": true, "MAILER": true, "SORT-STRING": true, "UID": true, "URL": true, "EMAIL": true,
	"TEL": true, "IMPP": true, "KIND": true, "LANG": true, "RELATED": true, "MEMBER": true, "SOURCE": true, "NAME": true, "XML": true, "X-ABLABEL": true,
	"SUMMARY": true, "DESCRIPTION": true, "LOCATION": true, "COMMENT": true, "CONTACT": true, "TZNAME": true, "TZID": true, "ATTENDEE": true,
	"ORGANIZER": true, "X-WR-CALNAME": true, "X-WR-CALDESC": true,
}

// cuts counts the semicolons and commas of a value that no backslash makes text.
func cuts(p *contentline.Property) string {
	if plain[p.Name()] || p.Encoding() == "BASE64" {
		return ""
	}
	v := p.Decoded()
	semicolons, commas := 0, 0
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case '\\':
			i++
		case ';':
			semicolons++
		case ',':
			commas++
		}
	}
	return fmt.Sprintf("%d;%d", semicolons, commas)
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
