package preview

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target/folder"
)

// Verdict is what a plan intends for one item. The numbers are in stored plans: append only.
type Verdict uint8

// The verdicts.
const (
	VerdictNone Verdict = iota
	New                 // nothing of that name is there
	Same                // probably there already: size and time agree; compared when applied
	Conflict            // something else has the name: ours gets another
	Merge               // an address book or calendar of that name is there
	Skipped             // the kind was not chosen
	Lost                // the sender could not read it
)

var verdictNames = [...]string{"none", "new", "same", "conflict", "merge", "skipped", "lost"}

// String returns the verdict's name.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}

// State is how far the content of an entry has come.
type State uint8

// The states.
const (
	Planned   State = iota // by the catalog; content may still arrive
	Settled                // staged whole, as the final manifest has it
	Missing                // the final manifest has it, its content has not arrived
	Withdrawn              // planned, but not in the final manifest
)

// Entry is the plan for one item. Entries handed out by a Plan are shared: don't change them.
type Entry struct {
	Ordinal item.Ordinal
	Kind    item.Kind
	Form    item.Form
	Verdict Verdict
	State   State
	Reason  item.Reason // why Verdict is Lost, or why settling failed

	Dest     string // where it goes, relative to the target; "" for a record
	Source   string // its path in the collection if that is another, else ""
	Natural  string // the name it would have if none were taken, if that is another than Dest's last component
	Compare  uint16 // bit k-1: the file Beside(Natural, k) was there with our size, and may be the same
	Size     int64
	ModTime  int64
	Perm     uint16
	Revision uint32

	Container item.Ordinal // of a record
	Identity  uint64       // of a record: IdentityHash
}

// SourcePath returns the item's path in the collection.
func (e *Entry) SourcePath() string {
	if e.Source != "" {
		return e.Source
	}
	return e.Dest
}

// NaturalName returns the last component that the item would have if no name were taken.
func (e *Entry) NaturalName() string {
	if e.Natural != "" {
		return e.Natural
	}
	_, base := folder.Split(e.Dest)
	return base
}

// Staged reports whether the plan wants the entry's content.
func (e *Entry) Staged() bool {
	return e.Form == item.FormFile && e.Verdict != Skipped && e.Verdict != Lost && e.Verdict != VerdictNone && e.State != Withdrawn
}

// Place returns what the stager needs.
func (e *Entry) Place() folder.Place {
	return folder.Place{Dest: e.Dest, Stage: e.Staged(), Size: e.Size, ModTime: e.ModTime, Perm: e.Perm, Revision: e.Revision}
}

// Page is a run of entries with consecutive ordinals.
type Page struct {
	First   item.Ordinal
	Entries []Entry
}

// size estimates the bytes that a page takes in memory.
func (p *Page) size() int {
	n := 0
	for i := range p.Entries {
		e := &p.Entries[i]
		n += 112 + len(e.Dest) + len(e.Source) + len(e.Natural)
	}
	return n
}

const (
	pageVersion = 1
	maxEntries  = 4096
	// flags of an encoded entry
	hasSource  = 1
	hasNatural = 2
	hasCompare = 4
	isRecord   = 8
)

// errPage is returned for a stored page that does not decode.
var errPage = errors.New("stored plan is damaged")

// appendPage encodes a page: a plan is kept on this device only, and its encoding may
// change between versions; the version byte then rejects it.
func appendPage(b []byte, p *Page) []byte {
	b = append(b, pageVersion)
	b = binary.AppendUvarint(b, uint64(p.First))
	b = binary.AppendUvarint(b, uint64(len(p.Entries)))
	last := ""
	for i := range p.Entries {
		e := &p.Entries[i]
		b = appendEntry(b, e, last)
		last = e.Dest
	}
	return b
}

// flags says which optional fields an entry has.
func (e *Entry) flags() (f uint8) {
	if e.Source != "" {
		f |= hasSource
	}
	if e.Natural != "" {
		f |= hasNatural
	}
	if e.Compare != 0 {
		f |= hasCompare
	}
	if e.Form == item.FormRecord {
		f |= isRecord
	}
	return f
}

