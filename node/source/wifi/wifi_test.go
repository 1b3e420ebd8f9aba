package wifi

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/decant-dev/decant/node/item"
)

func TestFind(t *testing.T) {
	for _, p := range Find(t.TempDir()) {
		if _, err := Open(p); err != nil && !os.IsPermission(err) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("what is not there was opened")
	}
}

// TestPublicLists shows that Apple's lists of known networks, which hold no keys, and other property lists are told and not guessed at.
func TestPublicLists(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "..", "shared", "fixtures")
	n := 0
	for _, kind := range []string{"wifi", "plist"} {
		err := filepath.WalkDir(filepath.Join(dir, kind), func(p string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			n++
			if found, _ := Networks(p, data); len(found) > 0 {
				t.Errorf("%s: %v", p, found)
			}
			b, err := Open(p)
			if err != nil {
				return err
			}
			s := &sink{}
			if err := b.Read(context.Background(), s); err != nil || len(s.changes) == 0 {
				t.Errorf("%s: %v, nothing is said", p, err)
			}
			return nil
		})
		if err != nil {
			t.Skipf("the public files are not here: %v", err)
		}
	}
	t.Logf("%d files", n)
}

type sink struct {
	item.Sink
	records []item.Record
	changes []item.Change
}

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return nil }
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }

// TestNotAllowed shows that what only the administrator may read is told, and the rest is read.
func TestNotAllowed(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("the administrator may read everything")
	}
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"a.nmconnection": 0o600, "b.nmconnection": 0} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("[connection]\nid=a\ntype=wifi\n[wifi]\nssid=b\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	s := &sink{}
	b, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Read(context.Background(), s); err != nil || len(s.records) != 1 || len(s.changes) != 1 {
		t.Errorf("%v: %+v %+v", err, s.records, s.changes)
	}
	if err := os.Chmod(dir, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	s = &sink{}
	if b, err = Open(dir); err != nil {
		t.Fatal(err)
	}
	if err := b.Read(context.Background(), s); err != nil || len(s.records) != 0 || len(s.changes) != 1 {
		t.Errorf("%v: %+v %+v", err, s.records, s.changes)
	}
}

// FuzzNetworks shows that no file brings the reader down, and that what comes of it has a name and content.
func FuzzNetworks(f *testing.F) {
	for _, s := range []string{"[connection]\nid=a\n[wifi]\nssid=b\n", "network={\n\tssid=\"a\"\n\tpsk=\"b\"\n}\n", "WIFI:T:WPA;S:a;P:b;;\n",
		`<plist version="1.0"><dict><key>PayloadContent</key><array><dict><key>PayloadType</key><string>com.apple.wifi.managed</string><key>SSID_STR</key><string>a</string></dict></array></dict></plist>`} {
		f.Add("a.psk", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		found, _ := Networks(name, data)
		for _, r := range found {
			if r.Path == "" || len(r.Data) == 0 {
				t.Fatalf("%+v", r)
			}
		}
	})
}
