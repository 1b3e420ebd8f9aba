// Package smsxml reads and writes the XML archives of SMS Backup & Restore: <smses> with
// <sms> and <mms>, <calls> with <call>. It is no XML parser: encoding/xml gives up at &#0;
// and turns emoji, which the app writes as surrogate pairs (&#55357;&#56832;), into two
// U+FFFD without an error. This lexer keeps every attribute in its order, joins the pairs,
// keeps halves of pairs and control characters, goes on behind an element that is broken,
// and expands, fetches and follows nothing. It holds one message at a time.
//
// The attributes are explained at
// https://synctech.com.au/sms-backup-restore/fields-in-xml-backup-files/.
package smsxml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
)

// Limits. What goes beyond is left out and flagged, but for MaxDepth, which ends the reading.
const (
	MaxDepth  = 64  // elements inside one another
	MaxAttrs  = 512 // attributes of an element
	maxName   = 256 // bytes of a name
	maxValue  = message.MaxText
	maxData   = message.MaxData/3*4 + 4 // bytes of a part's base64
	maxRecord = maxData + 16<<20        // bytes of all values of one message
	maxXML    = 64 << 10                // bytes of an unknown element that is kept
	maxFlags  = 100                     // flags of one message
)

// The errors that end the reading.
var (
	ErrDoctype  = errors.New("it declares a document type, which no such archive does")
	ErrDepth    = errors.New("its elements are nested too deeply")
	ErrEncoding = errors.New("it is not in UTF-8")
	ErrArchive  = errors.New("it is no archive of SMS Backup & Restore")
)

// BrokenError is something in the archive that is no message and no call. Reading may go on.
type BrokenError struct {
	Offset, Length int64
	Why            string // the end of a sentence
	Text           string // how it begins, at most item.MaxShown bytes
}

func (e *BrokenError) Error() string { return fmt.Sprintf("at byte %d: %s", e.Offset, e.Why) }

// Flag is what is odd about a value.
type Flag struct {
	Property string // the attribute, in capitals
	Effect   item.Effect
	Why      string
	Before   string
}

// Record is one message or call.
type Record struct {
	message.Element // of a call only Name and Attrs
	Number          int
	Offset, End     int64 // where its bytes are in the file
	Flags           []Flag
}

// Root is the outermost element.
type Root struct {
	Name  string // "smses" or "calls"
	Attrs []message.Attr
	// Where the value of the attribute count stands, without quotes; equal if there is none. With Slash the element is
	// empty (<smses count="0"/>), and Slash is where.
	CountStart, CountEnd int64
	TagEnd, Slash        int64
	Close                int64 // where the end tag begins; 0 if the file ends without
}

// Reader reads an archive.
type Reader struct {
	in       io.Reader
	buf      []byte
	at, end  int // of buf
	base     int64
	err      error
	root     Root
	opened   bool
	closed   bool
	latin    bool
	resync   bool
	number   int
	budget   int
	flags    []Flag
	shown    []byte // the first bytes of what is being read
	showing  bool
	capture  []byte // an unknown element
	captured bool
}

// NewReader returns a Reader of an archive.
func NewReader(r io.Reader) *Reader { return &Reader{in: r, buf: make([]byte, 64<<10)} }

// Parse reads one message or call that stands in text, which it does not keep.
func Parse(text []byte) (*Record, error) {
	r := &Reader{buf: text, end: len(text), err: io.EOF, opened: true, root: Root{Name: "smses"}}
	return r.Next()
}

// Root returns what is known of the outermost element.
func (r *Reader) Root() *Root { return &r.root }

// Whole reports whether the end of the archive was read.
func (r *Reader) Whole() bool { return r.closed }

// offset is where the next byte is in the file.
func (r *Reader) offset() int64 { return r.base + int64(r.at) }

// fill gets more bytes; false at the end.
func (r *Reader) fill() bool {
	if r.err != nil {
		return false
	}
	r.base += int64(r.at)
	r.end = copy(r.buf, r.buf[r.at:r.end])
	r.at = 0
	for range 100 {
		n, err := r.in.Read(r.buf[r.end:])
		r.end += n
		if err != nil {
			r.err = err
			return n > 0
		}
		if n > 0 {
			return true
		}
	}
	r.err = io.ErrNoProgress
	return false
}

// peek returns the next byte; false at the end.
func (r *Reader) peek() (byte, bool) {
	if r.at >= r.end && !r.fill() {
		return 0, false
	}
	return r.buf[r.at], true
}

