package preview

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/target/folder"
)

// MaxBook is the size in bytes of the largest address book or calendar that is merged;
// a larger one is kept beside the one that is there.
const MaxBook = 32 << 20

// Options adjusts a plan. The zero value takes every kind.
type Options struct {
	Kinds []item.Kind // what the person has chosen; empty is all
}

func (o *Options) chosen(k item.Kind) bool { return len(o.Kinds) == 0 || slices.Contains(o.Kinds, k) }

// IdentityHash is how a plan remembers a record's identity.
func IdentityHash(identity []byte) uint64 { return hash(string(identity)) }

// Pages yields the pages of a manifest, each with consecutive ordinals and one kind,
// containers before their records. A slice is read only until the next is asked for.
type Pages = iter.Seq2[[]item.Item, error]

// Build plans a whole manifest and stores the plan. A path that leads anywhere but
// below the target is no item to be skipped but an attack on it: Build then returns
// folder.ErrPath, and no plan is stored.
func Build(ctx context.Context, t *folder.Target, pages Pages, store Store, opts Options) (*Plan, error) {
	p := newPlan(t, store, opts)
	p.planner = newPlanner(p)
	if err := p.Extend(ctx, pages); err != nil {
		return nil, err
	}
	return p, nil
}

// Extend plans the items that the plan does not know yet: those that a later epoch
// has found. Items already planned keep their place, whatever has become of them since;
// of a file that has other content now, the plan takes over its size and revision.
func (p *Plan) Extend(ctx context.Context, pages Pages) error {
	if err := p.wake(); err != nil {
		return err
	}
	for items, err := range pages {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = p.extend(items)
		}
		if err != nil {
			return fmt.Errorf("planning: %w", err)
		}
	}
	if err := errors.Join(p.putDown(), p.removeDirs()); err != nil {
		return fmt.Errorf("planning: %w", err)
	}
	free, err := p.t.Free()
	if err != nil {
		return fmt.Errorf("planning: %w", err)
	}
	p.head.Preview.SpaceFree = free
	if err := p.save(); err != nil {
		return fmt.Errorf("storing the plan: %w", err)
	}
	return nil
}

// extend plans the unknown runs of one manifest page.
func (p *Plan) extend(items []item.Item) error {
	page := Page{}
	for i := range items {
		it := &items[i]
		if i > 0 && it.Ordinal != items[i-1].Ordinal+1 {
			return fmt.Errorf("item %d follows item %d on its page: %w", it.Ordinal, items[i-1].Ordinal, errPage)
		}
		if n := p.number(it.Ordinal); n != 0 {
			if err := errors.Join(p.flush(&page), p.again(n, it)); err != nil {
				return err
			}
			continue
		}
		if err := p.putDown(); err != nil { // what is planned next may look at its container
			return err
		}
		if len(page.Entries) == 0 {
			page.First = it.Ordinal
		}
		e, err := p.planner.plan(it, &page)
		if err != nil {
			return err
		}
		page.Entries = append(page.Entries, e)
		if len(page.Entries) == maxEntries {
			if err := p.flush(&page); err != nil {
				return err
			}
		}
	}
	return p.flush(&page)
}

// again looks at an item that is planned already.
func (p *Plan) again(n int, it *item.Item) error {
	page := p.hand
	if n != p.inHand || page == nil {
		var err error
		if page, err = p.Page(n); err != nil {
			return err
		}
	}
	e := &page.Entries[it.Ordinal-page.First]
	switch {
	case it.Lost == item.ReasonRemoved:
		if e.Form == item.FormDir && e.Dest != "" {
			p.gone = append(p.gone, e.Dest)
		}
		if e.State == Withdrawn {
			return nil
		}
	case e.State == Withdrawn, it.Lost != item.ReasonNone, it.Form != item.FormFile, e.Form != item.FormFile,
		it.Revision == e.Revision && it.Size == e.Size:
		return nil
	}
	if err := p.pickUp(n, page); err != nil {
		return err
	}
	e = &p.hand.Entries[it.Ordinal-page.First]
	if it.Lost == item.ReasonRemoved {
		return p.withdraw(e)
	}
	p.renew(e, it)
	return nil
}

