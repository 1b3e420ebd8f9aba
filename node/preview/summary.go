package preview

import (
	"maps"
	"math"
	"slices"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
)

// maxListed bounds the losses and renames listed by name; all are counted.
const maxListed = 200

// Preview is a plan's summary, as a person sees it and as --json prints it
// (docs/SPEC.md section 10). Names in it are escaped by package show.
type Preview struct {
	Kinds        []KindPreview    `json:"kinds"`                 // in the order of item.Kinds, those that occur
	Directories  int64            `json:"directories,omitempty"` // of their own; not counted in Kinds
	SpaceNeeded  int64            `json:"space_needed"`          // bytes that staging and merging will take
	SpaceFree    int64            `json:"space_free"`            // bytes free in the target; -1 unknown
	Losses       []Loss           `json:"losses,omitempty"`      // the first ones
	LossCounts   map[string]int64 `json:"loss_counts,omitempty"` // all, by reason
	Renamed      []Renamed        `json:"renamed,omitempty"`     // the first ones
	RenamedCount int64            `json:"renamed_count,omitempty"`
}

// KindPreview says what would become of the items of one kind. For contacts and
// calendars the items counted are the records, and Books the files that hold them.
type KindPreview struct {
	Kind     string     `json:"kind"`
	New      item.Tally `json:"new"`
	Same     item.Tally `json:"same"`
	Conflict item.Tally `json:"conflict"`
	Merge    item.Tally `json:"merge"`
	Skipped  item.Tally `json:"skipped"`
	Lost     item.Tally `json:"lost"`
	Books    item.Tally `json:"books"`
}

// Loss is one thing that will not be kept as it was.
type Loss struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"`
	Reason string `json:"reason"`
	Detail string `json:"detail,omitempty"`
}

// Renamed is one item, or one directory with all that lies below it, that gets
// another name than it had.
type Renamed struct {
	From string `json:"from"`
	To   string `json:"to"`
}

// Fits reports whether the target has room for what is needed and reserve bytes more.
// Where the system does not say how much is free, it is believed to be enough.
func (p *Preview) Fits(reserve int64) bool {
	return p.SpaceFree < 0 || p.SpaceNeeded <= p.SpaceFree-reserve // both at least 0
}

// Total adds up one kind.
func (k *KindPreview) Total() (t item.Tally) {
	for _, x := range []item.Tally{k.New, k.Same, k.Conflict, k.Merge, k.Skipped, k.Lost} {
		t.Items += x.Items
		t.Bytes += x.Bytes
	}
	return t
}

func (p *Preview) clone() *Preview {
	q := *p
	q.Kinds, q.Losses, q.Renamed, q.LossCounts = slices.Clone(p.Kinds), slices.Clone(p.Losses), slices.Clone(p.Renamed), maps.Clone(p.LossCounts)
	return &q
}

func (p *Preview) kind(k item.Kind) *KindPreview {
	name := k.String()
	for i := range p.Kinds {
		if p.Kinds[i].Kind == name {
			return &p.Kinds[i]
		}
	}
	at := 0
	for at < len(p.Kinds) {
		if other, _ := item.ParseKind(p.Kinds[at].Kind); other > k {
			break
		}
		at++
	}
	p.Kinds = slices.Insert(p.Kinds, at, KindPreview{Kind: name})
	return &p.Kinds[at]
}

// count adds one planned entry to the summary.
func (p *Preview) count(e *Entry, records bool) {
	if e.Form == item.FormDir {
		p.Directories++
		return
	}
	k := p.kind(e.Kind)
	if records && e.Form == item.FormFile {
		k.Books.Add(e.Size)
		if e.Verdict != Lost {
			return
		}
	}
	if t := k.tally(e.Verdict); t != nil {
		t.Add(e.Size)
	}
}

// need adds to the space needed. Sizes are the sender's word: a sum that overflows stays
// as large as it can be.
func (p *Preview) need(bytes int64) {
	if p.SpaceNeeded += bytes; p.SpaceNeeded < 0 {
		p.SpaceNeeded = math.MaxInt64
	}
}

// uncount takes one entry out of the summary again.
func (p *Preview) uncount(e *Entry, records bool) {
	switch {
	case e.Form == item.FormDir:
		p.Directories--
		return
	case e.Staged():
		p.SpaceNeeded = max(0, p.SpaceNeeded-e.Size)
	}
	k := p.kind(e.Kind)
	t := k.tally(e.Verdict)
	if records && e.Form == item.FormFile {
		t = &k.Books
	}
	if t != nil {
		t.Items--
		t.Bytes -= e.Size
	}
}

func (k *KindPreview) tally(v Verdict) *item.Tally {
	switch v {
	case New:
		return &k.New
	case Same:
		return &k.Same
	case Conflict:
		return &k.Conflict
	case Merge:
		return &k.Merge
	case Skipped:
		return &k.Skipped
	case Lost:
		return &k.Lost
	}
	return nil
}

func (p *Preview) lose(k item.Kind, path string, r item.Reason, detail string) {
	if p.LossCounts == nil {
		p.LossCounts = map[string]int64{}
	}
	p.LossCounts[r.String()]++
	if len(p.Losses) < maxListed {
		p.Losses = append(p.Losses, Loss{k.String(), show.Name(path), r.String(), show.Name(detail)})
	}
}

func (p *Preview) rename(from, to string) {
	p.RenamedCount++
	if len(p.Renamed) < maxListed {
		p.Renamed = append(p.Renamed, Renamed{show.Name(from), show.Name(to)})
	}
}