func appendEntry(b []byte, e *Entry, last string) []byte {
	flags := e.flags()
	b = append(b, uint8(e.Kind), uint8(e.Form), uint8(e.Verdict), uint8(e.State), uint8(e.Reason), flags)
	n := 0
	for n < len(last) && n < len(e.Dest) && last[n] == e.Dest[n] {
		n++
	}
	b = binary.AppendUvarint(b, uint64(n))
	b = appendString(b, e.Dest[n:])
	b = binary.AppendUvarint(b, uint64(e.Size))
	b = binary.AppendVarint(b, e.ModTime)
	b = binary.AppendUvarint(b, uint64(e.Perm))
	b = binary.AppendUvarint(b, uint64(e.Revision))
	if flags&hasSource != 0 {
		b = appendString(b, e.Source)
	}
	if flags&hasNatural != 0 {
		b = appendString(b, e.Natural)
	}
	if flags&hasCompare != 0 {
		b = binary.AppendUvarint(b, uint64(e.Compare))
	}
	if flags&isRecord != 0 {
		b = binary.AppendUvarint(b, uint64(e.Container))
		b = binary.BigEndian.AppendUint64(b, e.Identity)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decodePage decodes a page. The strings of its entries share two allocations.
func decodePage(b []byte) (*Page, error) {
	d := decoder{b: b}
	if d.byte() != pageVersion {
		return nil, errPage
	}
	p := &Page{First: item.Ordinal(d.uvarint())}
	n := d.uvarint()
	if n > maxEntries {
		return nil, errPage
	}
	p.Entries = make([]Entry, n)
	names := make([]byte, 0, 2*len(b))
	cuts := make([]int, n+1)
	last := []byte(nil)
	for i := range p.Entries {
		e := &p.Entries[i]
		e.Ordinal = p.First + item.Ordinal(i)
		flags := d.head(e)
		shared, suffix := d.uvarint(), d.bytes()
		if shared > uint64(len(last)) || d.bad {
			return nil, errPage
		}
		start := len(names)
		names = append(append(names, last[:shared]...), suffix...)
		last = names[start:]
		cuts[i+1] = len(names)
		if d.tail(e, flags); flags != e.flags() {
			return nil, errPage
		}
	}
	if d.bad || len(d.b) != 0 {
		return nil, errPage
	}
	all := string(names)
	for i := range p.Entries {
		p.Entries[i].Dest = all[cuts[i]:cuts[i+1]]
	}
	return p, nil
}

// decoder reads from b until something is wrong; then bad is set and all that follows is zero.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) head(e *Entry) (flags uint8) {
	e.Kind, e.Form, e.Verdict = item.Kind(d.byte()), item.Form(d.byte()), Verdict(d.byte())
	e.State, e.Reason = State(d.byte()), item.Reason(d.byte())
	return d.byte()
}

func (d *decoder) tail(e *Entry, flags uint8) {
	e.Size = int64(d.uvarint())
	e.ModTime = d.varint()
	e.Perm = uint16(d.uvarint())
	e.Revision = uint32(d.uvarint())
	if flags&hasSource != 0 {
		e.Source = string(d.bytes())
	}
	if flags&hasNatural != 0 {
		e.Natural = string(d.bytes())
	}
	if flags&hasCompare != 0 {
		e.Compare = uint16(d.uvarint())
	}
	if flags&isRecord != 0 {
		e.Container = item.Ordinal(d.uvarint())
		if len(d.b) < 8 {
			d.fail()
			return
		}
		e.Identity = binary.BigEndian.Uint64(d.b)
		d.b = d.b[8:]
	}
}

func (d *decoder) fail() { d.b, d.bad = nil, true }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.b)) {
		d.fail()
		return nil
	}
	out := d.b[:n]
	d.b = d.b[n:]
	return out
}
