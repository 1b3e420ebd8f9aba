package note

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/format/markdown"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Top is the directory of a collection that holds notes.
const Top = "Notes/"

// Rules brings notes together. It implements rule.Rules.
type Rules struct{}

// Split returns the one record that a file is.
func (Rules) Split(file string, data []byte) []item.Record {
	r := item.Record{Kind: item.Note, Path: strings.TrimPrefix(file, Top), From: file, Data: data}
	r.Label = label(r.Path, data)
	return []item.Record{r}
}

func label(file string, data []byte) string {
	if markdown.IsText(file) {
		if front, _ := markdown.Split(data); front.Text("title") != "" {
			return front.Text("title")
		}
	}
	return strings.TrimSuffix(path.Base(file), path.Ext(file))
}

// Shape implements rule.Rules. A place for files takes everything; one that does not keep
// a property of the front matter names it in capitals.
func (Rules) Shape(r item.Record, p rule.Profile) (item.Record, []item.Change, bool) {
	if p.MaxSize > 0 && int64(len(r.Data)) > p.MaxSize {
		return r, []item.Change{change(&r, "", item.EffectDropped, fmt.Sprintf("the target takes at most %d bytes", p.MaxSize), "", "")}, false
	}
	front, body := markdown.Split(r.Data)
	if len(p.Drops) == 0 || front == nil || !markdown.IsText(r.Path) {
		return r, nil, true
	}
	kept, changes := markdown.NewFront(), []item.Change(nil)
	for _, key := range front.Keys() {
		if slices.Contains(p.Drops, strings.ToUpper(key)) {
			changes = append(changes, change(&r, strings.ToUpper(key), item.EffectDropped, "the target has no such property", front.Text(key), ""))
			continue
		}
		kept.Copy(front, key)
	}
	if len(changes) > 0 {
		r.Data = markdown.Join(kept, body)
	}
	return r, changes, true
}

func change(r *item.Record, property string, e item.Effect, why, before, after string) item.Change {
	return item.Change{Kind: item.Note, Record: r.Label, UID: r.Path, From: r.From, Property: property, Effect: e, Why: why,
		Before: before[:min(len(before), item.MaxShown)], After: after[:min(len(after), item.MaxShown)]}
}

// Match implements rule.Rules. A file is the same as one of its name, but for a number that
// makes it free, that has the same bytes; a note also as one of its title and time of
// creation anywhere. A note that differs in its front matter only is merged; whatever else
// has the name or the title and the time already is kept beside it.
func (Rules) Match(ctx context.Context, existing, incoming []item.Record, opts rule.Options) ([]rule.Decision, error) {
	m := &matcher{content: map[string]int{}, paths: map[string]int{}, identity: map[string]int{}, all: existing}
	for i := range existing {
		m.add(i, &existing[i])
	}
	out := make([]rule.Decision, len(incoming))
	for i := range incoming {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r := &incoming[i]
		out[i] = m.decide(r)
		if v := out[i].Verdict; v == rule.New || v == rule.Conflict {
			m.content[contentKey(r)] = len(existing) + i
			if id := identity(r); id != "" {
				m.content[id+contentSum(r)] = len(existing) + i
			}
		}
	}
	return out, nil
}

type matcher struct {
	all      []item.Record
	content  map[string]int // by name and bytes
	paths    map[string]int
	identity map[string]int
}

func (m *matcher) add(i int, r *item.Record) {
	first(m.content, contentKey(r), i)
	first(m.paths, strings.ToLower(r.Path), i)
	if id := identity(r); id != "" {
		first(m.identity, id, i)
		first(m.content, id+contentSum(r), i)
	}
}

func first(m map[string]int, key string, i int) {
	if _, ok := m[key]; !ok {
		m[key] = i
	}
}

func contentSum(r *item.Record) string {
	sum := sha256.Sum256(r.Data)
	return string(sum[:])
}

// contentKey names bytes under a name without a number that made it free.
func contentKey(r *item.Record) string {
	dir, name := path.Split(r.Path)
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	if i := strings.LastIndex(stem, " ("); i > 0 && strings.HasSuffix(stem, ")") && strings.Trim(stem[i+2:len(stem)-1], "0123456789") == "" && len(stem)-i > 3 {
		stem = stem[:i]
	}
	return strings.ToLower(dir+stem+ext) + "\x00" + contentSum(r)
}

// identity is a note's title and time of creation, "" if it has not both.
func identity(r *item.Record) string {
	if !markdown.IsText(r.Path) {
		return ""
	}
	front, _ := markdown.Split(r.Data)
	title, created := front.Text("title"), front.Text("created")
	if title == "" || created == "" {
		return ""
	}
	return title + "\x00" + created + "\x00"
}

func (m *matcher) decide(r *item.Record) rule.Decision {
	id := identity(r)
	if i, ok := m.content[contentKey(r)]; ok {
		return rule.Decision{Verdict: rule.Same, With: i}
	}
	if i, ok := m.content[id+contentSum(r)]; ok && id != "" {
		return rule.Decision{Verdict: rule.Same, With: i}
	}
	with, why := -1, "same name, other content"
	if i, ok := m.identity[id]; ok && id != "" {
		with, why = i, "same title and time of creation"
	} else if i, ok := m.paths[strings.ToLower(r.Path)]; ok {
		with = i
	}
	if with < 0 {
		return rule.Decision{Verdict: rule.New, With: -1, Result: r.Data}
	}
	if d, ok := join(&m.all[with], r); ok {
		d.With = with
		return d
	}
	return rule.Decision{Verdict: rule.Conflict, With: with, Result: r.Data, Why: why}
}

// join gives a note the properties that it lacks of another one with the same text.
func join(have, r *item.Record) (rule.Decision, bool) {
	if !markdown.IsText(have.Path) || !markdown.IsText(r.Path) {
		return rule.Decision{}, false
	}
	front, body := markdown.Split(have.Data)
	from, text := markdown.Split(r.Data)
	if !bytes.Equal(plain(body), plain(text)) {
		return rule.Decision{}, false
	}
	d, changed := rule.Decision{Verdict: rule.Same}, false
	if from == nil {
		return d, true
	}
	if front == nil {
		front = markdown.NewFront()
	}
	for _, key := range from.Keys() {
		switch {
		case !slices.Contains(front.Keys(), key):
			front.Copy(from, key)
			changed = true
		case front.Same(from, key):
		case key == "labels" || key == "tags":
			all := front.List(key)
			for _, l := range from.List(key) {
				if !slices.Contains(all, l) {
					all, changed = append(all, l), true
				}
			}
			front.Set(key, all)
		default:
			d.Changes = append(d.Changes, change(r, strings.ToUpper(key), item.EffectDropped, "the target has another", from.Text(key), front.Text(key)))
		}
	}
	if changed {
		d.Verdict, d.Why, d.Result = rule.Merge, "same text", markdown.Join(front, body)
	}
	return d, true
}

// plain is a text without what programs change on their own: the kind of line breaks, and blank lines at its end.
func plain(b []byte) []byte {
	return bytes.TrimSpace(bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")))
}
