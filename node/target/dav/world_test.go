package dav

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/format/dav"
)

// world is a DAV server in memory, with the faults and habits that a test gives it.
type world struct {
	*httptest.Server

	mu        sync.Mutex // guards what follows
	books     map[string]*shelf
	requests  []string                                            // method and path
	make      bool                                                // collections can be made
	noTags    bool                                                // it tells no entity tags
	noGet     bool                                                // it has no multiget, as its properties say
	schedules bool                                                //
	keep      func(data string) (string, int)                     // what it makes of a record; a status of 400 or more refuses it
	fault     func(w *world, r *http.Request, stored func()) bool // true: the answer is lost; stored carries the request out before
}

// shelf is an address book or calendar.
type shelf struct {
	name, kind string // kind is "addressbook" or "calendar"
	readOnly   bool
	components []string
	maxSize    int
	held       map[string]string
}

func newWorld(t *testing.T) *world {
	w := &world{books: map[string]*shelf{}, make: true, keep: func(data string) (string, int) { return data, 0 }}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	return w
}

func (w *world) add(path, kind, name string) *shelf {
	s := &shelf{name: name, kind: kind, held: map[string]string{}}
	w.books[path] = s
	return s
}

func (w *world) open(t *testing.T) *Target { return w.openAt(t, "/me/") }

func (w *world) openAt(t *testing.T, path string) *Target {
	t.Helper()
	limits := dav.DefaultLimits()
	limits.Pause, limits.MaxPause, limits.Timeout, limits.Attempts = time.Millisecond, time.Millisecond, 20*time.Second, 2
	to, err := Open(context.Background(), dav.Config{URL: w.URL + path, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { to.Close() })
	return to
}

func tag(data string) string {
	sum := sha256.Sum256([]byte(data))
	return `"` + hex.EncodeToString(sum[:8]) + `"`
}

func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	w.requests = append(w.requests, r.Method+" "+r.URL.Path)
	if w.fault != nil && w.fault(w, r, func() { w.answer(httptest.NewRecorder(), r, string(body)) }) {
		panic(http.ErrAbortHandler)
	}
	w.answer(out, r, string(body))
}

func (w *world) answer(out http.ResponseWriter, r *http.Request, body string) {
	dir, name := r.URL.Path[:strings.LastIndexByte(r.URL.Path, '/')+1], r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	switch r.Method {
	case "PROPFIND":
		w.propfind(out, r)
	case "REPORT":
		w.report(out, dir, body)
	case http.MethodOptions:
		if w.schedules {
			out.Header().Set("DAV", "1, calendar-access, calendar-auto-schedule")
		}
	case "MKCOL", "MKCALENDAR":
		if !w.make || w.books[dir] != nil {
			http.Error(out, "no", http.StatusForbidden)
			return
		}
		kind := map[string]string{"MKCOL": "addressbook", "MKCALENDAR": "calendar"}[r.Method]
		_, label, _ := strings.Cut(body, "<displayname>")
		label, _, _ = strings.Cut(label, "</displayname>")
		w.add(dir, kind, strings.ReplaceAll(label, "&amp;", "&"))
		out.WriteHeader(http.StatusCreated)
	default:
		if name == "" && r.Method == http.MethodDelete && w.books[dir] != nil {
			delete(w.books, dir)
			return
		}
		w.resource(out, r, dir, name, body)
	}
}

func (w *world) resource(out http.ResponseWriter, r *http.Request, dir, name, body string) {
	s := w.books[dir]
	if s == nil || name == "" {
		http.NotFound(out, r)
		return
	}
	old, there := s.held[name]
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	if match != "" && (!there || match != "*" && match != tag(old)) || none == "*" && there {
		http.Error(out, "changed", http.StatusPreconditionFailed)
		return
	}
	if r.Method != http.MethodGet && s.readOnly {
		http.Error(out, "read only", http.StatusForbidden)
		return
	}
	switch r.Method {
	case http.MethodGet:
		if !there {
			http.NotFound(out, r)
			return
		}
		if !w.noTags {
			out.Header().Set("ETag", tag(old))
		}
		io.WriteString(out, old)
	case http.MethodPut:
		kept, status := w.keep(body)
		if status >= 400 {
			http.Error(out, "I do not like it", status)
			return
		}
		s.held[name] = kept
		out.WriteHeader(http.StatusCreated)
	case http.MethodDelete:
		if !there {
			http.NotFound(out, r)
			return
		}
		delete(s.held, name)
	}
}

