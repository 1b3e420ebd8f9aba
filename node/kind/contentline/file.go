package contentline

import (
	"bytes"
	"iter"
	"slices"
	"strings"
)

// Limits of Parse. What is beyond them is kept as it is, as lines with a Problem.
const (
	MaxLines = 1 << 21 // logical lines in a file
	MaxDepth = 64      // components inside one another

	maxParams = 128 // parameters of a property; the rest is one
)

// Problem says why a line is flagged: the end of a sentence that begins with "the line".
type Problem string

// Problems of lines.
const (
	ProblemNoColon  Problem = "has no colon"
	ProblemStrayEnd Problem = "ends what was not begun"
	ProblemDeep     Problem = "begins what is nested too deeply"
	ProblemRest     Problem = "is one of too many"
	ProblemCharset  Problem = "is not in its character set"
	ProblemBase64   Problem = "is no base64"
	ProblemControl  Problem = "has control characters"
)

// File is a parsed address book or calendar: every byte of it, in order, as properties
// and components that can be looked at and edited. It is not safe for concurrent use if
// it is edited.
type File struct {
	// Root holds the top components and the lines outside of them. It has no name.
	Root *Component

	original []byte
	text     []byte
	shared   *shared
	wide     *wide // how to write UTF-16 again; nil for all else
}

// shared is what the properties of one file have in common.
type shared struct {
	brk   byte   // what ends a physical line in it
	whole string // the break of its first line
}

// Component is what stands between a BEGIN and its END.
type Component struct {
	Name       string     // in capitals: "VCARD", "VEVENT"; "" is the root of a file
	Parent     *Component // nil for the root, and for what was made and not inserted yet
	Nodes      []Node     // in order
	Begin, End *Property  // their lines. End is nil if the component is never closed; both are for a root
	Dialect    Dialect    // as VERSION of the card or calendar says that it is in
}

// Node is a property or a component; exactly one is set.
type Node struct {
	Property  *Property
	Component *Component
}

// Parse takes data apart. It never fails: what can't be understood is a Property with a
// Problem. The result refers to data, which must not be changed. Time and memory are
// linear; nothing is decoded before it is asked for. UTF-16 is read, and written again.
//
// Lines are those of docs/SPEC.md section 9.1, and two more kinds of continuation, which
// broken but common exports have: lines of nothing but base64 behind a property that
// is base64, with the blank line behind them, and the line behind one that ends with a
// backslash if it does not look like a property.
func Parse(data []byte) *File {
	f := &File{original: data, Root: &Component{}}
	f.text, f.wide = narrow(data)
	p := fileParser{scanner: NewScanner(f.text), names: map[string]string{}}
	f.shared = &shared{brk: p.scanner.brk, whole: firstBreak(f.text)}
	p.shared = f.shared
	p.open = append(p.open, f.Root)
	p.run()
	setDialects(f.Root, VCard30)
	return f
}

// Text returns the data that the properties refer to: what was given to Parse, or UTF-8
// instead of UTF-16.
func (f *File) Text() []byte { return f.text }

// Bytes returns the file. If nothing was edited this is what was given to Parse.
func (f *File) Bytes() []byte {
	out := f.Root.Bytes()
	if f.wide != nil {
		return f.wide.widen(out)
	}
	return out
}

// Break returns the line break of the file's first line, CRLF if it has none.
func (f *File) Break() string { return f.shared.whole }

// firstBreak is Break, but for the doubled CR that some exports have.
func firstBreak(text []byte) string {
	if i := bytes.IndexByte(text, '\n'); i > 0 {
		return string(text[len(bytes.TrimRight(text[:i], "\r")) : i+1])
	}
	return Break(text)
}

// fileParser builds the tree. open is the stack of components, the root first.
type fileParser struct {
	scanner *Scanner
	shared  *shared
	open    []*Component
	names   map[string]string // one string for each name
	blank   *Property         // the last node, if it is blank lines and nothing else
	agent   bool              // the last line that is not blank was AGENT without a value
	tooDeep int               // components that are open but flagged
	lines   int
}

func (p *fileParser) run() {
	s := p.scanner
	for {
		before := s.End
		if !s.Next() {
			return
		}
		if p.lines++; p.lines > MaxLines {
			p.add(&Property{raw: s.data[before:], shared: p.shared, problem: ProblemRest})
			return
		}
		if p.joinBlank(before) {
			continue
		}
		name := ""
		if bytes.IndexByte(s.data[s.Start:s.End], ':') >= 0 {
			name = p.intern(s.Name())
		}
		join := joinNone
		if name != "" {
			join = p.join()
		}
		q := &Property{raw: s.data[before:s.End:s.End], skip: uint8(s.Start - before), shared: p.shared, name: name, join: join}
		p.line(q)
	}
}

