package wholefile

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/target"
)

// Names gives the records of a file their IDs, in the order in which they stand: a hash
// of what identifies a record, and a number behind it where there are several such.
type Names map[[12]byte]int

// ID returns the ID of the next record.
func (n Names) ID(identity []byte) string {
	sum := sha256.Sum256(identity)
	key := [12]byte(sum[:])
	n[key]++
	if n[key] == 1 {
		return hex.EncodeToString(key[:])
	}
	return hex.EncodeToString(key[:]) + "-" + strconv.Itoa(n[key])
}

// Version returns the version of a record whose canonical form is data.
func Version(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:16])
}

// Plan is what is to become of the records of a file that is rewritten once for all
// changes. Make it, give it every record that the file has, rewrite the file, report.
type Plan struct {
	Changes []target.Write
	Count   int // records that the file will have
	names   Names
	errs    []error
	byID    map[string]int
	fresh   map[string]int
	there   map[int]target.Existing
	met     bool
}

// NewPlan begins a plan. version returns the version that a new record will have, or why
// it can't be taken.
func NewPlan(changes []target.Write, version func(data []byte) (string, error)) *Plan {
	p := &Plan{Changes: changes, names: Names{}, errs: make([]error, len(changes)), byID: map[string]int{}, fresh: map[string]int{}, there: map[int]target.Existing{}}
	for i, c := range changes {
		if c.ID != "" {
			p.byID[c.ID] = i
			p.errs[i] = target.ErrEdited // unless it is met
		}
		if len(c.Record.Data) == 0 {
			if c.ID == "" {
				p.errs[i] = &target.RefusedError{Why: "it is empty"}
			}
			continue
		}
		v, err := version(c.Record.Data)
		switch {
		case err != nil:
			p.errs[i] = err
			delete(p.byID, c.ID)
		case c.ID == "":
			p.fresh[v] = i
		}
	}
	return p
}

// Meet takes the next record that the file has. It gives it its ID, and tells which change is to be made to it.
func (p *Plan) Meet(e *target.Existing, identity []byte) (change int, ok bool) {
	p.Count++
	e.ID = p.names.ID(identity)
	if i, ok := p.byID[e.ID]; ok && p.Changes[i].Version == e.Version {
		p.errs[i], p.met = nil, true
		if len(p.Changes[i].Record.Data) == 0 {
			p.Count--
		}
		return i, true
	}
	if i, ok := p.fresh[e.Version]; ok {
		p.there[i] = *e // an attempt whose answer was lost has made it
	}
	return 0, false
}

// Added returns which changes are new records that the file has not. To be called when all records were met.
func (p *Plan) Added() (added []int) {
	for i, c := range p.Changes {
		if _, there := p.there[i]; c.ID == "" && p.errs[i] == nil && !there {
			added = append(added, i)
		}
	}
	return added
}

// Needed reports whether the file has to be written.
func (p *Plan) Needed() bool { return p.met || len(p.Added()) > 0 }

// Report tells done what became of each change. now returns what the file holds for a record that was written, and what identifies it.
func (p *Plan) Report(now func(c target.Write) (e target.Existing, identity []byte, err error), done func(int, target.Existing, error) error) error {
	for i, c := range p.Changes {
		e, there := p.there[i]
		if !there && p.errs[i] == nil && len(c.Record.Data) > 0 {
			var identity []byte
			var err error
			if e, identity, err = now(c); err != nil {
				return err
			}
			e.ID = c.ID
			if id := p.names.ID(identity); c.ID == "" || !strings.HasPrefix(c.ID, id[:24]) {
				e.ID = id
			}
		}
		if p.errs[i] != nil {
			e = target.Existing{}
		}
		if err := done(i, e, p.errs[i]); err != nil {
			return err
		}
	}
	return nil
}
