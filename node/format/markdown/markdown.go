// Package markdown reads and writes the front matter of Markdown files: YAML between two
// lines of three hyphens at the beginning, as Obsidian, Joplin, Nextcloud Notes and site
// generators have it. The text below it is never looked into.
package markdown

import (
	"bytes"
	"path"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// MaxFront is the longest front matter in bytes; a longer one is text.
const MaxFront = 256 << 10

// Front is a file's front matter: a mapping, in order.
type Front struct{ node *yaml.Node }

// NewFront returns front matter without properties.
func NewFront() *Front { return &Front{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}} }

// Split cuts a file into front matter and text. front is nil if the file has none that can
// be understood; then body is the whole file, without a byte order mark.
func Split(data []byte) (front *Front, body []byte) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	first, rest, ok := bytes.Cut(data, []byte("\n"))
	if !ok || string(bytes.TrimRight(first, " \t\r")) != "---" {
		return nil, data
	}
	for at := 0; at < min(len(rest), MaxFront); {
		end := at + bytes.IndexByte(rest[at:], '\n')
		if end < at {
			end = len(rest)
		}
		if line := string(bytes.TrimRight(rest[at:end], " \t\r")); line == "---" || line == "..." {
			if f := parse(rest[:at]); f != nil {
				return f, rest[min(end+1, len(rest)):]
			}
			return nil, data
		}
		at = end + 1
	}
	return nil, data
}

func parse(text []byte) *Front {
	var doc yaml.Node
	if yaml.Unmarshal(text, &doc) != nil {
		return nil
	}
	switch {
	case doc.Kind == 0: // nothing or comments
		return NewFront()
	case doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode:
		return nil
	}
	return &Front{doc.Content[0]}
}

// Join writes a file. Without properties there is no front matter.
func Join(front *Front, body []byte) []byte {
	if front == nil || len(front.node.Content) == 0 {
		return body
	}
	var b bytes.Buffer
	b.WriteString("---\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if e.Encode(front.node) != nil || e.Close() != nil {
		return body
	}
	b.WriteString("---\n")
	b.Write(body)
	return b.Bytes()
}

// Keys returns the names of the properties, in order.
func (f *Front) Keys() (keys []string) {
	for i := 0; i+1 < len(f.node.Content); i += 2 {
		keys = append(keys, f.node.Content[i].Value)
	}
	return keys
}

func (f *Front) get(key string) *yaml.Node {
	if f == nil {
		return nil
	}
	for i := 0; i+1 < len(f.node.Content); i += 2 {
		if f.node.Content[i].Value == key {
			return f.node.Content[i+1]
		}
	}
	return nil
}

// Text returns the value of a property that is no list or mapping, "" if there is none.
func (f *Front) Text(key string) string {
	if n := f.get(key); n != nil && n.Kind == yaml.ScalarNode && n.Tag != "!!null" {
		return n.Value
	}
	return ""
}

// List returns the texts of a property that is a list, or one text.
func (f *Front) List(key string) (out []string) {
	n := f.get(key)
	switch {
	case n == nil:
	case n.Kind == yaml.SequenceNode:
		for _, c := range n.Content {
			if c.Kind == yaml.ScalarNode {
				out = append(out, c.Value)
			}
		}
	case n.Kind == yaml.ScalarNode && n.Value != "":
		out = []string{n.Value}
	}
	return out
}

// Set gives a property a value: text, a number, a bool, a time, a list or a map of such. A
// value that is empty removes nothing and adds nothing.
func (f *Front) Set(key string, value any) {
	n := &yaml.Node{}
	switch v := value.(type) {
	case string:
		if v == "" {
			return
		}
		n.SetString(v)
		n.Tag = "!!str"
	case time.Time:
		if v.IsZero() {
			return
		}
		n.Kind, n.Tag, n.Value = yaml.ScalarNode, "!!timestamp", v.UTC().Format(time.RFC3339Nano)
	case []string:
		if len(v) == 0 {
			return
		}
		n.Kind, n.Tag = yaml.SequenceNode, "!!seq"
		for _, s := range v {
			c := &yaml.Node{}
			c.SetString(s)
			c.Tag = "!!str"
			n.Content = append(n.Content, c)
		}
	default:
		if n.Encode(value) != nil {
			return
		}
	}
	f.put(key, n)
}

func (f *Front) put(key string, n *yaml.Node) {
	if have := f.get(key); have != nil {
		if have.Kind == n.Kind && n.Kind != yaml.ScalarNode {
			n.Style = have.Style
		}
		*have = *n
		return
	}
	k := &yaml.Node{}
	k.SetString(key)
	f.node.Content = append(f.node.Content, k, n)
}

// Same reports whether both give a property the same value.
func (f *Front) Same(other *Front, key string) bool {
	a, b := f.get(key), other.get(key)
	return a != nil && b != nil && equal(a, b, 0)
}

const maxDepth = 100

func equal(a, b *yaml.Node, depth int) bool {
	if depth > maxDepth || a.Kind != b.Kind || a.Value != b.Value || len(a.Content) != len(b.Content) {
		return false
	}
	for i := range a.Content {
		if !equal(a.Content[i], b.Content[i], depth+1) {
			return false
		}
	}
	return true
}

// Copy gives f the property that other has.
func (f *Front) Copy(other *Front, key string) {
	if n := other.get(key); n != nil {
		f.put(key, n)
	}
}

// IsText reports whether a name is that of a note: Markdown or plain text.
func IsText(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".md", ".markdown", ".mdown", ".mkd", ".txt":
		return true
	}
	return false
}
