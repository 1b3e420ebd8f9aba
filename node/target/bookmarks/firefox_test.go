package bookmarks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/format/firefox"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/test/env"
)

// patience bounds all that a browser does, on a machine with much else to do.
const patience = 3 * time.Minute

// marionette drives a Firefox: JSON with its length before it, over TCP
// (firefox-source-docs.mozilla.org/testing/marionette/Protocol.html).
type marionette struct {
	net.Conn
	r   *bufio.Reader
	id  int
	cmd *exec.Cmd
	log *os.File
}

// startFirefox opens a profile. It fails, and does not skip, if Firefox does not start.
func startFirefox(t *testing.T, profile string) *marionette {
	t.Helper()
	path := env.Program(t, "firefox-esr")
	port := filepath.Join(profile, "MarionetteActivePort")
	os.Remove(port)
	prefs := "user_pref(\"marionette.port\", 0);\nuser_pref(\"browser.shell.checkDefaultBrowser\", false);\nuser_pref(\"datareporting.policy.dataSubmissionEnabled\", false);\nuser_pref(\"network.proxy.type\", 1);\nuser_pref(\"network.proxy.socks\", \"127.0.0.1\");\nuser_pref(\"network.proxy.socks_port\", 9);\n"
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := os.Create(filepath.Join(t.TempDir(), "firefox.log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	cmd := exec.CommandContext(ctx, path, "--headless", "--no-remote", "--marionette", "-remote-allow-system-access", "--profile", profile)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir(), "MOZ_CRASHREPORTER_DISABLE=1")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m := &marionette{cmd: cmd, log: out}
	t.Cleanup(func() {
		cancel()
		cmd.Process.Kill()
		cmd.Wait()
		out.Close()
	})
	for ctx.Err() == nil {
		if b, err := os.ReadFile(port); err == nil {
			if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
				if m.Conn, err = net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(n))); err == nil {
					break
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	if m.Conn == nil {
		b, _ := os.ReadFile(out.Name())
		t.Fatalf("Firefox does not answer: %s", b)
	}
	m.SetDeadline(time.Now().Add(patience))
	m.r = bufio.NewReader(m.Conn)
	if _, err := m.receive(); err != nil {
		t.Fatal(err)
	}
	m.call(t, "WebDriver:NewSession", map[string]any{"capabilities": map[string]any{}})
	m.call(t, "Marionette:SetContext", map[string]any{"value": "chrome"})
	return m
}

func (m *marionette) receive() ([]byte, error) {
	s, err := m.r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(s, ":"))
	if err != nil || n > 64<<20 {
		return nil, fmt.Errorf("length %q", s)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(m.r, b)
	return b, err
}

func (m *marionette) call(t *testing.T, name string, params any) json.RawMessage {
	t.Helper()
	m.id++
	b, err := json.Marshal([]any{0, m.id, name, params})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(m, "%d:%s", len(b), b); err != nil {
		t.Fatal(err)
	}
	b, err = m.receive()
	var answer [4]json.RawMessage
	if err == nil {
		err = json.Unmarshal(b, &answer)
	}
	if err != nil || string(answer[2]) != "null" {
		t.Fatalf("%s: %v %s", name, err, answer[2])
	}
	return answer[3]
}

// run runs an asynchronous function of Firefox's own and returns what it resolves to.
func (m *marionette) run(t *testing.T, body string) string {
	t.Helper()
	script := "let [resolve] = arguments; (async () => { const {PlacesUtils} = ChromeUtils.importESModule('resource://gre/modules/PlacesUtils.sys.mjs'); " + body + " })().then(resolve, e => resolve('ERROR ' + e));"
	var answer struct{ Value string }
	if err := json.Unmarshal(m.call(t, "WebDriver:ExecuteAsyncScript", map[string]any{"script": script, "args": []any{}, "scriptTimeout": patience.Milliseconds()}), &answer); err != nil || strings.HasPrefix(answer.Value, "ERROR") {
		t.Fatalf("%v %s", err, answer.Value)
	}
	return answer.Value
}

func (m *marionette) quit(t *testing.T) {
	t.Helper()
	m.call(t, "Marionette:Quit", map[string]any{"flags": []string{"eAttemptQuit"}})
	if err := m.cmd.Wait(); err != nil {
		t.Errorf("Firefox: %v", err)
	}
}

// backup lets Firefox tell all that it has.
func (m *marionette) backup(t *testing.T) []item.Record {
	t.Helper()
	d, err := firefox.Parse([]byte(m.run(t, "return JSON.stringify(await PlacesUtils.promiseBookmarksTree('root________'));")))
	if err != nil {
		t.Fatal(err)
	}
	var records []item.Record
	d.Tree.Each(func(n *bookmark.Node) error { records = append(records, n.Record("", "")); return nil })
	return records
}

// Firefox opens the profile that was written, has every bookmark where it is to be, with its
// tags and keyword, finds nothing to repair, and leaves everything as it is.
func TestFirefoxTakesIt(t *testing.T) {
	env.Program(t, "firefox-esr")
	dir := t.TempDir()
	m := startFirefox(t, dir) // which makes the profile
	m.quit(t)
	own := readAll(t, dir)
	tg, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := everything()
	deliver(t, tg, want)
	written := readAll(t, dir)
	if len(written) != len(want)+len(own) {
		t.Fatalf("%d of %d and %d are written", len(written), len(want), len(own))
	}

	m = startFirefox(t, dir)
	if got := outline(t, m.backup(t), false); !slices.Equal(got, outline(t, written, false)) {
		t.Errorf("Firefox has\n%s", strings.Join(got, "\n"))
	}
	if got := m.run(t, "return JSON.stringify([PlacesUtils.tagging.getTagsForURI(Services.io.newURI('https://a.example/?x=1&copy=2#toolbar')), (await PlacesUtils.keywords.fetch('key')).url.href, !!(await PlacesUtils.bookmarks.fetch({url: 'https://end.example/'}))]);"); got != `[["one","two words"],"https://a.example/?x=1&copy=2#menu",true]` {
		t.Errorf("tags and keyword: %s", got)
	}
	if got := m.run(t, "const {PlacesDBUtils} = ChromeUtils.importESModule('resource://gre/modules/PlacesDBUtils.sys.mjs'); await PlacesDBUtils.checkIntegrity(); await PlacesDBUtils.checkCoherence(); return 'done';"); got != "done" {
		t.Error(got)
	}
	refused := tg.Write(context.Background(), item.Bookmark, []target.Write{{Record: want[0], Key: "k"}}, func(int, target.Existing, error) error { return nil })
	if !errors.Is(refused, firefox.ErrRunning) {
		t.Errorf("while Firefox is running: %v", refused)
	}
	if got := readAll(t, dir); !slices.Equal(outline(t, got, false), outline(t, written, false)) {
		t.Error("while Firefox is running, the source has something else")
	}
	m.quit(t)

	if got := outline(t, readAll(t, dir), false); !slices.Equal(got, outline(t, written, false)) {
		t.Errorf("after Firefox there is\n%s", strings.Join(got, "\n"))
	}
	if again := deliver(t, tg, want); len(again.writes) != 0 {
		t.Errorf("%d are written again", len(again.writes))
	}
	db, err := firefox.Open(filepath.Join(dir, firefox.Places), "")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	check(t, db)
}

// Firefox reads the files that were written as what they are: an export, and its own backups.
func TestFirefoxImportsTheFiles(t *testing.T) {
	env.Program(t, "firefox-esr")
	dir := t.TempDir()
	m := startFirefox(t, dir)
	want := everything()
	for form, script := range map[string]string{
		"html": "const {BookmarkHTMLUtils} = ChromeUtils.importESModule('resource://gre/modules/BookmarkHTMLUtils.sys.mjs'); await BookmarkHTMLUtils.importFromFile(%q, {replace: true}); return 'done';",
		"json": "const {BookmarkJSONUtils} = ChromeUtils.importESModule('resource://gre/modules/BookmarkJSONUtils.sys.mjs'); await BookmarkJSONUtils.importFromFile(%q, {replace: true}); return 'done';",
	} {
		for _, to := range []string{form, form + "lz4"} {
			if places[to] == nil {
				continue
			}
			arg := places[to](t)
			tg, err := Open(arg)
			if err != nil {
				t.Fatal(err)
			}
			deliver(t, tg, want)
			m.run(t, fmt.Sprintf(script, arg))
			got, wanted := outline(t, m.backup(t), false), outline(t, want, false)
			if form == "html" { // Firefox has no attribute for the mobile root, which becomes a folder
				keep := func(s string) bool {
					return !strings.HasPrefix(s, "mobile|") && !strings.Contains(s, "Mobile Bookmarks")
				}
				got, wanted = slices.DeleteFunc(got, func(s string) bool { return !keep(s) }), slices.DeleteFunc(wanted, func(s string) bool { return !keep(s) })
				for i := range got { // and gives separators the time of the import
					got[i], wanted[i] = separatorDate.ReplaceAllString(got[i], "separator$1"), separatorDate.ReplaceAllString(wanted[i], "separator$1")
				}
			}
			if !slices.Equal(got, wanted) {
				for i := range min(len(got), len(wanted)) {
					if got[i] != wanted[i] {
						t.Errorf("%s: Firefox has\n%s\nwant\n%s", to, got[i], wanted[i])
					}
				}
				t.Errorf("%s: %d of %d", to, len(got), len(wanted))
			}
		}
	}
	m.quit(t)
}

var separatorDate = regexp.MustCompile(`separator(.*)\|[0-9]+$`)
