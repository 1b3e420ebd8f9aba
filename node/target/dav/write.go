package dav

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/target"
)

const (
	window   = 32 // changes that are carried out before what they left is read back and done is told
	parallel = 4  // creations at a time
)

// outcome is what one change came to before it was read back.
type outcome struct {
	collection *dav.Collection
	name       string
	gone       bool  // it is deleted
	err        error // of this record
}

// Write carries out changes. Creations go four at a time; a replacement or deletion waits for those before it.
func (t *Target) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	t.sweep(ctx)
	for from := 0; from < len(changes); from += window {
		part := changes[from:min(from+window, len(changes))]
		outcomes, writeErr := t.carryOut(ctx, k, part)
		now, readErr := t.readBack(ctx, outcomes)
		for i, o := range outcomes {
			if o.collection == nil && o.err == nil || readErr != nil && o.err == nil && !o.gone && now[i].ID == "" {
				break // unknown: the caller asks again
			}
			if err := done(from+i, now[i], o.err); err != nil {
				return err
			}
		}
		if err := errors.Join(writeErr, readErr); err != nil {
			return err
		}
	}
	return nil
}

// carryOut makes changes in order. It stops at the first error that is not of one record; the outcomes from there on are empty.
func (t *Target) carryOut(ctx context.Context, k item.Kind, part []target.Write) ([]outcome, error) {
	out := make([]outcome, len(part))
	for i := 0; i < len(part); {
		n := i
		for n < len(part) && part[n].ID == "" {
			n++
		}
		if n > i {
			if err := t.createAll(ctx, k, part[i:n], out[i:n]); err != nil {
				return out, err
			}
			i = n
			continue
		}
		var err error
		if out[i], err = t.change(ctx, k, part[i]); err != nil {
			out[i] = outcome{}
			return out, err
		}
		i++
	}
	return out, nil
}

func (t *Target) createAll(ctx context.Context, k item.Kind, part []target.Write, out []outcome) error {
	var g errgroup.Group
	g.SetLimit(parallel)
	for i := range part {
		r := part[i].Record
		r.Kind = k
		c, err := t.collection(ctx, r)
		var refused *target.RefusedError
		if errors.As(err, &refused) {
			out[i] = outcome{collection: &dav.Collection{}, err: err}
			continue
		}
		if err != nil {
			return errors.Join(err, g.Wait())
		}
		g.Go(func() error {
			o := outcome{collection: c, name: part[i].Key + extension(k)}
			var whole error
			if o.err, whole = t.add(ctx, c, o.name, part[i]); whole != nil {
				return whole
			}
			out[i] = o
			return nil
		})
	}
	return g.Wait()
}

func extension(k item.Kind) string {
	if k == item.Contact {
		return ".vcf"
	}
	return ".ics"
}

// add creates one resource. ofRecord is why this one is not there; whole is an error that is not its own.
func (t *Target) add(ctx context.Context, c *dav.Collection, name string, w target.Write) (ofRecord, whole error) {
	if !validKey(w.Key) {
		return fmt.Errorf("dav: %q is no key", w.Key), nil
	}
	if c.MaxSize > 0 && int64(len(w.Record.Data)) > c.MaxSize {
		return &target.RefusedError{Why: fmt.Sprintf("it is larger than the %d bytes that the server takes", c.MaxSize)}, nil
	}
	for attempt := 0; ; attempt++ {
		_, err := t.server.Put(ctx, c, name, "", w.Record.Data)
		if err == nil {
			return nil, nil
		}
		now, gone, lookErr := t.look(ctx, c, name)
		switch {
		case lookErr != nil:
			return nil, errors.Join(err, lookErr)
		case !gone && dav.UID(now.Data) == dav.UID(w.Record.Data): // an attempt whose answer was lost
			return nil, nil
		case !gone:
			return target.ErrEdited, nil
		case refusal(err) != nil:
			return refusal(err), nil
		case attempt > 0 || ctx.Err() != nil:
			return nil, err
		}
	}
}

