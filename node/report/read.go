package report

import (
	"crypto/sha256"
	"errors"

	"github.com/decant-dev/decant/node/item"
)

// maxHeld is how many bytes of entries a report holds; beyond it they are read again whenever it is written.
const maxHeld = 16 << 20

// Read fills the report from what each tells, by Add's rules. If that is more than memory should hold, each is called again
// whenever the report is written, once or, for a text or a page, once for each kind and outcome; it must tell the same each
// time, and ends with the first error of add. done is called when each is not needed any more: at once if the entries are
// held, else by Close; also after an error. nil is nothing to do.
func (r *Report) Read(each func(add func(Entry) error) error, done func() error) error {
	size := 0
	r.done = done
	err := each(func(e Entry) error {
		if !r.count(&e) {
			return nil
		}
		if size += e.size(); size <= maxHeld {
			r.Entries = append(r.Entries, e)
		} else {
			r.Entries = nil
		}
		return nil
	})
	if err == nil && size > maxHeld {
		r.again = each
		return nil
	}
	return errors.Join(err, r.Close())
}

// Close lets go of what the entries are read from. A report whose entries are held can be written all the same afterwards.
func (r *Report) Close() error {
	done := r.done
	if r.done = nil; done == nil {
		return nil
	}
	return done()
}

// size is about how many bytes an entry takes in memory.
func (e *Entry) size() int {
	n := 256 + len(e.Book) + len(e.Record) + len(e.UID) + len(e.From) + len(e.With) + len(e.Why) + len(e.Decided) + len(e.Refused)
	for i := range e.Changes {
		c := &e.Changes[i]
		n += 128 + len(c.Property) + len(c.Why) + len(c.Before) + len(c.After)
	}
	return n
}

// each calls f for every entry, in order.
func (r *Report) each(f func(*Entry) error) error {
	if r.again == nil {
		for i := range r.Entries {
			if err := f(&r.Entries[i]); err != nil {
				return err
			}
		}
		return nil
	}
	var t told
	return r.again(func(e Entry) error {
		if t.prepare(&e); !e.telling() {
			return nil
		}
		return f(&e)
	})
}

// errEnough ends of early.
var errEnough = errors.New("enough")

// of calls f for the entries of a kind and an outcome, in order, until it returns false.
func (r *Report) of(p part, f func(*Entry) bool) error {
	if r.counts[p] == 0 {
		return nil
	}
	err := r.each(func(e *Entry) error {
		if e.Kind == p.kind && e.outcome() == p.outcome && !f(e) {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// told is what was said already of whole books: their objects repeat it.
type told struct{ sums map[[16]byte]struct{} }

// maxTold bounds what is remembered; beyond it things are told again.
const maxTold = 1 << 16

// prepare fills in what an entry's changes lack, and takes out what was told already: what becomes of a calendar's own
// properties (its name, its colour) is told with the first object that has them, as all objects of a calendar do.
func (t *told) prepare(e *Entry) {
	kept := e.Changes[:0]
	for _, c := range e.Changes {
		if c.Kind = e.Kind; c.Record == "" {
			c.Record = e.Record
		}
		if c.UID == "" {
			c.UID = e.UID
		}
		if c.From == "" {
			c.From = e.From
		}
		if c.Header() && t.again(e, &c) {
			continue
		}
		kept = append(kept, c)
	}
	clear(e.Changes[len(kept):])
	e.Changes = kept
}

// again reports whether a change of a whole book was told, and remembers it.
func (t *told) again(e *Entry, c *item.Change) bool {
	sum := [16]byte(sum(e.Book, c.Property, c.Effect.String(), c.Why, c.Before, c.After))
	if _, ok := t.sums[sum]; ok {
		return true
	}
	if t.sums == nil {
		t.sums = map[[16]byte]struct{}{}
	}
	if len(t.sums) < maxTold {
		t.sums[sum] = struct{}{}
	}
	return false
}

func sum(parts ...string) []byte {
	h := sha256.New()
	for _, p := range parts {
		h.Write([]byte(p))
		h.Write([]byte{0})
	}
	return h.Sum(nil)[:16]
}
