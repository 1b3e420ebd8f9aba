package dav

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/decant-dev/decant/node/item"
)

// Resource is one card or calendar object of a collection.
type Resource struct {
	Name string // escaped, relative to the collection
	ETag string // "" is unknown
	Size int64  // -1 is unknown
	Data []byte // nil if it was only listed
}

// listing asks for what tells resources and their versions.
const listing = `<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:"><prop><resourcetype/><getetag/><getcontentlength/></prop></propfind>`

// maxRounds bounds how often a server can say that there is more.
const maxRounds = 10_000

// List returns the resources of a collection, without their data, in the server's order.
func (s *Server) List(ctx context.Context, c *Collection) ([]Resource, error) {
	at, err := url.Parse(c.URL())
	if err != nil {
		return nil, err
	}
	l := &lister{at: at, seen: map[string]bool{}, limit: s.limits.Entries}
	_, err = s.propfind(ctx, at, "1", listing, func(from *url.URL, r *response) error { return l.add(s, from, r) })
	if (l.truncated || status(err) == http.StatusInsufficientStorage) && c.Sync {
		err = s.sync(ctx, l)
	} else if l.truncated && err == nil {
		err = errors.New("dav: the server does not list all that the collection holds")
	}
	return l.found, err
}

type lister struct {
	at        *url.URL
	seen      map[string]bool
	found     []Resource
	limit     int
	truncated bool
}

// add takes one entry of a listing. What is not directly in the collection is no business of ours.
func (l *lister) add(s *Server, from *url.URL, r *response) error {
	u, err := s.resolve(from, r.href)
	if err != nil {
		return nil
	}
	if r.status == http.StatusInsufficientStorage {
		l.truncated = true
		return nil
	}
	if !below(l.at, u) || strings.HasSuffix(u.Path, "/") || r.status/100 > 2 || r.props.is(nsDAV, "collection") {
		return nil
	}
	name := lastElement(u.EscapedPath())
	if l.seen[name] {
		return nil
	}
	if len(l.found) >= l.limit {
		return fmt.Errorf("%w: more than %d resources", ErrTooLarge, l.limit)
	}
	l.seen[name] = true
	l.found = append(l.found, Resource{Name: name, ETag: r.props.etag, Size: r.props.length})
	return nil
}

// sync lists a collection by RFC 6578, in as many rounds as the server wants.
func (s *Server) sync(ctx context.Context, l *lister) error {
	token := ""
	for range maxRounds {
		var t bytes.Buffer
		xml.EscapeText(&t, []byte(token))
		body := `<?xml version="1.0" encoding="utf-8"?><sync-collection xmlns="DAV:"><sync-token>` + t.String() +
			`</sync-token><sync-level>1</sync-level><prop><getetag/><getcontentlength/><resourcetype/></prop></sync-collection>`
		l.truncated = false
		next, err := s.report(ctx, l.at, "0", body, func(from *url.URL, r *response) error { return l.add(s, from, r) })
		if err != nil || !l.truncated {
			return err
		}
		if next == "" || next == token {
			break
		}
		token = next
	}
	return fmt.Errorf("%w: a listing without end", ErrHostile)
}

func (s *Server) report(ctx context.Context, at *url.URL, depth, body string, each func(from *url.URL, r *response) error) (string, error) {
	a, err := s.do(ctx, request{method: "REPORT", url: at, body: []byte(body), limit: s.limits.Listing,
		header: map[string]string{"Depth": depth, "Content-Type": "application/xml; charset=utf-8"}})
	if err != nil {
		return "", err
	}
	defer a.body.Close()
	if a.status != http.StatusMultiStatus {
		return "", fmt.Errorf("dav: %w", &StatusError{Status: a.status, Words: "no answer to REPORT"})
	}
	return eachResponse(a.body, s.limits.Resource, func(r *response) error { return each(a.url, r) })
}

// batch is how many resources are asked for at once.
const batch = 50

