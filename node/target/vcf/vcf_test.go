package vcf

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

const (
	ada = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:ada\r\nFN:Ada\r\nN:;Ada;;;\r\nEND:VCARD\r\n"
	bob = "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:bob\r\nFN:Bob\r\nN:;Bob;;;\r\nEND:VCARD\r\n"
	eve = "BEGIN:VCARD\nVERSION:3.0\nFN:Eve\nN:;Eve;;;\nEND:VCARD"
)

func read(t *testing.T, b target.Books) (all []target.Existing) {
	t.Helper()
	if err := b.Read(context.Background(), item.Contact, func(e target.Existing) error { all = append(all, e); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

type result struct {
	now target.Existing
	err error
}

func write(t *testing.T, b target.Books, changes ...target.Write) (out []result) {
	t.Helper()
	err := b.Write(context.Background(), item.Contact, changes, func(i int, now target.Existing, err error) error {
		if i != len(out) {
			t.Fatalf("change %d is told as %d", len(out), i)
		}
		out = append(out, result{now, err})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func record(data string) item.Record { return item.Record{Kind: item.Contact, Data: []byte(data)} }

func books(t *testing.T) map[string]target.Books {
	dir := t.TempDir()
	out := map[string]target.Books{}
	for name, path := range map[string]string{"file": filepath.Join(dir, "a.vcf"), "folder": filepath.Join(dir, "cards") + "/"} {
		b, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { b.Close() })
		out[name] = b
	}
	return out
}

func TestWriteAndReadBack(t *testing.T) {
	for name, b := range books(t) {
		t.Run(name, func(t *testing.T) {
			if all := read(t, b); len(all) != 0 {
				t.Fatalf("%d cards in nothing", len(all))
			}
			made := write(t, b, target.Write{Key: "k1", Record: record(ada)}, target.Write{Key: "k2", Record: record("hello")}, target.Write{Key: "k3", Record: record(eve)})
			var refused *target.RefusedError
			if made[0].err != nil || made[2].err != nil || !errors.As(made[1].err, &refused) {
				t.Fatalf("%+v", made)
			}
			same(t, read(t, b), made[0].now, made[2].now)
			again := write(t, b, target.Write{Key: "k1", Record: record(ada)})
			if again[0].err != nil || again[0].now.ID != made[0].now.ID {
				t.Fatalf("an attempt that is repeated: %+v", again)
			}
			same(t, read(t, b), made[0].now, made[2].now)

			now := made[0].now
			changed := write(t, b, target.Write{ID: now.ID, Version: now.Version, Record: record(strings.Replace(ada, "FN:Ada", "FN:Ada L.", 1))})
			if changed[0].err != nil || changed[0].now.Version == now.Version {
				t.Fatalf("%+v", changed)
			}
			same(t, read(t, b), changed[0].now, made[2].now)
			late := write(t, b, target.Write{ID: now.ID, Version: now.Version}, target.Write{ID: "none", Version: "x"})
			if !errors.Is(late[0].err, target.ErrEdited) || !errors.Is(late[1].err, target.ErrEdited) {
				t.Fatalf("what was edited since: %+v", late)
			}
			gone := write(t, b, target.Write{ID: changed[0].now.ID, Version: changed[0].now.Version})
			if gone[0].err != nil || gone[0].now.ID != "" {
				t.Fatalf("%+v", gone)
			}
			same(t, read(t, b), made[2].now)
		})
	}
}

// same compares what a target has with what Write has said of it.
func same(t *testing.T, have []target.Existing, want ...target.Existing) {
	t.Helper()
	if len(have) != len(want) {
		t.Fatalf("%d cards, want %d", len(have), len(want))
	}
	for i := range have {
		if have[i].ID != want[i].ID || have[i].Version != want[i].Version || !bytes.Equal(have[i].Data, want[i].Data) {
			t.Errorf("card %d: %s %q, want %s %q", i, have[i].ID, have[i].Data, want[i].ID, want[i].Data)
		}
	}
}

func TestFileKeepsTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.vcf")
	before := "\ufeff\n" + ada + "\n# mine\n" + strings.TrimSpace(bob)
	if err := os.WriteFile(path, []byte(before), 0o640); err != nil {
		t.Fatal(err)
	}
	link := path + ".link"
	if err := os.Symlink("a.vcf", link); err != nil {
		t.Fatal(err)
	}
	b, err := Open(link)
	if err != nil {
		t.Fatal(err)
	}
	whole := b.(target.Whole)
	snapshot, err := whole.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	all := read(t, b)
	if len(all) != 3 {
		t.Fatalf("%+v", all)
	}
	write(t, b, target.Write{ID: all[0].ID, Version: all[0].Version}, target.Write{Record: record(eve)})
	got, err := os.ReadFile(path)
	if want := "\n# mine\n" + strings.TrimSpace(bob) + "\n" + eve + "\n"; err != nil || string(got) != want {
		t.Errorf("%q, want %q (%v)", got, want, err)
	}
	info, err := os.Lstat(link)
	if err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is gone: %v", err)
	}
	if info, err = os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("permissions %v, %v", info.Mode(), err)
	}
	if err := whole.Restore(snapshot, [32]byte{}); !errors.Is(err, target.ErrEdited) {
		t.Errorf("restored over something else: %v", err)
	}
	if err := whole.Restore(snapshot, sha256.Sum256(got)); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != before {
		t.Errorf("restored to %q, %v", got, err)
	}
}

func TestFolderStaysInside(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(dir, "outside.vcf")
	if err := os.WriteFile(outside, []byte(ada), 0o600); err != nil {
		t.Fatal(err)
	}
	cards := filepath.Join(dir, "cards")
	if err := os.Mkdir(cards, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../outside.vcf", filepath.Join(cards, "a.vcf")); err != nil {
		t.Fatal(err)
	}
	b, err := Open(cards)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if all := read(t, b); len(all) != 0 {
		t.Errorf("a link was followed: %+v", all)
	}
	for _, id := range []string{"../outside.vcf", "a.vcf", ".hidden", "/etc/passwd", ""} {
		w := target.Write{ID: id, Version: "x", Key: "../outside", Record: record(bob)}
		if r := write(t, b, w); r[0].err == nil {
			t.Errorf("%q was written", id)
		}
	}
	if got, err := os.ReadFile(outside); err != nil || string(got) != ada {
		t.Errorf("%q, %v", got, err)
	}
}

func TestFolderWithSeveralCardsInAFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "two.vcf"), []byte(ada+bob), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	all := read(t, b)
	if len(all) != 2 || all[0].ID != "two.vcf#1" || all[1].ID != "two.vcf#2" {
		t.Fatalf("%+v", all)
	}
	r := write(t, b, target.Write{ID: all[1].ID, Version: all[1].Version, Record: record(strings.Replace(bob, "FN:Bob", "FN:B.", 1))})
	if r[0].err != nil {
		t.Fatal(r[0].err)
	}
	same(t, read(t, b), all[0], r[0].now)
}

