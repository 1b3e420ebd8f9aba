// Package keep reads the notes of Google Keep as Google Takeout gives them: one JSON file
// for each note, with its attachments beside it, and an HTML file that says the same.
package keep

import (
	"bytes"
	"encoding/json"
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/note"
)

// Source is what notes of Keep say that they come from.
const Source = "Google Keep"

// MaxFile is the largest note in bytes.
const MaxFile = 16 << 20

// ErrForm is returned for JSON that is no note of Keep.
var ErrForm = errors.New("it is no note of Google Keep")

// Attachment is a file that a note names. Takeout does not always give it that very name.
type Attachment struct {
	Path string // as the note has it
	Mime string
}

// Note is one note and what belongs to it.
type Note struct {
	note.Note
	Attachments []Attachment
	Changes     []item.Change // what is not in the note; Record and From are not set
}

type listItem struct {
	Text      string `json:"text"`
	TextHTML  string `json:"textHtml"`
	IsChecked bool   `json:"isChecked"`
}

// Parse reads a note. What it does not know stands in the note's field keep, as it is.
func Parse(data []byte) (*Note, error) {
	if len(data) > MaxFile {
		return nil, ErrForm
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &m); err != nil {
		return nil, errors.Join(ErrForm, err)
	}
	if m["userEditedTimestampUsec"] == nil || m["color"] == nil && m["isTrashed"] == nil && m["isArchived"] == nil && m["textContent"] == nil && m["listContent"] == nil {
		return nil, ErrForm
	}
	p := &parser{m: m, n: &Note{}}
	p.n.Source = Source
	p.properties()
	p.content()
	p.files()
	p.rest()
	return p.n, nil
}

type parser struct {
	m map[string]json.RawMessage
	n *Note
}

// take decodes a member and removes it. What is of another type stays.
func (p *parser) take(name string, into any) bool {
	v, ok := p.m[name]
	if !ok || json.Unmarshal(v, into) != nil {
		return false
	}
	delete(p.m, name)
	return true
}

func (p *parser) properties() {
	n := p.n
	p.take("title", &n.Title)
	n.Created, n.Updated = p.time("createdTimestampUsec"), p.time("userEditedTimestampUsec")
	if p.take("color", &n.Color); n.Color == "DEFAULT" {
		n.Color = ""
	}
	p.take("isPinned", &n.Pinned)
	p.take("isArchived", &n.Archived)
	p.take("isTrashed", &n.Trashed)
	var labels []map[string]any
	if p.keep("labels", &labels, "name") {
		for _, l := range labels {
			if s, ok := l["name"].(string); ok && !slices.Contains(n.Labels, s) {
				n.Labels = append(n.Labels, s)
			}
		}
	}
	for name, field := range map[string]string{"annotations": "annotations", "sharees": "shared_with"} {
		var all []any
		if p.take(name, &all); len(all) > 0 {
			n.Fields = append(n.Fields, note.Field{Name: field, Value: all})
		}
	}
	slices.SortFunc(n.Fields, func(a, b note.Field) int { return strings.Compare(a.Name, b.Name) })
}

// keep decodes a list of objects if they have no members but those that are named: others stay as they are.
func (p *parser) keep(name string, into *[]map[string]any, members ...string) bool {
	var all []map[string]any
	if v, ok := p.m[name]; !ok || json.Unmarshal(v, &all) != nil {
		return false
	}
	*into = all
	for _, o := range all {
		for key := range o {
			if !slices.Contains(members, key) {
				return true // and they stand in the field keep as well
			}
		}
	}
	delete(p.m, name)
	return true
}

func (p *parser) time(name string) time.Time {
	var n json.Number
	v := strings.Trim(string(p.m[name]), `"`)
	if json.Unmarshal([]byte(v), &n) != nil {
		return time.Time{}
	}
	us, err := n.Int64()
	if err != nil || us <= 0 || us > 253402300799_000000 {
		return time.Time{}
	}
	delete(p.m, name)
	return time.UnixMicro(us).UTC()
}

// formatted finds formatting in the HTML that newer exports have beside the text.
var formatted = regexp.MustCompile(`(?i)<(b|i|u|strong|em|h[1-6])[ >]|font-weight: *(bold|[6-9])|font-style: *italic|text-decoration: *underline`)