// joinBlank makes blank lines that follow each other one node.
func (p *fileParser) joinBlank(before int) bool {
	s := p.scanner
	if p.blank == nil || s.Start != before || len(bytes.TrimSpace(s.data[s.Start:s.End])) > 0 {
		p.blank = nil
		return false
	}
	start := before - len(p.blank.raw)
	p.blank.raw = s.data[start:s.End:s.End]
	return true
}

func (p *fileParser) intern(name []byte) string {
	const distinct = 1 << 12
	up := bytes.ToUpper(name)
	if s, ok := p.names[string(up)]; ok {
		return s
	}
	s := string(up)
	if len(p.names) < distinct {
		p.names[s] = s
	}
	return s
}

func (p *fileParser) line(q *Property) {
	agent := p.agent
	if !q.blank() {
		p.agent = false
	}
	switch q.name {
	case "":
		if q.blank() {
			p.blank = q
		} else {
			q.problem = ProblemNoColon
		}
	case "BEGIN":
		if name := p.component(); name != "" {
			p.begin(q, name, agent)
			return
		}
	case "END":
		if name := p.component(); name != "" {
			p.end(q, name)
			return
		}
	case "AGENT":
		v, _ := p.scanner.Value(64)
		if EqualFold(v, "BEGIN:VCARD") {
			p.begin(q, "VCARD", true)
			return
		}
		p.agent = len(v) == 0
	}
	p.add(q)
}

// component returns the name that BEGIN or END is about.
func (p *fileParser) component() string {
	v, ok := p.scanner.Value(64)
	if !ok {
		return ""
	}
	return p.intern(v)
}

func (p *fileParser) add(q *Property) {
	top := p.open[len(p.open)-1]
	top.Nodes = append(top.Nodes, Node{Property: q})
}

// ends says for a component that begins how many of the open ones, from the root on, stay open.
func (p *fileParser) ends(name string, agent bool) int {
	switch name {
	case "VCARD":
		if !agent {
			return 1
		}
	case "VCALENDAR":
		return 1
	case "VEVENT", "VTODO", "VJOURNAL", "VTIMEZONE", "VFREEBUSY", "VAVAILABILITY":
		if len(p.open) > 1 && p.open[1].Name == "VCALENDAR" {
			return 2
		}
		return 1
	}
	return len(p.open)
}

func (p *fileParser) begin(q *Property, name string, agent bool) {
	if stay := p.ends(name, agent); stay < len(p.open) {
		p.open, p.tooDeep = p.open[:stay], 0
	}
	if len(p.open) > MaxDepth {
		p.tooDeep++
		q.problem = ProblemDeep
		p.add(q)
		return
	}
	top := p.open[len(p.open)-1]
	c := &Component{Name: name, Parent: top, Begin: q}
	top.Nodes = append(top.Nodes, Node{Component: c})
	p.open = append(p.open, c)
}

func (p *fileParser) end(q *Property, name string) {
	if p.tooDeep > 0 {
		p.tooDeep--
		q.problem = ProblemDeep
		p.add(q)
		return
	}
	for i := len(p.open) - 1; i > 0; i-- {
		if p.open[i].Name == name {
			p.open[i].End = q
			p.open = p.open[:i]
			return
		}
	}
	q.problem = ProblemStrayEnd
	p.add(q)
}

// joined says how the physical lines of a property hang together beside by folding.
type joined uint8

const (
	joinNone joined = iota
	joinBase64
	joinBackslash
)

// join makes the scanner's line longer by what belongs to it although it is not folded.
func (p *fileParser) join() joined {
	s := p.scanner
	if s.End >= len(s.data) {
		return joinNone
	}
	next := s.data[s.End:s.textEnd(s.End, s.physical(s.End))]
	how := joinNone
	switch {
	case (len(next) == 0 || base64Line(next)) && s.saysBase64():
		how = p.joinBase64(next)
	case s.first > s.Start && s.lastByte() == '\\' && len(next) > 0 && !likeProperty(next):
		how = p.joinBackslash()
	}
	return how
}

func (p *fileParser) joinBase64(next []byte) joined {
	s := p.scanner
	how := joinNone
	for len(next) > 0 && base64Line(next) {
		how = joinBase64
		s.End = s.physical(s.End)
		next = s.data[s.End:s.textEnd(s.End, s.physical(s.End))]
	}
	if len(next) == 0 && s.End < len(s.data) {
		s.End = s.physical(s.End)
		how = joinBase64
	}
	return how
}

