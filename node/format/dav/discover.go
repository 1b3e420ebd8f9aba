package dav

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
)

const aboutCollection = `<?xml version="1.0" encoding="utf-8"?>
<propfind xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav" xmlns:C="urn:ietf:params:xml:ns:caldav"><prop>
<resourcetype/><displayname/><current-user-principal/><A:addressbook-home-set/><C:calendar-home-set/><C:schedule-outbox-URL/>
<supported-report-set/><current-user-privilege-set/><A:supported-address-data/><A:max-resource-size/>
<C:supported-calendar-component-set/><C:max-resource-size/></prop></propfind>`

const maxCollections = 1000

// Place is what there is at an address.
type Place struct {
	Collections []Collection // in the order of their paths
	// BookHome and CalendarHome are where collections can be made; "" is unknown.
	BookHome, CalendarHome string
	// Schedules: the server mails those who are invited to what is put into a calendar (RFC 6638).
	Schedules bool
}

// Discover finds address books and calendars from the address that Open got: it may be
// of one of them, of a collection that holds some, of a principal, or of a server.
func (s *Server) Discover(ctx context.Context) (*Place, error) {
	f := &finder{s: s, ctx: ctx, seen: map[string]bool{}, place: &Place{}}
	err := f.search(s.root)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(f.place.Collections, func(a, b Collection) int { return strings.Compare(a.URL(), b.URL()) })
	return f.place, nil
}

type finder struct {
	s     *Server
	ctx   context.Context
	seen  map[string]bool // addresses of collections found, and of principals and homes asked
	place *Place
}

func (f *finder) search(at *url.URL) error {
	here, from, err := f.about(at)
	if status(err) == http.StatusNotFound && !strings.HasSuffix(at.Path, "/") { // people leave it out
		here, from, err = f.about(at.JoinPath("/"))
	}
	switch {
	case err == nil && f.add(from, from, here):
		return f.learnSchedules(from)
	case err == nil && (here.bookHomes != nil || here.calHomes != nil):
		return f.homes(from, here)
	case err == nil:
		if err := f.children(from); err != nil && status(err) == 0 {
			return err
		}
		if len(f.place.Collections) > 0 {
			return f.learnHome(from)
		}
		if len(here.principal) > 0 {
			return f.principal(from, here.principal[0])
		}
	case status(err) == 0:
		return err
	}
	return f.wellKnown(at, err)
}

// about asks for the properties of one address.
func (f *finder) about(at *url.URL) (*props, *url.URL, error) {
	var found *props
	from, err := f.s.propfind(f.ctx, at, "0", aboutCollection, func(_ *url.URL, r *response) error {
		if found == nil {
			found = &r.props
		}
		return nil
	})
	if err == nil && found == nil {
		err = fmt.Errorf("%w: no properties", ErrHostile)
	}
	return found, from, err
}

// add takes an address book or a calendar, and reports whether it is one.
func (f *finder) add(from, at *url.URL, p *props) bool {
	c := Collection{Path: at.EscapedPath(), Origin: origin(at), Name: shortened(p.name), MaxSize: p.maxSize}
	switch {
	case p.is(nsCard, "addressbook"):
		c.Kind, c.Versions = item.Contact, p.versions
	case p.is(nsCal, "calendar"):
		c.Kind, c.Components = item.Calendar, upper(p.components)
	default:
		return false
	}
	if !strings.HasSuffix(c.Path, "/") {
		c.Path += "/"
	}
	if c.Name == "" {
		name, _ := url.PathUnescape(lastElement(c.Path))
		c.Name = shortened(name)
	}
	c.ReadOnly = p.privileges != nil && !slices.ContainsFunc(p.privileges, func(n string) bool {
		return n == "all" || n == "write" || n == "write-content" || n == "bind"
	})
	c.Sync = slices.Contains(p.reports, xml.Name{Space: nsDAV, Local: "sync-collection"})
	c.Multiget = slices.ContainsFunc(p.reports, func(n xml.Name) bool {
		return n.Local == "addressbook-multiget" && c.Kind == item.Contact || n.Local == "calendar-multiget" && c.Kind == item.Calendar
	})
	if !f.seen[c.URL()] && len(f.place.Collections) < maxCollections {
		f.seen[c.URL()] = true
		f.place.Collections = append(f.place.Collections, c)
	}
	return true
}

func upper(in []string) []string {
	for i := range in {
		in[i] = strings.ToUpper(in[i])
	}
	return in
}

func lastElement(path string) string {
	path = strings.TrimSuffix(path, "/")
	return path[strings.LastIndexByte(path, '/')+1:]
}

// children takes the address books and calendars directly below an address.
func (f *finder) children(at *url.URL) error {
	n := 0
	_, err := f.s.propfind(f.ctx, at, "1", aboutCollection, func(from *url.URL, r *response) error {
		if n++; n > maxCollections {
			return fmt.Errorf("%w: too many collections", ErrTooLarge)
		}
		child, err := f.s.resolve(from, r.href)
		if err != nil || !below(from, child) {
			return nil
		}
		f.add(from, child, &r.props)
		return nil
	})
	return err
}

