//go:build unix

package bookmarks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/format/chromium"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/test/env"
)

// devtools drives a Chromium: JSON with a NUL behind it, over two pipes
// (chromedevtools.github.io/devtools-protocol, --remote-debugging-pipe).
type devtools struct {
	to   *os.File
	from *bufio.Reader
	id   int
	page string
	cmd  *exec.Cmd
}

func startChromium(t *testing.T, dir string) *devtools {
	t.Helper()
	path := env.Program(t, "chromium")
	theirs, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := exec.CommandContext(ctx, path, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--proxy-server=127.0.0.1:9",
		"--remote-debugging-pipe", "--user-data-dir="+dir, "about:blank")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	cmd.ExtraFiles = []*os.File{theirs, ours}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	ours.Close()
	t.Cleanup(func() {
		cancel()
		cmd.Process.Kill()
		cmd.Wait()
		to.Close()
		from.Close()
	})
	d := &devtools{to: to, from: bufio.NewReader(from), cmd: cmd}
	deadline := time.Now().Add(patience)
	from.SetReadDeadline(deadline)
	var created struct{ TargetID string }
	d.call(t, "Target.createTarget", map[string]any{"url": "chrome://bookmarks/"}, &created)
	var attached struct{ SessionID string }
	d.call(t, "Target.attachToTarget", map[string]any{"targetId": created.TargetID, "flatten": true}, &attached)
	d.page = attached.SessionID
	for d.eval(t, "String(typeof chrome !== 'undefined' && !!chrome.bookmarks)") != "true" {
		if time.Now().After(deadline) {
			t.Fatal("Chromium does not show its bookmarks")
		}
	}
	return d
}

func (d *devtools) call(t *testing.T, method string, params, result any) {
	t.Helper()
	d.id++
	b, err := json.Marshal(map[string]any{"id": d.id, "method": method, "params": params, "sessionId": d.page})
	if d.page == "" {
		b, err = json.Marshal(map[string]any{"id": d.id, "method": method, "params": params})
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.to.Write(append(b, 0)); err != nil {
		t.Fatal(err)
	}
	for {
		line, err := d.from.ReadBytes(0)
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		var answer struct {
			ID     int
			Error  json.RawMessage
			Result json.RawMessage
		}
		if err := json.Unmarshal(bytes.TrimRight(line, "\x00"), &answer); err != nil {
			t.Fatal(err)
		}
		if answer.ID != d.id {
			continue // an event
		}
		if answer.Error != nil {
			t.Fatalf("%s: %s", method, answer.Error)
		}
		if result != nil {
			if err := json.Unmarshal(answer.Result, result); err != nil {
				t.Fatal(err)
			}
		}
		return
	}
}

// eval evaluates an expression, or the promise that it is, to a string.
func (d *devtools) eval(t *testing.T, expression string) string {
	t.Helper()
	var r struct {
		Result           struct{ Value string }
		ExceptionDetails json.RawMessage
	}
	d.call(t, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &r)
	if r.ExceptionDetails != nil {
		t.Fatalf("%s", r.ExceptionDetails)
	}
	return r.Result.Value
}

func (d *devtools) quit(t *testing.T) {
	t.Helper()
	d.page = ""
	d.call(t, "Browser.close", map[string]any{}, nil)
	d.cmd.Wait()
}

// node is a bookmark as Chromium's own interface gives it.
type node struct {
	ID, Title, URL, FolderType string
	DateAdded                  float64
	Children                   []node
}

func (n *node) lines(path []string) (out []string) {
	for _, c := range n.Children {
		out = append(out, fmt.Sprintf("%q %q %s %.0f", path, c.Title, c.URL, c.DateAdded/1e3))
		out = append(out, c.lines(append(slices.Clip(path), c.Title))...)
	}
	return out
}

// Chromium opens the profile that was written, shows every bookmark where it is to be, and
// leaves the file alone; when it writes it itself, everything is still there under the same
// identifiers, and the checksum that it writes is the one that would be written here.
func TestChromiumTakesIt(t *testing.T) {
	env.Program(t, "chromium")
	dir := t.TempDir()
	d := startChromium(t, dir) // which makes the profile
	d.quit(t)
	tg, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := everything()
	deliver(t, tg, want)
	path := filepath.Join(dir, "Default", chromium.File)
	written, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	records := readAll(t, dir)

	d = startChromium(t, dir)
	var tree []node
	if err := json.Unmarshal([]byte(d.eval(t, "chrome.bookmarks.getTree().then(JSON.stringify)")), &tree); err != nil {
		t.Fatal(err)
	}
	shown := map[string][]string{}
	for _, root := range tree[0].Children {
		shown[root.FolderType] = root.lines(nil)
	}
	for folder, root := range map[string]string{"bookmarks-bar": bookmark.Toolbar, "other": bookmark.Other, "mobile": bookmark.Mobile} {
		var lines []string
		for _, r := range records {
			if b, _ := bookmark.Parse(r.Data); b.Root == root {
				lines = append(lines, fmt.Sprintf("%q %q %s %d", append([]string(nil), b.Path...), b.Title, bookmark.Canonical(b.URL), b.Added/1e6))
			}
		}
		if !slices.Equal(shown[folder], lines) {
			t.Errorf("%s: Chromium shows\n%s\nwant\n%s", folder, strings.Join(shown[folder], "\n"), strings.Join(lines, "\n"))
		}
	}
	refused := tg.Write(context.Background(), item.Bookmark, []target.Write{{Record: want[0], Key: "k"}}, func(int, target.Existing, error) error { return nil })
	if !errors.Is(refused, chromium.ErrRunning) {
		t.Errorf("while Chromium is running: %v", refused)
	}
	d.quit(t)
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, written) {
		t.Errorf("Chromium has written the file again: %v", err)
	}

	d = startChromium(t, dir)
	d.eval(t, "chrome.bookmarks.create({parentId: '1', title: 'one more', url: 'https://more.example/'}).then(x => x.id)")
	d.quit(t) // which writes what was changed
	now, err := os.ReadFile(path)
	if err != nil || bytes.Equal(now, written) {
		t.Fatalf("Chromium has not written: %v", err)
	}
	after, err := chromium.Parse(now)
	if err != nil || !bytes.Equal(after.Bytes(), now) {
		t.Errorf("what Chromium writes is not what would be written: %v", err)
	}
	got := outline(t, readAll(t, dir), false)
	got = slices.DeleteFunc(got, func(s string) bool { return strings.Contains(s, "one more") })
	if !slices.Equal(got, outline(t, records, false)) {
		t.Errorf("after Chromium there is\n%s", strings.Join(got, "\n"))
	}
	var before, ids struct{ Roots map[string]json.RawMessage }
	json.Unmarshal(written, &before)
	json.Unmarshal(now, &ids)
	if a, b := numbers(before.Roots["other"]), numbers(ids.Roots["other"]); a != b {
		t.Errorf("identifiers were %s, and are %s", a, b)
	}
	if again := deliver(t, tg, want); len(again.writes) != 0 {
		t.Errorf("%d are written again", len(again.writes))
	}
}

// numbers are the identifiers in a tree.
func numbers(tree json.RawMessage) string {
	var n struct {
		ID       string
		Children []json.RawMessage
	}
	json.Unmarshal(tree, &n)
	out := n.ID
	for _, c := range n.Children {
		out += " " + numbers(c)
	}
	return out
}