func validKey(key string) bool {
	return key != "" && len(key) <= 128 && !strings.ContainsFunc(key, func(r rune) bool {
		return r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// look reads a resource to find out what has become of it.
func (t *Target) look(ctx context.Context, c *dav.Collection, name string) (r dav.Resource, gone bool, err error) {
	r, err = t.server.Get(ctx, c, name)
	if s := statusOf(err); s == http.StatusNotFound || s == http.StatusGone {
		return r, true, nil
	}
	return r, false, err
}

func statusOf(err error) int {
	var s *dav.StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return 0
}

// refusal makes a RefusedError of an answer that says that this record is not taken; it returns nil for other errors.
// Servers that can't parse a record may answer 500; one that has no time answers 429 or 503.
func refusal(err error) error {
	var s *dav.StatusError
	if !errors.As(err, &s) || s.Status < 400 {
		return nil
	}
	switch s.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return nil
	}
	return &target.RefusedError{Why: s.Error()}
}

// change replaces or deletes one resource.
func (t *Target) change(ctx context.Context, k item.Kind, w target.Write) (outcome, error) {
	c, name, err := t.find(k, w.ID)
	if err != nil {
		return outcome{collection: &dav.Collection{}, err: err}, nil
	}
	o := outcome{collection: c, name: name, gone: w.Record.Data == nil}
	for attempt := 0; ; attempt++ {
		err := t.attempt(ctx, c, name, w)
		if err == nil || errors.Is(err, target.ErrEdited) {
			o.err = err
			return o, nil
		}
		now, gone, lookErr := t.look(ctx, c, name)
		switch {
		case lookErr != nil:
			return o, errors.Join(err, lookErr)
		case carriedOut(w, now, gone):
			return o, nil
		case gone || version(now) != w.Version:
			o.err = target.ErrEdited
			return o, nil
		case refusal(err) != nil:
			o.err = refusal(err)
			return o, nil
		case attempt > 0 || ctx.Err() != nil:
			return o, err
		}
	}
}

// carriedOut reports whether a resource is as the change wanted it, so that only the answer to it was lost.
func carriedOut(w target.Write, now dav.Resource, gone bool) bool {
	if w.Record.Data == nil {
		return gone
	}
	return !gone && sameLines(now.Data, w.Record.Data)
}

// attempt asks once for a replacement or deletion. A server without entity tags can't make it conditional: then what
// is there is compared just before, and only an edit in the moment between is lost.
func (t *Target) attempt(ctx context.Context, c *dav.Collection, name string, w target.Write) error {
	etag := w.Version
	if strings.HasPrefix(etag, hashed) {
		now, gone, err := t.look(ctx, c, name)
		switch {
		case err != nil:
			return err
		case carriedOut(w, now, gone):
			return nil
		case gone || version(now) != w.Version:
			return target.ErrEdited
		}
		etag = "*"
	}
	if w.Record.Data == nil {
		return t.server.Delete(ctx, c, name, etag)
	}
	_, err := t.server.Put(ctx, c, name, etag, w.Record.Data)
	return err
}

// readBack returns what the server holds of what was written.
func (t *Target) readBack(ctx context.Context, outcomes []outcome) ([]target.Existing, error) {
	now := make([]target.Existing, len(outcomes))
	byPlace := map[*dav.Collection][]int{}
	var order []*dav.Collection
	for i, o := range outcomes {
		if o.err != nil || o.gone || o.collection == nil {
			continue
		}
		if byPlace[o.collection] == nil {
			order = append(order, o.collection)
		}
		byPlace[o.collection] = append(byPlace[o.collection], i)
	}
	for _, c := range order {
		var list []dav.Resource
		for _, i := range byPlace[c] {
			list = append(list, dav.Resource{Name: outcomes[i].name, Size: -1})
		}
		n := 0
		err := t.server.Fetch(ctx, c, list, func(r dav.Resource, err error) error {
			i := byPlace[c][n]
			n++
			switch s := statusOf(err); {
			case err == nil:
				now[i] = existing(c, r)
			case s == http.StatusNotFound || s == http.StatusGone:
				err = &target.RefusedError{Why: "the server said that it took it, and does not have it"}
			}
			outcomes[i].err = err
			return nil
		})
		if err != nil {
			return now, err
		}
	}
	return now, nil
}

// sameLines reports whether two records have the same lines in any order and folding, without those in which servers put their own.
func sameLines(a, b []byte) bool { return slices.Equal(lines(a), lines(b)) }

func lines(data []byte) []string {
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	text = strings.NewReplacer("\n ", "", "\n\t", "").Replace(text)
	out := slices.DeleteFunc(strings.Split(text, "\n"), func(l string) bool {
		name, _, _ := strings.Cut(l, ":")
		name, _, _ = strings.Cut(name, ";")
		switch strings.ToUpper(name) {
		case "", "PRODID", "DTSTAMP", "REV":
			return true
		}
		return false
	})
	slices.Sort(out)
	return out
}
