package item

import (
	"io"
	"strings"
	"time"
)

// Record is one contact, calendar object, message, call, bookmark, note, network or
// setting in the canonical form of its kind (docs/SPEC.md section 9.3). The canonical
// form of contacts and calendar objects is the very bytes that the source had.
type Record struct {
	Kind  Kind
	Book  string // the address book, calendar, profile or archive that holds it; "" if the place has only one
	Path  string // of a kind whose records are files (notes, networks): slash-separated, relative to the book
	Label string // what a person knows it by; for showing only: untrusted, escape it
	From  string // where it was read: a file and line, an address; for reports only
	Data  []byte // canonical form
}

// Effect is what happened to one property of a record on its way. The numbers are in
// journals and reports: append only.
type Effect uint8

// The effects.
const (
	EffectNone     Effect = iota
	EffectDropped         // it is not on the target
	EffectAltered         // it is there with another value or form, which means the same or nearly
	EffectRepaired        // it was broken, and was mended so that the target takes it
	EffectAdded           // it was not in the source, and had to be made up (a UID, a time stamp)
	EffectMoved           // its value is on the target under another name (a note, an extension property)
	EffectFlagged         // it is kept as it is, and is probably broken
)

var effectNames = [...]string{"none", "dropped", "altered", "repaired", "added", "moved", "flagged"}

// String returns the effect's name.
func (e Effect) String() string {
	if int(e) < len(effectNames) {
		return effectNames[e]
	}
	return "unknown"
}

// MarshalText gives the effect's name to JSON.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText parses what MarshalText gives.
func (e *Effect) UnmarshalText(b []byte) error {
	for i, n := range effectNames {
		if n == string(b) {
			*e = Effect(i)
			return nil
		}
	}
	*e = EffectNone
	return nil
}

// Change is one property that is on the target not as the source had it. A property
// that differs without a Change is a silent loss, which Decant promises never to cause.
type Change struct {
	Kind     Kind   `json:"-"`
	Record   string `json:"record"`           // the record's label, or its UID if it has none
	UID      string `json:"uid,omitempty"`    // what identifies it, where it has such a thing
	From     string `json:"from,omitempty"`   // Record.From
	Property string `json:"property"`         // its name in capitals with its components' before it: "VEVENT/VALARM/TRIGGER"; an attribute's name in other kinds; "" is the record itself
	Effect   Effect `json:"effect"`           //
	Why      string `json:"why"`              // the end of a sentence: "the target keeps one value"
	Before   string `json:"before,omitempty"` // its value in the source, whole if it is shorter than MaxShown bytes
	After    string `json:"after,omitempty"`  // its value on the target
}

// Header reports whether a change is of a calendar's header (its name, its colour), which each of the calendar's objects repeats: it is told
// with the first of them. A component that goes as a whole has no value, and is none.
func (c *Change) Header() bool {
	name, inHeader := strings.CutPrefix(c.Property, "VCALENDAR/")
	return c.Kind == Calendar && c.Before != "" && (inHeader || !strings.Contains(name, "/"))
}

// MaxShown is the longest value in bytes that a Change repeats; a longer one is cut off there.
const MaxShown = 2048

// Found is what a survey of a source found of one kind in one book.
type Found struct {
	Kind  Kind
	Book  string
	Where string // the file, directory or address
	Items int64  // -1 is unknown without reading everything
	Bytes int64  // about; -1 is unknown
	Can   bool   // it can be moved
	Why   string // why it can't, or what of it can't
}

// Sink takes what a source of records reads. It is used from one goroutine.
type Sink interface {
	// Record takes a record. The sink may keep Data after it returns.
	Record(Record) error
	// File takes a whole file that is no record: an attachment of a note, a photo out of an
	// archive. path is relative and slash-separated; it is checked, and mapped if need be.
	File(path string, k Kind, modified time.Time, open func() (io.ReadCloser, error)) error
	// Change takes what could not be read as it is.
	Change(Change) error
}
