package ics

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
)

const (
	head  = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n"
	first = "BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:Lunch\r\nDTSTART:20240101T100000Z\r\nEND:VEVENT\r\n"
	foot  = "END:VCALENDAR\r\n"
)

type sink struct {
	records []item.Record
	changes []item.Change
	full    error
}

func (s *sink) Record(r item.Record) error { s.records = append(s.records, r); return s.full }
func (s *sink) Change(c item.Change) error { s.changes = append(s.changes, c); return nil }
func (s *sink) File(string, item.Kind, time.Time, func() (io.ReadCloser, error)) error {
	return errors.New("no files")
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, path string) *Calendars {
	t.Helper()
	c, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "Home.ics")
	write(t, path, "hello: you\r\n"+head+first+strings.Replace(first, "UID:1", "UID:2", 1)+foot+"END:VCALENDAR\r\n")
	c := open(t, path)
	found, err := c.Survey(context.Background())
	if err != nil || len(found) != 1 || found[0].Items != 2 || found[0].Book != "Home" || !found[0].Can || found[0].Bytes == 0 {
		t.Errorf("%+v %v", found, err)
	}
	s := &sink{}
	if err := c.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	if len(s.records) != 2 || s.records[0].Book != "Home" || s.records[0].Label != "Lunch, 2024-01-01 10:00" || s.records[1].From != "Home.ics, object 2" || string(s.records[0].Data) != head+first+foot {
		t.Errorf("%+v", s.records)
	}
	if len(s.changes) != 2 || s.changes[0].Property != "HELLO" || s.changes[1].Before != "END:VCALENDAR" || s.changes[1].Effect != item.EffectDropped {
		t.Errorf("%+v", s.changes)
	}
	full := errors.New("full")
	if err := c.Read(context.Background(), &sink{full: full}); !errors.Is(err, full) {
		t.Error(err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := c.Read(ended, &sink{}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a", "1.ics"), head+first+foot)
	write(t, filepath.Join(dir, "a", "displayname"), "At work\n")
	write(t, filepath.Join(dir, "a", "color"), "#ff0000\n")
	write(t, filepath.Join(dir, "b", "2.vcs"), head+first+foot)
	write(t, filepath.Join(dir, "b", "deeper", "3.ics"), head+first+foot)
	write(t, filepath.Join(dir, ".hidden", "4.ics"), head+first+foot)
	outside := filepath.Join(t.TempDir(), "5.ics")
	write(t, outside, head+first+foot)
	if err := os.Symlink(outside, filepath.Join(dir, "b", "5.ics")); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	found, err := c.Survey(context.Background())
	if err != nil || len(found) != 2 || found[0].Book != "At work" || found[1].Items != 1 {
		t.Errorf("%+v %v", found, err)
	}
	s := &sink{}
	if err := c.Read(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	if len(s.records) != 2 || s.records[0].Book != "At work" || s.records[1].From != "b/2.vcs" {
		t.Errorf("%+v", s.records)
	}
	if len(s.changes) != 2 || s.changes[0].Before != "#ff0000" || s.changes[1].Record != "b/5.ics" {
		t.Errorf("%+v", s.changes)
	}
}

func TestFind(t *testing.T) {
	home := t.TempDir()
	write(t, filepath.Join(home, ".local/share/evolution/calendar/system/calendar.ics"), head+first+foot)
	write(t, filepath.Join(home, ".local/share/evolution/tasks/system/tasks.ics"), "")
	write(t, filepath.Join(home, ".calendars/work/1.ics"), head+first+foot)
	write(t, filepath.Join(home, ".calendars/empty/note.txt"), "x")
	found := Find(home)
	if len(found) != 2 || filepath.Base(found[0]) != "work" || filepath.Base(found[1]) != "calendar.ics" {
		t.Error(found)
	}
}

func TestOpenFails(t *testing.T) {
	if _, err := Open(filepath.Join(t.TempDir(), "none.ics")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err := Open(os.DevNull); err == nil {
		t.Error("a device is read")
	}
}
