// Package dav speaks CardDAV (RFC 6352) and CalDAV (RFC 4791) to a server that somebody
// else runs, in raw bytes: what a resource holds is neither parsed nor written anew on
// its way. It finds address books and calendars (RFC 6764, RFC 5397), lists, reads,
// writes and deletes their resources, and makes new ones (RFC 5689).
//
// A server is not trusted: answers are bounded in size, number, depth and time; document
// types in XML are refused, so that nothing is expanded or fetched; the password goes to
// the origin that the user named, and to those that he allows besides, and to no other;
// paths that lead out of a collection are ignored.
package dav

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/decant-dev/decant/node/item"
)

// Config says which server is asked, and as whom.
type Config struct {
	// URL is of a server, a principal, a collection of address books or calendars, or one of them. Without a
	// scheme it is https. It holds no password: see Password.
	URL string
	// User is the name to log in with; "" is without.
	User string
	// Password is asked once, when the first request is made. It may be nil if User is "".
	Password func(ctx context.Context) (string, error)
	// Plain allows http to a server on another device, where everyone on the way can read and change everything.
	Plain bool
	// Also are further origins, "https://p42-contacts.example.com", that may have the password: some providers keep
	// data elsewhere than they answer.
	Also []string
	// Limits bounds what the server can make us do. The zero value is DefaultLimits.
	Limits Limits
	// Transport carries requests; nil is one of the Server's own. It must not decompress.
	Transport http.RoundTripper
}

// Limits bounds what a server can make us do.
type Limits struct {
	Resource int64         // bytes of one card or calendar object
	Listing  int64         // bytes of one answer that lists resources
	Entries  int           // resources in a collection
	Timeout  time.Duration // of one request with its answer
	Attempts int           // at one request, when the server is busy or the connection breaks
	Pause    time.Duration // before the second attempt; it doubles each time
	MaxPause time.Duration // also if the server wants us to wait longer
}

// DefaultLimits returns the limits that Decant uses.
func DefaultLimits() Limits {
	return Limits{Resource: 32 << 20, Listing: 64 << 20, Entries: 250_000, Timeout: 2 * time.Minute, Attempts: 4,
		Pause: 500 * time.Millisecond, MaxPause: time.Minute}
}

// Server is one that we speak to. It may be used by several goroutines.
type Server struct {
	root    *url.URL
	user    string
	ask     func(context.Context) (string, error)
	limits  Limits
	origins map[string]bool
	http    *http.Client

	mu       sync.Mutex // guards what follows
	password *string    // nil before it was asked
	digest   *challenge // of the last answer that wanted Digest
	count    uint32     // requests with digest.nonce
}

// Errors that callers tell apart.
var (
	ErrPlain    = errors.New("dav: the connection would not be encrypted")
	ErrPassword = errors.New("dav: the server does not accept the user name and password")
	ErrTooLarge = errors.New("dav: the server's answer is larger than allowed")
	ErrHostile  = errors.New("dav: the server's answer is not acceptable")
)

// ForeignError says that the server sends us to another origin, which may not have the
// password unless the user allows it (Config.Also).
type ForeignError struct {
	Origin string // "https://p42-contacts.example.com"; untrusted
}

func (e *ForeignError) Error() string {
	return fmt.Sprintf("dav: the server sends us on to %q, which is not allowed", e.Origin)
}

// StatusError is an answer that is no success.
type StatusError struct {
	Status int    // of HTTP
	Words  string // the server's, shortened; untrusted
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	if e.Words != "" {
		text += ": " + e.Words
	}
	return text
}

// status returns the status of a StatusError, 0 for another error.
func status(err error) int {
	var s *StatusError
	if errors.As(err, &s) {
		return s.Status
	}
	return 0
}

// Collection is an address book or a calendar.
type Collection struct {
	Path       string    // escaped, absolute, with a slash at the end; relative to its Origin
	Origin     string    // scheme and authority
	Name       string    // for people: one line of at most 300 bytes; untrusted
	Kind       item.Kind // Contact or Calendar
	Components []string  // kinds of calendar components that it takes, in capitals; nil is any
	Versions   []string  // of vCard that it announces; nil is unknown
	MaxSize    int64     // of a resource; 0 is unknown
	ReadOnly   bool      // it says that we may not write
	Sync       bool      // it can tell what has changed
	Multiget   bool      // it gives many resources at once
}

// URL returns the collection's address.
func (c *Collection) URL() string { return c.Origin + c.Path }

// Takes reports whether a calendar takes a kind of component ("VTODO").
func (c *Collection) Takes(component string) bool {
	if c.Components == nil {
		return true
	}
	for _, have := range c.Components {
		if strings.EqualFold(have, component) {
			return true
		}
	}
	return false
}

// Open prepares to speak to a server; nothing is sent yet.
func Open(config Config) (*Server, error) {
	root, err := parseAddress(config.URL)
	if err != nil {
		return nil, err
	}
	if config.Limits == (Limits{}) {
		config.Limits = DefaultLimits()
	}
	s := &Server{root: root, user: config.User, ask: config.Password, limits: config.Limits, origins: map[string]bool{origin(root): true}}
	if s.user == "" {
		s.ask = nil
	} else if s.ask == nil {
		return nil, errors.New("dav: a user name without a password")
	}
	for _, also := range append([]string{origin(root)}, config.Also...) {
		u, err := url.Parse(also)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("dav: %q is no origin", also)
		}
		if !encrypted(u) && !loopback(u) && !config.Plain {
			return nil, fmt.Errorf("%w: %s", ErrPlain, origin(u))
		}
		s.origins[origin(u)] = true
	}
	transport := config.Transport
	if transport == nil {
		transport = ownTransport()
	}
	s.http = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return s, nil
}

// ownTransport neither decompresses, so that entity tags and lengths are those of the bytes that we get, nor keeps many connections.
func ownTransport() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true
	t.MaxConnsPerHost = 4
	t.MaxIdleConnsPerHost = 4
	t.MaxResponseHeaderBytes = 64 << 10
	t.ResponseHeaderTimeout = time.Minute
	return t
}

// parseAddress reads what the user typed. A password in it is refused: other programs can read command lines.
func parseAddress(address string) (*url.URL, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("dav: not the address of a server")
	}
	if u.User != nil {
		if _, has := u.User.Password(); has {
			return nil, errors.New("dav: the address holds a password, which others on this device could read: give it another way")
		}
		return nil, errors.New("dav: the address holds a user name: give it another way")
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if u.Path == "" {
		u.Path = "/"
	}
	return u, nil
}

// Close lets go of idle connections.
func (s *Server) Close() error {
	s.http.CloseIdleConnections()
	return nil
}

func encrypted(u *url.URL) bool { return strings.EqualFold(u.Scheme, "https") }

// loopback reports whether a URL is of this device. Only addresses and "localhost" count, which need no name server.
func loopback(u *url.URL) bool {
	name := u.Hostname()
	return strings.EqualFold(name, "localhost") || net.ParseIP(name).IsLoopback()
}

// origin returns scheme and authority, without the scheme's usual port.
func origin(u *url.URL) string {
	scheme, port := strings.ToLower(u.Scheme), u.Port()
	name := strings.ToLower(u.Hostname())
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port == "" || scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		return scheme + "://" + name
	}
	return scheme + "://" + name + ":" + port
}
