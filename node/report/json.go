package report

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Format is the first member of the JSON document.
const Format = "decant-report/1"

// ErrFormat is returned by ReadJSON for what is not a report of this version.
var ErrFormat = errors.New("report: not a report that this version can read")

// The members of the JSON document: docs/SPEC.md section 9 says what they mean. Append only.
type jsonReport struct {
	Format  string      `json:"format"`
	What    string      `json:"what"`
	When    *time.Time  `json:"when,omitempty"`
	Source  []string    `json:"source,omitempty"`
	Target  []string    `json:"target,omitempty"`
	Notes   []string    `json:"notes,omitempty"`
	Kinds   []jsonKind  `json:"kinds"`
	Entries []jsonEntry `json:"entries"`
}

type jsonKind struct {
	Kind      string      `json:"kind"`
	New       int64       `json:"new"`
	Same      int64       `json:"same"`
	Merged    int64       `json:"merged"`
	Conflicts int64       `json:"conflicts"`
	Suggested int64       `json:"suggested"`
	Refused   int64       `json:"refused"`
	Changes   jsonEffects `json:"changes"`
}

type jsonEffects struct {
	Dropped  int64 `json:"dropped"`
	Altered  int64 `json:"altered"`
	Repaired int64 `json:"repaired"`
	Added    int64 `json:"added"`
	Moved    int64 `json:"moved"`
	Flagged  int64 `json:"flagged"`
}

type jsonEntry struct {
	Kind    string        `json:"kind"`
	Book    string        `json:"book,omitempty"`
	Record  string        `json:"record"`
	UID     string        `json:"uid,omitempty"`
	From    string        `json:"from,omitempty"`
	Verdict string        `json:"verdict"`
	With    string        `json:"with,omitempty"`
	Why     string        `json:"why,omitempty"`
	Decided string        `json:"decided,omitempty"`
	Refused string        `json:"refused,omitempty"`
	Changes []item.Change `json:"changes,omitempty"`
}

// WriteJSON writes the report as one JSON document of UTF-8, an entry to a line. Control and format characters are written
// as escapes, so that it can be looked at in a terminal; bytes that are no UTF-8 become U+FFFD.
func (r *Report) WriteJSON(w io.Writer) error {
	b := bufio.NewWriter(w)
	head := jsonReport{Format: Format, What: r.What, Source: r.Source, Target: r.Target, Notes: r.Notes, Kinds: []jsonKind{}, Entries: []jsonEntry{}}
	if !r.When.IsZero() {
		t := r.When.UTC()
		head.When = &t
	}
	for _, k := range r.Kinds {
		head.Kinds = append(head.Kinds, jsonKind{k.Kind.String(), k.New, k.Same, k.Merged, k.Conflicts, k.Suggested, k.Refused,
			jsonEffects{k.Dropped, k.Altered, k.Repaired, k.Added, k.Moved, k.Flagged}})
	}
	first, err := json.Marshal(head)
	if err != nil {
		return err
	}
	b.Write(inert(first[:len(first)-len("]}")])) // the entries follow one by one
	comma := ""
	err = r.each(func(e *Entry) error {
		one, err := json.Marshal(e.json())
		if err != nil {
			return err
		}
		b.WriteString(comma + "\n")
		comma = ","
		_, err = b.Write(inert(one))
		return err
	})
	if err != nil {
		return err
	}
	b.WriteString("\n]}\n")
	return b.Flush()
}

func (e *Entry) json() jsonEntry {
	return jsonEntry{e.Kind.String(), e.Book, e.Record, e.UID, e.From, e.Verdict.String(), e.With, e.Why, e.Decided, e.Refused, e.Changes}
}

// inert writes as escapes what might do something to a terminal. JSON has other characters than ASCII in strings only.
func inert(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r != utf8.RuneError && (r < 0x7f || !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp)) {
			out = append(out, b[i:i+n]...)
		} else if r > 0xffff {
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		} else {
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		i += n
	}
	return out
}

// ReadJSON reads what WriteJSON wrote. It reads all of r.
func ReadJSON(from io.Reader) (*Report, error) {
	var j jsonReport
	if err := json.NewDecoder(from).Decode(&j); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if j.Format != Format {
		return nil, ErrFormat
	}
	r := &Report{What: j.What, Source: j.Source, Target: j.Target, Notes: j.Notes}
	if j.When != nil {
		r.When = *j.When
	}
	for _, k := range j.Kinds {
		kind, _ := item.ParseKind(k.Kind)
		c := k.Changes
		r.Kinds = append(r.Kinds, Kind{kind, k.New, k.Same, k.Merged, k.Conflicts, k.Suggested, k.Refused, c.Dropped, c.Altered, c.Repaired, c.Added, c.Moved, c.Flagged})
	}
	for _, e := range j.Entries {
		kind, _ := item.ParseKind(e.Kind)
		for i := range e.Changes {
			e.Changes[i].Kind = kind
		}
		r.Entries = append(r.Entries, Entry{kind, e.Book, e.Record, e.UID, e.From, verdict(e.Verdict), e.With, e.Why, e.Decided, e.Refused, e.Changes})
		r.index(&r.Entries[len(r.Entries)-1])
	}
	return r, nil
}

// verdict parses a verdict's name.
func verdict(s string) rule.Verdict {
	for v := rule.None; v <= rule.Suggest; v++ {
		if v.String() == s {
			return v
		}
	}
	return rule.None
}
