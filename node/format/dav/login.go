package dav

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"strings"
)

// errAsking marks an error of Config.Password.
var errAsking = errors.New("dav: no password")

// challenge is what a server that wants Digest (RFC 7616) has asked.
type challenge struct {
	realm, nonce, opaque, algorithm string
	qop                             bool // quality of protection "auth"; without, RFC 2069
}

// secret returns the password, which is asked for once.
func (s *Server) secret(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.password == nil {
		p, err := s.ask(ctx)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errAsking, err)
		}
		s.password = &p
	}
	return *s.password, nil
}

// authorize puts the user's proof into a request: Digest if the server has asked for it, else Basic.
func (s *Server) authorize(ctx context.Context, req *http.Request) error {
	if s.ask == nil {
		return nil
	}
	password, err := s.secret(ctx)
	if err != nil {
		return err
	}
	s.mu.Lock()
	c := s.digest
	s.count++
	count := s.count
	s.mu.Unlock()
	if c == nil {
		req.SetBasicAuth(s.user, password)
		return nil
	}
	req.Header.Set("Authorization", c.response(s.user, password, req.Method, req.URL.RequestURI(), count))
	return nil
}

// challenged notes how the server wants to be told who we are, and reports whether it makes sense to try again.
func (s *Server) challenged(h http.Header) bool {
	if s.ask == nil {
		return false
	}
	for _, line := range h.Values("WWW-Authenticate") {
		c, ok := parseDigest(line)
		if !ok {
			continue
		}
		s.mu.Lock()
		s.digest, s.count = c, 0
		s.mu.Unlock()
		return true
	}
	return false
}

// parseDigest reads a Digest challenge of an algorithm that we know.
func parseDigest(line string) (*challenge, bool) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	if !strings.EqualFold(scheme, "Digest") || len(rest) > 4096 {
		return nil, false
	}
	fields := parameters(rest)
	c := &challenge{realm: fields["realm"], nonce: fields["nonce"], opaque: fields["opaque"], algorithm: fields["algorithm"]}
	for _, q := range strings.Split(fields["qop"], ",") {
		c.qop = c.qop || strings.EqualFold(strings.TrimSpace(q), "auth")
	}
	return c, c.nonce != "" && c.hash() != nil && (c.qop || fields["qop"] == "")
}

// parameters reads name=value and name="value", separated by commas.
func parameters(text string) map[string]string {
	out := map[string]string{}
	for text != "" {
		name, rest, ok := strings.Cut(strings.TrimLeft(text, " ,\t"), "=")
		if !ok {
			break
		}
		var value string
		if quoted, is := strings.CutPrefix(rest, `"`); is {
			value, text, _ = strings.Cut(quoted, `"`)
		} else {
			value, text, _ = strings.Cut(rest, ",")
		}
		out[strings.ToLower(strings.TrimSpace(name))] = strings.TrimSpace(value)
	}
	return out
}

func (c *challenge) hash() func() hash.Hash {
	switch strings.ToUpper(c.algorithm) {
	case "", "MD5":
		return md5.New
	case "SHA-256":
		return sha256.New
	}
	return nil
}

func (c *challenge) response(user, password, method, uri string, count uint32) string {
	sum := func(text string) string {
		h := c.hash()()
		h.Write([]byte(text))
		return hex.EncodeToString(h.Sum(nil))
	}
	a1, a2 := sum(user+":"+c.realm+":"+password), sum(method+":"+uri)
	out := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s"`, quote(user), c.realm, c.nonce, uri)
	if c.qop {
		var b [16]byte
		rand.Read(b[:])
		nc, cnonce := fmt.Sprintf("%08x", count), hex.EncodeToString(b[:])
		out += fmt.Sprintf(`, qop=auth, nc=%s, cnonce="%s", response="%s"`, nc, cnonce, sum(strings.Join([]string{a1, c.nonce, nc, cnonce, "auth", a2}, ":")))
	} else {
		out += fmt.Sprintf(`, response="%s"`, sum(a1+":"+c.nonce+":"+a2))
	}
	if c.algorithm != "" {
		out += ", algorithm=" + c.algorithm
	}
	if c.opaque != "" {
		out += fmt.Sprintf(`, opaque="%s"`, c.opaque)
	}
	return out
}

func quote(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) }
