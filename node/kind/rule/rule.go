// Package rule is the vocabulary of bringing records together: what a target does with a
// kind's properties, and what is to become of a record that meets those that the target
// has. The packages beside it, one for each kind, implement Rules; node/kind lists them.
// docs/SPEC.md section 9.4 gives the rules of each kind.
package rule

import (
	"context"

	"github.com/decant-dev/decant/node/item"
)

// Profile says what a target does with records of one kind. The zero value keeps everything.
type Profile struct {
	// Version is the only form that it takes: "2.1", "3.0" or "4.0" for contacts. "" is any.
	Version string
	// Strict: it parses what it gets and refuses what breaks the standard, so that Shape has to repair it.
	Strict bool
	// Schedules: it may mail a calendar object's attendees, so that Shape has to prevent it.
	Schedules bool
	// Drops are the properties, in capitals, that it does not keep: "PHOTO", "VEVENT/ATTACH". "X-*" is a prefix.
	Drops []string
	// Keeps are properties that it keeps although Drops names them by a prefix.
	Keeps []string
	// MaxSize is the largest record that it takes, in bytes; 0 is any.
	MaxSize int64
	// Region is the country (ISO 3166, "DE") whose numbers are written without a prefix; "" is unknown.
	Region string
}

// Verdict is what is to become of one incoming record. The numbers are in journals: append only.
type Verdict uint8

// The verdicts.
const (
	None     Verdict = iota
	New              // the target has none like it: it is added
	Same             // the target has all of it already
	Merge            // the target has one that is meant to be the same: it gets what it lacks
	Conflict         // the target has one of the same identity that contradicts it: a person decides, else both are kept
	Suggest          // the target has one that may be the same: it is added, and the person is told
)

var verdictNames = [...]string{"none", "new", "same", "merge", "conflict", "suggest"}

// String returns the verdict's name.
func (v Verdict) String() string {
	if int(v) < len(verdictNames) {
		return verdictNames[v]
	}
	return "unknown"
}

// Decision is what is to become of one incoming record.
type Decision struct {
	Verdict Verdict
	// With is the index of the existing record that it is the same as, merged with or in conflict with; -1 is none.
	// A number of len(existing)+i stands for incoming record i, which comes earlier.
	With int
	// Result is what the target shall hold: the new record, or the merged one. nil for Same. For Conflict it is what is
	// written beside the existing one when both are kept, with another identity if it needs one.
	Result []byte
	// Replace is what is written in place of the existing one if the person chooses the incoming one of a Conflict; nil
	// is Result.
	Replace []byte
	Why     string        // a sentence's end for the person: "same UID", "same name and +49 30 1234567"
	Changes []item.Change // what merging did to properties of either
}

// Options adjusts Match.
type Options struct {
	Profile Profile
	// NoFuzzy matches by identity only: names, numbers and addresses bring nothing together.
	NoFuzzy bool
	// Known is what Divided.Lot has learned of all records, those of other lots too. nil: the records that Match gets are all.
	Known map[string]bool
}

// Divided is implemented by rules of kinds of which a person has very many records, so that Match can get them a lot at a time.
type Divided interface {
	// Lot returns a number that is the same for records that Match may bring together, and spread evenly over those
	// that it may not. It adds to known what Match has to know of every record.
	Lot(r item.Record, p Profile, known map[string]bool) uint32
}

// Rules is what the engine needs to know of one kind. All methods are pure: they may run
// concurrently, do not keep or change what they are given, and take time and memory
// linear in it but for sorting. They never fail on bad input: it is kept and flagged.
type Rules interface {
	// Split cuts a container file, as a collection has it, into records, in order. Their
	// Data may point into data. path is the file's path in the collection.
	Split(path string, data []byte) []item.Record
	// Shape gives a record the form that a target takes, and tells what that changed. What
	// need not change stays as it is, byte for byte. ok is false if the target can't take
	// the record at all; the last Change says why.
	Shape(r item.Record, p Profile) (out item.Record, changes []item.Change, ok bool)
	// Match decides about each incoming record, which Shape has been through. The result
	// has len(incoming) elements. Matching the same again, once the decisions were carried
	// out, gives Same for all of them.
	Match(ctx context.Context, existing, incoming []item.Record, opts Options) ([]Decision, error)
}