func (p *parser) content() {
	n := p.n
	var text, html string
	p.take("textContent", &text)
	var parts []string
	if text != "" {
		parts = append(parts, strings.ReplaceAll(text, "\r\n", "\n"))
	}
	if p.take("textContentHtml", &html); formatted.MatchString(html) {
		n.Changes = append(n.Changes, item.Change{Kind: item.Note, Property: "TEXTCONTENTHTML", Effect: item.EffectDropped, Why: "the text is kept without its formatting", Before: shown(html)})
	}
	var raw []map[string]any
	var list []listItem
	if v, ok := p.m["listContent"]; ok && json.Unmarshal(v, &list) == nil && p.keep("listContent", &raw, "text", "textHtml", "isChecked") && len(list) > 0 {
		var b strings.Builder
		for _, l := range list {
			box := "- [ ] "
			if l.IsChecked {
				box = "- [x] "
			}
			b.WriteString(box + strings.ReplaceAll(strings.ReplaceAll(l.Text, "\r\n", "\n"), "\n", "\n  ") + "\n")
			if formatted.MatchString(l.TextHTML) {
				n.Changes = append(n.Changes, item.Change{Kind: item.Note, Property: "LISTCONTENT/TEXTHTML", Effect: item.EffectDropped, Why: "the text is kept without its formatting", Before: shown(l.TextHTML)})
			}
		}
		parts = append(parts, b.String())
	}
	n.Body = strings.Join(parts, "\n\n")
}

func shown(s string) string { return s[:min(len(s), item.MaxShown)] }

func (p *parser) files() {
	var all []map[string]any
	if !p.keep("attachments", &all, "filePath", "mimetype") {
		return
	}
	for _, a := range all {
		at, _ := a["filePath"].(string)
		mime, _ := a["mimetype"].(string)
		if at != "" && len(at) < 4096 {
			p.n.Attachments = append(p.n.Attachments, Attachment{Path: at, Mime: mime})
		}
	}
}

// rest keeps what is left.
func (p *parser) rest() {
	left := map[string]any{}
	for name, v := range p.m {
		d := json.NewDecoder(bytes.NewReader(v))
		d.UseNumber()
		var x any
		if d.Decode(&x) == nil && x != nil {
			left[name] = plain(x)
		}
	}
	if len(left) > 0 {
		p.n.Fields = append(p.n.Fields, note.Field{Name: "keep", Value: left})
	}
}

// plain makes numbers of JSON numbers, which YAML would write as text.
func plain(x any) any {
	switch v := x.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		if f, err := v.Float64(); err == nil {
			return f
		}
		return v.String()
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return x
}

// IsImage reports whether an attachment can be shown in a note.
func (a Attachment) IsImage() bool {
	return strings.HasPrefix(a.Mime, "image/") || a.Mime == "" && slices.Contains([]string{".png", ".jpg", ".jpeg", ".gif", ".webp"}, strings.ToLower(path.Ext(a.Path)))
}

// minStem is how much of a name must be there for a file to be the one of a longer name.
const minStem = 16

// Find returns which of names, the files of a directory, is the one that a note calls
// want: Takeout gives it another extension, letters of another case, a shorter name or a
// number. "" is none, or more than one that it could be.
func Find(names []string, want string) string {
	want = path.Base(strings.ReplaceAll(want, `\`, "/"))
	ext := path.Ext(want)
	stem := strings.ToLower(strings.TrimSuffix(want, ext))
	for _, same := range []func(name, nameStem string) bool{
		func(name, _ string) bool { return name == want },
		func(name, _ string) bool { return strings.EqualFold(name, want) },
		func(_, s string) bool { return s == stem },
		func(_, s string) bool { return len(s) >= minStem && len(s) < len(stem) && strings.HasPrefix(stem, s) },
	} {
		found, several := "", false
		for _, name := range names {
			s := strings.ToLower(strings.TrimSuffix(name, path.Ext(name)))
			if x := strings.ToLower(path.Ext(name)); x == ".json" || x == ".html" || !same(name, s) {
				continue
			}
			several, found = found != "", name
		}
		if found != "" && !several {
			return found
		}
	}
	return ""
}
