package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/creack/pty"
	"github.com/decant-dev/decant/node/item/show"
)

// inTerminal runs the command on a pseudo-terminal and returns all that it wrote there.
func inTerminal(t *testing.T, env []string, typed string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "decant", args...) // testscript.Main has put it on the path
	cmd.Env = append(append(os.Environ(), "TERM=xterm-256color"), env...)
	f, err := pty.StartWithSize(cmd, &pty.Winsize{Cols: 100, Rows: 50})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.WriteString(f, typed); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	io.Copy(&out, f) // ends with EIO when the other side is closed
	cmd.Wait()
	if ctx.Err() != nil {
		t.Errorf("%q does not end", args)
	}
	return out.String()
}

// unsafeOutput finds anything that the command did not write itself.
func unsafeOutput(s string) string {
	for _, own := range []string{"\x1b[K", "\x1b[A", "\x1b[2K", "\x1b[1m", "\x1b[0m", "\x1b[0;97;40m", "\r", "\n"} {
		s = strings.ReplaceAll(s, own, "")
	}
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") || show.Name(string(r)) != string(r) {
			return s[max(i-20, 0):min(i+20, len(s))]
		}
	}
	return ""
}

var hostileNames = []string{"\x1b]0;pwn\x07", "\x1b[2J", "\x9b2J", "\u009b2J", "a\rb", "a\nb", "\x7f", "\u202egpj.exe", "\xff\xfe", "\u2066x\u2069"}

// TestRT4HostileArgumentsOnATerminal gives hostile text in every argument that is said back.
func TestRT4HostileArgumentsOnATerminal(t *testing.T) {
	dir := t.TempDir()
	env := []string{"XDG_CONFIG_HOME=" + dir, "XDG_STATE_HOME=" + dir, "DECANT_SERVER="}
	for _, h := range hostileNames {
		for _, args := range [][]string{{"send", h}, {h}, {"--" + h}, {"use", h}, {"receive", "--to", "x", "--kinds", h}, {"serve", "--host", h},
			{"serve", "--data", filepath.Join(dir, h), "--listen", h}, {"send", "--expiry", h, "."}, {"send", "--server", h, "."}, {"demo", h, "--out", filepath.Join(dir, "d"+h)}} {
			out := inTerminal(t, env, "", args...)
			if bad := unsafeOutput(out); bad != "" || out == "" {
				t.Errorf("%q: unsafe %q in %q", args, bad, out)
			}
		}
	}
}

// TestRT4HostileCollectionOnATerminal moves a collection whose every name is an
// attack, from a device whose label is one, with a person at a terminal on both sides.
func TestRT4HostileCollectionOnATerminal(t *testing.T) {
	dir := t.TempDir()
	s, err := startServer(serveFlags{listen: "127.0.0.1:0", data: filepath.Join(dir, "server"), watermark: 1, fastOnly: true}, slog.New(slog.DiscardHandler),
		func(message string) { panic(message) })
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	srv := s.link.Server()
	env := []string{"XDG_CONFIG_HOME=" + dir, "DECANT_SERVER=" + srv.String()}
	old := filepath.Join(dir, "old")
	for _, name := range append(hostileNames, "harmless") {
		for _, path := range []string{name, filepath.Join(name+"-dir", "x"+name)} {
			path = filepath.Join(old, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Skip("this file system does not take such names: ", err)
			}
			if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
				t.Skip("this file system does not take such names: ", err)
			}
			if err := os.Symlink(name, path+"-link"); err != nil {
				t.Fatal(err)
			}
		}
	}
	sent := inTerminal(t, env, "", "--state", filepath.Join(dir, "s1"), "--label", "pwn\u202e", "-v", "send", "--ticket", old)
	ticket := regexp.MustCompile(`(?m)^(?:\x1b\[1m)?((?:[a-z]+ ){11}[a-z]+)`).FindStringSubmatch(sent)
	if ticket == nil {
		t.Fatalf("no ticket in %q", sent)
	}
	outputs := []string{sent}
	run := func(typed string, args ...string) {
		outputs = append(outputs, inTerminal(t, env, typed, append([]string{"--state", filepath.Join(dir, "s2")}, args...)...))
	}
	run(ticket[1]+"\nd\ny\n", "receive", "--ticket", "--to", filepath.Join(dir, "new\x1b[2J"))
	run("", "status")
	run("", "verify")
	run("", "receipt")
	run("y\n", "undo")
	for _, out := range outputs {
		if bad := unsafeOutput(out); bad != "" {
			t.Errorf("unsafe %q in %q", bad, out)
		}
	}
	if !strings.Contains(outputs[1], `\x1b`) || !strings.Contains(outputs[1], "signed by the new device") || !strings.Contains(outputs[5], "Took back") {
		t.Errorf("the transfer did not happen: %q", outputs)
	}
}
