package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/decant-dev/decant/test/env"
)

// runDirect sends without a server: the clock runs from the start of the sender, which finds the receiver by its code, pairs and sends, to the
// receipt in its hand.
func runDirect(ctx context.Context, o options, source, at string, run int) ([]phase, error) {
	bin, err := env.Binary(env.Plain)
	if err != nil {
		return nil, err
	}
	device := func(name string, args ...string) env.Command {
		c := env.Command{Path: bin, Env: []string{"DECANT_ROUTE=direct", "DECANT_LOOPBACK=1"}, Args: append([]string{"--json", "--state", filepath.Join(at, name)}, args...)}
		if o.profile != "" {
			c.Env = append(c.Env, "DECANT_CPUPROFILE="+filepath.Join(o.profile, filepath.Base(source)+"-direct-"+name+".prof"))
		}
		return c
	}
	to := filepath.Join(at, "to")
	receiver, err := env.Start(ctx, device("new", "receive", "--yes", "--to", to))
	if err != nil {
		return nil, err
	}
	defer receiver.Kill()
	shown, err := receiver.WaitFor(ctx, "a code", func(e env.Event) bool { return e.Pairing != nil && e.Pairing.Code != "" })
	if err != nil {
		return nil, err
	}
	send := device("old", "send", "--code-fd", "3", source)
	send.Secret = shown.Pairing.Code
	sent, err := once(ctx, send)
	if err != nil {
		return nil, err
	}
	received := receiver.Wait()
	if err := received.Err(); err != nil {
		return nil, err
	}
	return []phase{phaseOf("send", true, sent), phaseOf("receive", false, received)}, check(run, source, filepath.Join(to, filepath.Base(source)))
}

// runRsyncSSH copies through an SSH server of its own on loopback, with keys made for the run.
func runRsyncSSH(ctx context.Context, _ options, source, at string, run int) ([]phase, error) {
	for _, name := range []string{"rsync", "ssh", "ssh-keygen"} {
		if _, err := exec.LookPath(name); err != nil {
			return nil, err
		}
	}
	const sshd = "/usr/sbin/sshd" // which wants its full path
	for _, key := range []string{"server", "client"} {
		if _, err := once(ctx, env.Command{Path: "/usr/bin/ssh-keygen", Args: []string{"-q", "-t", "ed25519", "-N", "", "-f", filepath.Join(at, key)}}); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
		return nil, fmt.Errorf("sshd needs root here: %w", err)
	}
	daemon, err := env.Start(ctx, env.Command{Path: sshd, Args: []string{"-D", "-e", "-f", "/dev/null", "-p", port, "-h", filepath.Join(at, "server"),
		"-o", "ListenAddress=127.0.0.1", "-o", "AuthorizedKeysFile=" + filepath.Join(at, "client.pub"), "-o", "StrictModes=no", "-o", "PermitRootLogin=yes", "-o", "PidFile=none", "-o", "UsePAM=no"}})
	if err != nil {
		return nil, err
	}
	defer daemon.Kill()
	if err := answers(ctx, "127.0.0.1:"+port); err != nil {
		return nil, err
	}
	rsync, err := exec.LookPath("rsync")
	if err != nil {
		return nil, err
	}
	shell := fmt.Sprintf("ssh -p %s -i %s -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR", port, filepath.Join(at, "client"))
	to := filepath.Join(at, "to")
	r, err := once(ctx, env.Command{Path: rsync, Args: []string{"-a", "-e", shell, source + "/", "127.0.0.1:" + to + "/"}})
	if err != nil {
		return nil, err
	}
	daemon.Kill()
	return []phase{phaseOf("copy", true, r), phaseOf("daemon", false, daemon.Wait())}, check(run, source, to)
}