// pickUp makes a copy of a page that may be changed.
func (p *Plan) pickUp(n int, page *Page) error {
	if p.hand != nil && p.inHand == n {
		return nil
	}
	err := p.putDown()
	p.hand, p.inHand = &Page{First: page.First, Entries: slices.Clone(page.Entries)}, n
	return err
}

// putDown stores the page that was changed.
func (p *Plan) putDown() error {
	page := p.hand
	if page == nil {
		return nil
	}
	p.hand = nil
	return p.Update(p.inHand, page)
}

// withdraw takes an item out of the plan that the collection no longer has, and out of
// staging if it has come: its name is free for another item.
func (p *Plan) withdraw(e *Entry) error {
	if e.Staged() {
		err := p.t.Tree().Remove(e.Dest)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, folder.ErrNotDirectory) {
			return err
		}
	}
	p.head.Preview.uncount(e, kind.HasRecords(e.Kind))
	p.planner.forget(e)
	e.State = Withdrawn
	return nil
}

// removeDirs removes the directories that were withdrawn from staging, the deepest
// first. One that still holds something stays.
func (p *Plan) removeDirs() error {
	for _, dir := range slices.Backward(p.gone) {
		in, err := p.t.Tree().Lstat(dir)
		if err != nil {
			return err
		}
		if in.Type == folder.Directory {
			_ = p.t.Tree().Rmdir(dir) // that it is not empty is all that can be wrong with it
		}
	}
	p.gone = nil
	return nil
}

// renew takes over what the collection has in an item's place now.
func (p *Plan) renew(e *Entry, it *item.Item) {
	records := kind.HasRecords(e.Kind)
	counts := e.Verdict != Lost // what was lost had no size that was counted
	if counts {
		p.head.Preview.uncount(e, records)
	}
	e.Size, e.Revision, e.ModTime, e.Perm, e.State = it.Size, it.Revision, it.ModTime, it.Perm&folder.MetaPerm, Planned
	if counts {
		p.head.Preview.count(e, records)
		if e.Staged() {
			p.head.Preview.need(e.Size)
		}
	}
}

func (p *Plan) flush(page *Page) error {
	if len(page.Entries) == 0 {
		return nil
	}
	p.head.Pages = append(p.head.Pages, pageRef{page.First, len(page.Entries)})
	p.next = max(p.next, page.First+item.Ordinal(len(page.Entries)))
	err := p.Update(len(p.head.Pages), page)
	page.Entries = page.Entries[:0]
	return err
}

// wake makes the planner of a plan that was loaded: it learns which names are taken.
func (p *Plan) wake() error {
	if p.planner != nil {
		return nil
	}
	p.planner = newPlanner(p)
	for n := 1; n <= p.Pages(); n++ {
		page, err := p.Page(n)
		if err != nil {
			return err
		}
		for i := range page.Entries {
			p.planner.remember(&page.Entries[i])
		}
	}
	return nil
}

// planner decides destinations. It is used by one goroutine.
type planner struct {
	p      *Plan
	caps   *folder.Caps
	claims claims
	dirs   map[string]dirState // of the collection, by path; a cache of the last maxDirs
	books  map[item.Ordinal]map[uint64]bool
}

// dirState is where a directory of the collection goes.
type dirState struct {
	dest   string
	exists bool // the target has it
}

const (
	maxDirs  = 4096
	maxBooks = 16
	maxTries = 100_000 // names tried for one item
)

func newPlanner(p *Plan) *planner {
	return &planner{p: p, caps: p.t.Caps(), dirs: map[string]dirState{}, books: map[item.Ordinal]map[uint64]bool{}}
}

// owners tells a directory from a file of the same path.
func dirOwner(path string) uint64  { return hash(path) | 1 }
func fileOwner(path string) uint64 { return hash(path) &^ 1 }

