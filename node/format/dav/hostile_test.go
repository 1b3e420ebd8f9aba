package dav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
)

// evil starts a server that answers everything with one function, and one beside it that counts what it is asked.
type evil struct {
	server *Server
	url    string
	canary string
	asked  atomic.Int64
	hits   atomic.Int64
}

const secretWord = "sesame-9f3a"

func newEvil(t *testing.T, limits func(*Limits), answer func(e *evil, w http.ResponseWriter, r *http.Request)) *evil {
	t.Helper()
	e := &evil{}
	canary := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { e.hits.Add(1) }))
	t.Cleanup(canary.Close)
	e.canary = canary.URL
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.asked.Add(1)
		answer(e, w, r)
	}))
	t.Cleanup(server.Close)
	e.url = server.URL
	l := DefaultLimits()
	l.Timeout, l.Pause, l.MaxPause, l.Attempts = 20*time.Second, time.Millisecond, time.Millisecond, 2
	l.Listing, l.Resource, l.Entries = 4<<20, 1<<20, 1000
	if limits != nil {
		limits(&l)
	}
	s, err := Open(Config{URL: server.URL + "/", User: "ada", Password: func(context.Context) (string, error) { return secretWord, nil }, Limits: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	e.server = s
	return e
}

func multistatus(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.WriteHeader(http.StatusMultiStatus)
	io.WriteString(w, body)
}

func entry(href string) string {
	return `<response><href>` + href + `</href><propstat><prop><getetag>"1"</getetag><getcontentlength>3</getcontentlength><resourcetype/></prop><status>HTTP/1.1 200 OK</status></propstat></response>`
}

func (e *evil) collection() *Collection {
	return &Collection{Origin: e.url, Path: "/book/", Kind: item.Contact, Multiget: true, Sync: true}
}

// TestRT19HostileXML: XML that means to fetch, expand, nest or flood is refused.
func TestRT19HostileXML(t *testing.T) {
	laughs := `<!DOCTYPE l [<!ENTITY a "lol">` + strings.Repeat(`<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">`, 10) + `]><multistatus xmlns="DAV:">&b;</multistatus>`
	for name, c := range map[string]struct {
		body string
		want error
	}{
		"external entity":   {`<?xml version="1.0"?><!DOCTYPE x [<!ENTITY x SYSTEM "CANARY/x">]><multistatus xmlns="DAV:"><response><href>&x;</href></response></multistatus>`, ErrHostile},
		"external doctype":  {`<!DOCTYPE x SYSTEM "CANARY/x.dtd"><multistatus xmlns="DAV:"/>`, ErrHostile},
		"file entity":       {`<!DOCTYPE x [<!ENTITY x SYSTEM "file:///etc/passwd">]><multistatus xmlns="DAV:">&x;</multistatus>`, ErrHostile},
		"billion laughs":    {laughs, ErrHostile},
		"undeclared entity": {`<multistatus xmlns="DAV:">&x;</multistatus>`, ErrHostile},
		"deep":              {`<multistatus xmlns="DAV:">` + strings.Repeat(`<a>`, 100_000), ErrHostile},
		"deep in a prop":    {`<multistatus xmlns="DAV:"><response><propstat><prop><resourcetype>` + strings.Repeat(`<a>`, 1000), ErrHostile},
		"truncated":         {`<multistatus xmlns="DAV:"><response><href>/book/a`, ErrHostile},
		"not XML":           {"hello", ErrHostile},
		"empty":             {"", ErrHostile},
		"other root":        {`<html xmlns="DAV:"/>`, ErrHostile},
		"long href":         {`<multistatus xmlns="DAV:"><response><href>` + strings.Repeat("a", 100_000) + `</href></response></multistatus>`, ErrTooLarge},
		"long name":         {`<multistatus xmlns="DAV:"><response><propstat><prop><displayname>` + strings.Repeat("a", 100_000) + `</displayname></prop></propstat></response></multistatus>`, ErrTooLarge},
		"long attribute":    {`<multistatus xmlns="DAV:" x="` + strings.Repeat("a", 5<<20) + `"/>`, ErrTooLarge},
		"status":            {`<multistatus xmlns="DAV:"><response><href>/book/a</href><status>HTTP/1.1 99999 x</status></response></multistatus>`, ErrHostile},
		"other charset":     {`<?xml version="1.0" encoding="utf-7"?><multistatus xmlns="DAV:"/>`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEvil(t, nil, func(e *evil, w http.ResponseWriter, r *http.Request) {
				multistatus(w, strings.ReplaceAll(c.body, "CANARY", e.canary))
			})
			_, err := e.server.List(t.Context(), e.collection())
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if e.hits.Load() != 0 {
				t.Error("something was fetched")
			}
		})
	}
}

