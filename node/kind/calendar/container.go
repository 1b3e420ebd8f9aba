package calendar

import (
	"bytes"
	"crypto/sha256"
	"path"
	"regexp"
	"strings"

	"github.com/decant-dev/decant/node/kind/contentline"
)

// Limits of a Container, so that whoever takes it apart again needs no more memory than for any calendar.
const (
	maxContainer = 24 << 20 // bytes
	maxObjects   = 50_000
	maxInside    = 100_000 // components of all kinds
)

// Object is a calendar object that was looked at once, to be put into one of several Containers.
type Object struct {
	header, body []byte
	group        string // kind and UID; "" without UID
	zones        []definition
	components   int
	brk          string
	plain        bool // it is what Split makes, and nothing in it forbids that it stands among others
}

type definition struct {
	id    string
	lines []byte
	sum   [32]byte
	named bool // by the components
}

// NewObject looks at an object. It refers to data, which must not be changed.
func NewObject(data []byte) *Object {
	o := &Object{}
	if len(data) > maxContainer || tooMany(data) {
		return o
	}
	f := contentline.Parse(data)
	again := split(f, len(data))
	if len(again.out) != 1 || !bytes.Equal(again.out[0].Data, data) || len(f.Root.Nodes) != 1 {
		return o
	}
	o.brk = again.brk
	cal := f.Root.Nodes[0].Component
	if cal == nil || cal.Name != "VCALENDAR" {
		return o
	}
	for c := range cal.All() {
		if o.components++; c.End == nil {
			return o
		}
	}
	return o.cut(cal)
}

// cut tells the parts of an object apart: lines, time zones, components.
func (o *Object) cut(cal *contentline.Component) *Object {
	named := map[string]bool{}
	var tops []*contentline.Component
	for c := range cal.Components() {
		if c.Name != "VTIMEZONE" {
			tops = append(tops, c)
		}
	}
	for _, top := range tops {
		for c := range top.All() {
			for p := range c.Properties() {
				if id, ok := p.Param("TZID"); ok {
					named[id] = true
				}
			}
		}
	}
	for _, n := range cal.Nodes {
		switch {
		case n.Property != nil && (len(o.zones) > 0 || o.body != nil):
			return o // a line behind a component
		case n.Property != nil:
			o.header = append(o.header, n.Property.Raw()...)
		case n.Component.Name == "VTIMEZONE":
			lines := n.Component.Bytes()
			id := n.Component.Text("TZID")
			o.zones = append(o.zones, definition{id, lines, sha256.Sum256(lines), named[id]})
		default:
			o.body = append(o.body, n.Component.Bytes()...)
		}
	}
	if len(tops) == 0 || len(o.header) > maxHeader {
		return o
	}
	for _, z := range o.zones {
		if len(z.lines) > maxZone {
			return o
		}
	}
	if uid := uidOf(tops[0]); uid != "" {
		o.group = tops[0].Name + "\x00" + uid
	}
	o.plain = true
	return o
}

// Container is one VCALENDAR for many objects: what is said of the calendar, and each time zone, stands in it once. Split
// makes the same objects of it again, byte for byte; an object with which that would not be so is not taken. The zero
// value is empty.
type Container struct {
	objects, components, size, copied int

	brk    string
	header []byte
	zones  []byte
	byID   map[string][32]byte
	spare  map[string]bool // time zones that only the first object has, and does not name
	groups map[[16]byte]bool
}

// Take returns what to write behind the components that were taken before, false if the object needs another container.
// The bytes are the object's.
func (c *Container) Take(o *Object) ([]byte, bool) {
	if !o.plain || c.objects > 0 && !c.fits(o) {
		return nil, false
	}
	if c.objects == 0 {
		c.brk, c.header = o.brk, o.header
		c.byID, c.spare, c.groups = map[string][32]byte{}, map[string]bool{}, map[[16]byte]bool{}
	} else {
		c.copied += len(o.header)
	}
	for _, z := range o.zones {
		if !z.named {
			c.spare[z.id] = true
		}
		if _, there := c.byID[z.id]; there && z.named {
			c.copied += len(z.lines)
			continue
		}
		c.byID[z.id] = z.sum
		c.zones = append(c.zones, z.lines...)
		c.size += len(z.lines)
	}
	if o.group != "" {
		c.groups[c.key(o)] = true
	}
	c.objects, c.components, c.size = c.objects+1, c.components+o.components, c.size+len(o.body)
	return o.body, true
}

func (c *Container) key(o *Object) [16]byte {
	sum := sha256.Sum256([]byte(o.group))
	return [16]byte(sum[:16])
}

// fits reports whether Split will find the object, and all that were there, as they are.
func (c *Container) fits(o *Object) bool {
	size, copied := c.size+len(o.body), c.copied+len(o.header)
	for _, z := range o.zones {
		sum, there := c.byID[z.id]
		if !z.named || c.spare[z.id] || there && sum != z.sum {
			return false
		}
		copied += len(z.lines)
		size += len(z.lines)
	}
	return o.brk == c.brk && bytes.Equal(o.header, c.header) && (o.group == "" || !c.groups[c.key(o)]) &&
		size <= maxContainer && c.objects < maxObjects && c.components+o.components <= maxInside && copied <= budget(c.size)
}

// Head returns what stands before the components.
func (c *Container) Head() []byte {
	out := append([]byte("BEGIN:VCALENDAR"), c.brk...)
	return append(append(out, c.header...), c.zones...)
}

// Tail returns what stands behind them.
func (c *Container) Tail() []byte { return append([]byte("END:VCALENDAR"), c.brk...) }

// numbered ends the name of a container that goes on from another, or whose book's name ends likewise.
var numbered = regexp.MustCompile(`_[0-9]{3}$`)

// bookOf returns the book of a file by its path. A container's number (docs/SPEC.md section 9.3) is no part of it.
func bookOf(name string) string {
	book := strings.TrimSuffix(path.Base(name), path.Ext(name))
	if path.Base(path.Dir(name)) == "Calendars" && len(book) > len("_001") {
		book = numbered.ReplaceAllString(book, "")
	}
	return book
}
