package server_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/serverpb/serverpbconnect"
	"github.com/decant-dev/decant/server"
)

// TestRelay: the relay serves two devices from when they share a session until it ends, and nobody else.
func TestRelay(t *testing.T) {
	s, err := server.New(server.Config{Dir: t.TempDir(), Watermark: 1, Caller: link.PeerFrom})
	if err != nil {
		t.Fatal(err)
	}
	l, err := link.Listen(link.Config{Device: key.NewDevice(), Handler: s.Handler(), Listen: "127.0.0.1:0",
		Relay: &link.RelayConfig{Reserve: s.RelayReserve, Allow: s.RelayAllow, Account: s.RelayAccount, Gauge: s.RelayGauge}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	old, young := key.NewDevice(), key.NewDevice()
	receiver := endpoint(t, young, l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "here") }))
	sender := endpoint(t, old, l, nil)
	d := sender.Dial(young.Peer())
	t.Cleanup(func() { d.Close() })
	ask := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, link.BaseURL+"/", nil)
		if err != nil {
			return err
		}
		resp, err := d.RoundTrip(r)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := ask(2 * time.Second); err == nil {
		t.Fatal("relayed without a session")
	}

	c, err := link.NewDialer(link.DialConfig{Device: old, Server: l.Server(), Carrier: link.Fast})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	as := &carried{t, c}
	sid := as.open()
	peer := young.Peer()
	as.call(serverpbconnect.DecantPinProcedure, &serverpb.PinRequest{Session: sid[:], Receiver: peer[:], Pin: make([]byte, 100)})
	receiver.Reach(old.Peer(), []string{}) // as after pairing; it makes the endpoint ask for a reservation
	for deadline := time.Now().Add(time.Minute); ask(5*time.Second) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("not relayed within a session")
		}
	}
	if d.Path() != link.PathRelayed {
		t.Fatalf("path %v", d.Path())
	}
	metrics := scrape(t, s)
	for _, want := range []string{"decant_relay_reservations 1", "decant_relay_circuits 1"} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("metrics lack %q", want)
		}
	}

	as.call(serverpbconnect.DecantRevokeProcedure, &serverpb.RevokeRequest{Session: sid[:]})
	if s.RelayAllow(old.Peer(), young.Peer()) || s.RelayReserve(young.Peer()) {
		t.Error("relays after the session's end")
	}
	if strings.Contains(scrape(t, s), "decant_relay_refused_total 0\n") {
		t.Error("refusals are not counted")
	}
}

// endpoint makes a device that nobody can dial.
func endpoint(t *testing.T, d *key.Device, l *link.Server, h http.Handler) *link.Endpoint {
	t.Helper()
	e, err := link.NewEndpoint(link.EndpointConfig{Device: d, Handler: h, Listen: "127.0.0.1:0", Relay: l.Server(),
		Allow: func(id.Peer) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// scrape is what the operator sees.
func scrape(t *testing.T, s *server.Server) string {
	t.Helper()
	rec := httptest.NewRecorder()
	s.MetricsHandler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	return rec.Body.String()
}

// call makes a control call that must succeed.
func (c *carried) call(procedure string, m proto.Message) {
	c.t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.do(http.MethodPost, procedure, body, nil); err != nil {
		c.t.Fatal(err)
	}
}
