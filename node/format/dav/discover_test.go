package dav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

const (
	isCollection = `<resourcetype><collection/></resourcetype>`
	isBook       = `<resourcetype><collection/><A:addressbook/></resourcetype>`
	isCalendar   = `<resourcetype><collection/><C:calendar/></resourcetype>`
)

func described(href, props string) string {
	return `<response><href>` + href + `</href><propstat><prop>` + props + `</prop><status>HTTP/1.1 200 OK</status></propstat>` +
		`<propstat><prop><displayname/></prop><status>HTTP/1.1 404 Not Found</status></propstat></response>`
}

// site answers PROPFIND by path and depth, "/a/ 0", and sends "-> path" on. Everything else is 405 or 404.
func site(t *testing.T, answers map[string]string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, ok := answers[r.URL.Path+" "+r.Header.Get("Depth")]
		switch {
		case r.Method == http.MethodOptions:
		case r.Method != "PROPFIND":
			http.Error(w, "no", http.StatusMethodNotAllowed)
		case !ok:
			http.NotFound(w, r)
		case strings.HasPrefix(answer, "-> "):
			http.Redirect(w, r, strings.TrimPrefix(answer, "-> "), http.StatusMovedPermanently)
		default:
			multistatus(w, `<multistatus xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav" xmlns:C="urn:ietf:params:xml:ns:caldav">`+answer+`</multistatus>`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestDiscover(t *testing.T) {
	homes := `<A:addressbook-home-set><href>/books/</href></A:addressbook-home-set><C:calendar-home-set><href>/cals/</href></C:calendar-home-set><C:schedule-outbox-URL><href>/out/</href></C:schedule-outbox-URL>`
	spread := map[string]string{
		"/me/ 0":    described("/me/", isCollection+homes),
		"/books/ 1": described("/books/", isCollection) + described("/books/b%20c/", isBook+`<displayname>B &amp; C</displayname>`) + described("/books/d/", isBook) + described("/books/x.txt", ``),
		"/cals/ 1":  described("/cals/", isCollection) + described("/cals/k/", isCalendar+`<displayname/>`) + described("/cals/in/", `<resourcetype><collection/><C:schedule-inbox/></resourcetype>`),
		"/cals/k/ 0": described("/cals/k/", isCalendar+`<C:supported-calendar-component-set><C:comp name="VEVENT"/><C:comp name="vtodo"/></C:supported-calendar-component-set><C:max-resource-size>1000</C:max-resource-size>`+
			`<supported-report-set><supported-report><report><C:calendar-multiget/></report></supported-report><supported-report><report><sync-collection/></report></supported-report></supported-report-set>`),
	}
	with := func(more map[string]string) map[string]string {
		out := map[string]string{}
		for k, v := range spread {
			out[k] = v
		}
		for k, v := range more {
			out[k] = v
		}
		return out
	}
	all := "/books/b%20c/ B & C|/books/d/ d|/cals/k/ k"
	for name, c := range map[string]struct {
		answers   map[string]string
		path      string
		want      string
		schedules bool
	}{
		"a principal":            {spread, "/me/", all, true},
		"one calendar":           {spread, "/cals/k", "/cals/k/ k", false},
		"a home":                 {with(map[string]string{"/books/ 0": described("/books/", isCollection)}), "/books/", "/books/b%20c/ B & C|/books/d/ d", false},
		"a server, by principal": {with(map[string]string{"/ 0": described("/", isCollection+`<current-user-principal><href>/me/</href></current-user-principal>`), "/ 1": described("/", isCollection)}), "/", all, true},
		"a server, by well-known": {with(map[string]string{"/.well-known/carddav 0": "-> /dav/", "/.well-known/caldav 0": "-> /dav/",
			"/dav/ 0": described("/dav/", isCollection+`<current-user-principal><href>/me/</href></current-user-principal>`)}), "/", all, true},
		"only calendars, by well-known": {with(map[string]string{"/.well-known/caldav 0": described("/dav/", `<C:calendar-home-set><href>/cals/</href></C:calendar-home-set>`)}), "/nowhere/", "/cals/k/ k", false},
		"nothing":                       {map[string]string{}, "/", "", false},
		"nobody":                        {map[string]string{"/ 0": described("/", isCollection+`<current-user-principal><unauthenticated/></current-user-principal>`), "/ 1": described("/", isCollection)}, "/", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(Config{URL: site(t, c.answers).URL + c.path})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			place, err := s.Discover(t.Context())
			if (c.want == "") != (err != nil) {
				t.Fatalf("%+v, %v", place, err)
			}
			if err != nil {
				return
			}
			var got []string
			for _, x := range place.Collections {
				got = append(got, x.Path+" "+x.Name)
			}
			if strings.Join(got, "|") != c.want || place.Schedules != c.schedules {
				t.Errorf("found %q, schedules %v", got, place.Schedules)
			}
			if c.path == "/cals/k" {
				x := place.Collections[0]
				if !slices.Equal(x.Components, []string{"VEVENT", "VTODO"}) || x.MaxSize != 1000 || !x.Multiget || !x.Sync || x.ReadOnly || !x.Takes("vevent") || x.Takes("VJOURNAL") {
					t.Errorf("%+v", x)
				}
			}
		})
	}
}

// TestDiscoverElsewhere: a home at another origin is named, and used only if the user allows it.
func TestDiscoverElsewhere(t *testing.T) {
	var asked []string
	answers := map[string]string{"/h/ 1": described("/h/", isCollection) + described("/h/b/", isBook)}
	second := site(t, answers)
	first := site(t, map[string]string{"/ 0": described("/", isCollection+fmt.Sprintf(`<A:addressbook-home-set><href>%s/h/</href></A:addressbook-home-set>`, second.URL))})
	second.Config.Handler = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			user, _, _ := r.BasicAuth()
			asked = append(asked, user)
			next.ServeHTTP(w, r)
		})
	}(second.Config.Handler)
	config := Config{URL: first.URL, User: "ada", Password: func(context.Context) (string, error) { return secretWord, nil }}
	for _, also := range [][]string{nil, {second.URL}} {
		config.Also = also
		s, err := Open(config)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		place, err := s.Discover(t.Context())
		var foreign *ForeignError
		switch {
		case also == nil && (!errors.As(err, &foreign) || foreign.Origin != second.URL || len(asked) > 0):
			t.Errorf("%v, asked %q", err, asked)
		case also != nil && (err != nil || len(place.Collections) != 1 || place.Collections[0].Origin != second.URL || !slices.Equal(asked, []string{"ada"})):
			t.Errorf("%+v, %v, asked %q", place, err, asked)
		}
	}
}

