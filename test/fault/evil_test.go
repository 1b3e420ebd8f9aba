package fault

import (
	"bytes"
	"context"
	"math"
	"net/http"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/env"
)

// behaviour is one way of being malicious towards a device that fetches.
type behaviour struct {
	name     string
	do       func(*exchange)
	want     []error              // one of them
	withhold func(*exchange) bool // requests that the real server never sees; nil is none
}

// untrue are the errors of a device that was given something that its sender never made.
var untrue = []error{node.ErrIntegrity, node.ErrServerMisbehave}

// ofBlobs makes a behaviour that changes the bodies of blobs.
func ofBlobs(name string, change func([]byte) []byte) behaviour {
	return behaviour{name, func(x *exchange) {
		if x.call == "GET blob" && x.status == http.StatusOK {
			x.body = change(slices.Clone(x.body))
		}
	}, untrue, nil}
}

func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		b[(at+len(b))%len(b)] ^= 0x10
		return b
	}
}

// ofRoots makes a behaviour that changes the answers of GetRoot.
func ofRoots(name string, change func(*serverpb.GetRootResponse)) behaviour {
	return behaviour{name, func(x *exchange) {
		if x.call == "GetRoot" {
			edit(x, func(m *serverpb.GetRootResponse) {
				if m.Found {
					change(m)
				}
			})
		}
	}, untrue, nil}
}

// try lets a device fetch from a server that behaves so, and then again from an honest one.
func try(t *testing.T, s *stored, b behaviour) {
	t.Helper()
	n := s.device(t, "new")
	s.layer.behave(b.do)
	if b.withhold != nil {
		s.layer.withhold(b.withhold)
	}
	if _, err := s.receive(t, n); !isOneOf(err, b.want...) {
		t.Errorf("error %v, want one of %v", err, b.want)
	}
	s.nothingWritten(t)
	s.thenHonestly(t, n)
}

func TestE4E5ChangedBlobs(t *testing.T) {
	var first []byte
	cases := []behaviour{
		ofBlobs("bit in the salt", flip(3)),
		ofBlobs("bit in the commitment", flip(30)),
		ofBlobs("bit in the first record", flip(100)),
		ofBlobs("bit in the middle", flip(blobSize/2)),
		ofBlobs("bit in the last tag", flip(-1)),
		ofBlobs("one byte short", func(b []byte) []byte { return b[:len(b)-1] }),
		ofBlobs("last record gone", func(b []byte) []byte { return b[:56+(16<<10+16)*15] }),
		ofBlobs("nothing", func(b []byte) []byte { return nil }),
		ofBlobs("one byte more", func(b []byte) []byte { return append(b, 0) }),
		ofBlobs("another record", func(b []byte) []byte { return append(b, b[len(b)-16<<10:]...) }),
		ofBlobs("zeros", func(b []byte) []byte { return make([]byte, len(b)) }),
		ofBlobs("always the first one", func(b []byte) []byte {
			if first == nil {
				first = b
			}
			return first
		}),
		{"not there", func(x *exchange) {
			if x.call == "GET blob" {
				x.refuse(wire.NotFound)
			}
		}, untrue, nil},
	}
	for _, b := range cases {
		t.Run(b.name, func(t *testing.T) { first = nil; try(t, store(t), b) })
	}
}

// TestE5SwappedBlobs answers each request for a blob with the blob that was asked for before it, and, in another case, with
// one of another session of the same sender.
func TestE5SwappedBlobs(t *testing.T) {
	t.Run("within a session", func(t *testing.T) {
		var last []byte
		try(t, store(t), ofBlobs("", func(b []byte) []byte {
			out := last
			if last = b; out == nil {
				return b
			}
			return out
		}))
	})
	t.Run("between sessions", func(t *testing.T) {
		s := store(t)
		var foreign []byte
		s.layer.behave(func(x *exchange) {
			if x.call == "PUT blob" {
				foreign = x.request
			}
		})
		other := s.device(t, "other")
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if _, err := other.Send(ctx, node.SendOptions{Paths: []string{s.src}, Ticket: true, ShowTicket: func(string, string) {}}); err != nil {
			t.Fatal(err)
		}
		try(t, s, ofBlobs("", func([]byte) []byte { return foreign }))
	})
}

