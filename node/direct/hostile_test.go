package direct

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
)

// once asks one control call, once.
func (w *world) once(from id.Peer, name string, m proto.Message) error {
	w.t.Helper()
	body, err := proto.Marshal(m)
	must(w.t, err)
	if s := w.request(from, http.MethodPost, callPath+name, contentType, body, nil); s != wire.OK {
		return wire.Fail(s, name)
	}
	return nil
}

func rid() []byte { r := id.NewRequest(); return r[:] }

func openRequest(sid id.Session) *serverpb.OpenRequest {
	return &serverpb.OpenRequest{RequestId: rid(), Session: sid[:], SizeClass: 1, DeclaredBlobs: 1}
}

func pinRequest(sid id.Session, to id.Peer) *serverpb.PinRequest {
	return &serverpb.PinRequest{Session: sid[:], Receiver: to[:], Pin: []byte("pin")}
}

func postRequest(scope id.Scope, to id.Peer) *serverpb.PostRequest {
	return &serverpb.PostRequest{RequestId: rid(), Scope: scope[:], To: to[:], Body: []byte("1")}
}

func commitRequest(sid id.Session, epoch uint64, final bool) *serverpb.CommitRequest {
	return &serverpb.CommitRequest{Session: sid[:], Epoch: epoch, Final: final, Root: []byte("root"), Signature: make([]byte, 64)}
}

func finishRequest(sid id.Session) *serverpb.FinishRequest {
	return &serverpb.FinishRequest{Session: sid[:], Ack: []byte("ack")}
}

// describe says what the desk knows, with nothing that a restart may change.
func (d *Desk) describe() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []string
	if d.session != nil {
		out = append(out, "session "+string(d.session.encode()))
	}
	if d.root != nil {
		out = append(out, fmt.Sprintf("root %x", encodeRoot(d.root)))
	}
	for _, o := range d.offers {
		out = append(out, "offer "+string(o.encode()))
	}
	for _, p := range d.plates {
		out = append(out, fmt.Sprintf("plate %x", p.encode()))
	}
	for scope, b := range d.boxes {
		out = append(out, fmt.Sprintf("box %v %x %v", scope, b.encode(), b.letters))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

// TestMalformedRequests sends every call with fields of wrong lengths, too long, not
// protobuf at all, and in another content type.
func TestMalformedRequests(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	before := w.describe()
	for name, c := range calls {
		for what, body := range map[string][]byte{
			"garbage":        bytes.Repeat([]byte{0xff}, 20),
			"a wrong length": {0x0a, 3, 1, 2, 3}, // field 1 is bytes in all but Hello and Resolve
			"empty":          {},
		} {
			if s := w.request(v.peer, http.MethodPost, callPath+name, contentType, body, nil); s != wire.Malformed && (name != "Hello" || s != wire.Version1) {
				t.Errorf("%s, %s: %v", name, what, s)
			}
		}
		long := make([]byte, c.limit+1)
		for _, declared := range []int64{int64(len(long)), -1} {
			s := w.request(v.peer, http.MethodPost, callPath+name, contentType, long, func(r *http.Request) { r.ContentLength = declared })
			if s != wire.TooLarge {
				t.Errorf("%s, %d bytes declared as %d: %v", name, len(long), declared, s)
			}
		}
		for _, ct := range []string{"", "application/json", "application/grpc", contentType + "; charset=utf-8"} {
			if s := w.request(v.peer, http.MethodPost, callPath+name, ct, nil, nil); s != wire.Malformed {
				t.Errorf("%s as %q: %v", name, ct, s)
			}
		}
		gzip := func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }
		if s := w.request(v.peer, http.MethodPost, callPath+name, contentType, nil, gzip); s != wire.Malformed {
			t.Errorf("%s, compressed: %v", name, s)
		}
		if s := w.request(v.peer, http.MethodGet, callPath+name, contentType, nil, nil); s != wire.NotFound {
			t.Errorf("GET %s: %v", name, s)
		}
	}
	many := &serverpb.HasRequest{Session: sid[:]}
	for range wire.MaxHas + 1 {
		many.Names = append(many.Names, rid())
	}
	want(t, w.once(v.peer, "Has", many), wire.Malformed)
	both := &serverpb.ResolveRequest{Nameplate: 1, Scope: rid()}
	want(t, w.once(v.peer, "Resolve", both), wire.Malformed)
	if after := w.describe(); after != before {
		t.Errorf("the desk has changed:\n%s\nbefore:\n%s", after, before)
	}
}