// Fetch calls each with the data of the resources that List has returned, in their order,
// or with the error that one of them has; each may keep what it gets. It stops at the
// first error of each.
func (s *Server) Fetch(ctx context.Context, c *Collection, list []Resource, each func(Resource, error) error) error {
	for len(list) > 0 {
		n := 1
		for size := max(list[0].Size, 0); n < min(batch, len(list)) && size < s.limits.Listing/8; n++ {
			size += max(list[n].Size, 0)
		}
		if err := s.fetch(ctx, c, list[:n], each); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

func (s *Server) fetch(ctx context.Context, c *Collection, list []Resource, each func(Resource, error) error) error {
	got := map[string]Resource{}
	if c.Multiget && len(list) > 1 {
		if err := s.multiget(ctx, c, list, got); err != nil && status(err) == 0 && !errors.Is(err, ErrHostile) && !errors.Is(err, ErrTooLarge) {
			return err
		}
	}
	for _, l := range list {
		r, ok := got[l.Name]
		var err error
		if !ok {
			if r, err = s.Get(ctx, c, l.Name); err != nil && !ofResource(err) {
				return err
			}
			r.Name = l.Name
		}
		if err := each(r, err); err != nil {
			return err
		}
	}
	return nil
}

// ofResource reports whether an error is of one resource, so that others can still be had.
func ofResource(err error) bool { return status(err) != 0 || errors.Is(err, ErrTooLarge) }

// multiget asks for many resources at once. XML makes one line feed of every line break, so what it gives is taken only
// if the answer, or the resource's length, shows which break there was.
func (s *Server) multiget(ctx context.Context, c *Collection, list []Resource, got map[string]Resource) error {
	at, err := url.Parse(c.URL())
	if err != nil {
		return err
	}
	kind, space, data := "addressbook-multiget", nsCard, "address-data"
	if c.Kind == item.Calendar {
		kind, space, data = "calendar-multiget", nsCal, "calendar-data"
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<?xml version="1.0" encoding="utf-8"?><X:%s xmlns:X="%s" xmlns="DAV:"><prop><getetag/><getcontentlength/><X:%s/></prop>`, kind, space, data)
	wanted := map[string]Resource{}
	for _, r := range list {
		wanted[r.Name] = r
		b.WriteString("<href>")
		xml.EscapeText(&b, []byte(c.Path+r.Name))
		b.WriteString("</href>")
	}
	fmt.Fprintf(&b, `</X:%s>`, kind)
	_, err = s.report(ctx, at, "0", b.String(), func(from *url.URL, r *response) error {
		u, err := s.resolve(from, r.href)
		if err != nil || !below(at, u) || r.props.data == nil || r.props.etag == "" {
			return nil
		}
		name := lastElement(u.EscapedPath())
		listed, ok := wanted[name]
		length := r.props.length
		if length < 0 && listed.ETag == r.props.etag {
			length = listed.Size
		}
		text := r.props.data
		if !r.props.exact {
			text, _ = withBreaks(text, length)
		}
		if ok && text != nil {
			got[name] = Resource{Name: name, ETag: r.props.etag, Size: int64(len(text)), Data: text}
		}
		return nil
	})
	return err
}

// withBreaks restores the line breaks of a resource of a known length.
func withBreaks(text []byte, length int64) ([]byte, bool) {
	switch length - int64(len(text)) {
	case 0:
		return text, true
	case int64(bytes.Count(text, []byte{'\n'})):
		return bytes.ReplaceAll(text, []byte{'\n'}, []byte("\r\n")), true
	}
	return nil, false
}

// Get returns a resource.
func (s *Server) Get(ctx context.Context, c *Collection, name string) (Resource, error) {
	u, err := c.resource(name)
	if err != nil {
		return Resource{}, err
	}
	a, err := s.do(ctx, request{method: http.MethodGet, url: u, limit: s.limits.Resource, header: map[string]string{"Accept-Encoding": "identity"}})
	if err != nil {
		return Resource{}, err
	}
	defer a.body.Close()
	data, err := io.ReadAll(a.body)
	if err != nil {
		return Resource{}, err
	}
	return Resource{Name: name, ETag: a.header.Get("ETag"), Size: int64(len(data)), Data: data}, nil
}

// Put writes a resource: a new one if etag is "", one that is there if it is "*", else the one that has that entity tag.
// It returns the new entity tag, "" if the server does not tell. It is not repeated when the answer
// is lost: the caller finds out what has become of it. A *StatusError with status 412 says
// that the resource is there already, or was changed.
func (s *Server) Put(ctx context.Context, c *Collection, name, etag string, data []byte) (string, error) {
	header := map[string]string{"Content-Type": mediaType(c.Kind)}
	if etag == "" {
		header["If-None-Match"] = "*"
	} else {
		header["If-Match"] = strong(etag)
	}
	u, err := c.resource(name)
	if err != nil {
		return "", err
	}
	h, err := s.write(ctx, request{method: http.MethodPut, url: u, header: header, body: data})
	return h.Get("ETag"), err
}

// Delete removes the resource that has an entity tag, or any if it is "*". Nobody is told that a meeting is off.
func (s *Server) Delete(ctx context.Context, c *Collection, name, etag string) error {
	u, err := c.resource(name)
	if err != nil {
		return err
	}
	_, err = s.write(ctx, request{method: http.MethodDelete, url: u, header: map[string]string{"If-Match": strong(etag), "Schedule-Reply": "F"}})
	return err
}

// strong makes a weak entity tag one that conditions can be made of; some servers, and proxies that compress, call all of theirs weak.
func strong(etag string) string { return strings.TrimPrefix(etag, "W/") }

func mediaType(k item.Kind) string {
	if k == item.Contact {
		return "text/vcard; charset=utf-8"
	}
	return "text/calendar; charset=utf-8"
}

// resource returns the address of a resource.
func (c *Collection) resource(name string) (*url.URL, error) {
	u, err := url.Parse(c.URL() + name)
	if err != nil || strings.ContainsAny(name, "/?#") || name == "" {
		return nil, fmt.Errorf("dav: %q is not the name of a resource", shortened(name))
	}
	return u, nil
}

// Make creates an address book or a calendar and returns it as the server then describes it. home is a Place's.
func (s *Server) Make(ctx context.Context, home string, k item.Kind, element, name string) (*Collection, error) {
	at, err := url.Parse(strings.TrimSuffix(home, "/") + "/" + url.PathEscape(element) + "/")
	if err != nil {
		return nil, err
	}
	if err := s.allowed(at); err != nil {
		return nil, err
	}
	var label bytes.Buffer
	xml.EscapeText(&label, []byte(name))
	method, body := "MKCALENDAR", `<C:mkcalendar xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav"><set><prop><displayname>`+
		label.String()+`</displayname></prop></set></C:mkcalendar>`
	if k == item.Contact {
		method, body = "MKCOL", `<mkcol xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav"><set><prop><resourcetype><collection/><A:addressbook/></resourcetype>`+
			`<displayname>`+label.String()+`</displayname></prop></set></mkcol>`
	}
	_, err = s.write(ctx, request{method: method, url: at, body: []byte(`<?xml version="1.0" encoding="utf-8"?>` + body),
		header: map[string]string{"Content-Type": "application/xml; charset=utf-8"}})
	if err != nil {
		return nil, err
	}
	f := &finder{s: s, ctx: ctx, seen: map[string]bool{}, place: &Place{}}
	p, from, err := f.about(at)
	if err != nil {
		return nil, err
	}
	if !f.add(from, from, p) || f.place.Collections[0].Kind != k {
		return nil, errors.New("dav: the server made something else than was asked for")
	}
	return &f.place.Collections[0], nil
}

// Remove deletes a collection that Make has just made, and all that is in it.
func (s *Server) Remove(ctx context.Context, c *Collection) error {
	u, err := url.Parse(c.URL())
	if err != nil {
		return err
	}
	_, err = s.write(ctx, request{method: http.MethodDelete, url: u})
	return err
}