// have reports whether s is next. It is shorter than the buffer.
func (r *Reader) have(s string) bool {
	for r.end-r.at < len(s) {
		if !r.fill() {
			return false
		}
	}
	return string(r.buf[r.at:r.at+len(s)]) == s
}

// skip goes past n bytes that are in the buffer.
func (r *Reader) skip(n int) {
	b := r.buf[r.at : r.at+n]
	if r.showing && len(r.shown) < item.MaxShown {
		r.shown = append(r.shown, b[:min(n, item.MaxShown-len(r.shown))]...)
	}
	if r.captured && len(r.capture) <= maxXML {
		r.capture = append(r.capture, b...)
	}
	r.at += n
}

func (r *Reader) eat(s string) bool {
	if !r.have(s) {
		return false
	}
	r.skip(len(s))
	return true
}

// until goes past the next s, or to the end: false.
func (r *Reader) until(s string) bool {
	for {
		if i := bytes.Index(r.buf[r.at:r.end], []byte(s)); i >= 0 {
			r.skip(i + len(s))
			return true
		}
		if keep := len(s) - 1; r.end-r.at > keep {
			r.skip(r.end - r.at - keep)
		}
		if !r.fill() {
			r.skip(r.end - r.at)
			return false
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

func (r *Reader) blanks() {
	for {
		c, ok := r.peek()
		if !ok || !isBlank(c) {
			return
		}
		n := 1
		for r.at+n < r.end && isBlank(r.buf[r.at+n]) {
			n++
		}
		r.skip(n)
	}
}

// broken is a *BrokenError of what is being read.
func (r *Reader) broken(from int64, why string) error {
	return &BrokenError{Offset: from, Length: r.offset() - from, Why: why, Text: string(r.shown)}
}

// Next returns the next message or call, io.EOF behind the last one, a *BrokenError for
// what is none, after which it may be called again, or an error that ends the reading.
// Strings of a Record stay valid.
func (r *Reader) Next() (*Record, error) {
	if !r.opened {
		if err := r.open(); err != nil {
			return nil, err
		}
	}
	if r.closed {
		return nil, r.after()
	}
	if r.resync {
		return nil, r.seek()
	}
	for {
		r.blanks()
		from := r.offset()
		r.show()
		c, ok := r.peek()
		switch {
		case !ok:
			return nil, r.cut(from)
		case c != '<':
			r.text()
			return nil, r.broken(from, "is text outside of any element")
		case r.have("</"):
			return nil, r.close(from)
		}
		done, err := r.aside()
		if err != nil {
			return nil, err
		}
		if !done {
			return r.record(from)
		}
	}
}

// show begins to remember what is read, for errors.
func (r *Reader) show() { r.shown, r.showing = r.shown[:0], true }

// cut is the end of a file that has no end tag.
func (r *Reader) cut(from int64) error {
	if r.err != io.EOF {
		return r.err
	}
	r.closed = true
	return &BrokenError{Offset: from, Why: "the file ends here, before the end of the archive"}
}

func (r *Reader) after() error {
	if r.err != nil && r.err != io.EOF {
		return r.err
	}
	return io.EOF
}

// text goes past text.
func (r *Reader) text() {
	for {
		c, ok := r.peek()
		if !ok || c == '<' {
			return
		}
		n := bytes.IndexByte(r.buf[r.at:r.end], '<')
		if n < 0 {
			n = r.end - r.at
		}
		r.skip(n)
	}
}

// aside goes past a comment or a processing instruction, if one is next.
func (r *Reader) aside() (bool, error) {
	from := r.offset()
	switch {
	case r.eat("<?"):
		if !r.until("?>") {
			return true, r.cut(from)
		}
	case r.eat("<!--"):
		if !r.until("-->") {
			return true, r.cut(from)
		}
	case r.eat("<![CDATA["):
		if !r.until("]]>") {
			return true, r.cut(from)
		}
		return true, r.broken(from, "is text outside of any element")
	case r.have("<!"):
		return true, ErrDoctype
	default:
		return false, nil
	}
	return true, nil
}

// open reads up to the start tag of the root.
func (r *Reader) open() error {
	if r.have("\xfe\xff") || r.have("\xff\xfe") || r.have("\x00<") || r.have("<\x00") {
		return ErrEncoding
	}
	r.eat("\xef\xbb\xbf")
	if r.have("<?xml") {
		if err := r.declaration(); err != nil {
			return err
		}
	}
	for {
		r.blanks()
		if c, ok := r.peek(); !ok || c != '<' {
			return cmpErr(r.after(), ErrArchive)
		}
		done, err := r.aside()
		if _, ok := err.(*BrokenError); ok {
			return ErrArchive
		}
		if err != nil {
			return err
		}
		if !done {
			break
		}
	}
	r.skip(1)
	name, err := r.name()
	if err != nil || name != "smses" && name != "calls" {
		return ErrArchive
	}
	r.root.Name = name
	r.budget = maxRecord
	attrs, empty, err := r.attrs(r.count)
	if err != nil {
		return ErrArchive
	}
	r.root.Attrs, r.root.TagEnd, r.opened, r.closed = attrs, r.offset(), true, empty
	if empty {
		r.root.Slash = r.offset() - 2
		r.root.Close = r.offset()
	}
	return nil
}

// cmpErr is err unless that is only the end of the file.
func cmpErr(err, otherwise error) error {
	if err == nil || err == io.EOF {
		return otherwise
	}
	return err
}

// count notes where the root's count is.
func (r *Reader) count(name string, start, end int64) {
	if name == "count" {
		r.root.CountStart, r.root.CountEnd = start, end
	}
}

// declaration reads <?xml … ?>.
func (r *Reader) declaration() error {
	r.show()
	if !r.until("?>") {
		return ErrArchive
	}
	text := strings.ToLower(string(r.shown))
	_, enc, ok := strings.Cut(text, "encoding")
	if !ok {
		return nil
	}
	enc = strings.TrimLeft(enc, " \t\r\n=\"'")
	if i := strings.IndexAny(enc, "\"'? "); i >= 0 {
		enc = enc[:i]
	}
	switch enc {
	case "utf-8", "utf8", "us-ascii", "ascii":
	case "iso-8859-1", "latin1", "windows-1252", "cp1252":
		r.latin = true
	default:
		return ErrEncoding
	}
	return nil
}

// close reads the root's end tag.
func (r *Reader) close(from int64) error {
	r.skip(2)
	name, err := r.name()
	r.blanks()
	if err != nil || name != r.root.Name || !r.eat(">") {
		r.resync = true
		return r.broken(from, "is an end tag that nothing belongs to")
	}
	r.root.Close, r.closed = from, true
	return io.EOF
}

// seek goes to the next thing that looks like a message or call.
func (r *Reader) seek() error {
	from := r.offset()
	for {
		r.text()
		if _, ok := r.peek(); !ok {
			return r.cut(from)
		}
		if r.have("<sms ") || r.have("<mms ") || r.have("<call ") || r.have("</"+r.root.Name+">") {
			r.resync = false
			return r.broken(from, "was passed over to get to what can be read again")
		}
		if r.have("<!DOCTYPE") {
			return ErrDoctype
		}
		r.skip(1)
	}
}

// record reads a message or call, or passes over an unknown element.
func (r *Reader) record(from int64) (*Record, error) {
	r.budget, r.flags = maxRecord, nil
	r.skip(1)
	rec, err := r.element(from)
	if err == ErrDepth || err == ErrDoctype {
		return nil, err
	}
	if err != nil {
		if r.err != nil && r.at >= r.end {
			r.closed = r.err == io.EOF
			return nil, r.broken(from, "is cut off: the file ends inside of it")
		}
		r.resync = err != errUnknown
		return nil, r.broken(from, err.Error())
	}
	return rec, nil
}

func (r *Reader) element(from int64) (*Record, error) {
	name, err := r.name()
	if err != nil {
		return nil, err
	}
	rec := &Record{Offset: from}
	rec.Name = name
	attrs, empty, err := r.attrs(nil)
	if err != nil {
		return nil, err
	}
	rec.Attrs = attrs
	if !empty {
		if err := r.content(rec, name, 2); err != nil {
			return nil, err
		}
	}
	if name != "sms" && name != "mms" && name != "call" {
		return nil, errUnknown
	}
	r.number++
	rec.Number, rec.End, rec.Flags = r.number, r.offset(), r.flags
	return rec, nil
}

// errUnknown is an element that is well-formed and unknown.
var errUnknown = errors.New("is an element that is not known")

// content reads what is inside of a message.
func (r *Reader) content(rec *Record, name string, depth int) error {
	return r.children(name, depth, func(child string) error {
		switch {
		case rec.Name == "mms" && child == "parts":
			return r.list("PART", child, "part", depth, &rec.Parts)
		case rec.Name == "mms" && child == "addrs":
			return r.list("ADDRESS", child, "addr", depth, &rec.Addrs)
		}
		return r.keep(rec, child, depth)
	})
}

// children calls each for every child of the element name, behind the child's name.
func (r *Reader) children(name string, depth int, each func(child string) error) error {
	if depth > MaxDepth {
		return ErrDepth
	}
	for {
		r.blanks()
		c, ok := r.peek()
		switch {
		case !ok:
			return io.ErrUnexpectedEOF
		case c != '<':
			r.stray(name)
			continue
		case r.eat("</"):
			return r.endTag(name)
		}
		done, err := r.aside()
		if done {
			if err == ErrDoctype {
				return err
			}
			if err != nil {
				r.flag(strings.ToUpper(name), item.EffectDropped, "has text inside", "")
			}
			continue
		}
		r.skip(1)
		child, err := r.name()
		if err != nil {
			return err
		}
		if err := each(child); err != nil {
			return err
		}
	}
}

// stray goes past text in an element that has none.
func (r *Reader) stray(name string) {
	if r.captured {
		r.text()
		return
	}
	r.capture, r.captured = r.capture[:0], true
	r.text()
	r.captured = false
	r.flag(strings.ToUpper(name), item.EffectDropped, "has text inside", string(r.capture[:min(len(r.capture), item.MaxShown)]))
}

func (r *Reader) endTag(name string) error {
	end, err := r.name()
	r.blanks()
	if err != nil || end != name || !r.eat(">") {
		return errors.New("is not nested properly")
	}
	return nil
}

// list reads <parts> or <addrs>.
func (r *Reader) list(property, name, element string, depth int, to *[][]message.Attr) error {
	attrs, empty, err := r.attrs(nil)
	if err != nil {
		return err
	}
	for _, a := range attrs {
		r.flag(property+"S/"+strings.ToUpper(a.Name), item.EffectDropped, "no such attribute is known there", a.Value)
	}
	if empty {
		return nil
	}
	return r.children(name, depth+1, func(child string) error {
		attrs, empty, err := r.attrs(nil)
		if err != nil {
			return err
		}
		if !empty {
			if err := r.pass(child, depth+2, property); err != nil {
				return err
			}
		}
		switch {
		case child != element:
			r.flag(property+"S/"+strings.ToUpper(child), item.EffectDropped, "no such element is known there", fmt.Sprint(attrs))
		case len(*to) >= message.MaxParts:
			r.flag(property, item.EffectDropped, "there are more than 1000", fmt.Sprint(attrs))
		default:
			*to = append(*to, attrs)
		}
		return nil
	})
}

// pass goes past what is inside of an element that has nothing inside.
func (r *Reader) pass(name string, depth int, property string) error {
	return r.children(name, depth, func(child string) error {
		if property != "" {
			r.flag(property+"/"+strings.ToUpper(child), item.EffectDropped, "no such element is known there", "")
		}
		_, empty, err := r.attrs(nil)
		if err != nil || empty {
			return err
		}
		return r.pass(child, depth+1, property)
	})
}

// keep takes an unknown element of a message as it stands.
func (r *Reader) keep(rec *Record, child string, depth int) error {
	r.capture, r.captured = append(r.capture[:0], "<"+child...), true
	flags := r.flags
	_, empty, err := r.attrs(nil)
	if err == nil && !empty {
		err = r.pass(child, depth+1, "")
	}
	r.captured, r.flags = false, flags
	if err != nil {
		return err
	}
	if len(r.capture) > maxXML || len(rec.XML) >= 16 {
		r.flag(strings.ToUpper(child), item.EffectDropped, "it is an unknown element of more than 64 KiB, or one of many", string(r.capture[:min(len(r.capture), item.MaxShown)]))
		return nil
	}
	r.flag(strings.ToUpper(child), item.EffectFlagged, "no such element is known", string(r.capture[:min(len(r.capture), item.MaxShown)]))
	rec.XML = append(rec.XML, string(r.capture))
	return nil
}

func (r *Reader) flag(property string, e item.Effect, why, before string) {
	switch {
	case len(r.flags) < maxFlags:
		r.flags = append(r.flags, Flag{property, e, why, before[:min(len(before), item.MaxShown)]})
	case len(r.flags) == maxFlags:
		r.flags = append(r.flags, Flag{"", item.EffectFlagged, "has more that is odd than is listed here", ""})
	}
}
