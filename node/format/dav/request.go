package dav

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxRedirects is how often a request is sent on before we take it for a loop.
const maxRedirects = 5

// request is one question to the server.
type request struct {
	method string
	url    *url.URL
	header map[string]string
	body   []byte
	limit  int64 // of the answer's bytes
	once   bool  // it must not be repeated when the answer is lost: the caller finds out what has happened
}

// answer is what came back. Its body must be closed.
type answer struct {
	status int
	header http.Header
	url    *url.URL // where it came from, after redirects
	body   io.ReadCloser
}

// do sends a request until there is an answer, and returns a *StatusError for one that is
// no success. The end of ctx, or of Limits.Timeout, ends reading the body too.
func (s *Server) do(ctx context.Context, r request) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.limits.Timeout)
	a, err := s.insist(ctx, r)
	if err != nil {
		cancel()
		return nil, err
	}
	a.body = &limited{body: a.body, left: r.limit, cancel: cancel}
	if a.status/100 == 2 {
		return a, nil
	}
	defer a.body.Close()
	return nil, refusal(a)
}

// insist repeats a request while the server is busy or the connection breaks.
func (s *Server) insist(ctx context.Context, r request) (*answer, error) {
	pause := s.limits.Pause
	for attempt := 1; ; attempt++ {
		a, err := s.follow(ctx, r)
		wait := pause
		switch {
		case err != nil:
			if r.once || !transient(err) {
				return nil, err
			}
		case a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable:
			wait = max(wait, retryAfter(a.header))
		default:
			return a, nil
		}
		if attempt >= s.limits.Attempts {
			return a, err
		}
		if a != nil {
			a.body.Close()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(min(wait, s.limits.MaxPause)):
		}
		pause *= 2
	}
}

// transient reports whether an error is of the connection, so that trying again may help.
func transient(err error) bool {
	var foreign *ForeignError
	return !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, ErrPassword) &&
		!errors.Is(err, ErrHostile) && !errors.Is(err, errAsking) && !errors.As(err, &foreign)
}

func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || seconds < 0 || seconds > 3600 {
		return 0
	}
	return time.Duration(seconds) * time.Second
}

// follow sends a request and goes where the server sends it on to, if that is an origin that may have it.
func (s *Server) follow(ctx context.Context, r request) (*answer, error) {
	for range maxRedirects {
		a, err := s.authorized(ctx, r)
		if err != nil {
			return nil, err
		}
		switch a.status {
		case http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		default:
			return a, nil
		}
		a.body.Close()
		next, err := r.url.Parse(a.header.Get("Location"))
		if err != nil || next.Host == "" || next.User != nil {
			return nil, fmt.Errorf("%w: a redirect to nowhere", ErrHostile)
		}
		if err := s.allowed(next); err != nil {
			return nil, err
		}
		r.url = next
	}
	return nil, fmt.Errorf("%w: too many redirects", ErrHostile)
}

// allowed reports whether a URL may be asked, and told the password. The server may lead from http to https.
func (s *Server) allowed(u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("%w: a redirect to something else than a web server", ErrHostile)
	}
	o := origin(u)
	if s.origins[o] {
		return nil
	}
	if encrypted(u) && !encrypted(s.root) && u.Hostname() == s.root.Hostname() && u.Port() == "" {
		return nil
	}
	return &ForeignError{Origin: shortened(o)}
}

// authorized sends a request as the user, and once more if the server wants to know it in another way.
func (s *Server) authorized(ctx context.Context, r request) (*answer, error) {
	for attempt := 0; ; attempt++ {
		a, err := s.send(ctx, r)
		if err != nil {
			return nil, err
		}
		if a.status != http.StatusUnauthorized {
			return a, nil
		}
		again := attempt == 0 && s.challenged(a.header)
		a.body.Close()
		switch {
		case s.ask == nil:
			return nil, fmt.Errorf("%w: none were given", ErrPassword)
		case !again:
			return nil, ErrPassword
		}
	}
}

func (s *Server) send(ctx context.Context, r request) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.body == nil {
		req.Body, req.ContentLength = nil, 0
	}
	for k, v := range r.header {
		req.Header.Set(k, v)
	}
	req.Header.Set("User-Agent", "Decant")
	if err := s.authorize(ctx, req); err != nil {
		return nil, err
	}
	resp, err := s.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return nil, fmt.Errorf("dav: %s: %w", r.method, err)
	}
	return &answer{status: resp.StatusCode, header: resp.Header, url: r.url, body: resp.Body}, nil
}

// limited is a body of which no more than left bytes can be read.
type limited struct {
	body   io.ReadCloser
	left   int64
	cancel context.CancelFunc
}

func (l *limited) Read(p []byte) (int, error) {
	if l.left < 0 {
		return 0, ErrTooLarge
	}
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.body.Read(p)
	l.left -= int64(n)
	if l.left < 0 {
		return n, ErrTooLarge
	}
	return n, err
}

func (l *limited) Close() error {
	defer l.cancel()
	return l.body.Close()
}

// write sends a request that changes something. Some servers answer it with a multistatus that says no.
func (s *Server) write(ctx context.Context, r request) (http.Header, error) {
	r.limit, r.once = 1<<20, true
	a, err := s.do(ctx, r)
	if err != nil {
		return nil, err
	}
	defer a.body.Close()
	if a.status != http.StatusMultiStatus {
		return a.header, nil
	}
	_, err = eachResponse(a.body, maxValue, func(r *response) error {
		if r.status >= 300 {
			return &StatusError{Status: r.status, Words: shortened(r.words)}
		}
		return nil
	})
	return a.header, err
}

// maxWords is how much of a server's explanation is kept.
const maxWords = 300

// refusal makes an error of an answer that is no success. Of an XML answer, it keeps the names of the conditions that were not met and the text.
func refusal(a *answer) error {
	text, err := io.ReadAll(io.LimitReader(a.body, 16<<10))
	if err != nil {
		text = nil
	}
	e := &StatusError{Status: a.status}
	kind := a.header.Get("Content-Type")
	switch {
	case strings.Contains(kind, "xml"):
		e.Words = conditions(text)
	case strings.HasPrefix(kind, "text/plain"), kind == "":
		e.Words = shortened(string(text))
	}
	if e.Words == http.StatusText(a.status) {
		e.Words = ""
	}
	return e
}

// shortened makes a server's text presentable: one line, no control characters, not long.
func shortened(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "?")), " ")
	if len(text) > maxWords {
		text = text[:maxWords]
		for !utf8.ValidString(text) {
			text = text[:len(text)-1]
		}
	}
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return '?'
		}
		return r
	}, text)
}