// public returns the cards of the public collection, shaped for a target.
func public(t *testing.T, p rule.Profile) (records []item.Record) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "..", "shared", "fixtures", "vcard", "*", "*", "*.vcf"))
	if err != nil || len(files) == 0 {
		t.Skip("the public collection is not here")
	}
	more, _ := filepath.Glob(filepath.Join("..", "..", "..", "..", "shared", "fixtures", "vcard", "*", "*", "*", "*", "*.vcf"))
	for _, name := range append(files, more...) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range (contact.Rules{}).Split(filepath.Base(name), data) {
			if r, _, ok := (contact.Rules{}).Shape(r, p); ok {
				records = append(records, r)
			}
		}
	}
	return records
}

// TestKhardReadsTheFolder lets khard list what was written, and python3-vobject parse it.
func TestKhardReadsTheFolder(t *testing.T) {
	khard, err := exec.LookPath("khard")
	if err != nil {
		t.Skip("khard is not installed")
	}
	dir := t.TempDir()
	cards := filepath.Join(dir, "cards")
	b, err := Open(cards + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	p, err := b.Profile(context.Background(), item.Contact)
	if err != nil {
		t.Fatal(err)
	}
	var writes []target.Write
	for i, r := range public(t, p) {
		writes = append(writes, target.Write{Key: fmt.Sprintf("card-%d", i), Record: r})
	}
	for i, r := range write(t, b, writes...) {
		if r.err != nil {
			t.Errorf("%s: %v", writes[i].Record.From, r.err)
		}
	}
	config := filepath.Join(dir, "khard.conf")
	text := "[addressbooks]\n[[all]]\npath = " + cards + "\n[general]\ndebug = no\ndefault_action = list\n[contact table]\nlocalize_dates = no\n[vcard]\nskip_unparsable = no\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(khard, "-c", config, "list", "--parsable", "--fields", "uid,name")
	cmd.Env = append(os.Environ(), "HOME="+dir, "LC_ALL=C.UTF-8", "PYTHONWARNINGS=ignore")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("khard: %v\n%s", err, stderr.String())
	}
	if n := bytes.Count(bytes.TrimSpace(out), []byte("\n")) + 1; n != len(writes) {
		t.Errorf("khard lists %d of %d cards\n%s", n, len(writes), stderr.String())
	}
}