func (pl *planner) key(path string) uint64 { return hash(pl.caps.Key(path)) }

// plan decides about one item; page is what has been decided of its page so far.
func (pl *planner) plan(it *item.Item, page *Page) (Entry, error) {
	e := Entry{Ordinal: it.Ordinal, Kind: it.Kind, Form: it.Form, Size: it.Size, ModTime: it.ModTime,
		Perm: it.Perm & folder.MetaPerm, Revision: it.Revision}
	if it.Lost == item.ReasonRemoved { // it has come and gone before we ever heard of it
		e.State = Withdrawn
		return e, nil
	}
	if it.Form == item.FormRecord {
		err := pl.record(it, &e, page)
		pl.p.head.Preview.count(&e, true)
		return e, err
	}
	if err := folder.CheckPath(it.Path); err != nil {
		return e, fmt.Errorf("item %d: %w", it.Ordinal, err)
	}
	var err error
	switch {
	case it.Form != item.FormFile && it.Form != item.FormDir || !it.Kind.Valid() || it.Size < 0 || it.Size > item.MaxSize:
		err = fmt.Errorf("item %d has form %d, kind %d, size %d: %w", it.Ordinal, it.Form, it.Kind, it.Size, errPage)
	case it.Lost != item.ReasonNone:
		e.Verdict, e.Reason, e.Dest = Lost, it.Lost, it.Path
		pl.p.head.Preview.lose(it.Kind, it.Path, it.Lost, "")
	case !pl.p.opts.chosen(it.Kind) && it.Form == item.FormFile:
		e.Verdict, e.Dest = Skipped, it.Path
	case it.Form == item.FormDir:
		err = pl.directory(it, &e)
	default:
		err = pl.file(it, &e)
	}
	if err != nil {
		return e, err
	}
	if e.Dest != it.Path {
		e.Source = strings.Clone(it.Path)
	}
	pl.p.head.Preview.count(&e, kind.HasRecords(it.Kind))
	return e, nil
}

// directory: an item of its own only if its kind is chosen, but what is known of it is
// kept, because files of other kinds may lie in it.
func (pl *planner) directory(it *item.Item, e *Entry) error {
	e.Size = 0
	if !pl.p.opts.chosen(it.Kind) {
		e.Verdict, e.Dest = Skipped, it.Path
		if _, ok := pl.claims.get(pl.key(it.Path)); !ok {
			return nil
		}
	}
	d, err := pl.dir(it.Path)
	if err != nil {
		return err
	}
	e.Dest = d.dest
	_, name := folder.Split(it.Path)
	_, got := folder.Split(d.dest)
	switch {
	case e.Verdict == Skipped:
	case d.exists:
		e.Verdict = Same
	case got != pl.caps.MapName(name):
		e.Verdict = Conflict
	default:
		e.Verdict = New
	}
	if e.Verdict != Same {
		pl.forecast(it)
	}
	return nil
}

// dir finds where a directory of the collection goes, and claims the name.
func (pl *planner) dir(path string) (dirState, error) {
	if path == "" {
		return dirState{exists: true}, nil
	}
	if d, ok := pl.dirs[path]; ok {
		return d, nil
	}
	parentPath, base := folder.Split(path)
	parent, err := pl.dir(parentPath)
	if err != nil {
		return dirState{}, err
	}
	name, owner := pl.caps.MapName(base), dirOwner(path)
	for k := 1; k <= maxTries; k++ {
		cand := folder.Join(parent.dest, folder.Beside(name, k, true))
		key := pl.key(cand)
		claimed, ok := pl.claims.get(key)
		if ok && claimed != owner || k == 1 && parentPath == "" && folder.ReservedTop(name) {
			continue
		}
		d := dirState{dest: cand}
		if parent.exists {
			in, err := pl.p.t.Final().Lstat(cand)
			if err != nil {
				return d, err
			}
			if in.Type == folder.Directory {
				if d.exists, err = pl.p.t.Final().Enter(cand); err != nil {
					return d, err
				}
			}
			if in.Exists() && !d.exists {
				continue
			}
		}
		if !ok {
			pl.claims.put(key, owner)
			if _, got := folder.Split(cand); got != base {
				pl.p.head.Preview.rename(path, cand)
			}
		}
		return pl.know(path, d), nil
	}
	return dirState{}, fmt.Errorf("no free name among %d: %w", maxTries, folder.ErrExist)
}

