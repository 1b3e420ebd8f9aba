package dav

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/item"
)

func TestOpenRefuses(t *testing.T) {
	password := func(context.Context) (string, error) { return secretWord, nil }
	for address, want := range map[string]string{
		"":                                "not the address",
		"http://example.com/":             "not be encrypted",
		"http://127.0.0.1.example.com/":   "not be encrypted",
		"http://localhost.example.com/":   "not be encrypted",
		"https://ada:secret@example.com/": "holds a password",
		"https://ada@example.com/":        "holds a user name",
		"ftp://example.com/":              "not the address",
		"https://example.com/?q":          "not the address",
		"file:///etc/passwd":              "not the address",
	} {
		_, err := Open(Config{URL: address, User: "ada", Password: password})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", address, err, want)
		}
	}
	for _, c := range []Config{{URL: "example.com"}, {URL: "https://example.com"}, {URL: "http://127.0.0.1:80/x"}, {URL: "http://[::1]:8/x"},
		{URL: "http://LOCALHOST/"}, {URL: "http://nas.example/", Plain: true}} {
		if _, err := Open(c); err != nil {
			t.Errorf("%q: %v", c.URL, err)
		}
	}
	if _, err := Open(Config{URL: "https://example.com", User: "ada"}); err == nil {
		t.Error("a user without a password")
	}
	if _, err := Open(Config{URL: "https://example.com", Also: []string{"http://example.org"}}); !errors.Is(err, ErrPlain) {
		t.Errorf("an origin that is not encrypted: %v", err)
	}
}

func TestOrigin(t *testing.T) {
	for address, want := range map[string]string{
		"https://Example.com:443/a": "https://example.com", "http://example.com:80": "http://example.com",
		"https://example.com:8443/": "https://example.com:8443", "http://[::1]:80/": "http://[::1]",
	} {
		u, err := parseAddress(address)
		if err != nil || origin(u) != want {
			t.Errorf("%s: %s, %v", address, origin(u), err)
		}
	}
}