func TestE6E7ChangedRoots(t *testing.T) {
	for _, b := range []behaviour{
		ofRoots("bit in the root", func(m *serverpb.GetRootResponse) { m.Root = flip(len(m.Root) / 2)(m.Root) }),
		ofRoots("bit in the salt", func(m *serverpb.GetRootResponse) { m.Root = flip(0)(m.Root) }),
		ofRoots("bit in the signature", func(m *serverpb.GetRootResponse) { m.Signature = flip(5)(m.Signature) }),
		ofRoots("no signature", func(m *serverpb.GetRootResponse) { m.Signature = nil }),
		ofRoots("short root", func(m *serverpb.GetRootResponse) { m.Root = m.Root[:len(m.Root)-1] }),
		ofRoots("no root", func(m *serverpb.GetRootResponse) { m.Root = nil }),
		ofRoots("later epoch", func(m *serverpb.GetRootResponse) { m.Epoch++ }),
		ofRoots("endless epoch", func(m *serverpb.GetRootResponse) { m.Epoch = math.MaxUint64 }),
		ofRoots("root far too large", func(m *serverpb.GetRootResponse) { m.Root = make([]byte, 3<<20) }),
	} {
		t.Run(b.name, func(t *testing.T) { try(t, store(t), b) })
	}
}

// TestE8Rollback serves the root of an older epoch to a device that has seen a newer one.
func TestE8Rollback(t *testing.T) {
	s := store(t)
	var old *serverpb.GetRootResponse
	s.layer.behave(func(x *exchange) {
		if x.call == "GetRoot" {
			edit(x, func(m *serverpb.GetRootResponse) {
				if m.Found && old == nil {
					old = m
				}
			})
		}
	})
	early := s.device(t, "new")
	if _, err := s.receiveIf(t, early, false); !isOneOf(err, node.ErrDeclined) {
		t.Fatalf("a person who says no: %v", err)
	}
	write(t, filepath.Join(s.src, "later.txt"), "later")
	s.send(t)
	s.layer.behave(nil)
	if _, err := s.receiveIf(t, early, false); !isOneOf(err, node.ErrDeclined) {
		t.Fatalf("a person who says no again: %v", err)
	}
	b := behaviour{"", func(x *exchange) {
		if x.call == "GetRoot" {
			edit(x, func(m *serverpb.GetRootResponse) {
				m.Found, m.Epoch, m.Final, m.Root, m.Signature = true, old.Epoch, old.Final, old.Root, old.Signature
			})
		}
	}, []error{node.ErrRollback, node.ErrServerMisbehave}, nil}
	try(t, s, b)
}

// TestE9Version offers versions of the protocol that this device does not speak.
func TestE9Version(t *testing.T) {
	for name, version := range map[string]uint32{"older": 0, "newer": 2} {
		t.Run(name, func(t *testing.T) {
			try(t, store(t), behaviour{"", func(x *exchange) {
				if x.call == "Hello" {
					edit(x, func(m *serverpb.HelloResponse) { m.Version = version })
				}
			}, []error{node.ErrOlderVersion, node.ErrServerMisbehave}, nil})
		})
	}
	t.Run("refused", func(t *testing.T) {
		try(t, store(t), behaviour{"", func(x *exchange) { x.refuse(wire.Version1) }, []error{node.ErrOlderVersion}, nil})
	})
}

// TestE13FalseEnds says that the session is over, done or revoked. Neither device loses anything by it, and the sender is not
// told that it may be wiped.
func TestE13FalseEnds(t *testing.T) {
	for _, status := range []wire.Status{wire.Done, wire.Expired, wire.Revoked, wire.NotFound} {
		t.Run(status.String(), func(t *testing.T) {
			s := store(t)
			lie := behaviour{"", func(x *exchange) {
				if x.call != "Hello" {
					x.refuse(status)
				}
			}, []error{node.ErrSessionOver, node.ErrWrongTicket}, func(x *exchange) bool { return x.call != "Hello" }}
			s.layer.behave(lie.do)
			s.layer.withhold(lie.withhold)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if r, err := s.old.Receipt(ctx, s.sent.Session); err == nil || r != nil {
				t.Errorf("the sender has the receipt %+v, %v", r, err)
			}
			try(t, s, lie)
		})
	}
}

