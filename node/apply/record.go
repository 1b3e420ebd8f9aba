package apply

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
)

// Log keeps what makes an application repeatable and revocable; node/journal is one,
// MemLog another. Pages are numbered as in the plan; page 0 is Apply's own. Put
// replaces and does not keep b; Undo and Outcome return nil for what was never put.
type Log interface {
	// PutUndo returns when the record is durable.
	PutUndo(page int, b []byte) error
	Undo(page int) ([]byte, error)
	// PutOutcome need not be durable when it returns, but must be before a receipt is signed.
	PutOutcome(page int, b []byte) error
	Outcome(page int) ([]byte, error)
}

// MemLog is a Log in memory, for tests.
type MemLog struct{ Undos, Outcomes preview.MemStore }

// NewMemLog returns an empty log.
func NewMemLog() *MemLog { return &MemLog{preview.MemStore{}, preview.MemStore{}} }

// PutUndo implements Log.
func (m *MemLog) PutUndo(page int, b []byte) error { return m.Undos.Put(page, b) }

// Undo implements Log.
func (m *MemLog) Undo(page int) ([]byte, error) { return m.Undos.Get(page) }

// PutOutcome implements Log.
func (m *MemLog) PutOutcome(page int, b []byte) error { return m.Outcomes.Put(page, b) }

// Outcome implements Log.
func (m *MemLog) Outcome(page int) ([]byte, error) { return m.Outcomes.Get(page) }

// errLog is returned for a record that does not decode.
var errLog = errors.New("undo log is damaged")

const recordVersion = 1

// ident recognises a file or directory after a crash, and whether it was edited since.
type ident struct {
	Device, Inode uint64
	Size, ModTime int64
	Dir           bool
}

func identOf(in folder.Info) ident {
	return ident{in.Device, in.Inode, in.Size, in.ModTime, in.Type == folder.Directory}
}

// is reports whether in is the very file or directory, edited or not.
func (i ident) is(in folder.Info) bool {
	if in.Type != folder.Regular && in.Type != folder.Directory || (in.Type == folder.Directory) != i.Dir {
		return false
	}
	if i.Inode == 0 || in.Inode == 0 {
		return i.Dir || i.unedited(in)
	}
	return i.Device == in.Device && i.Inode == in.Inode
}

func (i ident) unedited(in folder.Info) bool { return i.Size == in.Size && i.ModTime == in.ModTime }

// undoRecord says what one page of the plan does to the target.
type undoRecord struct {
	Units   []unitAction  // directories renamed whole
	Touched []touched     // directories that were there and get new entries
	Moves   []moveAction  // files renamed one by one
	Merges  []mergeAction // address books and calendars exchanged for merged ones
}

type unitAction struct {
	Dir   string // in the plan and in staging
	Final string // in the target
	ID    ident
}

type touched struct {
	Dir     string
	ModTime int64 // before
}

type moveAction struct {
	Index int // of the entry on its page
	Final string
	ID    ident
}

type mergeAction struct {
	Index     int
	Final     string
	New, Orig ident
}

func (r *undoRecord) empty() bool { return len(r.Units)+len(r.Moves)+len(r.Merges) == 0 }

func (r *undoRecord) encode() []byte {
	w := writer{recordVersion}
	w.uint(uint64(len(r.Units)))
	for _, u := range r.Units {
		w.str(u.Dir)
		w.str(u.Final)
		w.ident(u.ID)
	}
	w.uint(uint64(len(r.Touched)))
	for _, t := range r.Touched {
		w.str(t.Dir)
		w.int(t.ModTime)
	}
	w.uint(uint64(len(r.Moves)))
	for _, m := range r.Moves {
		w.uint(uint64(m.Index))
		w.str(m.Final)
		w.ident(m.ID)
	}
	w.uint(uint64(len(r.Merges)))
	for _, m := range r.Merges {
		w.uint(uint64(m.Index))
		w.str(m.Final)
		w.ident(m.New)
		w.ident(m.Orig)
	}
	return w
}

func decodeUndo(b []byte) (*undoRecord, error) {
	d := reader{b: b}
	if d.byte() != recordVersion {
		return nil, errLog
	}
	r := &undoRecord{}
	for range d.count() {
		r.Units = append(r.Units, unitAction{d.str(), d.str(), d.ident()})
	}
	for range d.count() {
		r.Touched = append(r.Touched, touched{d.str(), d.int()})
	}
	for range d.count() {
		r.Moves = append(r.Moves, moveAction{int(d.uint()), d.str(), d.ident()})
	}
	for range d.count() {
		r.Merges = append(r.Merges, mergeAction{int(d.uint()), d.str(), d.ident(), d.ident()})
	}
	if d.bad || len(d.b) != 0 {
		return nil, errLog
	}
	return r, nil
}

// Outcomes is what became of one page's entries, in their order.
type Outcomes struct {
	Of     []item.Outcome
	Why    []item.Reason  // why it failed, or what was not kept; ReasonNone mostly
	Finals map[int]string // by index: where it lies, where that is not the plan's Dest
}

// Final returns where the i-th entry lies.
func (o *Outcomes) Final(i int, e *preview.Entry) string {
	if f, ok := o.Finals[i]; ok {
		return f
	}
	return e.Dest
}

func (o *Outcomes) encode() []byte {
	w := writer{recordVersion}
	w.uint(uint64(len(o.Of)))
	for i := range o.Of {
		w = append(w, byte(o.Of[i]), byte(o.Why[i]))
	}
	w.uint(uint64(len(o.Finals)))
	for i := range o.Of {
		if f, ok := o.Finals[i]; ok {
			w.uint(uint64(i))
			w.str(f)
		}
	}
	return w
}

func decodeOutcomes(b []byte) (*Outcomes, error) {
	d := reader{b: b}
	if d.byte() != recordVersion {
		return nil, errLog
	}
	o := &Outcomes{Finals: map[int]string{}}
	n := d.count()
	o.Of, o.Why = make([]item.Outcome, n), make([]item.Reason, n)
	for i := range o.Of {
		o.Of[i], o.Why[i] = item.Outcome(d.byte()), item.Reason(d.byte())
	}
	for range d.count() {
		i := d.uint()
		if i >= uint64(n) {
			return nil, errLog
		}
		o.Finals[int(i)] = d.str()
	}
	if d.bad || len(d.b) != 0 {
		return nil, errLog
	}
	return o, nil
}

// writer and reader are the encoding of records of this device's own journal.
type writer []byte

func (w *writer) uint(v uint64) { *w = binary.AppendUvarint(*w, v) }
func (w *writer) int(v int64)   { *w = binary.AppendVarint(*w, v) }
func (w *writer) str(s string)  { w.uint(uint64(len(s))); *w = append(*w, s...) }

func (w *writer) ident(i ident) {
	w.uint(i.Device)
	w.uint(i.Inode)
	w.uint(uint64(i.Size))
	w.int(i.ModTime)
	dir := byte(0)
	if i.Dir {
		dir = 1
	}
	*w = append(*w, dir)
}

type reader struct {
	b   []byte
	bad bool
}

func (d *reader) fail() { d.b, d.bad = nil, true }

func (d *reader) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *reader) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *reader) int() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of elements, each of which takes a byte at least.
func (d *reader) count() int {
	n := d.uint()
	if n > uint64(len(d.b)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *reader) str() string {
	n := d.count()
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *reader) ident() ident {
	return ident{d.uint(), d.uint(), int64(d.uint()), d.int(), d.byte() == 1}
}

// equal reports whether two records announce the same actions.
func (r *undoRecord) equal(o *undoRecord) bool { return slices.Equal(r.encode(), o.encode()) }
