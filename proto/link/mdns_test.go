package link

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/decant-dev/decant/proto/id"
)

func testAdvert(t testing.TB) *advert {
	t.Helper()
	a, err := newAdvert(newDevice().Peer(), 4410, map[string]string{"plate": "12345", "role": "new"})
	if err != nil {
		t.Fatal(err)
	}
	a.addrs = []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")}
	return a
}

// TestAdvert: what is announced is what is understood, in an announcement and in an answer.
func TestAdvert(t *testing.T) {
	a := testAdvert(t)
	q, ok := a.asks(packQuery())
	if !ok || !q.direct {
		t.Fatal("the query is not understood")
	}
	for _, asked := range []*question{nil, &q} {
		msg, err := a.pack(asked, adTTL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := parseAdvert(msg)
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Fatalf("%+v, %v; want %+v", got, err, a)
		}
		if len(msg) > 512 {
			t.Errorf("%d bytes: a device that speaks plain DNS takes no more than 512", len(msg))
		}
	}
	if msg, _ := a.pack(nil, 0); msg != nil {
		if got, err := parseAdvert(msg); err == nil {
			t.Fatalf("an advert that was taken back is still %+v", got)
		}
	}
	// Everything random differs each time.
	b, _ := newAdvert(a.peer, a.port, a.note)
	if a.instance == b.instance || a.host == b.host || strings.Contains(a.instance, a.host[:8]) {
		t.Error("names repeat")
	}
}

// TestAdvertNotes: a note that could not be read again is refused.
func TestAdvertNotes(t *testing.T) {
	many := map[string]string{}
	for i := range maxNotes + 1 {
		many[fmt.Sprint("k", i)] = ""
	}
	for _, n := range []map[string]string{many, {"": "x"}, {"v": "2"}, {"peer": "x"}, {"A": "x"}, {"a=b": "x"}, {"a": "é"}, {"a": "\x1b[2J"},
		{"a": strings.Repeat("x", maxNote+1)}, {strings.Repeat("a", maxNoteKey+1): "x"}} {
		if _, err := newAdvert(id.Peer{1}, 1, n); err == nil {
			t.Errorf("accepted %q", n)
		}
	}
}

// TestRT17PoisonedAdverts: a message that is not exactly an advert is none.
func TestRT17PoisonedAdverts(t *testing.T) {
	a := testAdvert(t)
	good, err := a.pack(nil, adTTL)
	if err != nil {
		t.Fatal(err)
	}
	for i := range good { // truncated anywhere
		if _, err := parseAdvert(good[:i]); err == nil {
			t.Errorf("cut to %d bytes: accepted", i)
		}
	}
	for name, change := range map[string]func(m *dnsmessage.Message){
		"two services":  func(m *dnsmessage.Message) { m.Answers = append(m.Answers, m.Answers[1]) },
		"two texts":     func(m *dnsmessage.Message) { m.Answers = append(m.Answers, m.Answers[2]) },
		"no text":       func(m *dnsmessage.Message) { m.Answers = slices.Delete(m.Answers, 2, 3) },
		"other version": func(m *dnsmessage.Message) { m.Answers[2].Body.(*dnsmessage.TXTResource).TXT[0] = "v=2" },
		"no identity":   func(m *dnsmessage.Message) { m.Answers[2].Body.(*dnsmessage.TXTResource).TXT[1] = "peer=" },
		"rsa identity": func(m *dnsmessage.Message) {
			m.Answers[2].Body.(*dnsmessage.TXTResource).TXT[1] = "peer=QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
		},
		"escape sequence": func(m *dnsmessage.Message) { m.Answers[2].Body.(*dnsmessage.TXTResource).TXT[2] = "plate=\x1b[2J" },
		"key twice":       func(m *dnsmessage.Message) { m.Answers[2].Body.(*dnsmessage.TXTResource).TXT[2] = "role=old" },
		"port 0":          func(m *dnsmessage.Message) { m.Answers[1].Body.(*dnsmessage.SRVResource).Port = 0 },
		"other service": func(m *dnsmessage.Message) {
			for i := range m.Answers[1:3] {
				m.Answers[1+i].Header.Name = dnsmessage.MustNewName("x._other._udp.local.")
			}
		},
		"question": func(m *dnsmessage.Message) { m.Response = false },
		"too many": func(m *dnsmessage.Message) {
			for range maxRecords {
				m.Answers = append(m.Answers, m.Answers[0])
			}
		},
	} {
		var m dnsmessage.Message
		if err := m.Unpack(good); err != nil {
			t.Fatal(err)
		}
		change(&m)
		msg, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := parseAdvert(msg); err == nil {
			t.Errorf("%s: accepted as %+v", name, got)
		}
	}
}

