// Package note knows notes: their canonical form, a Markdown file with YAML front matter
// and its attachments beside it, and how they come among those that are there already.
// docs/SPEC.md section 9.3 gives the form, section 9.4 the rules.
package note

import (
	"io"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/format/markdown"
	"github.com/decant-dev/decant/node/item"
)

// Note is a note of a program that does not keep Markdown.
type Note struct {
	Title    string
	Created  time.Time
	Updated  time.Time
	Labels   []string
	Color    string
	Pinned   bool
	Archived bool
	Trashed  bool
	Source   string // the program: "Google Keep"
	Fields   []Field
	Body     string // Markdown
}

// Field is a further property.
type Field struct {
	Name  string
	Value any // text, a number, a bool, a time, or a list or map of such
}

// Attachment is a file that belongs to notes. Notes refer to it by Path.
type Attachment struct {
	Path     string // slash-separated, relative to the directory of the note
	Modified time.Time
	Open     func() (io.ReadCloser, error)
}

// Markdown writes the note.
func (n *Note) Markdown() []byte {
	f := markdown.NewFront()
	f.Set("title", n.Title)
	f.Set("created", n.Created)
	f.Set("updated", n.Updated)
	f.Set("labels", n.Labels)
	f.Set("color", n.Color)
	for _, b := range []struct {
		name string
		is   bool
	}{{"pinned", n.Pinned}, {"archived", n.Archived}, {"trashed", n.Trashed}} {
		if b.is {
			f.Set(b.name, true)
		}
	}
	f.Set("source", n.Source)
	for _, x := range n.Fields {
		f.Set(x.Name, x.Value)
	}
	body := n.Body
	if body != "" && !strings.HasSuffix(body, "\n") {
		body += "\n"
	}
	return markdown.Join(f, []byte(body))
}

// Record returns the note as a record.
func (n *Note) Record(at, from string) item.Record {
	label := n.Title
	if label == "" {
		label = strings.TrimSuffix(path.Base(at), path.Ext(at))
	}
	return item.Record{Kind: item.Note, Path: at, Label: label, From: from, Data: n.Markdown()}
}

// Link writes a reference to a file beside a note: an image is shown, anything else linked.
func Link(text, to string, image bool) string {
	parts := strings.Split(to, "/")
	for i := range parts {
		parts[i] = strings.NewReplacer("(", "%28", ")", "%29").Replace(url.PathEscape(parts[i]))
	}
	text = strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, "\n", " ").Replace(text)
	s := "[" + text + "](" + strings.Join(parts, "/") + ")"
	if image {
		return "!" + s
	}
	return s
}

// MaxName is the longest name that Names gives, in bytes.
const MaxName = 120

// Names gives files names that all systems take and that differ from each other in more
// than case.
type Names map[string]bool

// Name returns a free name like the one that is wished for. dir is what it will lie in; ext
// is kept at its end.
func (n Names) Name(dir, wish, ext string) string {
	stem := Clean(strings.TrimSuffix(wish, ext))
	if stem == "" {
		stem = "untitled"
	}
	ext = strings.TrimRight(Clean("x" + ext)[1:], ". ")
	for k := 1; ; k++ {
		name := stem + ext
		if k > 1 {
			name = stem + " (" + strconv.Itoa(k) + ")" + ext
		}
		if low := strings.ToLower(dir + "/" + name); !n[low] {
			n[low] = true
			return name
		}
	}
}

// Clean makes a name that all systems take, "" if nothing is left.
func Clean(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r < ' ' || r == 0x7f || r == utf8.RuneError || strings.ContainsRune(`/\:*?"<>|#^[]`, r): // the last four break links
			return '_'
		case r == '\u00a0' || r == '\u2028' || r == '\u2029':
			return ' '
		}
		return r
	}, name)
	name = strings.Trim(strings.Join(strings.Fields(name), " "), ". ")
	for len(name) > MaxName {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	name = strings.TrimRight(name, ". ")
	if Reserved(name) {
		name = "_" + name
	}
	return name
}

// Reserved reports whether a name is that of a device on Windows.
func Reserved(name string) bool {
	stem, _, _ := strings.Cut(name, ".")
	return slices.Contains(reserved, strings.ToUpper(strings.TrimSpace(stem)))
}

// reserved are the names of devices on Windows.
var reserved = []string{"CON", "PRN", "AUX", "NUL", "COM0", "COM1", "COM2", "COM3", "COM4", "COM5", "COM6", "COM7", "COM8", "COM9",
	"LPT0", "LPT1", "LPT2", "LPT3", "LPT4", "LPT5", "LPT6", "LPT7", "LPT8", "LPT9", "CONIN$", "CONOUT$"}
