package deliver

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Log keeps a delivery; node/journal is one, MemLog another. Put returns when everything
// is durable, all or nothing. Get returns nil for what was never put. Each walks in the
// order of the keys.
type Log interface {
	Put(entries []Entry) error
	Get(key string) ([]byte, error)
	Each(prefix string, f func(key string, value []byte) error) error
}

// Entry is one value of a Log.
type Entry struct {
	Key   string
	Value []byte
}

// Action is what a step does to its target. The numbers are in logs: append only.
type Action uint8

// The actions.
const (
	Leave   Action = iota // nothing: the target has it, or another step brings it, or it can't be taken
	Create                // a new record
	Replace               // a record that the target has gets other content
)

// Step is what a delivery does with one record.
type Step struct {
	Kind    item.Kind    `json:"kind"`
	Label   string       `json:"label,omitempty"`
	Book    string       `json:"book,omitempty"`
	Path    string       `json:"path,omitempty"`
	From    string       `json:"from,omitempty"`
	Verdict rule.Verdict `json:"verdict"`
	Refused bool         `json:"refused,omitempty"` // the target can't take it; the last Change says why
	Action  Action       `json:"action"`
	Why     string       `json:"why,omitempty"`
	With    string       `json:"with,omitempty"` // label of the record that it is the same as, merged with or in conflict with

	ID      string `json:"id,omitempty"` // of the record to replace
	Version string `json:"version,omitempty"`
	Before  []byte `json:"before,omitempty"` // what that holds
	Beside  string `json:"beside,omitempty"` // its book
	At      string `json:"at,omitempty"`     // its path

	Data  []byte `json:"data,omitempty"`  // the record as the target takes it
	Write []byte `json:"write,omitempty"` // what is written, if that is another
	Other []byte `json:"other,omitempty"` // of a conflict: what is written if the person wants the incoming one

	// Into is the number of the step that writes this record with others in one, plus one; 0 is none.
	Into int `json:"into,omitempty"`

	Changes []item.Change `json:"changes,omitempty"`
}

// content is what the target shall hold.
func (s *Step) content() []byte {
	if s.Write != nil {
		return s.Write
	}
	return s.Data
}

// State is how far a step has come. The numbers are in logs: append only.
type State uint8

// The states.
const (
	Pending  State = iota // not carried out yet, or not known to be
	Done                  // the target has it
	Failed                // the target would not take it
	TakenOut              // it was undone
	Kept                  // it was not undone: somebody has edited the record since
)

// Outcome is what became of a step.
type Outcome struct {
	State   State    `json:"state"`
	ID      string   `json:"id,omitempty"` // what the target has now
	Version string   `json:"version,omitempty"`
	Sum     [32]byte `json:"sum,omitzero"` // SHA-256 of its content
	Wrote   bool     `json:"wrote,omitempty"`
	Why     string   `json:"why,omitempty"` // of Failed

	Changes []item.Change `json:"changes,omitempty"` // what the target itself made of it
}

// Keys of a log: "h" the header, then by goal and kind: "s" steps, "o" outcomes, "f" and "b" what a
// target of one file was before, in pieces, "a" the hash of what it was after, "r" that it was begun, "m" what places a target had
// that makes some.
func logKey(tag byte, goal int, k item.Kind) string { return string([]byte{tag, byte(goal), byte(k)}) }

func stepKey(tag byte, goal int, k item.Kind, n int) string {
	return logKey(tag, goal, k) + string(binary.BigEndian.AppendUint32(nil, uint32(n)))
}

func stepNumber(key string) int { return int(binary.BigEndian.Uint32([]byte(key[3:]))) }

var errLog = errors.New("log of a delivery is damaged")

func (d *Delivery) load(key string, v any) (bool, error) {
	b, err := d.log.Get(key)
	if err != nil || b == nil {
		return false, err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return false, fmt.Errorf("%w: %w", errLog, err)
	}
	return true, nil
}

func encode(key string, v any) Entry {
	b, err := json.Marshal(v)
	if err != nil {
		panic("deliver: " + err.Error()) // plain structs
	}
	return Entry{key, b}
}

// creationKey names a new record: the same at each attempt, another for other content.
func creationKey(k item.Kind, data []byte) string {
	h := sha256.New()
	h.Write([]byte{byte(k)})
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// MemLog is a Log in memory, for tests.
type MemLog map[string][]byte

// Put implements Log.
func (m MemLog) Put(entries []Entry) error {
	for _, e := range entries {
		m[e.Key] = slices.Clone(e.Value)
	}
	return nil
}

// Get implements Log.
func (m MemLog) Get(key string) ([]byte, error) { return m[key], nil }

// Each implements Log.
func (m MemLog) Each(prefix string, f func(string, []byte) error) error {
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if strings.HasPrefix(k, prefix) {
			if err := f(k, m[k]); err != nil {
				return err
			}
		}
	}
	return nil
}