// TestRT17AdvertAddrs: an advert that names addresses elsewhere leads nobody there, and a flood of devices ends.
func TestRT17AdvertAddrs(t *testing.T) {
	var got []Found
	b := &browser{found: func(f Found) { got = append(got, f) }, seen: map[id.Peer]*sighting{}}
	b.mouth.nets = []netip.Prefix{netip.MustParsePrefix("192.168.1.5/24"), netip.MustParsePrefix("127.0.0.1/8")}
	from := netip.MustParseAddrPort("192.168.1.9:5353")
	hear := func(a *advert, from netip.AddrPort) {
		msg, err := a.pack(nil, adTTL)
		if err != nil {
			t.Fatal(err)
		}
		b.hear(nil, segment{}, msg, from)
	}
	a := testAdvert(t)
	a.addrs = nil
	for _, s := range []string{"127.0.0.1", "8.8.8.8", "169.254.169.254", "224.0.0.251", "192.168.1.10", "192.168.2.1", "fe80::1", "0.0.0.0"} {
		a.addrs = append(a.addrs, netip.MustParseAddr(s))
	}
	hear(a, netip.MustParseAddrPort("8.8.8.8:5353"))
	if len(got) != 0 {
		t.Fatalf("from another network: %+v", got)
	}
	hear(a, from)
	if want := []string{"192.168.1.9:4410", "192.168.1.10:4410"}; len(got) != 1 || !slices.Equal(got[0].Addrs, want) {
		t.Fatalf("%+v, want %v", got, want)
	}
	for range 10 * maxFound {
		hear(testAdvert(t), from)
	}
	if len(got) != maxFound {
		t.Fatalf("%d devices reported", len(got))
	}
	for i := range 10 * maxFoundSays {
		a.note = map[string]string{"n": fmt.Sprint(i)}
		hear(a, from)
	}
	if len(got) != maxFound+maxFoundSays-1 {
		t.Fatalf("%d reports", len(got))
	}
}

// TestL1Announcements: questions from other networks get no answer, and a flood of questions a bounded one.
func TestL1Announcements(t *testing.T) {
	a := &announcer{ad: testAdvert(t), addrs: func() []netip.Addr { return nil }}
	spent := 0
	for range 1000 {
		if a.spend() {
			spent++
		}
	}
	if spent > 3*maxAnswers {
		t.Fatalf("%d answers at once", spent)
	}
	for _, name := range []string{"_other._udp.local.", "local.", "x." + mdnsService} {
		b := dnsmessage.NewBuilder(nil, dnsmessage.Header{})
		b.StartQuestions()
		b.Question(dnsmessage.Question{Name: dnsmessage.MustNewName(name), Type: dnsmessage.TypeALL, Class: dnsmessage.ClassINET})
		if _, ok := a.ad.asks(must(b.Finish())); ok {
			t.Errorf("answers to %s", name)
		}
	}
}

// TestAnnounceBrowse: one device finds another on this machine's networks, before and after it asked, and no more once it
// has stopped.
func TestAnnounceBrowse(t *testing.T) {
	t.Parallel()
	if len(segments()) == 0 {
		t.Skip("no interface that can multicast")
	}
	receiver := endpoint(t, EndpointConfig{Handler: echo, Listen: ":0", Local: true})
	note := map[string]string{"plate": "4711"}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	browse := func(ctx context.Context, first func(Found)) error {
		return Browse(ctx, func(f Found) {
			if f.Peer == receiver.self() {
				first(f)
			}
		})
	}
	for _, late := range []bool{false, true} {
		var stop func()
		announce := func() {
			var err error
			if stop, err = receiver.Announce(note); err != nil {
				t.Skipf("multicast is refused here: %v", err)
			}
		}
		if !late {
			announce()
		}
		bctx, done := context.WithCancel(ctx)
		found := make(chan Found, 100)
		ended := make(chan error, 1)
		go func() { ended <- browse(bctx, func(f Found) { found <- f }) }()
		if late {
			announce()
		}
		select {
		case f := <-found:
			if !maps.Equal(f.Note, note) || len(f.Addrs) == 0 {
				t.Fatalf("found %+v", f)
			}
			sender := endpoint(t, EndpointConfig{Local: true})
			d := dialPeer(t, sender, f.Peer, f.Addrs...)
			if _, err := postPeer(ctx, d, ""); err != nil {
				t.Fatalf("at %v: %v", f.Addrs, err)
			}
		case <-ctx.Done():
			t.Fatalf("late=%v: not found", late)
		}
		done()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		stop()
	}
	bctx, done := context.WithTimeout(ctx, 1500*time.Millisecond) // two questions
	defer done()
	if err := browse(bctx, func(f Found) { t.Errorf("still announced: %+v", f) }); err != nil {
		t.Fatal(err)
	}
}

func FuzzAdvert(f *testing.F) {
	a := testAdvert(f)
	q, _ := a.asks(packQuery())
	for _, asked := range []*question{nil, &q} {
		msg, err := a.pack(asked, adTTL)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(msg)
	}
	f.Add(packQuery())
	f.Fuzz(func(t *testing.T, msg []byte) {
		a.asks(msg)
		got, err := parseAdvert(msg)
		if err != nil {
			return
		}
		for k, v := range got.note {
			if !noteOK(k, v) {
				t.Fatalf("note %q=%q", k, v)
			}
		}
		if got.peer.IsZero() && got.port == 0 || len(got.addrs) > MaxAddrs {
			t.Fatalf("%+v", got)
		}
	})
}
