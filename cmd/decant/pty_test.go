package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
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
