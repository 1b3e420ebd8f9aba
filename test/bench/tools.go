package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

// tools copy source to another place on the same file system; at is an empty directory for all that they need. The first
// run's copy is compared with the source.
var tools = map[string]func(ctx context.Context, o options, source, at string, run int) ([]phase, error){
	"decant":    runDecant,
	"direct":    runDirect,
	"restic":    runRestic,
	"rsync":     runRsync,
	"rsync-ssh": runRsyncSSH,
}

// once runs a command to its end.
func once(ctx context.Context, c env.Command) (*env.Result, error) {
	p, err := env.Start(ctx, c)
	if err != nil {
		return nil, err
	}
	r := p.Wait()
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(c.Path), err)
	}
	return r, nil
}

func check(run int, source, copied string) error {
	if run > 0 {
		return nil
	}
	return corpus.Compare(source, copied)
}

func runDecant(ctx context.Context, o options, source, at string, run int) ([]phase, error) {
	bin, err := env.Binary(env.Plain)
	if err != nil {
		return nil, err
	}
	profile := func(name string) []string {
		if o.profile == "" {
			return nil
		}
		return []string{"DECANT_CPUPROFILE=" + filepath.Join(o.profile, filepath.Base(source)+"-"+name+".prof")}
	}
	srv, err := env.StartServer(ctx, bin, filepath.Join(at, "server"), env.ServerOptions{Env: profile("server")})
	if err != nil {
		return nil, err
	}
	defer srv.Close()
	device := func(name string) env.Command {
		return env.Command{Path: bin, Env: profile(name), Args: []string{"--json", "--server", srv.Address, "--carrier", o.carrier,
			"--state", filepath.Join(at, name)}}
	}
	send := device("old")
	send.Args = append(send.Args, "send", "--ticket", source)
	sent, err := once(ctx, send)
	if err != nil {
		return nil, err
	}
	send.Env = profile("again")
	again, err := once(ctx, send)
	if err != nil {
		return nil, err
	}
	if !again.Outcome().Unchanged {
		return nil, errors.New("the second send did not find the collection unchanged")
	}
	ticket := ""
	for _, e := range sent.Events {
		if e.Pairing != nil {
			ticket = e.Pairing.Ticket
		}
	}
	syscall.Sync()
	receive := device("new")
	receive.Secret = ticket
	receive.Args = append(receive.Args, "receive", "--ticket", "--ticket-fd", "3", "--yes", "--to", filepath.Join(at, "to"))
	received, err := once(ctx, receive)
	if err != nil {
		return nil, err
	}
	served, err := srv.Stop()
	if err != nil {
		return nil, err
	}
	if err := check(run, source, filepath.Join(at, "to", filepath.Base(source))); err != nil {
		return nil, err
	}
	return []phase{phaseOf("send", true, sent), phaseOf("again, unchanged", false, again), phaseOf("receive", true, received),
		phaseOf("server", false, served)}, nil
}

func runRestic(ctx context.Context, _ options, source, at string, run int) ([]phase, error) {
	bin, err := exec.LookPath("restic")
	if err != nil {
		return nil, err
	}
	c := env.Command{Path: bin, Dir: filepath.Dir(source), Env: []string{"RESTIC_PASSWORD=bench",
		"RESTIC_REPOSITORY=" + filepath.Join(at, "repository"), "RESTIC_CACHE_DIR=" + filepath.Join(at, "cache")}}
	var out []phase
	for _, step := range [][]string{{"init"}, {"backup", filepath.Base(source)}, {"restore", "latest", "--target", filepath.Join(at, "to")}} {
		c.Args = append(step, "--quiet")
		syscall.Sync()
		r, err := once(ctx, c)
		if err != nil {
			return nil, err
		}
		if step[0] != "init" {
			out = append(out, phaseOf(step[0], true, r))
		}
	}
	return out, check(run, source, filepath.Join(at, "to", filepath.Base(source)))
}

func runRsync(ctx context.Context, _ options, source, at string, run int) ([]phase, error) {
	bin, err := exec.LookPath("rsync")
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	conf := filepath.Join(at, "rsyncd.conf")
	text := fmt.Sprintf("use chroot = false\nuid = %d\ngid = %d\nreverse lookup = false\n[from]\npath = %s\nread only = true\n", os.Getuid(), os.Getgid(), source)
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		return nil, err
	}
	daemon, err := env.Start(ctx, env.Command{Path: bin, Args: []string{"--daemon", "--no-detach", "--config", conf, "--address", "127.0.0.1", "--port", port}})
	if err != nil {
		return nil, err
	}
	defer daemon.Kill()
	if err := answers(ctx, "127.0.0.1:"+port); err != nil {
		return nil, err
	}
	to := filepath.Join(at, "to")
	r, err := once(ctx, env.Command{Path: bin, Args: []string{"-a", "rsync://127.0.0.1:" + port + "/from/", to + "/"}})
	if err != nil {
		return nil, err
	}
	daemon.Signal(syscall.SIGTERM)
	d := daemon.Wait()
	return []phase{phaseOf("copy", true, r), phaseOf("daemon", false, d)}, check(run, source, to)
}

// answers waits until something listens at the address.
func answers(ctx context.Context, address string) error {
	for ctx.Err() == nil {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return c.Close()
		}
		time.Sleep(5 * time.Millisecond)
	}
	return ctx.Err()
}