// TestDigest is the example of RFC 7616, section 3.9.1, but for the cnonce, which we draw.
func TestDigest(t *testing.T) {
	c, ok := parseDigest(`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`)
	if !ok || !c.qop || c.opaque != "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS" {
		t.Fatalf("%+v", c)
	}
	// RFC 2069 needs no cnonce; the response is that of its errata.
	old := challenge{realm: "testrealm@host.com", nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093"}
	if got := old.response("Mufasa", "CircleOfLife", "GET", "/dir/index.html", 1); !strings.Contains(got, `response="1949323746fe6a43ef61f9606e7febea"`) {
		t.Errorf("%s", got)
	}
	for _, bad := range []string{"", "Basic realm=x", `Digest realm="x"`, `Digest nonce="x", algorithm=SHA-512-256`, `Digest nonce="x", qop="auth-int"`} {
		if _, ok := parseDigest(bad); ok {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestDigestLogin(t *testing.T) {
	e := newEvil(t, nil, func(_ *evil, w http.ResponseWriter, r *http.Request) {
		auth := r.Header.Get("Authorization")
		if !strings.HasPrefix(auth, "Digest ") {
			w.Header().Add("WWW-Authenticate", `Digest realm="BaikalDAV",qop="auth",nonce="5f",opaque="df"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		f := parameters(strings.TrimPrefix(auth, "Digest "))
		if f["username"] != "ada" || f["uri"] != r.URL.RequestURI() || f["nc"] == "" || f["opaque"] != "df" || strings.Contains(auth, secretWord) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		io.WriteString(w, "data")
	})
	for range 3 {
		if r, err := e.server.Get(t.Context(), e.collection(), "a.vcf"); err != nil || string(r.Data) != "data" {
			t.Fatalf("%q: %v", r.Data, err)
		}
	}
	if e.asked.Load() != 4 {
		t.Errorf("asked %d times, want 4", e.asked.Load())
	}
}

func TestRetry(t *testing.T) {
	e := newEvil(t, func(l *Limits) { l.Attempts = 4 }, func(e *evil, w http.ResponseWriter, r *http.Request) {
		switch e.asked.Load() {
		case 1:
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			panic(http.ErrAbortHandler) // the connection breaks
		default:
			io.WriteString(w, "data")
		}
	})
	if r, err := e.server.Get(t.Context(), e.collection(), "a.vcf"); err != nil || string(r.Data) != "data" || e.asked.Load() != 3 {
		t.Errorf("%q after %d: %v", r.Data, e.asked.Load(), err)
	}
	if _, err := e.server.Put(t.Context(), e.collection(), "a.vcf", "", []byte("x")); err != nil {
		t.Error(err)
	}
	broken := newEvil(t, nil, func(e *evil, w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	if _, err := broken.server.Put(t.Context(), broken.collection(), "a.vcf", "", []byte("x")); err == nil || status(err) != 0 || broken.asked.Load() > 1 {
		t.Errorf("a write was repeated %d times: %v", broken.asked.Load(), err)
	}
}

func TestConditions(t *testing.T) {
	for body, want := range map[string]string{
		`<error xmlns="DAV:"><C:no-uid-conflict xmlns:C="urn:ietf:params:xml:ns:caldav"/></error>`:                                    "no-uid-conflict",
		`<d:error xmlns:d="DAV:" xmlns:s="x"><s:exception>Sabre\X</s:exception><s:message>Validation error: FN</s:message></d:error>`: `exception Sabre\X message Validation error: FN`,
		`<error><a>` + strings.Repeat("word ", 1000) + `</a></error>`:                                                                 "a " + strings.TrimSpace(strings.Repeat("word ", 1000))[:maxWords-2],
		"<error>\x1b[31mred</error>": "",
	} {
		if got := conditions([]byte(body)); got != want {
			t.Errorf("%.60s: %q, want %q", body, got, want)
		}
	}
	if got := shortened("a\x1b[31m\r\nb\u0085c\xff" + strings.Repeat("é", 200)); strings.ContainsAny(got, "\x1b\r\n\u0085") || !utf8.ValidString(got) || len(got) > maxWords {
		t.Errorf("%q", got)
	}
}

func TestWithBreaks(t *testing.T) {
	for _, c := range []struct {
		text   string
		length int64
		want   string
		ok     bool
	}{{"a\nb\n", 4, "a\nb\n", true}, {"a\nb\n", 6, "a\r\nb\r\n", true}, {"a\nb\n", 5, "", false}, {"a\nb\n", -1, "", false}, {"", 0, "", true}} {
		got, ok := withBreaks([]byte(c.text), c.length)
		if ok != c.ok || string(got) != c.want {
			t.Errorf("%q of %d: %q, %v", c.text, c.length, got, ok)
		}
	}
}

// TestExactBreaks: line breaks survive XML where the answer shows what they were.
func TestExactBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		xml, want string
		exact     bool
	}{
		"as they are":        {"a\r\nb\r\n", "a\r\nb\r\n", true},
		"as references":      {"a&#13;\nb&#xD;\n", "a\r\nb\r\n", true},
		"in CDATA":           {"<![CDATA[a\r\nb\r\n]]>", "a\r\nb\r\n", true},
		"line feeds only":    {"a\nb\n", "a\nb\n", false},
		"mixed":              {"a\r\nb\n", "a\nb\n", false},
		"none":               {"ab", "ab", true},
		"long":               {strings.Repeat("0123456789\r\n", 10_000), strings.Repeat("0123456789\r\n", 10_000), true},
		"breaks in elements": {"a&amp;\r\n<x\r\n/>b\r\n", "a&\nb\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			entry := `<response><href>/a</href><propstat><prop><C:calendar-data>` + c.xml + "</C:calendar-data></prop>\r\n<status>HTTP/1.1 200 OK</status></propstat></response>\r\n"
			n := 0
			_, err := eachResponse(strings.NewReader(`<multistatus xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:caldav">`+"\r\n"+strings.Repeat(entry, 5)+`</multistatus>`), 1<<20, func(r *response) error {
				n++
				if string(r.props.data) != c.want || r.props.exact != c.exact {
					t.Errorf("got %.50q, %v", r.props.data, r.props.exact)
				}
				return nil
			})
			if err != nil || n != 5 {
				t.Errorf("%d entries: %v", n, err)
			}
		})
	}
}

func TestContent(t *testing.T) {
	cal := []byte("BEGIN:VCALENDAR\r\nBEGIN:VTIMEZONE\r\nTZID:x\r\nBEGIN:STANDARD\r\nEND:STANDARD\r\nEND:VTIMEZONE\r\nBEGIN:VTODO\r\nUID:u\r\nSUMMARY:s\r\nBEGIN:VALARM\r\nEND:VALARM\r\nEND:VTODO\r\nEND:VCALENDAR\r\n")
	if got := Components(cal); !slices.Equal(got, []string{"VTODO"}) {
		t.Errorf("components %v", got)
	}
	if UID(cal) != "u" || Label(item.Calendar, cal) != "s" || !Holds(item.Calendar, cal) || Holds(item.Contact, cal) || Holds(item.Contact, nil) {
		t.Error("content")
	}
	if !Holds(item.Contact, []byte("\ufeff\r\nbegin:vcard\n")) {
		t.Error("a card with a byte order mark")
	}
}

func FuzzMultistatus(f *testing.F) {
	f.Add([]byte(`<multistatus xmlns="DAV:">` + entry("/a") + `<sync-token>t</sync-token></multistatus>`))
	f.Add([]byte(`<d:multistatus xmlns:d="DAV:" xmlns:c="urn:ietf:params:xml:ns:caldav"><d:response><d:href>/a/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/><c:calendar/></d:resourcetype><c:supported-calendar-component-set><c:comp name="VEVENT"/></c:supported-calendar-component-set><d:current-user-privilege-set><d:privilege><d:read/></d:privilege></d:current-user-privilege-set><c:calendar-data>x&#13;
</c:calendar-data></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>`))
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		eachResponse(bytes.NewReader(data), 1<<20, func(r *response) error {
			n++
			if len(r.href) > maxHref || len(r.props.data) > len(data)*4 {
				t.Error("limits")
			}
			return nil
		})
		if n > len(data) {
			t.Error("more entries than bytes")
		}
		conditions(data)
		parseDigest(string(data))
		Components(data)
	})
}
