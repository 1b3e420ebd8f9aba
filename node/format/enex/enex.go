// Package enex reads the files that Evernote exports (evernote-export4.dtd): XML that
// holds notes, their text in an XML of its own (ENML, enml2.dtd), and their attachments in
// base64. Attachments of any size pass through a temporary directory; everything else is
// bounded. Nothing is fetched.
package enex

import (
	"context"
	"crypto/md5" // what Evernote names attachments by; it protects nothing
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/note"
)

// Source is what notes of Evernote say that they come from.
const Source = "Evernote"

// Limits on one note.
const (
	MaxContent   = 32 << 20 // bytes of its text with its markup
	maxOther     = 1 << 20  // bytes of all other properties
	maxResources = 10_000
)

// Note is one note and what belongs to it.
type Note struct {
	note.Note
	Resources []*Resource
	Changes   []item.Change // Record and From are not set

	content strings.Builder
	cut     bool // of the content
}

// Resource is an attachment. Its content is there until the caller removes the directory
// that Read was given.
type Resource struct {
	Hash     string // MD5 in hexadecimal, as the text refers to it
	Mime     string
	Modified time.Time
	Size     int64
	fields   []note.Field
	name     string
	file     string
}

// Open opens the content.
func (r *Resource) Open() (io.ReadCloser, error) { return os.Open(r.file) }

// extensions are those of the types that mime does not know everywhere.
var extensions = map[string]string{"image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp", "application/pdf": ".pdf", "audio/mpeg": ".mp3", "audio/wav": ".wav", "audio/amr": ".amr", "video/mp4": ".mp4", "text/plain": ".txt"}

