package env

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// ServerOptions are added to the environment and the command line.
type ServerOptions struct {
	Env  []string
	Args []string
}

// Server is a server process that can be killed and started again on the same data and port.
type Server struct {
	Dir           string // everything it writes: data and log
	Address       string // PEERID@HOST:PORT
	ServerOptions        // for the next start

	role   string // the command that it runs
	ctx    context.Context
	bin    string
	listen string
	log    *os.File
	proc   atomic.Pointer[Process]
	deaths int // that KeepAlive has seen
}

// StartServer starts a server with its state below dir. It ends with ctx at the latest.
func StartServer(ctx context.Context, bin, dir string, o ServerOptions) (*Server, error) {
	return start(ctx, "serve", bin, dir, o)
}

// StartCache starts a cache instead; the servers that it brings things to stand in the options' arguments.
func StartCache(ctx context.Context, bin, dir string, o ServerOptions) (*Server, error) {
	return start(ctx, "cache", bin, dir, o)
}

func start(ctx context.Context, role, bin, dir string, o ServerOptions) (*Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, ServerOptions: o, role: role, ctx: ctx, bin: bin, log: log}
	for range 20 { // another process may take the port between the look and the start
		if s.listen, err = freeAddress(); err != nil {
			return nil, err
		}
		if err = s.Start(); err == nil {
			return s, nil
		}
		if !strings.Contains(err.Error(), "in use") {
			break
		}
	}
	log.Close()
	return nil, err
}

// Start starts the process again after it has ended; with the first start the address is chosen, later ones keep it.
func (s *Server) Start() error {
	args := append([]string{s.role, "--listen", s.listen, "--data", filepath.Join(s.Dir, "data")}, s.Args...)
	p, err := Start(s.ctx, Command{Path: s.bin, Args: args, Env: life(s.Env, s.deaths), Stderr: s.log})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
	defer cancel()
	line, err := p.WaitFor(ctx, "the server's address", func(e Event) bool { return strings.Contains(e.Raw, "@") })
	if err != nil {
		p.Kill()
		return err
	}
	address := strings.TrimSpace(line.Raw)
	if s.Address != "" && address != s.Address {
		p.Kill()
		return fmt.Errorf("the server came back as %s and was %s", address, s.Address)
	}
	s.proc.Store(p)
	if s.Address == "" { // it does not change, and others read it by now
		s.Address = address
	}
	return nil
}

// Process is the running, or last, process.
func (s *Server) Process() *Process { return s.proc.Load() }

// Kill ends the process with SIGKILL.
func (s *Server) Kill() { s.proc.Load().Kill() }

// Stop ends the process with SIGTERM and waits for it, a minute at most.
func (s *Server) Stop() (*Result, error) {
	s.proc.Load().Signal(syscall.SIGTERM)
	select {
	case <-s.proc.Load().Done():
		return s.proc.Load().Wait(), nil
	case <-time.After(time.Minute):
		s.proc.Load().Kill()
		return s.proc.Load().Wait(), errors.New("the server did not stop within a minute")
	}
}

// Close ends the process and closes its log.
func (s *Server) Close() {
	s.proc.Load().Kill()
	s.log.Close()
}

// Via returns the server's address with another HOST:PORT, for devices that go through a proxy there.
func (s *Server) Via(hostPort string) string {
	peer, _, _ := strings.Cut(s.Address, "@")
	return peer + "@" + hostPort
}

// HostPort is where the fast lane listens.
func (s *Server) HostPort() string {
	_, hostPort, _ := strings.Cut(s.Address, "@")
	return hostPort
}

// freeAddress finds a loopback port that is free for TCP and UDP, and whose successor is free for TCP: a server listens on all three.
func freeAddress() (string, error) {
	for range 100 {
		port := 20000 + rand.IntN(12000) // below the range that the system gives to outgoing connections
		if free("tcp", port) && free("tcp", port+1) && free("udp", port) {
			return fmt.Sprintf("127.0.0.1:%d", port), nil
		}
	}
	return "", errors.New("env: no free port")
}

func free(network string, port int) bool {
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if network == "udp" {
		c, err := net.ListenPacket(network, address)
		if err == nil {
			c.Close()
		}
		return err == nil
	}
	l, err := net.Listen(network, address)
	if err == nil {
		l.Close()
	}
	return err == nil
}
