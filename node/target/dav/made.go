package dav

import (
	"context"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target"
)

var _ target.Making = (*Target)(nil)

// Places implements target.Making: the addresses of all address books or calendars.
func (t *Target) Places(ctx context.Context, k item.Kind) (out []string, err error) {
	place, err := t.server.Discover(ctx)
	if err != nil {
		return nil, err
	}
	for i := range place.Collections {
		if c := &place.Collections[i]; c.Kind == k {
			out = append(out, c.URL())
		}
	}
	return out, nil
}

// RemovePlaces implements target.Making. A collection is ours if create gave it its address: one that was renamed since is
// somebody's. It is listed just before it is removed; what is put into it in between goes with it, because servers have no
// condition for that.
func (t *Target) RemovePlaces(ctx context.Context, k item.Kind, before, ids []string) error {
	place, err := t.server.Discover(ctx)
	if err != nil {
		return err
	}
	gone := map[string]bool{}
	for i := range place.Collections {
		c := &place.Collections[i]
		if c.Kind != k || c.ReadOnly || slices.Contains(before, c.URL()) || !strings.HasSuffix(c.Path, "/"+element(k, c.Name)+"/") || !holds(c, ids) {
			continue
		}
		list, err := t.server.List(ctx, c)
		if err == nil && len(list) == 0 {
			err = t.server.Remove(ctx, c)
			gone[c.URL()] = err == nil
		}
		if err != nil && statusOf(err) == 0 {
			return err
		}
		// A server that does not let it be removed keeps it: it is empty, and harms nobody.
	}
	place.Collections = slices.DeleteFunc(place.Collections, func(c dav.Collection) bool { return gone[c.URL()] })
	t.place, t.chosen = place, map[wish]*dav.Collection{}
	return nil
}

// holds reports whether one of the records is, or was, in the collection.
func holds(c *dav.Collection, ids []string) bool {
	return slices.ContainsFunc(ids, func(id string) bool {
		name, ok := strings.CutPrefix(id, c.URL())
		return ok && name != "" && !strings.Contains(name, "/")
	})
}
