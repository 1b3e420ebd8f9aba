// Package remote is the stored route: it speaks the server protocol of docs/SPEC.md
// section 7 for a device. A Session of it is a blob store, a Mailbox of it a mailbox;
// both carry opaque bytes, and nothing here can decrypt any.
//
// The server is not trusted with anything but keeping and passing on. Every answer is
// capped before it is read and checked before it is believed; of a refusal only the
// status number counts; redirects do not exist; an answer that stops moving is given
// up. What is wrong beyond repair is ErrAnswer.
//
// Every call is one logical operation: it carries one request ID, and is repeated with
// jittered backoff while the network or the server is in trouble, until its context
// ends. Blob names are write-once, so a Put whose outcome is unknown is simply repeated.
package remote

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
)

var (
	// ErrUnreachable reports that the server was never reached within Config.FirstContact.
	ErrUnreachable = errors.New("server is unreachable")

	// ErrAnswer reports an answer that is not of the protocol, or contradicts itself.
	// Asking again does not help.
	ErrAnswer = errors.New("server gave an invalid answer")

	// ErrOlder reports a root of an older epoch than was asked for. It is an ErrAnswer.
	ErrOlder = fmt.Errorf("%w: root older than asked for", ErrAnswer)

	// ErrStalled reports an exchange on which nothing moved for Config.Stall. It is
	// repeated like any failure of the network.
	ErrStalled = errors.New("server stopped answering")
)

// Config configures a Remote. Device and Server are required.
type Config struct {
	Device  link.Device
	Server  id.Server // the pinned identity and address
	Carrier link.Carrier
	Conns   int // connections at a time, 0 means 16; a waiting Fetch or GetRoot holds one

	// Permit goes with every request: this is a cache, and the permit says for whom it works (SPEC 7.9). nil: it is a device.
	Permit []byte

	// FirstContact is how long calls are repeated before the server has ever answered;
	// then they end with ErrUnreachable. 0 means 30 s, negative for ever.
	FirstContact time.Duration

	// MaxElapsed is how long a call is repeated once the server has answered. 0 is until
	// its context ends.
	MaxElapsed time.Duration

	// Stall ends an exchange on which no byte moves, beyond the time that the server
	// was asked to wait. 0 means 30 s.
	Stall time.Duration

	// Notice, if set, is called when calls begin to be repeated and when none is any
	// more. It is called from any goroutine, one call at a time, and must not block.
	Notice func(Notice)

	// Transport replaces the link.Dialer that New makes, in tests. It must close every
	// request's body.
	Transport http.RoundTripper
}

// Notice tells that the connection is in trouble, or no longer.
type Notice struct {
	Retrying bool
	Err      error // why; nil when Retrying is false
}

// Remote is the server as a device sees it. It is safe for concurrent use.
type Remote struct {
	cfg    Config
	http   http.RoundTripper
	dialer *link.Dialer // nil with Config.Transport
	retry  retrier
	permit []string // as it stands in a header
}

// New returns a Remote. It does no I/O. Close it after use.
func New(cfg Config) (*Remote, error) {
	if cfg.Stall <= 0 {
		cfg.Stall = 30 * time.Second
	}
	if cfg.FirstContact == 0 {
		cfg.FirstContact = 30 * time.Second
	}
	r := &Remote{cfg: cfg, http: cfg.Transport}
	r.retry = retrier{first: max(cfg.FirstContact, 0), later: max(cfg.MaxElapsed, 0), notice: cfg.Notice, probe: make(chan struct{}, 1)}
	if cfg.Permit != nil {
		r.permit = []string{base64.RawURLEncoding.EncodeToString(cfg.Permit)}
	}
	if r.http == nil {
		d, err := link.NewDialer(link.DialConfig{Device: cfg.Device, Server: cfg.Server, Carrier: cfg.Carrier, Conns: cfg.Conns, Stall: cfg.Stall,
			Moved: r.retry.kick})
		if err != nil {
			return nil, err
		}
		r.dialer, r.http = d, d
	}
	return r, nil
}

// Server returns the pinned server.
func (r *Remote) Server() id.Server { return r.cfg.Server }

// Carrier returns the carrier of the newest connection, link.Auto if there was none.
func (r *Remote) Carrier() link.Carrier {
	if r.dialer == nil {
		return link.Auto
	}
	return r.dialer.Carrier()
}

// Kick says that the network has changed: calls that wait to be repeated are, soon. A Remote without Config.Transport notices
// by itself.
func (r *Remote) Kick() { r.retry.kick() }

// Close ends every connection. Calls in progress fail.
func (r *Remote) Close() error {
	if r.dialer == nil {
		return nil
	}
	return r.dialer.Close()
}

// do runs one logical operation: attempt, again and again as the errors allow. wait is
// how long the server was asked to wait, which counts against no limit.
func (r *Remote) do(ctx context.Context, op string, wait time.Duration, attempt func(context.Context) error) error {
	err := r.retry.do(ctx, wait, attempt)
	if errors.Is(err, ErrUnreachable) && !r.cfg.Server.IsZero() {
		return fmt.Errorf("%s: %s: %w", op, r.cfg.Server.HostPort(), err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