// TestRT19HostileReferences: addresses that lead out of the collection are ignored, and nobody else is asked.
func TestRT19HostileReferences(t *testing.T) {
	e := newEvil(t, nil, func(e *evil, w http.ResponseWriter, r *http.Request) {
		if r.Method != "PROPFIND" {
			io.WriteString(w, "got "+r.URL.Path)
			return
		}
		var b strings.Builder
		b.WriteString(`<multistatus xmlns="DAV:">`)
		for _, href := range []string{
			"/book/", "/book/good.vcf", "good2.vcf", e.url + "/book/good3.vcf", "/book/good.vcf", "/book/sp%20ace.vcf",
			e.canary + "/book/a.vcf", "//" + strings.TrimPrefix(e.canary, "http://") + "/book/b.vcf", "file:///etc/passwd", "javascript:alert(1)",
			"../c.vcf", "/book/../c.vcf", "/book/%2e%2e/c.vcf", "/book/..%2fc.vcf", "/book/%2e%2e", "/book/sub/d.vcf", "/book/sub/", "/other/e.vcf", "",
			"http://user:pass@" + strings.TrimPrefix(e.url, "http://") + "/book/f.vcf", "/book/g.vcf?x=y", "/book/h.vcf#x", "/book/..", "/book/.",
		} {
			b.WriteString(entry(href))
		}
		multistatus(w, b.String()+`</multistatus>`)
	})
	list, err := e.server.List(t.Context(), e.collection())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range list {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "good.vcf good2.vcf good3.vcf sp%20ace.vcf" {
		t.Errorf("listed %q", got)
	}
	for _, name := range []string{"../x", "a/b", "x?y", "x#y"} {
		if _, err := e.server.Get(t.Context(), e.collection(), name); err == nil {
			t.Errorf("%q can be fetched", name)
		}
	}
	if e.hits.Load() != 0 {
		t.Error("another server was asked")
	}
}

// TestRT16HostileAnswers: sizes, numbers and lies in HTTP are bounded.
func TestRT16HostileAnswers(t *testing.T) {
	million := func(w http.ResponseWriter) {
		multistatus(w, `<multistatus xmlns="DAV:">`)
		for i := range 1_000_000 {
			if _, err := fmt.Fprintf(w, `<response><href>/book/%d</href></response>`, i); err != nil {
				return
			}
		}
	}
	endless := func(w http.ResponseWriter) {
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 1<<16)); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter, r *http.Request)
		list   bool
		want   error
	}{
		"a million references": {func(w http.ResponseWriter, r *http.Request) { million(w) }, true, ErrTooLarge},
		"endless listing": {func(w http.ResponseWriter, r *http.Request) {
			multistatus(w, `<multistatus xmlns="DAV:"><x>`)
			endless(w)
		}, true, ErrTooLarge},
		"endless resource": {func(w http.ResponseWriter, r *http.Request) { endless(w) }, false, ErrTooLarge},
		"endless refusal":  {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403); endless(w) }, false, &StatusError{}},
		"wrong length": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "short")
		}, false, io.ErrUnexpectedEOF},
		"listing always truncated": {func(w http.ResponseWriter, r *http.Request) {
			multistatus(w, `<multistatus xmlns="DAV:"><response><href>/book/</href><status>HTTP/1.1 507 x</status></response><sync-token>t</sync-token></multistatus>`)
		}, true, ErrHostile},
		"no multistatus": {func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, true, &StatusError{}},
		"always too busy": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(503)
		}, false, &StatusError{}},
		"never authorized": {func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) }, false, ErrPassword},
		"digest for ever": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("WWW-Authenticate", `Digest realm="x", nonce="y", qop="auth"`)
			w.WriteHeader(401)
		}, false, ErrPassword},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEvil(t, nil, func(_ *evil, w http.ResponseWriter, r *http.Request) { c.answer(w, r) })
			var err error
			if c.list {
				_, err = e.server.List(t.Context(), e.collection())
			} else {
				_, err = e.server.Get(t.Context(), e.collection(), "a.vcf")
			}
			var s *StatusError
			if _, any := c.want.(*StatusError); any && !errors.As(err, &s) || !any && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if e.asked.Load() > 10 {
				t.Errorf("asked %d times", e.asked.Load())
			}
			if strings.Contains(fmt.Sprint(err), secretWord) {
				t.Error("the error holds the password")
			}
		})
	}
}

