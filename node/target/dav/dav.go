// Package dav is the target of records that go into the address books and calendars of a
// CardDAV or CalDAV server. Every write is conditional on the entity tag that was seen,
// so that nobody's edit is overwritten, and what the server then holds is read back,
// because many servers write what they get anew. A write whose answer was lost is found
// out by reading. What a server does with records is learned from one of our own, which
// is put, read back, compared and deleted.
package dav

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// Target writes to one server, principal, home or collection. It implements target.Books.
type Target struct {
	server   *dav.Server
	place    *dav.Place
	single   bool // the address is of one collection: everything goes there
	profiles map[item.Kind]rule.Profile
	chosen   map[wish]*dav.Collection
	placed   []Placement
	stale    []leftover // probes that an earlier process has left
}

var _ target.Books = (*Target)(nil)

// Placement tells where the records of a book went.
type Placement struct {
	Kind item.Kind
	Book string // item.Record.Book
	In   string // the name of the address book or calendar of the server; untrusted
	Made bool   // it was made for them
}

// Open finds out what is at config.URL.
func Open(ctx context.Context, config dav.Config) (*Target, error) {
	server, err := dav.Open(config)
	if err != nil {
		return nil, err
	}
	place, err := server.Discover(ctx)
	if err != nil {
		server.Close()
		return nil, err
	}
	t := &Target{server: server, place: place, profiles: map[item.Kind]rule.Profile{}, chosen: map[wish]*dav.Collection{}}
	t.single = len(place.Collections) == 1 && place.BookHome == "" && place.CalendarHome == ""
	return t, nil
}

// Close ends the connections.
func (t *Target) Close() error { return t.server.Close() }

// Kinds returns contacts or calendars or both, by what there is and what can be made.
func (t *Target) Kinds() (out []item.Kind) {
	for _, k := range []item.Kind{item.Contact, item.Calendar} {
		if t.home(k) != "" || slices.ContainsFunc(t.place.Collections, func(c dav.Collection) bool { return c.Kind == k && !c.ReadOnly }) {
			out = append(out, k)
		}
	}
	return out
}

// Placements tells where the records written so far went, one entry for each book, and for each kind of
// calendar component if those are in different calendars.
func (t *Target) Placements() []Placement { return slices.Clone(t.placed) }

// Read gives all records of a kind but those in collections that can't be written.
func (t *Target) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	for i := range t.place.Collections {
		c := &t.place.Collections[i]
		if c.Kind != k || c.ReadOnly {
			continue
		}
		list, err := t.server.List(ctx, c)
		if err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(r dav.Resource) bool {
			if ours := strings.HasPrefix(r.Name, probePrefix); ours {
				t.stale = append(t.stale, leftover{c, r.Name})
				return true
			}
			return false
		})
		slices.SortFunc(list, func(a, b dav.Resource) int { return strings.Compare(a.Name, b.Name) })
		err = t.server.Fetch(ctx, c, list, func(r dav.Resource, err error) error {
			if err != nil || !dav.Holds(k, r.Data) {
				return nil // it can be matched with nothing; it is not touched either
			}
			return each(existing(c, r))
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func existing(c *dav.Collection, r dav.Resource) target.Existing {
	id := c.URL() + r.Name
	return target.Existing{
		Record:  item.Record{Kind: c.Kind, Book: c.Name, Label: dav.Label(c.Kind, r.Data), From: id, Data: r.Data},
		ID:      id,
		Version: version(r),
	}
}

// hashed begins the version of a resource of a server that gives no entity tags.
const hashed = "sha256:"

func version(r dav.Resource) string {
	if r.ETag != "" {
		return r.ETag
	}
	sum := sha256.Sum256(r.Data)
	return hashed + hex.EncodeToString(sum[:])
}

// find returns the collection and name that an Existing's ID stands for.
func (t *Target) find(k item.Kind, id string) (*dav.Collection, string, error) {
	i := strings.LastIndexByte(id, '/')
	for n := range t.place.Collections {
		if c := &t.place.Collections[n]; c.Kind == k && c.URL() == id[:i+1] && i+1 < len(id) {
			return c, id[i+1:], nil
		}
	}
	return nil, "", errors.New("dav: the address book or calendar is not there any more")
}
