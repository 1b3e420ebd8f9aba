package chromium

import (
	"bytes"
	"crypto/md5" // what the browser does; it protects nothing
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/kind/bookmark"
)

// Bytes writes the file as the browser does. Nodes that had no identifier get one.
// Separators, and what is below the root that the browser does not have, are left out:
// bookmark.Rules have refused or moved them before.
func (d *Document) Bytes() []byte {
	next, used := d.identifiers()
	sum := md5.New()
	roots := maps.Clone(d.roots)
	for _, r := range rootNames {
		e := &encoder{d: d, sum: sum, next: &next, used: used}
		roots[r.name] = e.node(d.Tree.Root(r.root))
	}
	members := maps.Clone(d.members)
	members["roots"] = object(roots)
	members["checksum"] = quote(hex.EncodeToString(sum.Sum(nil)))
	if members["version"] == nil {
		members["version"] = json.RawMessage("1")
	}
	var w bytes.Buffer
	pretty(&w, object(members))
	w.WriteByte('\n')
	return w.Bytes()
}

// identifiers returns a number above all that are in use, and those of the tree that may stay.
func (d *Document) identifiers() (next int64, used map[string]*bookmark.Node) {
	used = map[string]*bookmark.Node{}
	visit := func(n *bookmark.Node) error {
		id, err := strconv.ParseInt(d.ids[n], 10, 64)
		if err != nil || id <= 0 || used[d.ids[n]] != nil {
			delete(d.ids, n)
			return nil
		}
		used[d.ids[n]] = n
		next = max(next, id)
		return nil
	}
	for _, r := range rootNames {
		visit(d.Tree.Root(r.root))
	}
	d.Tree.Each(visit)
	return next + 1, used
}

type encoder struct {
	d    *Document
	sum  hash.Hash
	next *int64
	used map[string]*bookmark.Node
}

func (e *encoder) id(n *bookmark.Node) string {
	if e.d.ids[n] == "" {
		e.d.ids[n] = strconv.FormatInt(*e.next, 10)
		*e.next++
	}
	return e.d.ids[n]
}

// node encodes a node, whose turn in the checksum comes before that of its children.
func (e *encoder) node(n *bookmark.Node) json.RawMessage {
	id := e.id(n)
	m := fields{"id": quote(id), "guid": quote(guid(n.GUID, id)), "name": quote(n.Title), "date_added": quote(toWebKit(n.Added)), "date_last_used": quote(toWebKit(n.Visited))}
	for name, v := range n.X {
		if key, ok := strings.CutPrefix(name, prefix); ok && m[key] == nil {
			m[key] = v
		}
	}
	e.sum.Write([]byte(id))
	for _, u := range utf16.Encode([]rune(n.Title)) {
		e.sum.Write([]byte{byte(u), byte(u >> 8)})
	}
	if n.Type == bookmark.URL {
		e.sum.Write([]byte("url" + n.URL))
		m["type"], m["url"] = quote("url"), quote(n.URL)
		return object(m)
	}
	e.sum.Write([]byte("folder"))
	m["type"], m["date_modified"] = quote("folder"), quote(toWebKit(n.Modified))
	var children bytes.Buffer
	children.WriteByte('[')
	for _, c := range n.Children {
		if c.Type == bookmark.Separator {
			continue
		}
		if children.Len() > 1 {
			children.WriteByte(',')
		}
		children.Write(e.node(c))
	}
	children.WriteByte(']')
	m["children"] = children.Bytes()
	return object(m)
}

// guid returns what is a UUID already, or makes one of what is none.
func guid(s, id string) string {
	if low := strings.ToLower(s); isUUID(low) {
		return low
	}
	return UUID(s + "\x00" + id)
}

// UUID makes a UUID of version 4 of any text, always the same.
func UUID(of string) string {
	b := sha256.Sum256([]byte("decant/chromium/" + of))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if c != '-' {
				return false
			}
		} else if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return false
		}
	}
	return true
}

// object writes members sorted by name.
func object(m fields) json.RawMessage {
	var w bytes.Buffer
	w.WriteByte('{')
	for i, key := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			w.WriteByte(',')
		}
		w.Write(quote(key))
		w.WriteByte(':')
		w.Write(m[key])
	}
	w.WriteByte('}')
	return w.Bytes()
}

// quote writes a string as Chromium's base::EscapeJSONString does.
func quote(s string) json.RawMessage {
	b := []byte{'"'}
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r < 0x20 || r == 0x7f || r == '<' || r == '\u2028' || r == '\u2029':
			b = fmt.Appendf(b, `\u%04X`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// pretty writes JSON as Chromium's base::JSONWriter does: objects on lines of their own,
// three spaces deep; the elements of an array behind each other.
func pretty(w *bytes.Buffer, v json.RawMessage) {
	depth, fresh := 0, false
	line := func() {
		w.WriteByte('\n')
		for range depth {
			w.WriteString("   ")
		}
	}
	var open []byte
	for i := 0; i < len(v); i++ {
		c := v[i]
		if fresh && c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			if fresh = false; open[len(open)-1] == '{' && c != '}' {
				line()
			}
		}
		switch c {
		case ' ', '\n', '\r', '\t':
		case '{', '[':
			open = append(open, c)
			w.WriteByte(c)
			fresh = true
			if c == '{' {
				depth++
			} else {
				w.WriteByte(' ')
			}
		case '}':
			open = open[:len(open)-1]
			depth--
			line()
			w.WriteByte('}')
		case ']':
			open = open[:len(open)-1]
			w.WriteString(" ]")
		case ',':
			w.WriteByte(',')
			if len(open) > 0 && open[len(open)-1] == '{' {
				line()
			} else {
				w.WriteByte(' ')
			}
		case ':':
			w.WriteString(": ")
		case '"':
			end := i + 1
			for v[end] != '"' {
				if v[end] == '\\' {
					end++
				}
				end++
			}
			w.Write(v[i : end+1])
			i = end
		default:
			w.WriteByte(c)
		}
	}
}
