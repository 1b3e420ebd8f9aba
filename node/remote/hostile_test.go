package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
)

// evil answers every request with the bytes of script, raw, behind the real TLS and the
// pinned identity. It counts requests, and how many bytes the device took.
type evil struct {
	script func(c net.Conn)
	asked  atomic.Int32
}

func (e *evil) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.asked.Add(1)
	io.Copy(io.Discard, r.Body)
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	c.SetDeadline(time.Time{})
	e.script(c)
}

func text(s string) func(net.Conn) {
	return func(c net.Conn) { io.WriteString(c, s) }
}

// TestRT16Answers: whatever a server answers, a call ends with a typed error after one
// question, and no text of the server's is in it (E-15).
func TestRT16Answers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\n"
	endless := func(head string) func(net.Conn) {
		return func(c net.Conn) {
			if _, err := io.WriteString(c, head); err != nil {
				return
			}
			b := bytes.Repeat([]byte("1\r\nx\r\n"), 4096)
			for {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		}
	}
	rude := "\x1b[31mcall +1 900 \u202e http://evil.example/"
	cases := map[string]struct {
		script func(net.Conn)
		want   error
	}{
		"length 2^32-1":       {text(ok + "Content-Length: 4294967295\r\n\r\n"), ErrAnswer},
		"length 2^63-1":       {text(ok + "Content-Length: 9223372036854775807\r\n\r\n"), ErrAnswer},
		"endless":             {endless(ok + "Transfer-Encoding: chunked\r\n\r\n"), ErrAnswer},
		"not protobuf":        {text(ok + "Content-Length: 3\r\n\r\n\xff\xff\xff"), ErrAnswer},
		"json":                {text("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("[", 100000)), ErrAnswer},
		"compressed":          {text(ok + "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"), ErrAnswer},
		"empty":               {text(ok + "Content-Length: 0\r\n\r\n"), ErrAnswer},
		"redirect":            {text("HTTP/1.1 307 Temporary Redirect\r\nLocation: http://evil.example/\r\nContent-Length: 0\r\n\r\n"), ErrAnswer},
		"switch":              {text("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: evil\r\n\r\n"), ErrAnswer},
		"status text":         {text("HTTP/1.1 400 " + rude + "\r\nContent-Length: 8\r\n\r\nevilness"), ErrAnswer},
		"status known":        {text("HTTP/1.1 400 " + rude + "\r\nDecant-Status: 107\r\nContent-Length: 8\r\n\r\nevilness"), wire.WrongState},
		"status unknown":      {text("HTTP/1.1 400 Bad\r\nDecant-Status: 999\r\nContent-Length: 0\r\n\r\n"), ErrAnswer},
		"status negative":     {text("HTTP/1.1 400 Bad\r\nDecant-Status: -1\r\nContent-Length: 0\r\n\r\n"), ErrAnswer},
		"status zero":         {text("HTTP/1.1 400 Bad\r\nDecant-Status: 0\r\nContent-Length: 0\r\n\r\n"), ErrAnswer},
		"status two":          {text("HTTP/1.1 400 Bad\r\nDecant-Status: 107\r\nDecant-Status: 203\r\nContent-Length: 0\r\n\r\n"), ErrAnswer},
		"status is text":      {text("HTTP/1.1 400 Bad\r\nDecant-Status: evil 900\r\nContent-Length: 0\r\n\r\n"), ErrAnswer},
		"refusal without end": {endless("HTTP/1.1 410 Gone\r\nDecant-Status: 203\r\nTransfer-Encoding: chunked\r\n\r\n"), wire.Done},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e := &evil{script: c.script}
			s := serve(t, link.Config{Handler: e, FastOnly: true})
			r := open(t, Config{Server: s.Server(), Stall: 20 * time.Second})
			_, err := r.Hello(t.Context())
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if n := e.asked.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
			for _, bad := range []string{"evil", "\x1b", "\u202e", "900"} {
				if strings.Contains(err.Error(), bad) {
					t.Errorf("the server's words are in the error: %q", err)
				}
			}
		})
	}
}

// TestE15Garbage: what is not even HTTP is a broken connection, and net/http's error,
// which quotes it, is not passed on.
func TestE15Garbage(t *testing.T) {
	const rude = "\x1b[31mcall +1 900 http://evil.example/"
	for name, answer := range map[string]string{
		"no http":        rude + "\r\n\r\n",
		"status":         "HTTP/1.1 " + rude + "\r\n\r\n",
		"header":         "HTTP/1.1 200 OK\r\nX: " + rude + "\r\n\r\n",
		"header name":    "HTTP/1.1 200 OK\r\nevil evil: x\r\n\r\n",
		"content length": "HTTP/1.1 200 OK\r\nContent-Length: evil\r\n\r\n",
		"encoding":       "HTTP/1.1 200 OK\r\nTransfer-Encoding: evil\r\n\r\n",
		"chunk":          "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nTransfer-Encoding: chunked\r\n\r\nevil\r\n",
		"long header":    "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("evil", 1<<16) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, link.Config{Handler: &evil{script: text(answer)}, FastOnly: true})
			r := open(t, Config{Server: s.Server(), Carrier: link.Fast, FirstContact: 200 * time.Millisecond})
			_, err := r.Hello(t.Context())
			if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrAnswer) {
				t.Fatalf("error %v", err)
			}
			for _, bad := range []string{"evil", "\x1b", "900", "x1b"} {
				if strings.Contains(err.Error(), bad) {
					t.Errorf("the server's words are in the error: %q", err)
				}
			}
		})
	}
}

