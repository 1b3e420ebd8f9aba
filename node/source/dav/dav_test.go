package dav

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/item"
)

const (
	ada   = "BEGIN:VCARD\nVERSION:3.0\nUID:a\nFN:Ada\nEND:VCARD\n"
	lunch = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:l\r\nSUMMARY:Lunch\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)

// answers are those of a server with a book, a calendar and a book that can't be listed, by method and path.
var answers = map[string]string{
	"PROPFIND /": multistatus(entry("/", `<resourcetype><collection/></resourcetype>`) +
		entry("/b/", `<resourcetype><collection/><A:addressbook/></resourcetype><displayname>People</displayname>`) +
		entry("/c/", `<resourcetype><collection/><C:calendar/></resourcetype><displayname>Days</displayname>`) +
		entry("/z/", `<resourcetype><collection/><A:addressbook/></resourcetype>`)),
	"PROPFIND /b/": multistatus(entry("/b/z.vcf", `<getcontentlength>50</getcontentlength>`) + entry("/b/a.vcf", `<getcontentlength>49</getcontentlength>`) +
		entry("/b/gone.vcf", `<getcontentlength>1</getcontentlength>`) + entry("/b/odd.vcf", `<getcontentlength>2</getcontentlength>`)),
	"PROPFIND /c/":   multistatus(entry("/c/l.ics", ``)),
	"GET /b/a.vcf":   ada,
	"GET /b/z.vcf":   strings.Replace(ada, "Ada", "Zoe", 1),
	"GET /b/odd.vcf": "hi",
	"GET /c/l.ics":   lunch,
}

func multistatus(body string) string {
	return `<multistatus xmlns="DAV:" xmlns:A="urn:ietf:params:xml:ns:carddav" xmlns:C="urn:ietf:params:xml:ns:caldav">` + body + `</multistatus>`
}

func entry(href, props string) string {
	return `<response><href>` + href + `</href><propstat><prop>` + props + `</prop><status>HTTP/1.1 200 OK</status></propstat></response>`
}

func open(t *testing.T) *Source {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := answers[r.Method+" "+r.URL.Path]
		switch {
		case r.Method != http.MethodGet && r.Method != "PROPFIND" && r.Method != http.MethodOptions:
			t.Errorf("a source is only read: %s", r.Method)
		case !ok:
			http.NotFound(w, r)
			return
		case r.Method == "PROPFIND":
			w.WriteHeader(http.StatusMultiStatus)
		}
		io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	limits := dav.DefaultLimits()
	limits.Pause = time.Millisecond
	s, err := Open(dav.Config{URL: server.URL, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSurvey(t *testing.T) {
	found, err := open(t).Survey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, fmt.Sprintf("%v %s %d %d %v %v", f.Kind, f.Book, f.Items, f.Bytes, f.Can, f.Why != ""))
	}
	want := []string{"contact People 4 102 true false", "calendar Days 1 -1 true false", "contact z -1 -1 false true"}
	if !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

// log is a sink that writes down what it gets, until it has had enough.
type log struct {
	item.Sink
	lines []string
	data  string
	most  int
}

var errEnough = errors.New("enough")

func (l *log) Record(r item.Record) error {
	l.lines = append(l.lines, fmt.Sprintf("%v %s %s %s", r.Kind, r.Book, r.Label, r.From[strings.LastIndexByte(r.From, '/')+1:]))
	l.data += string(r.Data)
	if l.most--; l.most == 0 {
		return errEnough
	}
	return nil
}

func (l *log) Change(c item.Change) error {
	at, err := url.Parse(c.From)
	l.lines = append(l.lines, fmt.Sprintf("%v %v %v", c.Kind, c.Effect, at.Path))
	return err
}

// TestRead: records come byte for byte and in order; what can't be read is told and does not end it.
func TestRead(t *testing.T) {
	var l log
	if err := open(t).Read(t.Context(), &l); err != nil {
		t.Fatal(err)
	}
	want := []string{"contact People Ada a.vcf", "contact dropped /b/gone.vcf", "contact dropped /b/odd.vcf", "contact People Zoe z.vcf", "calendar Days Lunch l.ics", "contact dropped /z/"}
	if !slices.Equal(l.lines, want) {
		t.Errorf("read %q, want %q", l.lines, want)
	}
	if l.data != ada+strings.Replace(ada, "Ada", "Zoe", 1)+lunch {
		t.Errorf("data %q", l.data)
	}
}

func TestReadEnds(t *testing.T) {
	if err := open(t).Read(t.Context(), &log{most: 2}); !errors.Is(err, errEnough) {
		t.Errorf("the sink's error: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := open(t).Read(ctx, &log{}); !errors.Is(err, context.Canceled) {
		t.Errorf("the end of the context: %v", err)
	}
}
