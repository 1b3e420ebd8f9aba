// Package dav is the source of records that are in the address books and calendars of a
// CardDAV or CalDAV server. It only reads. A record's Data are the bytes of the resource
// as the server gives them.
package dav

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
)

// Source reads one server, principal, home or collection. It implements source.Books.
type Source struct {
	server *dav.Server
	place  *dav.Place
}

var _ source.Books = (*Source)(nil)

// Open prepares to read what is at config.URL. Nothing is sent before the first method is called.
func Open(config dav.Config) (*Source, error) {
	server, err := dav.Open(config)
	if err != nil {
		return nil, err
	}
	return &Source{server: server}, nil
}

// Close ends the connections.
func (s *Source) Close() error { return s.server.Close() }

func (s *Source) collections(ctx context.Context) ([]dav.Collection, error) {
	if s.place == nil {
		place, err := s.server.Discover(ctx)
		if err != nil {
			return nil, err
		}
		s.place = place
	}
	return s.place.Collections, nil
}

// Survey lists the collections and counts their resources. One that can't be listed is there with a reason.
func (s *Source) Survey(ctx context.Context) ([]item.Found, error) {
	collections, err := s.collections(ctx)
	if err != nil {
		return nil, err
	}
	var out []item.Found
	for i := range collections {
		c := &collections[i]
		f := item.Found{Kind: c.Kind, Book: c.Name, Where: c.URL(), Items: -1, Bytes: -1}
		list, err := s.server.List(ctx, c)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			f.Why = err.Error()
		} else {
			f.Can, f.Items, f.Bytes = true, int64(len(list)), total(list)
		}
		out = append(out, f)
	}
	return out, nil
}

// total sums up sizes; -1 is unknown.
func total(list []dav.Resource) (n int64) {
	for _, r := range list {
		if r.Size < 0 {
			return -1
		}
		n += r.Size
	}
	return n
}

// Read gives the resources of all collections to the sink, collection by collection in the order of their addresses.
func (s *Source) Read(ctx context.Context, to item.Sink) error {
	collections, err := s.collections(ctx)
	if err != nil {
		return err
	}
	for i := range collections {
		if err := s.read(ctx, &collections[i], to); err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) read(ctx context.Context, c *dav.Collection, to item.Sink) error {
	list, err := s.server.List(ctx, c)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return to.Change(unread(c, c.URL(), err))
	}
	return s.server.Fetch(ctx, c, sorted(list), func(r dav.Resource, err error) error {
		from := c.URL() + r.Name
		if err == nil && !dav.Holds(c.Kind, r.Data) {
			err = fmt.Errorf("what is there is no %v", c.Kind)
		}
		if err != nil {
			return to.Change(unread(c, from, err))
		}
		return to.Record(item.Record{Kind: c.Kind, Book: c.Name, Label: dav.Label(c.Kind, r.Data), From: from, Data: r.Data})
	})
}

func unread(c *dav.Collection, from string, err error) item.Change {
	return item.Change{Kind: c.Kind, Record: from, From: from, Effect: item.EffectDropped, Why: "the server did not give it: " + err.Error()}
}

// sorted puts a listing into an order that depends on its content only.
func sorted(list []dav.Resource) []dav.Resource {
	slices.SortFunc(list, func(a, b dav.Resource) int { return strings.Compare(a.Name, b.Name) })
	return list
}