// TestRT16Blobs: a blob of no class's length, or with more behind it, is refused or cut.
func TestRT16Blobs(t *testing.T) {
	blob := bytes.Repeat([]byte("b"), wire.BlobSizeS)
	head := "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(len(blob)) + "\r\n\r\n"
	for name, c := range map[string]struct {
		answer string
		want   error
	}{
		"exact":    {head + string(blob), nil},
		"trailing": {head + string(blob) + "HTTP/1.1 200 OK\r\n\r\nmore", nil}, // not read
		"short":    {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nshort", ErrAnswer},
		"long":     {"HTTP/1.1 200 OK\r\nContent-Length: 4294967295\r\n\r\n" + string(blob), ErrAnswer},
		"unknown":  {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + string(blob), ErrAnswer},
		"chunked":  {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", ErrAnswer},
		"encoded":  {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n" + head[17:] + string(blob), ErrAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, link.Config{Handler: &evil{script: text(c.answer)}, FastOnly: true})
			r := open(t, Config{Server: s.Server()})
			got, err := r.Session(id.NewSession()).Get(t.Context(), id.NewBlob(), nil)
			if !errors.Is(err, c.want) || err == nil && !bytes.Equal(got, blob) {
				t.Fatalf("%d bytes, %v, want %v", len(got), err, c.want)
			}
		})
	}
	t.Run("put answered at length", func(t *testing.T) {
		s := serve(t, link.Config{Handler: &evil{script: text("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000))}, FastOnly: true})
		r := open(t, Config{Server: s.Server()})
		if err := r.Session(id.NewSession()).Put(t.Context(), id.NewBlob(), blob); !errors.Is(err, ErrAnswer) {
			t.Fatal(err)
		}
	})
}

// TestE16Stalls: a server that stops, or goes on at 1 B/s, in any state, is given up
// after Stall and asked again, and the device is told.
func TestE16Stalls(t *testing.T) {
	drip := func(head string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, head)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for range tick.C {
				if _, err := io.WriteString(c, "x"); err != nil {
					return
				}
			}
		}
	}
	hang := func(head string) func(net.Conn) {
		return func(c net.Conn) {
			io.WriteString(c, head)
			io.Copy(io.Discard, c) // until the device hangs up
		}
	}
	const control = "HTTP/1.1 200 OK\r\nContent-Type: application/proto\r\nContent-Length: 100000\r\n\r\n"
	for name, script := range map[string]func(net.Conn){
		"no answer":   hang(""),
		"half header": hang("HTTP/1.1 200 OK\r\nContent-"),
		"half body":   hang(control + "x"),
		"slow header": drip("HTTP/1.1 200 OK\r\nX: "),
		"slow body":   drip(control),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := &evil{script: script}
			s := serve(t, link.Config{Handler: e, FastOnly: true})
			told := make(chan error, 16)
			r := open(t, Config{Server: s.Server(), Stall: 200 * time.Millisecond, Notice: func(n Notice) {
				if n.Retrying {
					told <- n.Err
				}
			}})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Mailbox(id.NewScope()).Ack(ctx, 1) }()
			if err := <-told; !errors.Is(err, ErrStalled) {
				t.Errorf("notice says %v", err)
			}
			cancel()
			if err := <-done; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrStalled) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestE17Redirect: the pinned server can't send a device elsewhere, nor can another one
// answer in its place, and neither is asked twice.
func TestE17Redirect(t *testing.T) {
	elsewhere := &evil{script: text("HTTP/1.1 200 OK\r\n\r\n")}
	other := serve(t, link.Config{Handler: elsewhere, FastOnly: true})
	for _, code := range []int{301, 302, 303, 307, 308, 421} {
		e := &evil{script: text(fmt.Sprintf("HTTP/1.1 %d x\r\nLocation: http://%s/\r\nAlt-Svc: h2=\":1\"\r\nContent-Length: 0\r\n\r\n", code, other.Addr()))}
		s := serve(t, link.Config{Handler: e, FastOnly: true})
		r := open(t, Config{Server: s.Server()})
		if _, err := r.Session(id.NewSession()).Get(t.Context(), id.NewBlob(), nil); !errors.Is(err, ErrAnswer) || e.asked.Load() != 1 {
			t.Errorf("%d: %v after %d requests", code, err, e.asked.Load())
		}
	}
	at := other.Server()
	at.Peer = newDevice().Peer()
	r := open(t, Config{Server: at})
	if _, err := r.Hello(t.Context()); !errors.Is(err, link.ErrWrongServer) {
		t.Error(err)
	}
	if n := elsewhere.asked.Load(); n != 0 {
		t.Errorf("the other server got %d requests", n)
	}
}

// TestRT16Fields: answers that parse and can't be true.
func TestRT16Fields(t *testing.T) {
	b16, b32 := make([]byte, 16), make([]byte, 32)
	year := func(y int) int64 { return time.Date(y, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli() }
	hello := func(change func(*serverpb.HelloResponse)) proto.Message {
		m := &serverpb.HelloResponse{Version: 1, Incarnation: b16, TimeUnixMs: year(2030), MaxExpirySeconds: 60}
		change(m)
		return m
	}
	status := func(change func(*serverpb.StatusResponse)) proto.Message {
		m := &serverpb.StatusResponse{State: serverpb.State_STATE_SEALED, Committed: true, Final: true, Sender: b32, Receiver: b32, Pinned: true, ExpiresUnixMs: year(2030)}
		change(m)
		return m
	}
	fetch := func(es ...*serverpb.Envelope) proto.Message { return &serverpb.FetchResponse{Messages: es} }
	many := make([]*serverpb.Envelope, wire.MaxFetch+1)
	for i := range many {
		many[i] = &serverpb.Envelope{Sequence: uint64(i + 10), From: b32}
	}
	ask := map[string]func(*Remote) error{
		"hello":  func(r *Remote) error { _, err := r.Hello(t.Context()); return err },
		"status": func(r *Remote) error { _, err := r.Status(t.Context(), id.Session{1}); return err },
		"fetch":  func(r *Remote) error { _, _, err := r.Mailbox(id.Scope{}).Fetch(t.Context(), 7, 0); return err },
		"root":   func(r *Remote) error { _, err := r.GetRoot(t.Context(), id.Session{1}, 5, 0); return err },
		"claim":  func(r *Remote) error { _, err := r.Claim(t.Context(), Claim{Session: id.Session{1}}); return err },
		"scope":  func(r *Remote) error { _, err := r.ResolveScope(t.Context(), id.Scope{1}); return err },
		"has": func(r *Remote) error {
			_, err := r.Session(id.Session{1}).Has(t.Context(), make([]id.Blob, 3))
			return err
		},
	}
	for _, c := range []struct {
		name, ask string
		answer    proto.Message
		want      error
	}{
		{"control", "hello", hello(func(*serverpb.HelloResponse) {}), nil},
		{"year 9999", "hello", hello(func(m *serverpb.HelloResponse) { m.TimeUnixMs = year(9999) }), nil}, // a time, if a wrong one
		{"year 10000", "hello", hello(func(m *serverpb.HelloResponse) { m.TimeUnixMs = year(10000) }), ErrAnswer},
		{"before 1970", "hello", hello(func(m *serverpb.HelloResponse) { m.TimeUnixMs = -1 }), ErrAnswer},
		{"expiry overflows", "hello", hello(func(m *serverpb.HelloResponse) { m.MaxExpirySeconds = 1 << 62 }), ErrAnswer},
		{"other version", "hello", hello(func(m *serverpb.HelloResponse) { m.Version = 2 }), wire.Version1},
		{"no incarnation", "hello", hello(func(m *serverpb.HelloResponse) { m.Incarnation = nil }), ErrAnswer},
		{"control", "status", status(func(*serverpb.StatusResponse) {}), nil},
		{"unknown state", "status", status(func(m *serverpb.StatusResponse) { m.State = 77 }), ErrAnswer},
		{"no state", "status", status(func(m *serverpb.StatusResponse) { m.State = 0 }), ErrAnswer},
		{"final, never committed", "status", status(func(m *serverpb.StatusResponse) { m.Committed = false }), ErrAnswer},
		{"sealed, not final", "status", status(func(m *serverpb.StatusResponse) { m.Final = false }), ErrAnswer},
		{"pinned before a claim", "status", status(func(m *serverpb.StatusResponse) { m.Receiver = nil }), ErrAnswer},
		{"no sender", "status", status(func(m *serverpb.StatusResponse) { m.Sender = nil }), ErrAnswer},
		{"long pin", "status", status(func(m *serverpb.StatusResponse) { m.Pin = make([]byte, maxNote+1) }), ErrAnswer},
		{"control", "fetch", fetch(&serverpb.Envelope{Sequence: 8, From: b32}, &serverpb.Envelope{Sequence: 9, From: b32}), nil},
		{"old message", "fetch", fetch(&serverpb.Envelope{Sequence: 7, From: b32}), ErrAnswer},
		{"repeated message", "fetch", fetch(&serverpb.Envelope{Sequence: 8, From: b32}, &serverpb.Envelope{Sequence: 8, From: b32}), ErrAnswer},
		{"nobody's message", "fetch", fetch(&serverpb.Envelope{Sequence: 8}), ErrAnswer},
		{"long message", "fetch", fetch(&serverpb.Envelope{Sequence: 8, From: b32, Body: make([]byte, wire.MaxBody+1)}), ErrAnswer},
		{"too many", "fetch", fetch(many...), ErrAnswer},
		{"control", "root", &serverpb.GetRootResponse{Found: true, Epoch: 5, Root: b16, Signature: make([]byte, 64)}, nil},
		{"older epoch", "root", &serverpb.GetRootResponse{Found: true, Epoch: 4, Root: b16, Signature: make([]byte, 64)}, ErrAnswer},
		{"no root", "root", &serverpb.GetRootResponse{Found: true, Epoch: 5, Signature: make([]byte, 64)}, ErrAnswer},
		{"long root", "root", &serverpb.GetRootResponse{Found: true, Epoch: 5, Root: make([]byte, wire.MaxRoot+1), Signature: make([]byte, 64)}, ErrAnswer},
		{"control", "scope", &serverpb.ResolveResponse{Scope: append([]byte{1}, b16[1:]...), Owner: b32}, nil},
		{"another scope", "scope", &serverpb.ResolveResponse{Scope: b16, Owner: b32}, ErrAnswer},
		{"no class", "claim", &serverpb.ClaimResponse{Session: b16, Sender: b32, SizeClass: 258}, ErrAnswer},
		{"long grant", "claim", &serverpb.ClaimResponse{Session: b16, Sender: b32, SizeClass: 2, Grant: make([]byte, wire.MaxGrant+1)}, ErrAnswer},
		{"half a share", "claim", &serverpb.ClaimResponse{Session: b16, Sender: b32, SizeClass: 2, Share: b16}, ErrAnswer},
		{"control", "has", &serverpb.HasResponse{Present: []byte{0b101}}, nil},
		{"too few", "has", &serverpb.HasResponse{}, ErrAnswer},
		{"too many", "has", &serverpb.HasResponse{Present: []byte{0, 0}}, ErrAnswer},
		{"stray bit", "has", &serverpb.HasResponse{Present: []byte{0b1000}}, ErrAnswer},
	} {
		t.Run(c.ask+"/"+c.name, func(t *testing.T) {
			b, err := proto.Marshal(c.answer)
			if err != nil {
				t.Fatal(err)
			}
			r := open(t, Config{Transport: answers(b)})
			if err := ask[c.ask](r); !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
		})
	}
}

// answers is a transport that gives one control answer to everything.
type answers []byte

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body.Close()
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {contentType}}, ContentLength: int64(len(a)),
		Body: io.NopCloser(bytes.NewReader(a)), Request: r}, nil
}

// FuzzAnswers: no control answer makes a call panic, and what is believed is in range.
func FuzzAnswers(f *testing.F) {
	for _, m := range []proto.Message{
		&serverpb.HelloResponse{Version: 1, Incarnation: make([]byte, 16), TimeUnixMs: 1},
		&serverpb.FetchResponse{Messages: []*serverpb.Envelope{{Sequence: 1, From: make([]byte, 32), Body: []byte("x")}}},
		&serverpb.StatusResponse{State: 1, Sender: make([]byte, 32)},
		&serverpb.HasResponse{Present: []byte{1}},
		&serverpb.GetRootResponse{Found: true, Root: []byte("r"), Signature: make([]byte, 64)},
		&serverpb.ClaimResponse{Session: make([]byte, 16), Sender: make([]byte, 32), SizeClass: 1},
	} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := open(t, Config{Transport: answers(b)})
		ctx := t.Context()
		if h, err := r.Hello(ctx); err == nil && (h.Version != wire.Version || h.MaxExpiry < 0) {
			t.Errorf("hello %+v", h)
		}
		if msgs, _, err := r.Mailbox(id.Scope{}).Fetch(ctx, 0, 0); err == nil {
			last := uint64(0)
			for _, m := range msgs {
				if m.Sequence <= last || len(m.Body) > wire.MaxBody {
					t.Errorf("message %d after %d", m.Sequence, last)
				}
				last = m.Sequence
			}
		}
		if st, err := r.Status(ctx, id.Session{1}); err == nil && (st.State < Opened || st.State > Revoked || st.Pinned && st.Receiver.IsZero() && len(b) < 32) {
			t.Errorf("status %+v", st)
		}
		if has, err := r.Session(id.Session{1}).Has(ctx, make([]id.Blob, 5)); err == nil && len(has) != 5 {
			t.Errorf("has %v", has)
		}
		if root, err := r.GetRoot(ctx, id.Session{1}, 3, 0); err == nil && root != nil && (root.Epoch < 3 || len(root.Sealed) > wire.MaxRoot) {
			t.Errorf("root of epoch %d", root.Epoch)
		}
		if c, err := r.Claim(ctx, Claim{Session: id.Session{1}}); err == nil && (c.Class.BlobSize() == 0 || len(c.Grant) > wire.MaxGrant) {
			t.Errorf("claim %+v", c)
		}
	})
}