func (w *world) propfind(out http.ResponseWriter, r *http.Request) {
	var b strings.Builder
	b.WriteString(`<multistatus xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav" xmlns:C="urn:ietf:params:xml:ns:caldav">`)
	entry := func(href, props string) {
		fmt.Fprintf(&b, `<response><href>%s</href><propstat><prop>%s</prop><status>HTTP/1.1 200 OK</status></propstat></response>`, href, props)
	}
	path := r.URL.Path
	if s := w.books[path]; s != nil {
		entry(path, w.about(s))
		if r.Header.Get("Depth") == "1" {
			for _, name := range names(s) {
				entry(path+name, w.tagged(s.held[name]))
			}
		}
	} else if path == "/me/" {
		entry(path, `<resourcetype><collection/></resourcetype><A:addressbook-home-set><href>/me/</href></A:addressbook-home-set><C:calendar-home-set><href>/me/</href></C:calendar-home-set>`)
		if r.Header.Get("Depth") == "1" {
			for p, s := range w.books {
				entry(p, w.about(s))
			}
		}
	} else {
		http.NotFound(out, r)
		return
	}
	out.Header().Set("Content-Type", "application/xml")
	out.WriteHeader(http.StatusMultiStatus)
	io.WriteString(out, b.String()+`</multistatus>`)
}

func names(s *shelf) (out []string) {
	for name := range s.held {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

func (w *world) tagged(data string) string {
	props := fmt.Sprintf(`<resourcetype/><getcontentlength>%d</getcontentlength>`, len(data))
	if !w.noTags {
		props += `<getetag>` + strings.ReplaceAll(tag(data), `"`, "&quot;") + `</getetag>`
	}
	return props
}

func (w *world) about(s *shelf) string {
	ns := map[string]string{"addressbook": "A", "calendar": "C"}[s.kind]
	props := fmt.Sprintf(`<resourcetype><collection/><%s:%s/></resourcetype><displayname>%s</displayname>`, ns, s.kind, strings.ReplaceAll(s.name, "&", "&amp;"))
	if s.readOnly {
		props += `<current-user-privilege-set><privilege><read/></privilege></current-user-privilege-set>`
	}
	if s.components != nil {
		props += `<C:supported-calendar-component-set>`
		for _, c := range s.components {
			props += `<C:comp name="` + c + `"/>`
		}
		props += `</C:supported-calendar-component-set>`
	}
	if s.maxSize > 0 {
		props += fmt.Sprintf(`<%s:max-resource-size>%d</%s:max-resource-size>`, ns, s.maxSize, ns)
	}
	if !w.noGet {
		props += fmt.Sprintf(`<supported-report-set><supported-report><report><%s:%s-multiget/></report></supported-report></supported-report-set>`, ns, s.kind)
	}
	return props
}

// report answers multiget. Like many servers it leaves line breaks to XML, which makes line feeds of them.
func (w *world) report(out http.ResponseWriter, dir, body string) {
	s := w.books[dir]
	data := map[string]string{"addressbook": "A:address-data", "calendar": "C:calendar-data"}[s.kind]
	var b strings.Builder
	b.WriteString(`<multistatus xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav" xmlns:C="urn:ietf:params:xml:ns:caldav">`)
	for _, part := range strings.Split(body, "<href>")[1:] {
		href, _, _ := strings.Cut(part, "</href>")
		held, ok := s.held[strings.TrimPrefix(href, dir)]
		if !ok {
			continue
		}
		var text strings.Builder
		xml.EscapeText(&text, []byte(held))
		fmt.Fprintf(&b, `<response><href>%s</href><propstat><prop>%s<%s>%s</%s></prop><status>HTTP/1.1 200 OK</status></propstat></response>`,
			href, w.tagged(held), data, strings.ReplaceAll(text.String(), "&#xD;", ""), data)
	}
	out.WriteHeader(http.StatusMultiStatus)
	io.WriteString(out, b.String()+`</multistatus>`)
}