// Name returns the name that the attachment has, or one made of its hash.
func (r *Resource) Name() string {
	name := path.Base(strings.ReplaceAll(r.name, `\`, "/"))
	if name == "" || name == "." || name == "/" {
		name = r.Hash
	}
	if path.Ext(name) == "" {
		ext := extensions[r.Mime]
		if all, err := mime.ExtensionsByType(r.Mime); ext == "" && err == nil && len(all) > 0 {
			ext = all[0]
		}
		name += ext
	}
	return name
}

// IsImage reports whether it can be shown in the note.
func (r *Resource) IsImage() bool { return strings.HasPrefix(r.Mime, "image/") }

// Read reads a file and calls each for every note, whose attachments then lie in the
// directory temp.
func Read(ctx context.Context, r io.Reader, temp string, each func(*Note) error) error {
	p := &reader{ctx: ctx, l: newLexer(r), temp: temp}
	t, err := p.next()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = ErrForm
		}
		return err
	}
	if t.kind != startTag || t.name != "en-export" {
		return ErrForm
	}
	for {
		t, err := p.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case t.kind == startTag && t.name == "note":
			n, err := p.note()
			if err != nil {
				return err
			}
			if err := each(n); err != nil {
				return err
			}
		case t.kind == startTag:
			if _, err := p.element(t, new(int)); err != nil {
				return err
			}
		}
	}
}

type reader struct {
	ctx  context.Context
	l    *lexer
	temp string
	done bool // the data of an attachment has ended
}

// next returns the next token but for blanks between the outermost elements.
func (p *reader) next() (token, error) {
	for {
		t, err := p.l.next()
		if err == nil && t.kind == textPiece && len(p.l.open) < 3 && strings.TrimSpace(string(t.text)) == "" {
			continue
		}
		if err == nil && t.kind == textPiece && len(p.l.open) == 0 && strings.TrimSpace(strings.TrimPrefix(string(t.text), "\ufeff")) == "" {
			continue
		}
		return t, err
	}
}

// element is any element but the large ones.
type element struct {
	name     string
	attrs    map[string]string
	text     string
	children []*element
}

// element reads to the end of an element that has begun. size counts what it holds; beyond
// maxOther it is read and forgotten.
func (p *reader) element(t token, size *int) (*element, error) {
	e := &element{name: t.name, attrs: t.attrs}
	var text strings.Builder
	for {
		t, err := p.l.next()
		if err != nil {
			return nil, eof(err)
		}
		switch t.kind {
		case endTag:
			e.text = strings.TrimSpace(strings.ToValidUTF8(text.String(), "\ufffd"))
			return e, nil
		case textPiece:
			if *size += len(t.text); *size <= maxOther {
				text.Write(t.text)
			}
		case startTag:
			c, err := p.element(t, size)
			if err != nil {
				return nil, err
			}
			if *size += 64 + len(t.name); *size <= maxOther {
				e.children = append(e.children, c)
			}
		}
	}
}

func eof(err error) error {
	if errors.Is(err, io.EOF) {
		return malformed("it ends inside of a note")
	}
	return err
}

func (p *reader) note() (*Note, error) {
	n, size := &Note{}, 0
	n.Source = Source
	for {
		if err := p.ctx.Err(); err != nil {
			return nil, err
		}
		t, err := p.next()
		if err != nil {
			return nil, eof(err)
		}
		switch {
		case t.kind == endTag:
			if size > maxOther {
				n.lost("", item.EffectDropped, fmt.Sprintf("its properties have more than %d bytes", maxOther), "")
			}
			return n, nil
		case t.kind != startTag:
		case t.name == "content":
			err = p.content(n)
		case t.name == "resource":
			err = p.resource(n, &size)
		default:
			var e *element
			if e, err = p.element(t, &size); err == nil {
				n.property(e)
			}
		}
		if err != nil {
			return nil, err
		}
	}
}

func (n *Note) lost(property string, e item.Effect, why, before string) {
	n.Changes = append(n.Changes, item.Change{Property: property, Effect: e, Why: why, Before: before[:min(len(before), item.MaxShown)]})
}

func (p *reader) content(n *Note) error {
	for {
		t, err := p.l.next()
		switch {
		case err != nil:
			return eof(err)
		case t.kind == endTag && t.name == "content":
			return nil
		case t.kind != textPiece: // markup that is not escaped
			n.cut = true
		case n.content.Len()+len(t.text) > MaxContent:
			n.cut = true
		default:
			n.content.Write(t.text)
		}
	}
}

// timeOf reads both forms of times that there are.
func timeOf(s string) time.Time {
	for _, layout := range []string{"20060102T150405Z", time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
}

func (n *Note) property(e *element) {
	switch e.name {
	case "title":
		n.Title = strings.Join(strings.Fields(e.text), " ")
	case "created":
		n.date(&n.Created, e)
	case "updated":
		n.date(&n.Updated, e)
	case "tag":
		if e.text != "" && !slices.Contains(n.Labels, e.text) {
			n.Labels = append(n.Labels, e.text)
		}
	case "note-attributes":
		for _, c := range e.children {
			n.attribute(c)
		}
	default:
		n.add(e.name, e.value())
	}
}

func (n *Note) date(to *time.Time, e *element) {
	if *to = timeOf(e.text); to.IsZero() && e.text != "" {
		n.add(e.name+"_at", e.text)
	}
}

func (n *Note) attribute(e *element) {
	switch name := strings.ReplaceAll(e.name, "-", "_"); {
	case name == "application_data" && e.attrs["key"] != "":
		n.add(name, map[string]any{e.attrs["key"]: e.text})
	case name == "source":
		n.add("source_type", e.value())
	default:
		n.add(name, e.value())
	}
}

// value is what stands in the front matter: text, a time, or a mapping.
func (e *element) value() any {
	if t := timeOf(e.text); !t.IsZero() {
		return t
	}
	if len(e.children) == 0 && len(e.attrs) == 0 {
		return e.text
	}
	m := map[string]any{}
	if e.text != "" {
		m["text"] = e.text
	}
	for k, v := range e.attrs {
		m[k] = v
	}
	for _, c := range e.children {
		put(m, c.name, c.value())
	}
	return m
}

// put adds to a mapping; what is there several times becomes a list.
func put(m map[string]any, name string, v any) {
	switch have := m[name].(type) {
	case nil:
		m[name] = v
	case []any:
		m[name] = append(have, v)
	default:
		m[name] = []any{have, v}
	}
}

// owned are the front matter's own properties.
var owned = []string{"title", "created", "updated", "labels", "color", "pinned", "archived", "trashed", "source", "attachments"}

func (n *Note) add(name string, v any) {
	if v == "" || v == nil {
		return
	}
	if slices.Contains(owned, name) {
		name = "evernote_" + name
	}
	for i, f := range n.Fields {
		if f.Name != name {
			continue
		}
		old, ok1 := f.Value.(map[string]any)
		more, ok2 := v.(map[string]any)
		if ok1 && ok2 && name == "application_data" {
			for k, x := range more {
				put(old, k, x)
			}
			return
		}
		m := map[string]any{"": f.Value}
		put(m, "", v)
		n.Fields[i].Value = m[""]
		return
	}
	n.Fields = append(n.Fields, note.Field{Name: name, Value: v})
}

func (p *reader) resource(n *Note, size *int) error {
	r := &Resource{}
	if len(n.Resources) == maxResources {
		return malformed("a note has more than %d attachments", maxResources)
	}
	for {
		t, err := p.l.next()
		if err != nil {
			return eof(err)
		}
		switch {
		case t.kind == endTag && t.name == "resource":
			if r.file != "" {
				n.Resources = append(n.Resources, r)
			} else {
				n.lost("RESOURCE", item.EffectDropped, "it has no content", r.name)
			}
			return nil
		case t.kind != startTag:
		case t.name == "data" && r.file == "":
			if err := p.data(n, r, t); err != nil {
				return err
			}
		default:
			e, err := p.element(t, size)
			if err != nil {
				return err
			}
			r.property(n, e)
		}
	}
}

func (r *Resource) property(n *Note, e *element) {
	switch e.name {
	case "mime":
		r.Mime = e.text
	case "recognition":
		if e.text != "" || len(e.children) > 0 {
			n.lost("RESOURCE/RECOGNITION", item.EffectDropped, "what Evernote has read in a picture is not kept", "")
		}
	case "alternate-data":
		n.lost("RESOURCE/ALTERNATE-DATA", item.EffectDropped, "the attachment itself is kept", "")
	case "resource-attributes":
		for _, c := range e.children {
			switch c.name {
			case "file-name":
				r.name = c.text
			case "timestamp":
				if r.Modified = timeOf(c.text); r.Modified.IsZero() {
					r.add(c)
				}
			default:
				r.add(c)
			}
		}
	default:
		r.add(e)
	}
}

func (r *Resource) add(e *element) {
	if v := e.value(); v != "" {
		r.fields = append(r.fields, note.Field{Name: strings.ReplaceAll(e.name, "-", "_"), Value: v})
	}
}

// data decodes an attachment into a file.
func (p *reader) data(n *Note, r *Resource, t token) error {
	if enc := t.attrs["encoding"]; enc != "" && enc != "base64" {
		n.lost("RESOURCE/DATA", item.EffectDropped, "its encoding is not known", enc)
		_, err := p.element(t, new(int))
		return err
	}
	f, err := os.CreateTemp(p.temp, "attachment-")
	if err != nil {
		return err
	}
	sum := md5.New()
	p.done = false
	d := base64.NewDecoder(base64.StdEncoding, &pieces{p: p})
	r.Size, err = io.Copy(io.MultiWriter(f, sum), d)
	if bad := (base64.CorruptInputError)(0); errors.As(err, &bad) || errors.Is(err, io.ErrUnexpectedEOF) {
		n.lost("RESOURCE/DATA", item.EffectFlagged, "it is damaged: only what comes before byte "+strconv.FormatInt(r.Size, 10)+" is kept", "")
		_, err = io.Copy(io.Discard, &pieces{p: p})
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	r.file, r.Hash = filepath.Clean(f.Name()), hex.EncodeToString(sum.Sum(nil))
	return nil
}

// pieces is the text of an element without blanks.
type pieces struct {
	p    *reader
	left []byte
}

func (s *pieces) Read(b []byte) (int, error) {
	for len(s.left) == 0 {
		if s.p.done {
			return 0, io.EOF
		}
		t, err := s.p.l.next()
		if err != nil {
			return 0, eof(err)
		}
		switch t.kind {
		case endTag:
			s.p.done = true
		case textPiece:
			s.left = s.left[:0]
			for _, c := range t.text {
				if c > ' ' {
					s.left = append(s.left, c)
				}
			}
		default:
			return 0, malformed("an element inside of an attachment")
		}
	}
	k := copy(b, s.left)
	s.left = s.left[k:]
	return k, nil
}
