// Package item is the vocabulary of the engine: what a collection consists of. It
// imports only the standard library, and every package of node imports it.
// docs/SPEC.md section 4.1 gives the encoding.
package item

import (
	"fmt"
	"time"
)

// Kind is what an item is to a person. The numbers are on the wire: append only.
type Kind uint8

// The kinds.
const (
	KindNone Kind = iota
	Contact
	Calendar
	Message
	Call
	Bookmark
	Note
	Network
	Photo
	File
	Setting
)

// Kinds lists every kind in the order in which a person is shown them.
var Kinds = []Kind{Contact, Calendar, Message, Call, Bookmark, Note, Network, Photo, File, Setting}

var kindNames = [...]string{"none", "contact", "calendar", "message", "call", "bookmark", "note", "network", "photo", "file", "setting"}

// String returns the kind's name, in the singular.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Valid reports whether k is one of Kinds.
func (k Kind) Valid() bool { return k > KindNone && int(k) < len(kindNames) }

// ParseKind parses a kind's name, singular or plural ("photo", "photos").
func ParseKind(s string) (Kind, bool) {
	for i, n := range kindNames[1:] {
		if s == n || s == n+"s" {
			return Kind(i + 1), true
		}
	}
	return KindNone, false
}

// Ordinal numbers the items of a session from 0. An item keeps its ordinal through all epochs.
type Ordinal uint64

// Form is how an item is materialised. What has no form here (links, devices,
// sockets, set-user-ID bits) can't be expressed. The numbers are on the wire.
type Form uint8

// The forms.
const (
	FormFile   Form = 1 // a run of bytes with a path
	FormDir    Form = 2 // a directory; no content
	FormRecord Form = 3 // one record (a contact, an event) inside a container file; its bytes are Ranges of the container's
)

// Limits on one item. A decoder rejects what goes beyond.
const (
	MaxPath      = 4096    // bytes of a path
	MaxComponent = 255     // bytes of one component
	MaxDepth     = 256     // components
	MaxXAttrs    = 64      // extended attributes
	MaxXAttrSize = 1 << 16 // bytes of all names and values together
	MaxIdentity  = 1024    // bytes
	MaxSize      = 1 << 50 // bytes of one item
	MaxRanges    = 1 << 12 // ranges of one record
)

// Item is one thing of a collection. A catalog has it without Extents.
type Item struct {
	Ordinal  Ordinal
	Kind     Kind
	Form     Form
	Revision uint32 // counts the attempts at this item's content within the session; the extents belong to this one

	Path    string // slash-separated, relative, checked by manifest.CheckPath; bytes as the source has them. Empty for a record
	Size    int64  // bytes; for a record the sum of Ranges
	ModTime int64  // nanoseconds since 1970 UTC; 0 for a record
	Perm    uint16 // the nine permission bits; 0 for a record
	TakenAt string // photos: RFC 3339 with or without zone, as the camera wrote it; "" is unknown

	Identity  []byte  // what makes two items the same: UID or content hash for records, empty for files (path and bytes)
	Container Ordinal // records: the file that holds them; always a lower ordinal
	Ranges    []Range // records: where their bytes lie in the container
	XAttrs    []XAttr // sorted by name
	Lost      Reason  // not ReasonNone: the content could not be read; there are no extents

	Extents []Extent // in order, without gaps; the lengths sum to Size
}

// Range is a run of bytes inside a container's content.
type Range struct{ Offset, Length int64 }

// XAttr is one extended attribute ("user." namespace only).
type XAttr struct {
	Name  string
	Value []byte
}

// Extent says where a run of an item's bytes lies: in the decompressed chunk of one frame of one pack.
type Extent struct {
	Pack   uint32 // pack index
	Frame  uint16 // frame number inside the pack
	Offset uint32 // bytes into the chunk
	Length uint32 // bytes
}

