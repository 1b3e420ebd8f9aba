package dav

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target"
)

// wish is what decides into which collection a record goes.
type wish struct {
	kind      item.Kind
	book      string
	component string // of a calendar object; "" is none or contact
}

func wishOf(r item.Record) wish {
	w := wish{kind: r.Kind, book: r.Book}
	if r.Kind == item.Calendar {
		if names := dav.Components(r.Data); len(names) > 0 {
			w.component = names[0]
		}
	}
	return w
}

// home returns where collections of a kind can be made, "" if nowhere.
func (t *Target) home(k item.Kind) string {
	if t.single {
		return ""
	}
	if k == item.Contact {
		return t.place.BookHome
	}
	return t.place.CalendarHome
}

// collection returns where a record goes: the collection of its book's name; else one made for it; else the default one.
func (t *Target) collection(ctx context.Context, r item.Record) (*dav.Collection, error) {
	w := wishOf(r)
	if c := t.chosen[w]; c != nil {
		return c, nil
	}
	c, made, err := t.choose(ctx, w)
	if err != nil {
		return nil, err
	}
	t.chosen[w] = c
	p := Placement{Kind: w.kind, Book: w.book, In: c.Name, Made: made}
	if !slices.ContainsFunc(t.placed, func(q Placement) bool { return p.Kind == q.Kind && p.Book == q.Book && p.In == q.In }) {
		t.placed = append(t.placed, p)
	}
	return c, nil
}

func (t *Target) choose(ctx context.Context, w wish) (c *dav.Collection, made bool, err error) {
	if t.single {
		if c := &t.place.Collections[0]; c.Kind == w.kind {
			return c, false, nil
		}
		return nil, false, errNowhere
	}
	named := func(c *dav.Collection) bool { return strings.EqualFold(c.Name, w.book) }
	if c := t.pick(w, named); c != nil {
		return c, false, nil
	}
	any := wish{kind: w.kind, book: w.book} // of whatever component: if no calendar announces it, the server decides
	if w.book != "" && t.pick(any, named) == nil {
		if c, err := t.create(ctx, w.kind, w.book); err != nil || c != nil {
			return c, true, err
		}
	}
	for _, try := range []*dav.Collection{t.usual(w), t.pick(any, named), t.usual(any)} {
		if try != nil {
			return try, false, nil
		}
	}
	name := "Contacts"
	if w.kind == item.Calendar {
		name = "Calendar"
	}
	if c, err = t.create(ctx, w.kind, name); err == nil && c == nil {
		err = errNowhere
	}
	return c, true, err
}

var errNowhere = &target.RefusedError{Why: "there is no address book or calendar for it, and none can be made"}

// pick returns the first collection that a record may go into and that meets a condition.
func (t *Target) pick(w wish, ok func(*dav.Collection) bool) *dav.Collection {
	for i := range t.place.Collections {
		c := &t.place.Collections[i]
		if c.Kind == w.kind && !c.ReadOnly && (w.component == "" || c.Takes(w.component)) && ok(c) {
			return c
		}
	}
	return nil
}

// usual returns the collection that most people would call their own.
func (t *Target) usual(w wish) *dav.Collection {
	for _, name := range []string{"default", "personal", "contacts", "addressbook", "calendar", "home"} {
		if c := t.pick(w, func(c *dav.Collection) bool {
			return strings.EqualFold(c.Name, name) || strings.HasSuffix(strings.ToLower(c.Path), "/"+name+"/")
		}); c != nil {
			return c
		}
	}
	return t.pick(w, func(*dav.Collection) bool { return true })
}

// create makes a collection. It returns nil without an error if the server does not allow that.
func (t *Target) create(ctx context.Context, k item.Kind, name string) (*dav.Collection, error) {
	home := t.home(k)
	if home == "" {
		return nil, nil
	}
	made, err := t.server.Make(ctx, home, k, element(k, name), name)
	if err != nil {
		s := statusOf(err)
		if s == 0 {
			return nil, err
		}
		if s != http.StatusMethodNotAllowed && s != http.StatusConflict { // that it is there already
			return nil, nil
		}
		place, err := t.server.Discover(ctx)
		if err != nil {
			return nil, err
		}
		for i := range place.Collections {
			if c := &place.Collections[i]; c.Kind == k && strings.HasSuffix(c.Path, "/"+element(k, name)+"/") {
				made = c
			}
		}
		if made == nil {
			return nil, nil
		}
	}
	return t.keep(made), nil
}

// keep adds a collection to those that are known, and returns a pointer to it that stays valid.
func (t *Target) keep(c *dav.Collection) *dav.Collection {
	for i := range t.place.Collections {
		if t.place.Collections[i].URL() == c.URL() {
			return &t.place.Collections[i]
		}
	}
	// Those who hold pointers into the old slice keep the old elements, which say the same.
	t.place.Collections = append(t.place.Collections, *c)
	return &t.place.Collections[len(t.place.Collections)-1]
}

// element returns a path element for a collection that is the same at each attempt. Both kinds may be in one home.
func element(k item.Kind, name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= 40 {
			break
		}
	}
	sum := sha256.Sum256([]byte(k.String() + " " + name))
	return strings.TrimPrefix(strings.Trim(b.String(), "-")+"-"+hex.EncodeToString(sum[:4]), "-")
}