// homes looks into the collections where a principal has its address books and calendars.
func (f *finder) homes(from *url.URL, p *props) error {
	f.place.Schedules = f.place.Schedules || len(p.outbox) > 0
	for i, list := range [][]string{p.bookHomes, p.calHomes} {
		for _, href := range list {
			home, err := f.s.resolve(from, href)
			if err != nil {
				return err
			}
			if i == 0 && f.place.BookHome == "" {
				f.place.BookHome = home.String()
			} else if i == 1 && f.place.CalendarHome == "" {
				f.place.CalendarHome = home.String()
			}
			if f.seen["home "+home.String()] {
				continue
			}
			f.seen["home "+home.String()] = true
			if err := f.children(home); err != nil && status(err) != http.StatusNotFound {
				return err
			}
		}
	}
	return nil
}

func (f *finder) principal(from *url.URL, href string) error {
	at, err := f.s.resolve(from, href)
	if err != nil {
		return err
	}
	if f.seen["principal "+at.String()] {
		return nil
	}
	f.seen["principal "+at.String()] = true
	p, from, err := f.about(at)
	if err != nil {
		return err
	}
	return f.homes(from, p)
}

// learnHome notes that collections can be made beside those that were found.
func (f *finder) learnHome(home *url.URL) error {
	for _, c := range f.place.Collections {
		if c.Kind == item.Contact {
			f.place.BookHome = home.String()
		} else {
			f.place.CalendarHome = home.String()
		}
	}
	return f.learnSchedules(home)
}

// learnSchedules asks whether a server mails those who are invited, where no principal has told.
func (f *finder) learnSchedules(at *url.URL) error {
	a, err := f.s.do(f.ctx, request{method: http.MethodOptions, url: at, limit: 1 << 20})
	if err != nil {
		if status(err) != 0 {
			return nil
		}
		return err
	}
	defer a.body.Close()
	for _, classes := range a.header.Values("DAV") {
		f.place.Schedules = f.place.Schedules || strings.Contains(classes, "calendar-auto-schedule")
	}
	return nil
}

// wellKnown goes where the server says that address books and calendars are (RFC 6764).
func (f *finder) wellKnown(at *url.URL, why error) error {
	for _, service := range []string{"carddav", "caldav"} {
		u, err := at.Parse("/.well-known/" + service)
		if err != nil {
			return err
		}
		p, from, err := f.about(u)
		switch {
		case err == nil && len(p.principal) > 0:
			err = f.principal(from, p.principal[0])
		case err == nil && (p.bookHomes != nil || p.calHomes != nil):
			err = f.homes(from, p)
		}
		var foreign *ForeignError
		if errors.As(err, &foreign) || err != nil && status(err) == 0 {
			return err
		}
	}
	if len(f.place.Collections) == 0 && f.place.BookHome == "" && f.place.CalendarHome == "" {
		if why == nil {
			why = errors.New("neither is there nor leads there")
		}
		return fmt.Errorf("dav: no address book or calendar: %w", why)
	}
	return nil
}

// propfind asks for properties of an address and, at depth "1", of what is directly in it. It returns the address after redirects.
func (s *Server) propfind(ctx context.Context, at *url.URL, depth, body string, each func(from *url.URL, r *response) error) (*url.URL, error) {
	a, err := s.do(ctx, request{method: "PROPFIND", url: at, body: []byte(body), limit: s.limits.Listing,
		header: map[string]string{"Depth": depth, "Content-Type": "application/xml; charset=utf-8"}})
	if err != nil {
		return nil, err
	}
	defer a.body.Close()
	if a.status != http.StatusMultiStatus {
		return nil, fmt.Errorf("dav: %w", &StatusError{Status: a.status, Words: "no answer to PROPFIND"})
	}
	_, err = eachResponse(a.body, s.limits.Resource, func(r *response) error { return each(a.url, r) })
	return a.url, err
}

// resolve makes an address of what the server calls one. It may be of an allowed origin only, and holds neither a user nor a query.
func (s *Server) resolve(from *url.URL, href string) (*url.URL, error) {
	u, err := from.Parse(href)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Opaque != "" {
		return nil, fmt.Errorf("%w: no address", ErrHostile)
	}
	if err := s.allowed(u); err != nil {
		return nil, err
	}
	u.RawPath = u.EscapedPath()
	return u, nil
}

// below reports whether child is directly inside the collection at parent. Percent-encoding may differ in parent's part.
func below(parent, child *url.URL) bool {
	dir := strings.TrimSuffix(parent.Path, "/") + "/"
	name, ok := strings.CutPrefix(child.Path, dir)
	name = strings.TrimSuffix(name, "/")
	if !ok || origin(parent) != origin(child) || name == "" || name == "." || name == ".." || strings.ContainsAny(name, `/\`) {
		return false
	}
	raw := lastElement(child.EscapedPath())
	decoded, err := url.PathUnescape(raw)
	return err == nil && decoded == name
}