func (p *fileParser) joinBackslash() joined {
	s := p.scanner
	for {
		s.End = s.physical(s.End)
		if s.lastByte() != '\\' || s.End >= len(s.data) {
			return joinBackslash
		}
		next := s.data[s.End:s.textEnd(s.End, s.physical(s.End))]
		if len(next) == 0 || likeProperty(next) {
			return joinBackslash
		}
	}
}

// lastByte returns the last byte of the line's text, if a backslash is no escaped one.
func (s *Scanner) lastByte() byte {
	t := s.textEnd(s.Start, s.End)
	n := 0
	for t-n > s.Start && s.data[t-n-1] == '\\' {
		n++
	}
	switch {
	case n%2 == 1:
		return '\\'
	case n > 0 || t == s.Start:
		return 0
	}
	return s.data[t-1]
}

// saysBase64 reports whether the line's parameters say that its value is base64.
func (s *Scanner) saysBase64() bool {
	head := s.unfold(headLimit)
	i := colon(head)
	if i < 0 || bytes.IndexByte(head[:i], ';') < 0 {
		return false
	}
	return containsFold(head[:i], ";BASE64") || containsFold(head[:i], "ENCODING=B") || containsFold(head[:i], "ENCODING=\"B")
}

func base64Line(line []byte) bool {
	for _, c := range line {
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/' || c == '=' || isBlank(c)) {
			return false
		}
	}
	return true
}

// likeProperty reports whether a physical line begins as a property does.
func likeProperty(line []byte) bool {
	i := bytes.IndexAny(line[:min(len(line), 256)], ":;")
	if i <= 0 || bytes.IndexByte(line, ':') < 0 {
		return false
	}
	for _, c := range line[:i] {
		if !nameByte(c) && c != '.' {
			return false
		}
	}
	return true
}

