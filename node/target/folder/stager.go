package folder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/decant-dev/decant/node/item"
)

// The limits of a Stager.
const (
	// maxOpenFiles bounds the half-written files held open.
	maxOpenFiles = 64
	// maxOdd bounds the items that are incomplete or of another size than planned at
	// one time: what an honest sender has in flight is a few hundred.
	maxOdd = 1 << 17
	// slack is how far beyond twice the size announced a piece may lie: a log that
	// grew between the scan and the reading, not an attempt at 8 EiB.
	slack = 64 << 20
	// stripes of locks that keep two writers from one small file.
	stripes = 64
)

// ErrUnplanned is returned for content of an item that no plan knows yet: plan the
// epoch that announces it, then write again.
var ErrUnplanned = errors.New("content of an item that is not in the plan")

// Place is what a plan says of one item that matters to staging.
type Place struct {
	Dest    string // clean relative path, from CheckPath and MapName; "" if the item has none
	Stage   bool   // its content is wanted; otherwise it is dropped
	Size    int64  // bytes, as announced
	ModTime int64  // nanoseconds since 1970 UTC
	Perm    uint16

	Revision uint32 // that Size belongs to; content of another has a size that is not known yet
}

// Placer looks items up in a plan. It is called from several goroutines at once.
// An item that is not in the plan gives ErrUnplanned.
type Placer interface {
	Place(item.Ordinal) (Place, error)
}

// Stager writes content, which arrives by ordinal and in any order, into the staging
// tree. Writing the same again is harmless, and pieces with a lower revision than one
// seen are ignored. Write and Note may be called from several goroutines at once;
// Settle only after they have returned.
//
// The order that makes it cheap: a small item is one create, one write, one utimens
// and one close. The order that makes it safe: nothing staged counts before Target.Sync
// has returned, and node/apply calls that first.
type Stager struct {
	t    *Target
	plan Placer

	locks [stripes]sync.Mutex // one per ordinal modulo stripes: held while a small file is written

	mu    sync.Mutex // guards what follows, and every field of the odd ones but writing
	state []uint8    // by ordinal: stateNone, stateOdd, or stateDone plus up to maxRevision, noted or not
	odd   map[item.Ordinal]*odd
	files int // of odd that are open

	written, dropped atomic.Int64
}

// Values of Stager.state. A byte per item keeps a million items in 1 MB.
const (
	stateNone   = 0
	stateOdd    = 1   // look in Stager.odd
	stateDone   = 2   // whole at the size planned, written by this process
	stateNoted  = 128 // the same, but by an earlier process: times may be missing
	maxRevision = 125 // higher ones live in odd
)

// odd is an item that is incomplete, or not of the size planned.
type odd struct {
	revision uint32
	got      runs
	file     *os.File // nil while not open
	users    int      // writers at work on file
	stale    bool     // replaced by a higher revision
	noted    bool     // some of it was written by an earlier process
	dest     string
	size     int64 // planned

	writing sync.Mutex // held while file is written: the system lets one writer in at a time, and the others would wait spinning
}

// NewStager returns a Stager that asks plan where things go.
func (t *Target) NewStager(plan Placer) *Stager {
	return &Stager{t: t, plan: plan, odd: map[item.Ordinal]*odd{}}
}

// Written returns the bytes of content written so far, Dropped those not wanted.
func (s *Stager) Written() int64 { return s.written.Load() }

// Dropped returns the bytes received for items whose kind was not chosen.
func (s *Stager) Dropped() int64 { return s.dropped.Load() }

// Write stages data as the bytes of an item's content from offset on. data is not
// kept. ErrNoSpace leaves nothing half-written under a small item's name; ErrPieces
// says that the sender lies; ErrUnplanned that its epoch must be planned first.
func (s *Stager) Write(o item.Ordinal, revision uint32, offset int64, data []byte) error {
	p, err := s.plan.Place(o)
	if err != nil {
		return err
	}
	if !p.Stage {
		s.dropped.Add(int64(len(data)))
		return nil
	}
	end := offset + int64(len(data))
	if offset < 0 || end < offset || end > item.MaxSize || end-slack > 2*p.Size {
		return fmt.Errorf("item %d: bytes up to %d of %d announced: %w", o, uint64(end), p.Size, ErrPieces)
	}
	if err := s.write(o, revision, offset, data, &p); err != nil {
		return fmt.Errorf("staging item %d: %w", o, err)
	}
	s.written.Add(int64(len(data)))
	return nil
}