// HasContent reports whether the item carries bytes of its own.
func (it *Item) HasContent() bool { return it.Form == FormFile && it.Lost == ReasonNone }

// Time returns ModTime as a time.
func (it *Item) Time() time.Time { return time.Unix(0, it.ModTime) }

// Reason says why something was lost or changed on the way. The numbers are on the wire: append only.
type Reason uint8

// The reasons.
const (
	ReasonNone       Reason = iota
	ReasonUnreadable        // the sender was not allowed to read it, or reading failed
	ReasonVanished          // it was gone when its turn came
	ReasonChanging          // it kept changing while it was read
	ReasonSymlink           // symbolic links are not moved
	ReasonSpecial           // device, socket, pipe
	ReasonHardLink          // moved as a copy of its own: the link between the names is not kept
	ReasonSparse            // moved whole: holes are not kept on a target without them
	ReasonXAttr             // an extended attribute was not kept
	ReasonPerm              // permission bits were not kept
	ReasonName              // stored under another name
	ReasonNoSpace           // the target ran out of space
	ReasonWrite             // writing failed
	ReasonIntegrity         // its content did not verify
	ReasonMalformed         // the record could not be parsed; kept as plain bytes of its container
	ReasonNotChosen         // the person left this kind out
	ReasonTooLong           // name, path or attribute beyond the limits
	ReasonTime              // the modification time could not be set exactly
	ReasonRemoved           // it was in an earlier epoch and the person has removed it since: not a loss, and not part of the collection
)

var reasonText = [...]string{"", "could not be read", "was gone before it could be read", "kept changing while it was read",
	"is a symbolic link", "is a device, socket or pipe", "was a hard link and is now a file of its own", "had holes, which are now zeros",
	"has an extended attribute that was not kept", "has permissions that were not kept", "is stored under another name",
	"did not fit on the target", "could not be written", "did not verify", "has a record that could not be parsed (its bytes are kept)",
	"was not chosen", "has a name or attribute that is too long", "has a time that could not be set exactly", "was removed before the last sending"}

// String returns the reason as the end of a sentence whose subject is the item.
func (r Reason) String() string {
	if int(r) < len(reasonText) {
		return reasonText[r]
	}
	return "was lost for a reason that this version does not know"
}

// Valid reports whether r is known to this version.
func (r Reason) Valid() bool { return int(r) < len(reasonText) }

// LeftBehind reports whether r means that the item itself is not on the other side, not
// merely something about it.
func (r Reason) LeftBehind() bool {
	switch r {
	case ReasonUnreadable, ReasonVanished, ReasonChanging, ReasonSymlink, ReasonSpecial, ReasonNoSpace, ReasonWrite, ReasonIntegrity, ReasonTooLong:
		return true
	}
	return false
}

// Loss reports one thing that was not kept, or not kept as it was.
type Loss struct {
	Ordinal Ordinal // meaningful if Path names an item of the collection
	Kind    Kind
	Path    string
	Reason  Reason
	Detail  string // name of the attribute, the other name; untrusted text: escape before showing
}

// Outcome is what became of one item on the target. The numbers are in journals and receipts: append only.
type Outcome uint8

// The outcomes.
const (
	OutcomeNone  Outcome = iota
	Moved                // it is there, as new
	Same                 // the target had it already, byte for byte
	KeptBoth             // the target has another one of that name; ours lies beside it
	Merged               // it was added to a file that the target had
	Skipped              // the person left its kind out
	LostAtSource         // the sender could not read it
	Failed               // it could not be applied
)

var outcomeNames = [...]string{"none", "moved", "same", "kept both", "merged", "skipped", "lost", "failed"}

// String returns the outcome's name.
func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// Tally counts items and bytes.
type Tally struct {
	Items int64 `json:"items"`
	Bytes int64 `json:"bytes"`
}

// Add adds one item.
func (t *Tally) Add(bytes int64) { t.Items++; t.Bytes += bytes }