// TestE13ForgedReceipt puts messages into the sender's mailbox that the receiver never sent: noise, and the true receipt of
// another session.
func TestE13ForgedReceipt(t *testing.T) {
	var replayed [][]byte
	other := store(t)
	other.layer.behave(func(x *exchange) {
		if x.call == "Fetch" {
			edit(x, func(m *serverpb.FetchResponse) {
				for _, e := range m.Messages {
					replayed = append(replayed, e.Body)
				}
			})
		}
	})
	if _, err := other.receive(t, other.device(t, "new")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if r, err := other.old.Receipt(ctx, other.sent.Session); err != nil || !r.SafeWipe {
		t.Fatalf("the true receipt: %+v, %v", r, err)
	}
	if len(replayed) == 0 {
		t.Fatal("no message was seen")
	}

	s := store(t)
	n := s.device(t, "new")
	if _, err := s.receiveIf(t, n, false); !isOneOf(err, node.ErrDeclined) {
		t.Fatalf("a person who says no: %v", err)
	}
	forged := append([][]byte{nil, {1}, bytes.Repeat([]byte{0xff}, wire.MaxBody)}, replayed...)
	s.layer.behave(func(x *exchange) {
		if x.call == "Fetch" {
			edit(x, func(m *serverpb.FetchResponse) {
				for i, body := range forged {
					m.Messages = append(m.Messages, &serverpb.Envelope{Sequence: uint64(1000 + i), From: append(make([]byte, 31), 1), Body: body})
				}
			})
		}
	})
	if r, err := s.old.Receipt(ctx, s.sent.Session); r != nil {
		t.Errorf("the sender takes a forged receipt: %+v, %v", r, err)
	}
	s.thenHonestly(t, n)
}

// TestE14Endless answers without end. The device gives up soon, and its memory does not grow with the answer.
func TestE14Endless(t *testing.T) {
	for _, call := range []string{"GET blob", "GetRoot", "Claim", "Hello"} {
		t.Run(call, func(t *testing.T) {
			s := store(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			try(t, s, behaviour{"", func(x *exchange) {
				if x.call == call {
					x.endless = true
				}
			}, append([]error{node.ErrUnreachable}, untrue...), nil})
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapSys) - int64(before.HeapSys); grown > 64<<20 {
				t.Errorf("the heap grew by %d bytes", grown)
			}
			if took := time.Since(began); took > patience {
				t.Errorf("it took %v", took)
			}
		})
	}
}

// TestE15NoTextOfTheServer refuses with texts for terminals, browsers and people, and looks at what a person is shown.
func TestE15NoTextOfTheServer(t *testing.T) {
	bin, err := env.Binary(env.Plain)
	if err != nil {
		t.Fatal(err)
	}
	s := store(t)
	for _, status := range []wire.Status{wire.Malformed, wire.NotFound, wire.QuotaSpace, 999} {
		s.layer.behave(func(x *exchange) {
			x.refuse(status)
			x.body = []byte("\x1b]0;pwned\x07<b>pwned</b> http://pwned.example {\"code\":\"unknown\",\"message\":\"pwned\"}")
			x.header.Set("Content-Type", "application/json")
			x.header.Set("Decant-Message", "pwned")
		})
		for _, c := range []env.Command{
			{Path: bin, Args: []string{"--server", s.in.Address.String(), "--carrier", "fast", "--state", filepath.Join(s.dir, "third"), "send", "--ticket", s.src}},
			{Path: bin, Args: []string{"--server", s.in.Address.String(), "--carrier", "fast", "--state", filepath.Join(s.dir, "fourth"), "receive", "--ticket",
				"--ticket-fd", "3", "--yes", "--to", s.to()}, Secret: s.ticket},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			p, err := env.Start(ctx, c)
			if err != nil {
				t.Fatal(err)
			}
			r := p.Wait()
			cancel()
			shown := r.Stderr
			for _, e := range r.Events {
				shown += e.Raw
			}
			if r.Exit == 0 || strings.Contains(shown, "pwned") || strings.Contains(shown, "\x1b") {
				t.Errorf("status %v: exit code %d, shown: %q", status, r.Exit, shown)
			}
		}
	}
	s.nothingWritten(t)
}

// TestE17Redirect sends devices elsewhere.
func TestE17Redirect(t *testing.T) {
	s := store(t)
	elsewhere := &layer{}
	in := env.NewInside(t, filepath.Join(s.dir, "elsewhere"), elsewhere.wrap, nil)
	try(t, s, behaviour{"", func(x *exchange) {
		x.status, x.body = http.StatusTemporaryRedirect, nil
		x.header = http.Header{"Location": {"http://" + in.Address.HostPort() + x.path}, "Alt-Svc": {`h2="` + in.Address.HostPort() + `"`}}
	}, append([]error{node.ErrUnreachable}, untrue...), nil})
	if len(elsewhere.calls) != 0 {
		t.Errorf("devices went elsewhere: %v", elsewhere.calls)
	}
}
