package env

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// World is an old device, a new device and a server between them, all processes of this
// machine, with everything that they write below Dir. Devices reach the server through
// Proxy. Its methods end the test where something fails that the test is not about.
type World struct {
	Dir    string
	Server *Server
	Proxy  *Proxy
	Ctx    context.Context

	tb  testing.TB
	bin string
}

// WorldOptions say what is unusual about a World.
type WorldOptions struct {
	Build  Build
	Record bool // the proxy records every byte below Dir/wire
	Server ServerOptions
	Limit  time.Duration // for everything; default five minutes
}

// NewWorld starts a server and a proxy, which end with the test.
func NewWorld(tb testing.TB, o WorldOptions) *World {
	tb.Helper()
	bin, err := Binary(o.Build)
	if err != nil {
		tb.Fatal(err)
	}
	if o.Limit == 0 {
		o.Limit = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.Limit)
	tb.Cleanup(cancel)
	w := &World{Dir: tb.TempDir(), Ctx: ctx, tb: tb, bin: bin}
	// Small ballast and no watermark: many servers share the disk of a test machine.
	o.Server.Args = append(o.Server.Args, "--ballast", "1MiB", "--watermark", "1MiB")
	if w.Server, err = StartServer(ctx, bin, filepath.Join(w.Dir, "server"), o.Server); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.Server.Close)
	wire := ""
	if o.Record {
		wire = filepath.Join(w.Dir, "wire")
	}
	if w.Proxy, err = StartProxy(w.Server.HostPort(), wire); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.Proxy.Close)
	return w
}

// StartCache starts a cache that brings things to the server through the proxy, and ends with the test.
func (w *World) StartCache(o ServerOptions) *Server {
	w.tb.Helper()
	return w.StartCacheAt(w.Proxy.Address, o)
}

// StartDetachedCache starts a cache that never reaches the server.
func (w *World) StartDetachedCache(o ServerOptions) *Server {
	w.tb.Helper()
	return w.StartCacheAt("127.0.0.1:9", o)
}

// StartCacheAt starts a cache that finds the server at HOST:PORT.
func (w *World) StartCacheAt(server string, o ServerOptions) *Server {
	w.tb.Helper()
	o.Args = append(o.Args, "--ballast", "1MiB", "--watermark", "1MiB", "--carrier", "fast", w.Server.Via(server))
	c, err := StartCache(w.Ctx, w.bin, filepath.Join(w.Dir, "cache"), o)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(c.Close)
	return c
}

// Path returns a path below Dir.
func (w *World) Path(elem ...string) string {
	return filepath.Join(append([]string{w.Dir}, elem...)...)
}

// Device returns a command of the device whose state lies in Dir/name.
func (w *World) Device(name string, args ...string) Command {
	return Command{Path: w.bin, Args: append([]string{"--json", "--server", w.Server.Via(w.Proxy.Address), "--carrier", "fast",
		"--state", w.Path(name), "--log", w.Path(name + ".log")}, args...)}
}

// Start starts a command; the test fails if it can't be.
func (w *World) Start(c Command) *Process {
	w.tb.Helper()
	p, err := Start(w.Ctx, c)
	if err != nil {
		w.tb.Fatal(err)
	}
	w.tb.Cleanup(p.Kill)
	return p
}

// Run runs a command to its end, whatever its exit code.
func (w *World) Run(c Command) *Result {
	w.tb.Helper()
	return w.Start(c).Wait()
}

// Must runs a command that has to succeed.
func (w *World) Must(c Command) *Result {
	w.tb.Helper()
	r := w.Run(c)
	if err := r.Err(); err != nil {
		w.tb.Fatalf("%v: %v", c.Args, err)
	}
	return r
}

// SendTicket sends paths from the device "old" with a ticket, which it returns.
func (w *World) SendTicket(paths ...string) (r *Result, ticket string) {
	w.tb.Helper()
	r = w.Must(w.Device("old", append([]string{"send", "--ticket"}, paths...)...))
	if ticket = r.Ticket(); ticket == "" {
		w.tb.Fatal("send --ticket shows no ticket")
	}
	return r, ticket
}

// Ticket is the ticket that a sender showed, or "".
func (r *Result) Ticket() string {
	for _, e := range r.Events {
		if e.Pairing != nil && e.Pairing.Ticket != "" {
			return e.Pairing.Ticket
		}
	}
	return ""
}

// ReceiveTicket is the command with which the device "new" receives into to.
func (w *World) ReceiveTicket(ticket, to string, args ...string) Command {
	c := w.Device("new", append([]string{"receive", "--ticket", "--ticket-fd", "3", "--yes", "--to", to}, args...)...)
	c.Secret = ticket
	return c
}

// ByCode sends paths from "old" to "new" with a code, both at once, and waits for both.
func (w *World) ByCode(to string, paths ...string) (sent, received *Result) {
	w.tb.Helper()
	p := w.Start(w.Device("new", "receive", "--yes", "--to", to))
	send := w.Device("old", append([]string{"send", "--code-fd", "3"}, paths...)...)
	send.Secret = w.Code(p)
	sent = w.Must(send)
	received = p.Wait()
	if err := received.Err(); err != nil {
		w.tb.Fatalf("receive: %v", err)
	}
	return sent, received
}

// Code waits until a receiver shows its code.
func (w *World) Code(receiver *Process) string {
	w.tb.Helper()
	e, err := receiver.WaitFor(w.Ctx, "a code", func(e Event) bool { return e.Pairing != nil && e.Pairing.Code != "" })
	if err != nil {
		w.tb.Fatal(err)
	}
	return e.Pairing.Code
}

// Write makes files below Dir/name, by path, and returns that directory. A path that ends with a slash is a directory.
func (w *World) Write(name string, files map[string]string) string {
	w.tb.Helper()
	root := w.Path(name)
	for path, content := range files {
		full := filepath.Join(root, filepath.FromSlash(path))
		if os.IsPathSeparator(path[len(path)-1]) {
			if err := os.MkdirAll(full, 0o755); err != nil {
				w.tb.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			w.tb.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			w.tb.Fatal(err)
		}
	}
	return root
}
