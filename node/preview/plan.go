package preview

import (
	"container/list"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target/folder"
)

// Store keeps the pages of a plan; node/journal has one, and MemStore is one. Page 0
// is the plan's header, written last. Put replaces and does not keep b; it need not be
// durable before a later Put that is. Get returns nil for a page that was never put,
// and what it returns belongs to the caller.
type Store interface {
	Put(page int, b []byte) error
	Get(page int) ([]byte, error)
}

// MemStore is a Store in memory, for small plans and tests. Not for concurrent Puts.
type MemStore map[int][]byte

// Put implements Store.
func (m MemStore) Put(page int, b []byte) error { m[page] = slices.Clone(b); return nil }

// Get implements Store.
func (m MemStore) Get(page int) ([]byte, error) { return slices.Clone(m[page]), nil }

// maxCached bounds the decoded pages in memory, in bytes: about 24 pages of ordinary
// names, one of the longest possible. The page used last stays whatever its size.
const maxCached = 16 << 20

// Plan says for every item where it goes. Place, Entry and Page may be called from
// several goroutines at once; Extend and Update only while nobody else uses the plan.
type Plan struct {
	t     *folder.Target
	store Store
	opts  Options
	head  header

	planner *planner     // names taken; nil after Load until it is needed
	next    item.Ordinal // no page reaches beyond it

	hand   *Page // a copy of page inHand that Extend is changing, nil if there is none
	inHand int
	gone   []string // directories of staging that Extend has withdrawn, in the order of the collection

	mu    sync.Mutex            // guards what follows
	cache map[int]*list.Element // of *cached, by page
	lru   list.List
	size  int // bytes in cache
}

// header is page 0.
type header struct {
	Version int
	Kinds   []item.Kind
	Pages   []pageRef // page i+1, in the order of planning
	Preview Preview
}

type pageRef struct {
	First item.Ordinal
	Count int
}

type cached struct {
	number int
	page   *Page
}

const headerVersion = 1

// ErrNoPlan is returned by Load where nothing complete is stored.
var ErrNoPlan = errors.New("no plan is stored")

// Load reads a plan that Build or Extend has completed.
func Load(t *folder.Target, store Store, opts Options) (*Plan, error) {
	b, err := store.Get(0)
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	p := newPlan(t, store, opts)
	if b == nil {
		return nil, ErrNoPlan
	}
	if err := json.Unmarshal(b, &p.head); err != nil || p.head.Version != headerVersion {
		return nil, errors.Join(errPage, err)
	}
	p.opts.Kinds = p.head.Kinds
	for _, r := range p.head.Pages {
		p.next = max(p.next, r.First+item.Ordinal(r.Count))
	}
	return p, nil
}

func newPlan(t *folder.Target, store Store, opts Options) *Plan {
	return &Plan{t: t, store: store, opts: opts, cache: map[int]*list.Element{}, head: header{Version: headerVersion, Kinds: opts.Kinds}}
}

func (p *Plan) save() error {
	b, err := json.Marshal(&p.head)
	if err != nil {
		return err
	}
	return p.store.Put(0, b)
}

// Preview returns the summary for a person. It is a copy.
func (p *Plan) Preview() *Preview { return p.head.Preview.clone() }

// Target returns the target that the plan was made for.
func (p *Plan) Target() *folder.Target { return p.t }

// Kinds returns the kinds chosen; empty means all.
func (p *Plan) Kinds() []item.Kind { return p.opts.Kinds }

// Pages returns the number of pages. They are numbered from 1, in the order of planning.
func (p *Plan) Pages() int { return len(p.head.Pages) }

// Page returns one page. Its entries are shared: don't change them.
func (p *Plan) Page(number int) (*Page, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.page(number)
}

func (p *Plan) page(number int) (*Page, error) {
	if e := p.cache[number]; e != nil {
		p.lru.MoveToFront(e)
		return e.Value.(*cached).page, nil
	}
	if number < 1 || number > len(p.head.Pages) {
		return nil, fmt.Errorf("page %d of a plan of %d: %w", number, len(p.head.Pages), errPage)
	}
	b, err := p.store.Get(number)
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	page, err := decodePage(b)
	if err != nil || page.First != p.head.Pages[number-1].First || len(page.Entries) != p.head.Pages[number-1].Count {
		return nil, fmt.Errorf("page %d: %w", number, errPage)
	}
	p.cache[number] = p.lru.PushFront(&cached{number, page})
	p.size += page.size()
	for p.size > maxCached && p.lru.Len() > 1 {
		p.drop(p.lru.Back())
	}
	return page, nil
}

// drop takes a page out of the cache; p.mu is held.
func (p *Plan) drop(e *list.Element) {
	c := p.lru.Remove(e).(*cached)
	delete(p.cache, c.number)
	p.size -= c.page.size()
}

// Update stores a page with changed entries (of the same ordinals).
func (p *Plan) Update(number int, page *Page) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.cache[number]; e != nil {
		p.drop(e)
	}
	return p.store.Put(number, appendPage(nil, page))
}

// number returns the page that holds an ordinal, 0 if none does.
func (p *Plan) number(o item.Ordinal) int {
	if o >= p.next {
		return 0
	}
	for i := range p.head.Pages { // a few hundred at most, and the last one found is asked first by Entry
		if r := &p.head.Pages[i]; o >= r.First && o-r.First < item.Ordinal(r.Count) {
			return i + 1
		}
	}
	return 0
}

// Number returns the page that holds an ordinal, 0 if the ordinal is not planned.
func (p *Plan) Number(o item.Ordinal) int { return p.number(o) }

// Entry returns the plan for one item, folder.ErrUnplanned if there is none.
func (p *Plan) Entry(o item.Ordinal) (*Entry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.lru.Front(); f != nil {
		if c := f.Value.(*cached); o >= c.page.First && o-c.page.First < item.Ordinal(len(c.page.Entries)) {
			return &c.page.Entries[o-c.page.First], nil
		}
	}
	n := p.number(o)
	if n == 0 {
		return nil, fmt.Errorf("item %d: %w", o, folder.ErrUnplanned)
	}
	page, err := p.page(n)
	if err != nil {
		return nil, err
	}
	return &page.Entries[o-page.First], nil
}

// Place implements folder.Placer.
func (p *Plan) Place(o item.Ordinal) (folder.Place, error) {
	e, err := p.Entry(o)
	if err != nil {
		return folder.Place{}, err
	}
	return e.Place(), nil
}
