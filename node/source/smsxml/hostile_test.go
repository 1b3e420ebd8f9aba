package smsxml

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	format "github.com/decant-dev/decant/node/format/smsxml"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
)

type sink struct {
	records int
	last    item.Record
	changes []item.Change
}

func (s *sink) Record(r item.Record) error { s.records++; s.last = r; return nil }
func (s *sink) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return nil
}
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }

func read(t *testing.T, path string) (*sink, error) {
	t.Helper()
	a, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	s := &sink{}
	return s, a.Read(context.Background(), s)
}

func file(t *testing.T, pieces ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sms.xml")
	if err := os.WriteFile(path, []byte(strings.Join(pieces, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRT19Entities: nothing is expanded, and nothing is fetched: the server sees no request.
func TestRT19Entities(t *testing.T) {
	var requests atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	defer server.Close()
	laughs := "<!DOCTYPE lolz [<!ENTITY lol \"lol\">"
	for i := 1; i < 10; i++ {
		laughs += fmt.Sprintf("<!ENTITY lol%d \"%s\">", i, strings.Repeat(fmt.Sprintf("&lol%d;", i-1), 10))
	}
	for name, xml := range map[string]string{
		"billion laughs":   laughs + "]><smses><sms body=\"&lol9;\"/></smses>",
		"external entity":  `<!DOCTYPE x [<!ENTITY e SYSTEM "` + server.URL + `/e">]><smses><sms body="&e;"/></smses>`,
		"local file":       `<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><smses><sms body="&e;"/></smses>`,
		"external subset":  `<!DOCTYPE smses SYSTEM "` + server.URL + `/dtd"><smses/>`,
		"parameter entity": `<!DOCTYPE x [<!ENTITY % p SYSTEM "` + server.URL + `/p"> %p;]><smses/>`,
		"late":             `<smses><sms body="x"/><!DOCTYPE x><sms body="y"/></smses>`,
		"inside":           `<smses><mms><!DOCTYPE x></mms></smses>`,
	} {
		if _, err := read(t, file(t, xml)); !errors.Is(err, format.ErrDoctype) {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := read(t, file(t, `<?xml-stylesheet type="text/xsl" href="`+server.URL+`/sms.xsl"?><smses xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="`+server.URL+`/x"/><sms body="&e; `+server.URL+`"/></smses>`))
	if err != nil || s.records != 1 {
		t.Errorf("a style sheet: %d records, %v", s.records, err)
	}
	if m, _ := message.Decode(s.last.Data); m.Body.S != "&e; "+server.URL {
		t.Errorf("an unknown entity became %q", m.Body.S)
	}
	if n := requests.Load(); n != 0 {
		t.Errorf("the server saw %d requests", n)
	}
}

func TestRT19Nesting(t *testing.T) {
	deep := strings.Repeat("<a>", 100_000)
	for name, xml := range map[string]string{
		"in the root": "<smses>" + deep,
		"in an MMS":   "<smses><mms>" + deep,
		"in parts":    "<smses><mms><parts>" + deep,
		"again":       "<smses>" + strings.Repeat("<mms><parts>", 100_000),
		"in a part":   "<smses><mms><parts><part>" + deep,
	} {
		if s, err := read(t, file(t, xml)); !errors.Is(err, format.ErrDepth) {
			t.Errorf("%s: %v, %d changes", name, err, len(s.changes))
		}
	}
}

// repeated is a file that is too large to be made: one piece over and over.
type repeated struct {
	head, piece, tail string
	times             int
}

func (r *repeated) write(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "sms.xml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	io.WriteString(f, r.head)
	for range r.times {
		io.WriteString(f, r.piece)
	}
	io.WriteString(f, r.tail)
	return path
}

// TestRT19Memory: values of many megabytes are left out and told, and do not take the
// memory. With DECANT_TEST_LARGE they have a gigabyte.
func TestRT19Memory(t *testing.T) {
	const mib = 1 << 20
	block := strings.Repeat("A", mib)
	size, data := 16, 80 // a part's data may have 64 MiB
	if os.Getenv("DECANT_TEST_LARGE") != "" {
		size, data = 1024, 1024
	}
	for name, c := range map[string]struct {
		r       repeated
		records int
		limit   uint64 // MiB that may be allocated
	}{
		"an attribute":        {repeated{"<smses><sms body=\"", block, "\"/><sms body=\"x\"/></smses>", size}, 2, 16},
		"data of a part":      {repeated{"<smses><mms><parts><part ct=\"image/png\" data=\"", block, "\"/></parts></mms><sms body=\"x\"/></smses>", data}, 2, 400},
		"references":          {repeated{"<smses><sms body=\"", strings.Repeat("&#65;", mib/5), "\"/></smses>", 2}, 1, 16 + 1300},
		"a comment":           {repeated{"<smses><!--", block, "--><sms body=\"x\"/></smses>", size}, 1, 8},
		"text":                {repeated{"<smses>", block, "<sms body=\"x\"/></smses>", size}, 1, 8},
		"a name":              {repeated{"<smses><sms ", block, "=\"x\"/></smses>", size}, 0, 8},
		"an unknown element":  {repeated{"<smses><mms><foo a=\"", block, "\"/></mms></smses>", size}, 1, 16},
		"attributes":          {repeated{"<smses><sms ", strings.Repeat("a=\"\" ", mib/5), "/></smses>", 32}, 0, 64},
		"parts":               {repeated{"<smses><mms><parts>", strings.Repeat("<part ct=\"x\"/>", mib/14), "</parts></mms></smses>", 16}, 1, 700},
		"parts of a megabyte": {repeated{"<smses><mms><parts>", "<part text=\"" + block[:mib-100] + "\"/>", "</parts></mms></smses>", data + 10}, 1, 2600},
	} {
		path := c.r.write(t)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := read(t, path)
		runtime.ReadMemStats(&after)
		if err != nil || s.records != c.records {
			t.Errorf("%s: %d records, %v", name, s.records, err)
		}
		if c.records > 0 && name != "a comment" && name != "references" && len(s.changes) == 0 {
			t.Errorf("%s: nothing is told", name)
		}
		if got := (after.TotalAlloc - before.TotalAlloc) / mib; got > c.limit {
			t.Errorf("%s: %d MiB were allocated, limit %d", name, got, c.limit)
		}
		for _, change := range s.changes {
			if len(change.Before) > item.MaxShown {
				t.Errorf("%s: a change repeats %d bytes", name, len(change.Before))
			}
		}
		os.Remove(path)
	}
}

func TestSurveyCountsWhatIsThere(t *testing.T) {
	a, err := Open(file(t, `<calls count="99"><call number="1"/><call number="2"/></calls>`))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	found, err := a.Survey(context.Background())
	if err != nil || len(found) != 1 || found[0].Items != 2 || found[0].Kind != item.Call || found[0].Book != "sms" || !found[0].Can {
		t.Errorf("%+v %v", found, err)
	}
	evil, err := Open(file(t, `<!DOCTYPE x>`))
	if err != nil {
		t.Fatal(err)
	}
	defer evil.Close()
	if found, err := evil.Survey(context.Background()); err != nil || found[0].Can || found[0].Why == "" {
		t.Errorf("%+v %v", found, err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := a.Read(ctx, &sink{}); !errors.Is(err, context.Canceled) {
		t.Errorf("a reading that was stopped: %v", err)
	}
}