func (pl *planner) know(path string, d dirState) dirState {
	if len(pl.dirs) >= maxDirs {
		clear(pl.dirs)
	}
	pl.dirs[strings.Clone(path)] = d
	return d
}

// file finds where a file goes.
func (pl *planner) file(it *item.Item, e *Entry) error {
	dirPath, base := folder.Split(it.Path)
	dir, err := pl.dir(dirPath)
	if err != nil {
		return err
	}
	name := pl.caps.MapName(base)
	for k := 1; ; k++ {
		if k > maxTries {
			return fmt.Errorf("no free name among %d: %w", maxTries, folder.ErrExist)
		}
		cand := folder.Join(dir.dest, folder.Beside(name, k, false))
		key := pl.key(cand)
		if _, taken := pl.claims.get(key); taken || k == 1 && dirPath == "" && folder.ReservedTop(name) {
			continue
		}
		var in folder.Info
		if dir.exists {
			if in, err = pl.p.t.Final().Lstat(cand); err != nil {
				return err
			}
		}
		if pl.take(it, e, k, &in) {
			if e.Verdict == Merge {
				err = pl.beside(it, e, dir.dest, name)
			}
			e.Dest = cand
			pl.claims.put(key, fileOwner(it.Path))
			break
		}
	}
	if err != nil {
		return err
	}
	if _, got := folder.Split(e.Dest); got != name {
		e.Natural = name
	}
	if _, got := folder.Split(e.Dest); got != base {
		pl.p.head.Preview.rename(it.Path, e.Dest)
	}
	pl.forecast(it)
	pl.p.head.Preview.need(it.Size)
	return nil
}

// take decides whether the item goes to its k-th name, where the target has in.
func (pl *planner) take(it *item.Item, e *Entry, k int, in *folder.Info) bool {
	switch {
	case !in.Exists():
		if e.Verdict = New; k > 1 {
			e.Verdict = Conflict
		}
		return true
	case in.Type == folder.Regular && in.Size == it.Size && pl.caps.SameTime(in.ModTime, it.ModTime):
		e.Verdict = Same
		e.Compare |= bit(k)
		return true
	case in.Type == folder.Regular && kind.HasRecords(it.Kind) && k == 1 && in.Size+it.Size <= MaxBook:
		e.Verdict = Merge
		pl.p.head.Preview.need(in.Size + it.Size)
		return true
	case in.Type == folder.Regular && in.Size == it.Size:
		e.Compare |= bit(k)
	}
	return false
}

// beside finds the files that an earlier session may have put beside a book that it
// could not merge with: the same again is not to become a third.
func (pl *planner) beside(it *item.Item, e *Entry, dir, name string) error {
	for k := 2; k <= 16; k++ {
		cand := folder.Join(dir, folder.Beside(name, k, false))
		in, err := pl.p.t.Final().Lstat(cand)
		if err != nil || !in.Exists() {
			return err
		}
		if _, taken := pl.claims.get(pl.key(cand)); !taken && in.Type == folder.Regular && in.Size == it.Size {
			e.Compare |= bit(k)
		}
	}
	return nil
}

func bit(k int) uint16 {
	if k > 16 {
		return 0
	}
	return 1 << (k - 1)
}