func (s *Stager) write(o item.Ordinal, revision uint32, offset int64, data []byte, p *Place) error {
	lock := &s.locks[o%stripes]
	lock.Lock()
	s.mu.Lock()
	have, known := s.revision(o)
	whole := offset == 0 && int64(len(data)) == p.Size && revision == p.Revision && revision <= maxRevision
	switch {
	case known && (revision < have || revision == have && s.done(o)):
		s.mu.Unlock()
		lock.Unlock()
		return nil
	case whole && s.at(o) != stateOdd:
		s.mu.Unlock()
		defer lock.Unlock()
		return s.writeSmall(o, revision, data, p)
	}
	l, err := s.begin(o, revision, p)
	s.mu.Unlock()
	lock.Unlock()
	if err != nil {
		return err
	}
	l.writing.Lock()
	_, err = l.file.WriteAt(data, offset)
	l.writing.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(mapWrite(err), s.end(o, l, offset, offset+int64(len(data)), p, err == nil))
}

func (s *Stager) writeSmall(o item.Ordinal, revision uint32, data []byte, p *Place) error {
	bare := p.Perm &^ s.t.caps.Umask
	if !s.t.caps.Perms {
		bare = p.Perm
	}
	err := s.t.tree.at(p.Dest, true, func(d *Dir, base string) error {
		err := d.WriteFile(base, data, p.ModTime, p.Perm, bare)
		if errors.Is(err, ErrExist) { // from before a crash, or an older revision
			if err = d.Unlink(base); err == nil {
				err = d.WriteFile(base, data, p.ModTime, p.Perm, bare)
			}
		}
		return err
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.set(o, stateDone+uint8(revision))
	s.mu.Unlock()
	return nil
}

// begin returns the item's open file with one more user; s.mu is held.
func (s *Stager) begin(o item.Ordinal, revision uint32, p *Place) (*odd, error) {
	l := s.odd[o]
	if l != nil && l.revision < revision {
		s.abandon(o, l)
		l = nil
	}
	if l == nil {
		fresh := s.at(o) != stateNone || revision > 0 // what is there is not this revision
		if len(s.odd) >= maxOdd {
			return nil, fmt.Errorf("%d items incomplete at once: %w", len(s.odd), ErrPieces)
		}
		l = &odd{revision: revision, dest: strings.Clone(p.Dest), size: p.Size}
		if fresh {
			if err := s.t.tree.Remove(l.dest); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		s.odd[o] = l
		s.set(o, stateOdd)
	}
	if l.file == nil {
		if err := s.openFile(l); err != nil {
			return nil, err
		}
	}
	l.users++
	return l, nil
}

// openFile opens or creates the staged file of l; s.mu is held.
func (s *Stager) openFile(l *odd) error {
	if s.files >= maxOpenFiles {
		s.closeIdle()
	}
	return s.t.tree.at(l.dest, true, func(d *Dir, base string) (err error) {
		l.file, err = d.Create(base, 0o600)
		if errors.Is(err, ErrExist) {
			l.file, err = s.reopen(d, base, l)
		}
		if err == nil {
			s.files++
		}
		return err
	})
}

// reopen opens what an earlier process, or this one before it had too many files open,
// left of l. A file that had got its final permissions is made writable first; what
// can't be opened even so is replaced, and with it goes what was noted of it.
func (s *Stager) reopen(d *Dir, base string, l *odd) (*os.File, error) {
	f, err := d.OpenWrite(base)
	if errors.Is(err, fs.ErrPermission) && d.Chmod(base, 0o600) == nil {
		f, err = d.OpenWrite(base)
	}
	if err == nil {
		return f, nil
	}
	l.got = nil
	if err := d.Unlink(base); err != nil {
		return nil, err
	}
	return d.Create(base, 0o600)
}

func (s *Stager) closeIdle() {
	for _, l := range s.odd {
		if l.file != nil && l.users == 0 {
			s.closeFile(l)
			return
		}
	}
}

func (s *Stager) closeFile(l *odd) error {
	err := l.file.Close()
	l.file = nil
	s.files--
	return mapWrite(err)
}

// abandon forgets an older revision; writers still at work on it write to a file that
// has no name any more. s.mu is held.
func (s *Stager) abandon(o item.Ordinal, l *odd) {
	l.stale = true
	if l.users == 0 && l.file != nil {
		s.closeFile(l)
	}
	s.t.tree.Remove(l.dest)
	delete(s.odd, o)
	s.set(o, stateNone)
}

// end notes a piece and, when it was the last one, completes the file; s.mu is held.
func (s *Stager) end(o item.Ordinal, l *odd, from, to int64, p *Place, ok bool) error {
	l.users--
	if l.stale {
		if l.users == 0 && l.file != nil {
			return s.closeFile(l)
		}
		return nil
	}
	if !ok {
		return nil
	}
	if err := l.got.add(from, to); err != nil {
		return err
	}
	if l.users > 0 || !l.got.covers(p.Size) || l.got.end() != p.Size || l.revision != p.Revision || l.revision > maxRevision {
		return nil
	}
	if err := s.complete(l, p.Size, p.ModTime, p.Perm); err != nil {
		return err
	}
	delete(s.odd, o)
	s.set(o, stateDone+uint8(l.revision))
	return nil
}

// complete gives an open file its final size, permissions and time, and closes it.
func (s *Stager) complete(l *odd, size, mtime int64, perm uint16) error {
	err := errors.Join(mapWrite(l.file.Truncate(size)), s.closeFile(l))
	if err != nil {
		return err
	}
	return s.dress(l.dest, mtime, perm, true)
}

// dress sets permissions and time of a staged file by name.
func (s *Stager) dress(dest string, mtime int64, perm uint16, setPerm bool) error {
	return s.t.tree.at(dest, false, func(d *Dir, base string) error {
		if setPerm && s.t.caps.Perms {
			if err := d.Chmod(base, perm); err != nil {
				return err
			}
		}
		return d.Chtimes(base, mtime)
	})
}

// Note records that a piece was staged by an earlier process and is still there,
// without writing it. Call it for every pack that the journal has, before any Write.
// It must not be used for what was written but not synced before the machine itself
// went down (see BootID): after that, fetch again.
func (s *Stager) Note(o item.Ordinal, revision uint32, offset, length int64) error {
	p, err := s.plan.Place(o)
	if err != nil {
		return err
	}
	end := offset + length
	if !p.Stage {
		return nil
	}
	if offset < 0 || length < 0 || end < offset || end > item.MaxSize {
		return fmt.Errorf("item %d: %w", o, ErrPieces)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	have, known := s.revision(o)
	if known && (revision < have || revision == have && s.done(o)) {
		return nil
	}
	if offset == 0 && length == p.Size && revision == p.Revision && revision <= maxRevision && s.at(o) != stateOdd {
		s.set(o, stateNoted+uint8(revision))
		return nil
	}
	return s.noteOdd(o, revision, offset, end, &p)
}

func (s *Stager) noteOdd(o item.Ordinal, revision uint32, from, to int64, p *Place) error {
	l := s.odd[o]
	if l == nil || l.revision < revision {
		if l == nil && len(s.odd) >= maxOdd {
			return fmt.Errorf("%d items incomplete at once: %w", len(s.odd), ErrPieces)
		}
		l = &odd{revision: revision, dest: strings.Clone(p.Dest), size: p.Size, noted: true}
		s.odd[o] = l
		s.set(o, stateOdd)
	}
	if err := l.got.add(from, to); err != nil {
		return err
	}
	if l.file == nil && l.got.covers(p.Size) && l.got.end() == p.Size && revision == p.Revision && revision <= maxRevision {
		delete(s.odd, o)
		s.set(o, stateNoted+uint8(revision))
	}
	return nil
}

// at, set, done and revision read and write s.state; s.mu is held.
func (s *Stager) at(o item.Ordinal) uint8 {
	if o >= item.Ordinal(len(s.state)) {
		return stateNone
	}
	return s.state[o]
}

func (s *Stager) set(o item.Ordinal, v uint8) {
	if n := item.Ordinal(len(s.state)); o >= n {
		s.state = append(s.state, make([]uint8, o-n+1)...)
	}
	s.state[o] = v
}

func (s *Stager) done(o item.Ordinal) bool { return s.at(o) >= stateDone }

func (s *Stager) revision(o item.Ordinal) (uint32, bool) {
	switch v := s.at(o); {
	case v == stateNone:
		return 0, false
	case v == stateOdd:
		return s.odd[o].revision, true
	case v < stateNoted:
		return uint32(v - stateDone), true
	default:
		return uint32(v - stateNoted), true
	}
}

// Close closes what is open. The staged files stay.
func (s *Stager) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, l := range s.odd {
		if l.file != nil && l.users == 0 {
			errs = append(errs, s.closeFile(l))
		}
	}
	return errors.Join(errs...)
}
