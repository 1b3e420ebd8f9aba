package wifi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/network"
	"github.com/decant-dev/decant/node/kind/rule"
	source "github.com/decant-dev/decant/node/source/wifi"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/test/env"
)

// sink collects what a source reads.
type sink struct {
	records []item.Record
	changes []item.Change
}

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return nil }
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }

func readAll(t *testing.T, arg string) *sink {
	t.Helper()
	b, err := source.Open(arg)
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	if err := b.Read(context.Background(), struct {
		*sink
		noFiles
	}{sink: s}); err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t *testing.T, arg string) target.Books {
	t.Helper()
	b, err := Open(arg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func read(t *testing.T, b target.Books) (out []target.Existing) {
	t.Helper()
	if err := b.Read(context.Background(), item.Network, func(e target.Existing) error { out = append(out, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// apply brings records into a target as the engine does and returns how many were written.
func apply(t *testing.T, b target.Books, records []item.Record) (written int, lost []item.Change) {
	t.Helper()
	ctx := context.Background()
	p, err := b.Profile(ctx, item.Network)
	if err != nil {
		t.Fatal(err)
	}
	var shaped []item.Record
	for _, r := range records {
		out, changes, ok := network.Rules{}.Shape(r, p)
		lost = append(lost, changes...)
		if ok {
			shaped = append(shaped, out)
		}
	}
	now := read(t, b)
	var existing []item.Record
	for _, e := range now {
		existing = append(existing, e.Record)
	}
	decisions, err := network.Rules{}.Match(ctx, existing, shaped, rule.Options{Profile: p})
	if err != nil {
		t.Fatal(err)
	}
	var writes []target.Write
	for i, d := range decisions {
		r := shaped[i]
		r.Data = d.Result
		switch d.Verdict {
		case rule.New, rule.Suggest, rule.Conflict:
			sum := sha256.Sum256(d.Result)
			writes = append(writes, target.Write{Record: r, Key: string(network.FileName(network.Parse(d.Result))[:1]) + "k" + strings.Repeat("x", int(sum[0])%5)})
		case rule.Merge:
			writes = append(writes, target.Write{ID: now[d.With].ID, Version: now[d.With].Version, Record: r})
		}
	}
	err = b.Write(ctx, item.Network, writes, func(i int, now target.Existing, err error) error {
		if err != nil {
			t.Errorf("%s: %v", writes[i].Record.Label, err)
		} else if !bytes.Equal(now.Data, writes[i].Record.Data) || now.ID == "" || now.Version == "" {
			t.Errorf("%s: the target has %+v\n%s\nwant\n%s", writes[i].Record.Label, now, now.Data, writes[i].Record.Data)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return len(writes), lost
}

const keyfiles = "../../kind/network/testdata/keyfiles"

// places are the targets of every form, in a directory.
var places = map[string]string{"keyfiles": "connections", "profile": "a.mobileconfig", "supplicant": "wpa_supplicant.conf", "text": "codes.txt", "pictures": "codes/*.png"}

func TestApply(t *testing.T) {
	from := readAll(t, keyfiles)
	if len(from.records) != 13 || len(from.changes) != 0 {
		t.Fatal(len(from.records), from.changes)
	}
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			b := open(t, filepath.Join(dir, place))
			written, lost := apply(t, b, from.records)
			t.Logf("%d of %d written, %d changes", written, len(from.records), len(lost))
			if now := read(t, b); len(now) != written || written < 8 {
				t.Errorf("%d written, %d there", written, len(now))
			}
			if again, _ := apply(t, b, from.records); again != 0 {
				t.Errorf("applied twice, %d are written again", again)
			}
			checkModes(t, dir)
			back := readAll(t, strings.TrimSuffix(filepath.Join(dir, place), "/*.png"))
			if len(back.records) != written {
				t.Errorf("%d written, the source reads %d: %+v", written, len(back.records), back.changes)
			}
		})
	}
}

func checkModes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", p, info.Mode())
		}
		if strings.HasPrefix(d.Name(), ".") {
			t.Errorf("%s is left behind", p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestKeyfilesThroughNetworkManager is the bar for keyfiles: what NetworkManager reads in each file is the same on the other side.
func TestKeyfilesThroughNetworkManager(t *testing.T) {
	nmcli := env.Program(t, "nmcli")
	normal := func(data []byte) string {
		cmd := exec.Command(nmcli, "--offline", "connection", "modify", "connection.autoconnect-slaves", "-1")
		cmd.Stdin = bytes.NewReader(data)
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		return string(out)
	}
	dir := filepath.Join(t.TempDir(), "connections")
	apply(t, open(t, dir), readAll(t, keyfiles).records)
	names, _ := filepath.Glob(filepath.Join(keyfiles, "*"))
	for _, n := range names {
		before, _ := os.ReadFile(n)
		after, err := os.ReadFile(filepath.Join(dir, filepath.Base(n)))
		if err != nil || normal(before) != normal(after) {
			t.Errorf("%s: %v", n, err)
		}
	}
	t.Logf("%d of %d keyfiles are the same to NetworkManager", len(names), len(names))
}

// TestProfileIsAPropertyList shows that Apple's format is written as its own tools take it.
func TestProfileIsAPropertyList(t *testing.T) {
	plistutil := env.Program(t, "plistutil")
	name := filepath.Join(t.TempDir(), "a.mobileconfig")
	apply(t, open(t, name), readAll(t, keyfiles).records)
	binary := name + ".bin"
	if out, err := exec.Command(plistutil, "-i", name, "-o", binary, "-f", "bin").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := exec.Command(plistutil, "-i", binary, "-f", "xml").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"<string>com.apple.wifi.managed", "<key>SSID_STR", "<string>FRITZ!Box 7590 ab<", "<string>Käse<", "<string>WPA3<"} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("plistutil does not show %s in\n%s", want, out)
		}
	}
}

// TestPicturesAreRead shows that a reader of QR codes reads the pictures in a directory.
func TestPicturesAreRead(t *testing.T) {
	zbar := env.Program(t, "zbarimg")
	dir := t.TempDir()
	apply(t, open(t, dir+"/*.png"), readAll(t, keyfiles).records)
	out, err := exec.Command(zbar, "--raw", "-q", filepath.Join(dir, "Fritz.png")).Output()
	if want := `WIFI:T:WPA;S:FRITZ!Box 7590 ab;P:Sommer\;2024\\x # y;;`; err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("zbarimg reads %q, %v", out, err)
	}
}

func TestEditedAndRemoved(t *testing.T) {
	ctx := context.Background()
	records := readAll(t, keyfiles).records
	for name, place := range places {
		t.Run(name, func(t *testing.T) {
			b := open(t, filepath.Join(t.TempDir(), place))
			whole, isWhole := b.(target.Whole)
			apply(t, b, records)
			now := read(t, b)
			var before []byte
			if isWhole {
				before, _ = whole.Snapshot()
			}
			got := func(w target.Write) (e target.Existing, result error) {
				t.Helper()
				if err := b.Write(ctx, item.Network, []target.Write{w}, func(_ int, n target.Existing, err error) error { e, result = n, err; return nil }); err != nil {
					t.Fatal(err)
				}
				return e, result
			}
			if _, err := got(target.Write{ID: now[0].ID, Version: "other", Record: now[0].Record}); !errors.Is(err, target.ErrEdited) {
				t.Errorf("edited since: %v", err)
			}
			if _, err := got(target.Write{ID: "../../x", Version: "other"}); err == nil {
				t.Error("a name from outside is taken")
			}
			if e, err := got(target.Write{ID: now[0].ID, Version: now[0].Version}); err != nil || e.ID != "" {
				t.Errorf("removed: %v %v", e, err)
			}
			if left := read(t, b); len(left) != len(now)-1 || left[0].ID == now[0].ID {
				t.Errorf("%d are left of %d", len(left), len(now))
			}
			if !isWhole {
				return
			}
			after, _ := whole.Snapshot()
			if err := whole.Restore(before, sha256.Sum256(before)); !errors.Is(err, target.ErrEdited) {
				t.Errorf("restored what was edited: %v", err)
			}
			if err := whole.Restore(before, sha256.Sum256(after)); err != nil {
				t.Error(err)
			}
			if again, _ := whole.Snapshot(); !bytes.Equal(again, before) {
				t.Error("not restored")
			}
		})
	}
}

// TestOthersKept shows that what is not ours in a file stays byte for byte.
func TestOthersKept(t *testing.T) {
	const conf = "# mine\ncountry=DE\nnetwork={\n  ssid=\"old\"  # note\n\tpsk=\"12345678\"\n}\ncred={\n\tdomain=\"x\"\n}\n"
	name := filepath.Join(t.TempDir(), "w.conf")
	if err := os.WriteFile(name, []byte(conf), 0o640); err != nil {
		t.Fatal(err)
	}
	apply(t, open(t, name), readAll(t, keyfiles).records)
	now, _ := os.ReadFile(name)
	if !bytes.HasPrefix(now, []byte(conf)) || len(now) == len(conf) {
		t.Errorf("became\n%s", now)
	}
	if info, _ := os.Stat(name); info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v", info.Mode())
	}
}

// TestMany shows that a file takes many networks in a time that is linear in them.
func TestMany(t *testing.T) {
	var records []item.Record
	for i := range 1000 {
		records = append(records, network.Record("", fmt.Appendf(nil, "[connection]\nid=n%d\ntype=wifi\n[wifi]\nssid=n%d\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=12345678\n", i, i)))
	}
	for _, place := range []string{"a.mobileconfig", "w.conf", "codes.txt"} {
		b := open(t, filepath.Join(t.TempDir(), place))
		if n, _ := apply(t, b, records); n != len(records) || len(read(t, b)) != n {
			t.Errorf("%s: %d written", place, n)
		}
		if n, _ := apply(t, b, records); n != 0 {
			t.Errorf("%s: %d written again", place, n)
		}
	}
}

// TestUnclosed shows that nothing is put into a block that is not closed.
func TestUnclosed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "w.conf")
	const conf = "network={\n\tssid=\"a\"\n"
	if err := os.WriteFile(name, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	b := open(t, name)
	var refused *target.RefusedError
	err := b.Write(context.Background(), item.Network, []target.Write{{Record: readAll(t, keyfiles).records[0]}}, func(_ int, _ target.Existing, err error) error {
		if !errors.As(err, &refused) {
			t.Errorf("written: %v", err)
		}
		return nil
	})
	if now, _ := os.ReadFile(name); err != nil || string(now) != conf {
		t.Errorf("%v: %s", err, now)
	}
}

func TestSourceForms(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"Home Net.psk":     "[Security]\nPassphrase=geheim123\nPreSharedKey=00\n[Settings]\nAutoConnect=true\n",
		"=436166c3a9.open": "[Settings]\nHidden=true\n",
		"conf":             "network={\n\tssid=\"a\"\n\tpsk=\"geheim123\"\n}\ncred={\n}\n",
		"note.txt":         "hello\n", ".hidden": "x",
		"win.xml":          `<?xml version="1.0"?><WLANProfile><name>Win</name><SSIDConfig><SSID><name>Win</name></SSID></SSIDConfig><MSM><security><authEncryption><authentication>WPA2PSK</authentication></authEncryption><sharedKey><protected>false</protected><keyMaterial>geheim123</keyMaterial></sharedKey></security></MSM><MacRandomization><x>1</x></MacRandomization></WLANProfile>`,
		"bad.mobileconfig": "<plist><dict>",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	s := readAll(t, dir)
	var labels []string
	for _, r := range s.records {
		labels = append(labels, r.Label)
	}
	if got := strings.Join(labels, "|"); got != "Café|Home Net|a|Win" {
		t.Errorf("networks %s", got)
	}
	told := map[string]bool{}
	for _, c := range s.changes {
		told[c.Record] = true
		if strings.Contains(c.Before+c.After+c.Why, "geheim") {
			t.Errorf("shows %+v", c)
		}
	}
	for _, want := range []string{"cred", "note.txt", "bad.mobileconfig", "link", "Home Net", "Win"} {
		if !told[want] {
			t.Errorf("nothing is said of %s: %+v", want, s.changes)
		}
	}
}

// noFiles is the part of a sink that networks have no use for.
type noFiles struct{}

func (noFiles) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return errors.New("networks are no files")
}