// record: what becomes of it is up to its container.
func (pl *planner) record(it *item.Item, e *Entry, page *Page) error {
	e.Container, e.Identity = it.Container, IdentityHash(it.Identity)
	if it.Container >= it.Ordinal {
		return fmt.Errorf("record %d in container %d: %w", it.Ordinal, it.Container, errPage)
	}
	c, err := pl.container(it.Container, page)
	if err != nil {
		return err
	}
	if c.Form != item.FormFile || c.Kind != it.Kind {
		return fmt.Errorf("record %d in item %d, which holds none: %w", it.Ordinal, it.Container, errPage)
	}
	e.Verdict, e.Reason = c.Verdict, c.Reason
	if c.Verdict != Merge {
		return nil
	}
	ids, err := pl.book(c)
	if err != nil {
		return err
	}
	if e.Verdict = New; ids[e.Identity] {
		e.Verdict = Same
	}
	return nil
}

func (pl *planner) container(o item.Ordinal, page *Page) (*Entry, error) {
	if len(page.Entries) > 0 && o >= page.First {
		if i := o - page.First; i < item.Ordinal(len(page.Entries)) {
			return &page.Entries[i], nil
		}
	}
	return pl.p.Entry(o)
}

// book returns the identities in a container that the target has.
func (pl *planner) book(c *Entry) (map[uint64]bool, error) {
	if ids, ok := pl.books[c.Ordinal]; ok {
		return ids, nil
	}
	data, err := ReadBook(pl.p.t.Final(), c.Dest)
	if err != nil {
		return nil, err
	}
	ids := map[uint64]bool{}
	for _, r := range kind.Records(c.Kind, data) {
		ids[IdentityHash(r.Identity)] = true
	}
	if len(pl.books) >= maxBooks {
		clear(pl.books)
	}
	pl.books[c.Ordinal] = ids
	return ids, nil
}

// ReadBook reads a container whole, at most MaxBook bytes.
func ReadBook(t *folder.Tree, path string) ([]byte, error) {
	f, err := t.OpenRead(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBook+1))
	if err == nil && len(data) > MaxBook {
		err = fmt.Errorf("address book or calendar beyond %d bytes: %w", MaxBook, os.ErrInvalid)
	}
	return data, err
}

// forecast lists what the target can't keep of an item.
func (pl *planner) forecast(it *item.Item) {
	pv := &pl.p.head.Preview
	if len(it.XAttrs) > 0 && !pl.caps.XAttrs {
		for _, x := range it.XAttrs {
			pv.lose(it.Kind, it.Path, item.ReasonXAttr, x.Name)
		}
	}
	if !pl.caps.Perms && it.Perm&^0o644 != 0 && it.Form == item.FormFile {
		pv.lose(it.Kind, it.Path, item.ReasonPerm, fmt.Sprintf("%03o", it.Perm))
	}
	if !pl.caps.KeepsTime(it.ModTime) {
		pv.lose(it.Kind, it.Path, item.ReasonTime, "")
	}
}

// remember claims what a stored entry has, for a plan that was loaded.
func (pl *planner) remember(e *Entry) {
	if e.Form == item.FormRecord || e.Verdict == Skipped || e.Verdict == Lost || e.State == Withdrawn {
		return
	}
	src, dest := e.SourcePath(), e.Dest
	if e.Form == item.FormFile {
		pl.claims.put(pl.key(dest), fileOwner(src))
		src, _ = folder.Split(src)
		dest, _ = folder.Split(dest)
	}
	for dest != "" {
		key := pl.key(dest)
		if _, ok := pl.claims.get(key); ok {
			break
		}
		pl.claims.put(key, dirOwner(src))
		src, _ = folder.Split(src)
		dest, _ = folder.Split(dest)
	}
}

// forget gives back the name of an entry that is withdrawn.
func (pl *planner) forget(e *Entry) {
	owner := fileOwner(e.SourcePath())
	if e.Form == item.FormDir {
		owner = dirOwner(e.SourcePath())
		clear(pl.dirs)
	}
	if e.Form != item.FormRecord {
		pl.claims.release(pl.key(e.Dest), owner)
	}
}