func nameByte(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// setDialects tells every property what it is written in.
func setDialects(root *Component, outer Dialect) {
	for c := range root.All() {
		d := outer
		if c.Parent != nil {
			d = c.Parent.Dialect
		}
		c.Dialect = c.dialect(d)
		if c.Name == "" {
			c.Dialect = outer
		}
		for _, q := range [...]*Property{c.Begin, c.End} {
			if q != nil {
				q.dialect = c.Dialect
			}
		}
		for p := range c.Properties() {
			p.dialect = c.Dialect
		}
	}
}

// All returns the component and all below it in the order of the document. The tree must
// not be edited meanwhile but by changing properties.
func (c *Component) All() iter.Seq[*Component] {
	return func(yield func(*Component) bool) {
		stack := []*Component{c}
		for len(stack) > 0 {
			top := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			if !yield(top) {
				return
			}
			for _, n := range slices.Backward(top.Nodes) {
				if n.Component != nil {
					stack = append(stack, n.Component)
				}
			}
		}
	}
}

// Properties returns the component's own properties in order, with blank and broken
// lines, which have no name.
func (c *Component) Properties() iter.Seq[*Property] {
	return func(yield func(*Property) bool) {
		for _, n := range c.Nodes {
			if n.Property != nil && !yield(n.Property) {
				return
			}
		}
	}
}

// Components returns the components directly inside this one, in order.
func (c *Component) Components() iter.Seq[*Component] {
	return func(yield func(*Component) bool) {
		for _, n := range c.Nodes {
			if n.Component != nil && !yield(n.Component) {
				return
			}
		}
	}
}

// Get returns the first own property of a name, which is written in capitals, or nil.
func (c *Component) Get(name string) *Property {
	for p := range c.Properties() {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// Count returns the number of own properties of a name, which is written in capitals.
func (c *Component) Count(name string) int {
	n := 0
	for p := range c.Properties() {
		if p.Name() == name {
			n++
		}
	}
	return n
}

// Text returns the decoded value of the first own property of a name, "" if there is none.
func (c *Component) Text(name string) string {
	if p := c.Get(name); p != nil {
		return p.Text()
	}
	return ""
}

// Insert puts nodes before the one with the index i.
func (c *Component) Insert(i int, nodes ...Node) {
	for _, n := range nodes {
		if n.Component != nil {
			n.Component.Parent = c
		}
	}
	if i > 0 && len(nodes) > 0 {
		c.Nodes[i-1].Property.endSoftBreak()
	}
	c.Nodes = slices.Insert(c.Nodes, i, nodes...)
}

// endSoftBreak writes quoted-printable anew that ends with a soft break, as broken
// exports have it before END: what comes behind it now would be taken for its text.
func (p *Property) endSoftBreak() {
	if p != nil && p.edited == nil && p.name != "" && p.encoding() == "QUOTED-PRINTABLE" && strings.HasSuffix(p.Value(), "=") {
		p.edit()
	}
}

// Append puts properties behind all others: before the first blank lines at the end and
// before the components, where iCalendar has its properties.
func (c *Component) Append(properties ...*Property) {
	at := len(c.Nodes)
	if first := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Component != nil && n.Component.Name != "VCARD" }); first >= 0 {
		at = first
	}
	for at > 0 && c.Nodes[at-1].Property != nil && c.Nodes[at-1].Property.blank() {
		at--
	}
	nodes := make([]Node, len(properties))
	for i, p := range properties {
		nodes[i].Property = p
	}
	c.Insert(at, nodes...)
}

// AppendComponent puts components behind everything else.
func (c *Component) AppendComponent(components ...*Component) {
	for _, n := range components {
		c.Insert(len(c.Nodes), Node{Component: n})
	}
}

// Remove takes a property out, and reports whether it was there.
func (c *Component) Remove(p *Property) bool {
	i := slices.IndexFunc(c.Nodes, func(n Node) bool { return n.Property == p })
	if i < 0 || p == nil {
		return false
	}
	c.Nodes = slices.Delete(c.Nodes, i, i+1)
	return true
}

// DeleteFunc takes out the nodes for which gone returns true.
func (c *Component) DeleteFunc(gone func(Node) bool) { c.Nodes = slices.DeleteFunc(c.Nodes, gone) }

// Bytes returns the component with its BEGIN and END line, or what is in a file's root.
func (c *Component) Bytes() []byte {
	out := writer{buf: make([]byte, 0, c.size())}
	type frame struct {
		c    *Component
		next int
	}
	stack := []frame{{c: c}}
	out.property(c.Begin)
	for len(stack) > 0 {
		f := &stack[len(stack)-1]
		if f.next == len(f.c.Nodes) {
			out.property(f.c.End)
			stack = stack[:len(stack)-1]
			continue
		}
		n := f.c.Nodes[f.next]
		f.next++
		if n.Property != nil {
			out.property(n.Property)
		} else if n.Component != nil {
			out.property(n.Component.Begin)
			stack = append(stack, frame{c: n.Component})
		}
	}
	return out.buf
}

func (c *Component) size() (n int) {
	for x := range c.All() {
		if x.Begin != nil {
			n += x.Begin.Size()
		}
		if x.End != nil {
			n += x.End.Size()
		}
		for p := range x.Properties() {
			n += p.Size()
		}
	}
	return n
}

type writer struct{ buf []byte }

// property appends a property. If what is before it has no line break, because it was
// the end of a file, it gets one.
func (w *writer) property(p *Property) {
	if p == nil {
		return
	}
	if n := len(w.buf); n > 0 && w.buf[n-1] != '\n' && !bytes.Equal(w.buf, bom) {
		if brk := p.fileBreak(); w.buf[n-1] != '\r' || brk != "\r" {
			w.buf = append(w.buf, brk...)
		}
	}
	w.buf = append(w.buf, p.Raw()...)
}

// NewComponent makes an empty component with a BEGIN and an END line. brk is the line
// break; "" is CRLF.
func NewComponent(name string, d Dialect, brk string) *Component {
	c := &Component{Name: name, Dialect: d, Begin: NewProperty(d, brk, "BEGIN"), End: NewProperty(d, brk, "END")}
	c.Begin.SetValue(name)
	c.End.SetValue(name)
	return c
}

// Close gives a component that is never closed an END line.
func (c *Component) Close() {
	if c.End == nil && c.Begin != nil {
		c.End = NewProperty(c.Dialect, c.Begin.fileBreak(), "END")
		c.End.SetValue(c.Name)
	}
}

// Clone returns a copy that can be edited without the original changing. It has no Parent.
func (c *Component) Clone() *Component {
	copies := map[*Component]*Component{}
	for x := range c.All() {
		n := &Component{Name: x.Name, Nodes: slices.Clone(x.Nodes), Begin: x.Begin.Clone(), End: x.End.Clone(), Dialect: x.Dialect}
		for i := range n.Nodes {
			if p := n.Nodes[i].Property; p != nil {
				n.Nodes[i].Property = p.Clone()
			}
		}
		copies[x] = n
	}
	for x, n := range copies {
		for i := range n.Nodes {
			if inner := x.Nodes[i].Component; inner != nil {
				n.Nodes[i].Component = copies[inner]
				copies[inner].Parent = n
			}
		}
	}
	return copies[c]
}