// TestRT16HostileSlow: an answer that never ends ends with the request's time.
func TestRT16HostileSlow(t *testing.T) {
	release := make(chan struct{})
	e := newEvil(t, func(l *Limits) { l.Timeout = 300 * time.Millisecond }, func(_ *evil, w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "x")
		w.(http.Flusher).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	defer close(release)
	if _, err := e.server.Get(t.Context(), e.collection(), "a.vcf"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestRT16HostileRedirects: nobody else gets a request, let alone the password or a record.
func TestRT16HostileRedirects(t *testing.T) {
	for name, c := range map[string]struct {
		to      string
		foreign bool
	}{
		"another origin":         {"CANARY/x", true},
		"scheme-relative":        {"//CANARYHOST/x", true},
		"file":                   {"file:///etc/passwd", false},
		"nowhere":                {"", false},
		"itself for ever":        {"/book/a.vcf", false},
		"with a password":        {"http://u:p@CANARYHOST/x", false},
		"another port":           {"http://127.0.0.1:1/x", true},
		"https of another":       {"https://example.invalid/x", true},
		"a name like the origin": {"http://127.0.0.1.example.invalid/", true},
		"broken":                 {"http://[::1", false},
		"gopher":                 {"gopher://127.0.0.1/", false},
	} {
		for _, code := range []int{301, 302, 307, 308} {
			t.Run(fmt.Sprint(name, code), func(t *testing.T) {
				e := newEvil(t, nil, func(e *evil, w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Location", strings.NewReplacer("CANARYHOST", strings.TrimPrefix(e.canary, "http://"), "CANARY", e.canary).Replace(c.to))
					w.WriteHeader(code)
				})
				for _, try := range []func() error{
					func() error { _, err := e.server.Get(t.Context(), e.collection(), "a.vcf"); return err },
					func() error {
						_, err := e.server.Put(t.Context(), e.collection(), "a.vcf", "", []byte("x"))
						return err
					},
					func() error { _, err := e.server.Discover(t.Context()); return err },
				} {
					err := try()
					var foreign *ForeignError
					if err == nil || c.foreign != errors.As(err, &foreign) {
						t.Errorf("got %v", err)
					}
				}
				if e.hits.Load() != 0 {
					t.Error("another server was asked")
				}
			})
		}
	}
}

// TestRedirectAllowed: an origin that the user allows gets the request with the password.
func TestRedirectAllowed(t *testing.T) {
	var user, password string
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ = r.BasicAuth()
		io.WriteString(w, "data")
	}))
	defer second.Close()
	first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, second.URL+r.URL.Path, http.StatusTemporaryRedirect)
	}))
	defer first.Close()
	s, err := Open(Config{URL: first.URL, User: "ada", Password: func(context.Context) (string, error) { return secretWord, nil }, Also: []string{second.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Get(t.Context(), &Collection{Origin: first.URL, Path: "/b/", Kind: item.Contact}, "x")
	if err != nil || string(r.Data) != "data" || user != "ada" || password != secretWord {
		t.Errorf("%q %q %q: %v", r.Data, user, password, err)
	}
}