// zeros never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestMalformedBlobs does the same to PUT.
func TestMalformedBlobs(t *testing.T) {
	w := newWorld(t)
	v, sid := w.admitted()
	good := wire.BlobPath + sid.String() + "/" + id.NewBlob().String()
	page := blob()
	note := func(s string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(wire.NoteHeader, s) }
	}
	for name, c := range map[string]struct {
		path string
		body []byte
		edit func(*http.Request)
		want wire.Status
	}{
		"another session":      {wire.BlobPath + id.NewSession().String() + "/" + id.NewBlob().String(), page, nil, wire.NotFound},
		"no name":              {wire.BlobPath + sid.String(), page, nil, wire.Malformed},
		"upper case":           {strings.ToUpper(good), page, nil, wire.NotFound},
		"upper-case name":      {wire.BlobPath + sid.String() + "/" + strings.Repeat("A", 32), page, nil, wire.Malformed},
		"a longer path":        {good + "/x", page, nil, wire.Malformed},
		"out of the spool":     {wire.BlobPath + sid.String() + "/..%2f..%2fx", page, nil, wire.Malformed},
		"a byte too few":       {good, page[1:], nil, wire.Malformed},
		"a byte too many":      {good, append(bytes.Clone(page), 0), nil, wire.TooLarge},
		"no length":            {good, page, func(r *http.Request) { r.ContentLength = -1 }, wire.Malformed},
		"shorter than it says": {good, page[1:], func(r *http.Request) { r.ContentLength = int64(len(page)) }, wire.Malformed},
		"a note too long":      {good, page, note(strings.Repeat("A", 172)), wire.TooLarge},
		"no base64":            {good, page, note("a b"), wire.Malformed},
		"padded":               {good, page, note("YQ=="), wire.Malformed},
		"not canonical":        {good, page, note("YR"), wire.Malformed},
	} {
		if s := w.request(v.peer, http.MethodPut, c.path, "", c.body, c.edit); s != c.want {
			t.Errorf("%s: %v, want %v", name, s, c.want)
		}
	}
	endless := func(r *http.Request) { r.ContentLength, r.Body = -1, io.NopCloser(zeros{}) }
	if s := w.request(v.peer, http.MethodPut, good, "", nil, endless); s != wire.Malformed {
		t.Errorf("a body without an end: %v", s)
	}
	if n := w.deliveries(); n != 0 {
		t.Errorf("%d deliveries", n)
	}
	want(t, v.Session(sid).Deliver(t.Context(), id.NewBlob(), make([]byte, wire.MaxNote+1), page), wire.TooLarge)
	must(t, v.Session(sid).Deliver(t.Context(), id.NewBlob(), make([]byte, wire.MaxNote), page))
}

// FuzzCalls throws bytes at every call, of a stranger and of the sender.
func FuzzCalls(f *testing.F) {
	sid := id.Session{1}
	for i, m := range []proto.Message{openRequest(sid), pinRequest(sid, id.Peer{1}), postRequest(sid.Scope(), id.Peer{1}), commitRequest(sid, 1, true), finishRequest(sid)} {
		b, err := proto.Marshal(m)
		must(f, err)
		f.Add(uint8(i), b)
	}
	var names []string
	for name := range calls {
		names = append(names, name)
	}
	slices.Sort(names)
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		w := newWorld(t)
		must(t, w.Admit(id.Peer{2}, sid))
		name := names[int(which)%len(names)]
		if name == "Fetch" {
			return // may wait, as it was asked
		}
		w.request(id.Peer{2}, http.MethodPost, callPath+name, contentType, body, nil)
		w.request(id.Peer{3}, http.MethodPost, callPath+name, contentType, body, nil)
	})
}
