package mmssms

import (
	"context"
	"database/sql"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
)

type sink struct {
	records []item.Record
	changes []item.Change
}

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return nil }
func (s *sink) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return nil
}
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }

func read(t *testing.T, path string) *sink {
	t.Helper()
	d, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	found, err := d.Survey(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	s := &sink{}
	if err := d.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	if int(found[0].Items) != len(s.records) {
		t.Errorf("%d are announced and %d come", found[0].Items, len(s.records))
	}
	return s
}

func TestRealDatabase(t *testing.T) {
	path := "../../../../shared/fixtures/sms/log2timeline__plaso/android/mmssms.db"
	if _, err := os.Stat(path); err != nil {
		t.Skip("the shared fixtures are not here")
	}
	s := read(t, path)
	if len(s.records) != 9 {
		t.Fatalf("%d messages, want 9", len(s.records))
	}
	m, err := message.Decode(s.records[2].Data)
	if err != nil || m.Type != message.SMS || m.Date.N != 1383066341303 || m.DateSent.N != 1383066340000 || m.Box != "received" || m.Address.S != "15555215554" || m.Body.S != "What message?" {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestWriteAheadLogAndParts reads rows that are in the log only, and parts from files.
func TestWriteAheadLogAndParts(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "mmssms.db")
	db, err := sql.Open("sqlite", path+"?_pragma=journal_mode(wal)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{
		"CREATE TABLE sms (_id INTEGER PRIMARY KEY, address TEXT, date INTEGER, type INTEGER, body TEXT)",
		"CREATE TABLE pdu (_id INTEGER PRIMARY KEY, date INTEGER, msg_box INTEGER, m_type INTEGER, sub TEXT)",
		"CREATE TABLE addr (_id INTEGER PRIMARY KEY, msg_id INTEGER, address TEXT, type INTEGER)",
		"CREATE TABLE part (_id INTEGER PRIMARY KEY, mid INTEGER, seq INTEGER, ct TEXT, _data TEXT, text TEXT)",
		"INSERT INTO sms VALUES (1, '+15551234567', 1609459200123, 1, 'hi 😀')",
		"INSERT INTO pdu VALUES (7, 1609459200, 1, 132, NULL)",
		"INSERT INTO addr VALUES (1, 7, '+15551234567', 137), (2, 7, '+15559999999', 151)",
		"INSERT INTO part VALUES (1, 7, 0, 'text/plain', NULL, 'text'), (2, 7, 1, 'image/png', '/data/x/app_parts/PART_1', NULL), (3, 7, 2, 'image/png', '/data/x/app_parts/../../secret', NULL)",
	} {
		if _, err := db.Exec(q); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(filepath.Join(dir, partsDir), 0o700)
	os.WriteFile(filepath.Join(dir, partsDir, "PART_1"), []byte("png"), 0o600)
	os.WriteFile(filepath.Join(dir, "secret"), []byte("no"), 0o600)
	s := read(t, path)
	if len(s.records) != 2 || len(s.changes) != 1 || s.changes[0].Property != "PART/DATA" {
		t.Fatalf("%d records, changes %+v", len(s.records), s.changes)
	}
	m, err := message.Decode(s.records[1].Data)
	if err != nil || m.Date.N != 1609459200000 || len(m.Parts) != 3 || m.Thread != "+15551234567" || m.Parts[0].Text.S != "text" {
		t.Fatalf("%s, %v", s.records[1].Data, err)
	}
	if b, _ := m.Parts[1].Data(); string(b) != "png" || m.Parts[2].Base64 != nil {
		t.Errorf("the part is %q", b)
	}
}
