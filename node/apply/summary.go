package apply

import (
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/decant-dev/decant/node/preview"
)

// maxListed bounds the entries listed by name; all are counted.
const maxListed = 200

// Summary says what has become of a collection. Names in it are escaped by package show.
type Summary struct {
	Kinds        []KindSummary `json:"kinds"` // in the order of item.Kinds, those that occur
	Failed       []Line        `json:"failed,omitempty"`
	FailedCount  int64         `json:"failed_count,omitempty"`
	Losses       []Line        `json:"losses,omitempty"` // kept, but not quite as it was
	LossCount    int64         `json:"loss_count,omitempty"`
	Renamed      []Line        `json:"renamed,omitempty"` // Detail is the name it has now
	RenamedCount int64         `json:"renamed_count,omitempty"`

	items, bytes int64
}

// KindSummary counts the items of one kind by outcome: files, directories and records.
// Bytes are those of files; a record's are its container's.
type KindSummary struct {
	Kind   item.Kind  `json:"-"`
	Name   string     `json:"kind"`
	Moved  item.Tally `json:"moved"`
	Same   item.Tally `json:"same"`
	Kept   item.Tally `json:"kept_both"`
	Merged item.Tally `json:"merged"`
	Skip   item.Tally `json:"skipped"`
	Lost   item.Tally `json:"lost"`
	Failed item.Tally `json:"failed"`
}

// Line names one item and what there is to say of it.
type Line struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	Reason string `json:"reason,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Tally returns the counter of one outcome, nil for OutcomeNone.
func (k *KindSummary) Tally(o item.Outcome) *item.Tally {
	switch o {
	case item.Moved:
		return &k.Moved
	case item.Same:
		return &k.Same
	case item.KeptBoth:
		return &k.Kept
	case item.Merged:
		return &k.Merged
	case item.Skipped:
		return &k.Skip
	case item.LostAtSource:
		return &k.Lost
	case item.Failed:
		return &k.Failed
	}
	return nil
}

// Items and Bytes are what the summary covers.
func (s *Summary) Items() int64 { return s.items }

// Bytes returns the content bytes of all files covered.
func (s *Summary) Bytes() int64 { return s.bytes }

// Summarize counts the outcomes that are in the log.
func Summarize(plan *preview.Plan, log Log) (*Summary, error) {
	s := &Summary{}
	for n := 1; n <= plan.Pages(); n++ {
		page, o, err := outcomesPage(plan, log, n)
		if err != nil {
			return nil, err
		}
		if o != nil {
			s.add(page, o)
		}
	}
	return s, nil
}

// outcomesPage reads a page with its outcomes, nil if there are none yet.
func outcomesPage(plan *preview.Plan, log Log, n int) (*preview.Page, *Outcomes, error) {
	page, err := plan.Page(n)
	if err != nil {
		return nil, nil, err
	}
	b, err := log.Outcome(n)
	if err != nil || b == nil {
		return page, nil, err
	}
	o, err := decodeOutcomes(b)
	if err != nil || len(o.Of) != len(page.Entries) {
		return nil, nil, errLog
	}
	return page, o, nil
}

func (s *Summary) add(page *preview.Page, o *Outcomes) {
	for i := range page.Entries {
		e := &page.Entries[i]
		t := s.kind(e.Kind).Tally(o.Of[i])
		if t == nil {
			continue
		}
		size := e.Size
		if e.Form != item.FormFile {
			size = 0
		}
		t.Add(size)
		s.items++
		s.bytes += size
		s.list(e, o, i)
	}
}

func (s *Summary) list(e *preview.Entry, o *Outcomes, i int) {
	if e.Form == item.FormRecord {
		return
	}
	line := Line{Kind: e.Kind.String(), Reason: o.Why[i].String()}
	switch {
	case o.Of[i] == item.Failed:
		s.FailedCount++
		s.Failed = s.append(s.Failed, line, e)
	case o.Why[i] != item.ReasonNone:
		s.LossCount++
		s.Losses = s.append(s.Losses, line, e)
	}
	if final := o.Final(i, e); (o.Of[i] == item.KeptBoth || o.Of[i] == item.Moved) && final != e.SourcePath() {
		s.RenamedCount++
		s.Renamed = s.append(s.Renamed, Line{Kind: e.Kind.String(), Detail: show.Name(final)}, e)
	}
}

func (s *Summary) append(lines []Line, l Line, e *preview.Entry) []Line {
	if len(lines) >= maxListed {
		return lines
	}
	l.Path = show.Name(e.SourcePath())
	return append(lines, l)
}

func (s *Summary) kind(k item.Kind) *KindSummary {
	at := 0
	for ; at < len(s.Kinds) && s.Kinds[at].Kind <= k; at++ {
		if s.Kinds[at].Kind == k {
			return &s.Kinds[at]
		}
	}
	s.Kinds = append(s.Kinds, KindSummary{})
	copy(s.Kinds[at+1:], s.Kinds[at:])
	s.Kinds[at] = KindSummary{Kind: k, Name: k.String()}
	return &s.Kinds[at]
}
