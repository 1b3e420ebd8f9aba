package env

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/server"
)

// Inside is a real server inside the test's process, reached over real connections,
// whose handler a test may wrap to see or change what goes by.
type Inside struct {
	Address id.Server
	Server  *server.Server
	Device  *key.Device
}

// Wrap stands around the server's handler.
type Wrap func(http.Handler) http.Handler

// NewInside starts a server in dir that ends with the test. wrap may be nil, and so may log.
func NewInside(tb testing.TB, dir string, wrap Wrap, log io.Writer) *Inside {
	tb.Helper()
	logger := slog.New(slog.DiscardHandler)
	if log != nil {
		logger = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	device := key.NewDevice()
	s, err := server.New(server.Config{Dir: dir, Self: device.Peer(), Caller: link.PeerFrom, Watermark: 1 << 20, Logger: logger})
	if err != nil {
		tb.Fatal(err)
	}
	h := s.Handler()
	if wrap != nil {
		h = wrap(h)
	}
	in := &Inside{Server: s, Device: device}
	l, err := link.Listen(link.Config{Device: in.Device, Handler: h, Listen: "127.0.0.1:0", FastOnly: true, Logger: logger})
	if err != nil {
		s.Close()
		tb.Fatal(err)
	}
	in.Address = l.Server()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.Drain(ctx)
		l.Shutdown(ctx)
		if err := s.Close(); err != nil {
			tb.Errorf("closing the server: %v", err)
		}
	})
	return in
}
