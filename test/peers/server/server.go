// Package server starts the CardDAV and CalDAV servers that others have written, on
// loopback and with an empty store, so that what Decant says to them is judged by them
// and not by our idea of them.
package server

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// User and Password are what the servers that ask want to hear.
const (
	User     = "ada"
	Password = "correct horse"
)

// readyWithin is how long a server may take to answer: they are scripts, and the machine may be busy.
const readyWithin = 60 * time.Second

// ErrMissing is returned if the program is not installed.
var ErrMissing = errors.New("not installed")

// Server is a running server.
type Server struct {
	Name  string // the program's
	URL   string // of its root, with a slash at the end
	Home  string // path of the collection in which address books and calendars are made
	Books string // of that for address books, if it is another one
	Auth  bool   // it wants User and Password

	program string   // what runs it; "" is Name
	env     []string // for the program, besides ours
	command *exec.Cmd
	log     *tail
	exited  chan struct{}
}

// Radicale starts Radicale with its store in dir. It wants User and Password.
func Radicale(ctx context.Context, dir string) (*Server, error) {
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, []byte(User+":"+Password+"\n"), 0o600); err != nil {
		return nil, err
	}
	return start(ctx, &Server{Name: "radicale", Home: "/" + User + "/", Auth: true}, func(port string) []string {
		return []string{
			"--config", "", "--server-hosts", "127.0.0.1:" + port, "--storage-type", "multifilesystem",
			"--storage-filesystem-folder", filepath.Join(dir, "store"), "--auth-type", "htpasswd", "--auth-htpasswd-filename", users,
			"--auth-htpasswd-encryption", "plain", "--auth-delay", "0", "--web-type", "none", "--logging-level", "warning",
		}
	})
}

// Xandikos starts Xandikos with its store in dir. It asks nobody who he is.
func Xandikos(ctx context.Context, dir string) (*Server, error) {
	return start(ctx, &Server{Name: "xandikos", Home: "/user/"}, func(port string) []string {
		return []string{"-d", filepath.Join(dir, "store"), "--autocreate", "--defaults", "-l", "127.0.0.1", "-p", port}
	})
}

func start(ctx context.Context, s *Server, args func(port string) []string) (*Server, error) {
	program, err := exec.LookPath(cmp.Or(s.program, s.Name))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Name, ErrMissing)
	}
	for attempt := 0; ; attempt++ { // another program may take the port before the server does
		port, err := freePort()
		if err != nil {
			return nil, err
		}
		s.URL, s.log, s.exited = "http://127.0.0.1:"+port+"/", new(tail), make(chan struct{})
		s.command = exec.Command(program, args(port)...)
		s.command.Env = append(os.Environ(), s.env...)
		s.command.Stdout, s.command.Stderr = s.log, s.log
		if err := s.command.Start(); err != nil {
			return nil, err
		}
		go func() {
			s.command.Wait()
			close(s.exited)
		}()
		if err = s.ready(ctx); err == nil {
			return s, nil
		}
		s.Close()
		if attempt == 2 || ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w; it says: %s", s.Name, err, s.Log())
		}
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// ready asks until the server answers anything.
func (s *Server) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodOptions, s.URL, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			return nil
		}
		select {
		case <-s.exited:
			return errors.New("it ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Make creates an address book or a calendar in Home and returns its URL.
func (s *Server) Make(ctx context.Context, name string, book bool) (string, error) {
	home, method, contentType, body := s.Home, "MKCALENDAR", "", ""
	if book {
		home = cmp.Or(s.Books, s.Home)
		method, contentType, body = "MKCOL", "application/xml", `<?xml version="1.0"?><mkcol xmlns="DAV:" xmlns:C="urn:ietf:params:xml:ns:carddav"><set><prop>`+
			`<resourcetype><collection/><C:addressbook/></resourcetype></prop></set></mkcol>`
	}
	url := strings.TrimSuffix(s.URL, "/") + home + name + "/"
	status, answer, err := s.Do(ctx, method, url, contentType, []byte(body))
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("%s %s: %d %s", method, url, status, answer)
	}
	return url, err
}

// Do sends one request and returns the answer.
func (s *Server) Do(ctx context.Context, method, url, contentType string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if s.Auth {
		req.SetBasicAuth(User, Password)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// Log returns the last that the server has said.
func (s *Server) Log() string { return s.log.String() }

// Close ends the server. Its store stays.
func (s *Server) Close() {
	s.command.Process.Kill()
	<-s.exited
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex // guards kept
	kept []byte
}

const tailSize = 1 << 20

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, p...)
	if len(t.kept) > 2*tailSize {
		t.kept = append([]byte(nil), t.kept[len(t.kept)-tailSize:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.kept)
}

// Why returns what the server's log says of the last refusal of a resource, since Radicale tells only "Bad Request", or words
// if that says nothing.
func (s *Server) Why(path, words string) string {
	mark := "Bad PUT request on '" + path + "'"
	log := s.Log()
	i := strings.LastIndex(log, mark)
	if i < 0 {
		return words
	}
	line, _, _ := strings.Cut(log[i+len(mark):], "\n")
	return words + line
}