// TestSync: a listing that is cut off goes on with sync-collection.
func TestSync(t *testing.T) {
	rounds := 0
	e := newEvil(t, nil, func(e *evil, w http.ResponseWriter, r *http.Request) {
		cut := `<response><href>/book/</href><status>HTTP/1.1 507 Insufficient Storage</status></response>`
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method == "PROPFIND":
			multistatus(w, `<multistatus xmlns="DAV:">`+entry("/book/a")+cut+`</multistatus>`)
		case strings.Contains(string(body), `<sync-token></sync-token>`):
			rounds++
			multistatus(w, `<multistatus xmlns="DAV:">`+entry("/book/a")+entry("/book/b")+cut+`<sync-token>x&amp;1</sync-token></multistatus>`)
		case strings.Contains(string(body), `<sync-token>x&amp;1</sync-token>`):
			rounds++
			multistatus(w, `<multistatus xmlns="DAV:">`+entry("/book/c")+`<response><href>/book/old</href><status>HTTP/1.1 404 Not Found</status></response><sync-token>x2</sync-token></multistatus>`)
		}
	})
	list, err := e.server.List(t.Context(), e.collection())
	if err != nil || len(list) != 3 || rounds != 2 {
		t.Errorf("%v in %d rounds: %v", list, rounds, err)
	}
	c := e.collection()
	c.Sync = false
	if _, err := e.server.List(t.Context(), c); err == nil {
		t.Error("a listing that is cut off is taken for whole")
	}
}
