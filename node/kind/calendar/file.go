package calendar

import (
	"crypto/sha256"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// File is a calendar file whose objects can be replaced, removed and added. All bytes
// that belong to others stay as they are.
type File struct {
	file  *contentline.File
	brk   string
	split *splitter
	last  *home            // the last VCALENDAR
	homes map[string]*home // the last one of each version and header
}

// home is a VCALENDAR that objects can be added to.
type home struct {
	cal     *contentline.Component
	version string
	header  string
	zones   map[string][32]byte // digest by TZID
}

// OpenFile takes a file apart. data must not be changed while the File is in use.
func OpenFile(data []byte) *File {
	f := &File{file: contentline.Parse(data), homes: map[string]*home{}}
	f.split = split(f.file, len(data))
	f.brk = f.split.brk
	for c := range f.file.Root.Components() {
		if c.Name == "VCALENDAR" && c.End != nil {
			f.addHome(c)
		}
	}
	return f
}

func (f *File) addHome(c *contentline.Component) {
	h := newHome(c)
	f.last, f.homes[h.version+"\n"+h.header] = h, h
}

// home returns the calendar that an object can be added to, nil if there is none.
func (f *File) home(o *objectOf) *home {
	if o.cal.Name != "VCALENDAR" || len(o.tops) == 0 {
		return nil
	}
	header, version := headerKey(o.cal), o.cal.Text("VERSION")
	for _, h := range []*home{f.homes[version+"\n"+header], f.last} {
		if h != nil && h.takes(o, header, version) {
			return h
		}
	}
	return nil
}

// Records returns the objects of the file as they were when it was opened; see Rules.Split.
func (f *File) Records() []item.Record { return f.split.out }

// Version returns the VERSION of the last VCALENDAR, "" if the file has none.
func (f *File) Version() string {
	if f.last == nil {
		return ""
	}
	return f.last.version
}

// Bytes returns the file as it is now.
func (f *File) Bytes() []byte { return f.file.Bytes() }

func newHome(c *contentline.Component) *home {
	h := &home{cal: c, version: c.Text("VERSION"), header: headerKey(c), zones: map[string][32]byte{}}
	for z := range c.Components() {
		if z.Name == "VTIMEZONE" {
			h.zones[z.Text("TZID")] = digest(z)
		}
	}
	return h
}

// headerKey is the same for calendars of which the same is said, beside who wrote them.
func headerKey(c *contentline.Component) string {
	var lines []string
	for p := range c.Properties() {
		switch name := p.Name(); {
		case name == "VERSION", name == "PRODID", name == "" && strings.TrimSpace(p.Value()) == "":
		case name == "CALSCALE" && strings.EqualFold(p.Text(), "GREGORIAN"):
		default:
			lines = append(lines, strings.Join(entries(p), "\n"))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// takes reports whether an object can stand in the calendar without losing or changing
// its meaning: what is said of its own calendar, and what its time zones are.
func (h *home) takes(o *objectOf, header, version string) bool {
	if version != "" && h.version != "" && version != h.version || header != "" && header != h.header {
		return false
	}
	for z := range o.cal.Components() {
		if z.Name != "VTIMEZONE" {
			continue
		}
		id := z.Text("TZID")
		if mine, there := h.zones[id]; there && mine != digest(z) && resolve(id) == "" {
			return false // two zones that somebody has made up by one name
		}
	}
	return true
}

// Replace puts an object in the place of the one with the index i of Records.
func (f *File) Replace(i int, data []byte) {
	old := f.split.parts[i]
	if len(old) == 0 || old[0].Parent == nil {
		f.Add(data)
		return
	}
	o := f.parse(data)
	parent := old[0].Parent
	fresh := o.tops
	if len(fresh) == 0 {
		fresh = slices.Collect(o.cal.Components())
	}
	at := slices.IndexFunc(parent.Nodes, func(n contentline.Node) bool { return n.Component == old[0] })
	if at < 0 || len(fresh) == 0 {
		f.remove(old)
		f.Add(data)
		return
	}
	parent.Nodes[at].Component, fresh[0].Parent = fresh[0], parent
	f.remove(old[1:])
	nodes := make([]contentline.Node, len(fresh)-1)
	for i, c := range fresh[1:] {
		nodes[i].Component = c
	}
	parent.Insert(at+1, nodes...)
	f.split.parts[i] = fresh
	newHome(parent).addZones(o)
}

// Remove takes out the object with the index i of Records. Its time zones stay.
func (f *File) Remove(i int) { f.remove(f.split.parts[i]) }

func (f *File) remove(components []*contentline.Component) {
	for _, c := range components {
		if p := c.Parent; p != nil {
			if i := slices.IndexFunc(p.Nodes, func(n contentline.Node) bool { return n.Component == c }); i >= 0 {
				p.Nodes = slices.Delete(p.Nodes, i, i+1)
			}
		}
	}
}

// Add puts an object at the end of the last calendar that it can stand in, with the time
// zones that are not there yet, or else into a calendar of its own behind all others.
func (f *File) Add(data []byte) {
	o := f.parse(data)
	if h := f.home(o); h != nil {
		h.addZones(o)
		h.cal.AppendComponent(o.tops...)
		return
	}
	for c := range o.file.Root.Components() {
		f.file.Root.AppendComponent(c)
		if c.Name == "VCALENDAR" && c.End != nil {
			f.addHome(c)
		}
	}
}

// parse takes an object apart after giving it the line breaks of the file.
func (f *File) parse(data []byte) *objectOf {
	if contentline.Break(data) != f.brk {
		data = contentline.AppendLines(nil, data, f.brk)
	}
	return parseObject(data)
}

func (h *home) addZones(o *objectOf) {
	for z := range o.cal.Components() {
		if z.Name != "VTIMEZONE" {
			continue
		}
		if _, there := h.zones[z.Text("TZID")]; there {
			continue
		}
		h.zones[z.Text("TZID")] = digest(z)
		at := 0
		for i, n := range h.cal.Nodes {
			if n.Component != nil && n.Component.Name != "VTIMEZONE" {
				break
			}
			if n.Component != nil || strings.TrimSpace(string(n.Property.Raw())) != "" {
				at = i + 1
			}
		}
		h.cal.Insert(at, contentline.Node{Component: z})
	}
}

// Identity returns what an object is known by: its UID and kind, or what stands for it.
func Identity(data []byte) []byte {
	o := parseObject(data)
	return []byte(o.kind() + " " + o.key())
}

// Version returns a hash of an object's components, however their lines are ended. What
// its calendar is said to be and its time zones do not count: in a file they are shared.
func Version(data []byte) [32]byte {
	o := parseObject(data)
	list := o.tops
	if len(list) == 0 {
		list = slices.Collect(o.cal.Components())
	}
	h := sha256.New()
	for _, c := range list {
		sum := contentline.Fingerprint(c.Bytes())
		h.Write(sum[:])
	}
	return [32]byte(h.Sum(nil))
}
