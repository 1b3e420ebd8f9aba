//go:build linux

package hostile

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/format/bookmarkhtml"
	"github.com/decant-dev/decant/node/format/chromium"
	"github.com/decant-dev/decant/node/format/firefox"
	"github.com/decant-dev/decant/node/format/mobileconfig"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/photo"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/bookmarks"
	"github.com/decant-dev/decant/node/source/dconf"
	"github.com/decant-dev/decant/node/source/ics"
	"github.com/decant-dev/decant/node/source/mbox"
	"github.com/decant-dev/decant/node/source/mmssms"
	"github.com/decant-dev/decant/node/source/notes"
	"github.com/decant-dev/decant/node/source/photos"
	"github.com/decant-dev/decant/node/source/smsie"
	"github.com/decant-dev/decant/node/source/smsxml"
	"github.com/decant-dev/decant/node/source/takeout"
	"github.com/decant-dev/decant/node/source/vcf"
	"github.com/decant-dev/decant/node/source/wifi"
	"github.com/decant-dev/decant/test/env"
)

// probes are what reads a file in a process of its own.
var probes = map[string]func(path string, c *tally) error{
	"contact":      rules(item.Contact, "Contacts/a.vcf"),
	"calendar":     rules(item.Calendar, "Calendars/a.ics"),
	"smsxml":       books(smsxml.Open),
	"smsie":        books(smsie.Open),
	"wifi":         books(wifi.Open),
	"photo":        takenAt,
	"bookmarkhtml": whole(bookmarkhtml.Parse),
	"chromium":     whole(chromium.Parse),
	"firefox":      unpacked,
	"firefoxdb":    database,
	"mobileconfig": whole(mobileconfig.Parse),
	"vcf":          books(vcf.Open),
	"ics":          books(ics.Open),
	"bookmarks":    books(bookmarks.Open),
	"dconf":        books(dconf.Open),
	"mbox":         books(mbox.Open),
	"mmssms":       books(mmssms.Open),
	"notes":        books(notes.Open),
	"takeout":      books(takeout.Open),
	"photos":       func(path string, c *tally) error { return books(photos.Open)(filepath.Dir(path), c) },
}

// tally is what came of a file.
type tally struct {
	Records  int64
	Files    int64
	Changes  int64
	Bytes    int64
	Err      string
	PeakKiB  int64
	Seconds  float64
	Verdicts map[string]int
}

// TestMain is the probe where the test has started itself.
func TestMain(m *testing.M) {
	if name := os.Getenv("DECANT_HOSTILE_PROBE"); name != "" {
		c := &tally{}
		began := time.Now()
		if err := probes[name](os.Getenv("DECANT_HOSTILE_FILE"), c); err != nil {
			c.Err = fmt.Sprintf("%.300q", err.Error())
		}
		c.Seconds = time.Since(began).Seconds()
		c.PeakKiB = highWater()
		json.NewEncoder(os.Stdout).Encode(c)
		os.Exit(0)
	}
	env.Main(m)
}

// highWater is the largest resident set of this process in KiB.
func highWater() (kib int64) {
	f, err := os.Open("/proc/self/status")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "VmHWM:"); ok {
			fmt.Sscanf(v, "%d", &kib)
		}
	}
	return kib
}

func (c *tally) Record(r item.Record) error {
	c.Records++
	c.Bytes += int64(len(r.Data))
	return nil
}

func (c *tally) File(path string, k item.Kind, _ time.Time, open func() (io.ReadCloser, error)) error {
	c.Files++
	f, err := open()
	if err != nil {
		return nil
	}
	defer f.Close()
	n, _ := io.Copy(io.Discard, io.LimitReader(f, 8<<30)) // what can't be read to its end has been read so far
	c.Bytes += n
	return nil
}

func (c *tally) Change(ch item.Change) error {
	c.Changes++
	if len(ch.Before) > item.MaxShown+16 || len(ch.After) > item.MaxShown+16 {
		return fmt.Errorf("a change shows %d and %d bytes", len(ch.Before), len(ch.After))
	}
	return nil
}

// books reads all of a source.
func books[T source.Books](open func(string) (T, error)) func(string, *tally) error {
	return func(path string, c *tally) error {
		s, err := open(path)
		if err != nil {
			return err
		}
		_, err = s.Survey(context.Background())
		return errors.Join(err, s.Read(context.Background(), c), s.Close())
	}
}

// whole parses a file that is in memory.
func whole[T any](parse func([]byte) (T, error)) func(string, *tally) error {
	return func(path string, c *tally) error {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		_, err = parse(b)
		return err
	}
}

func unpacked(path string, c *tally) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if strings.HasSuffix(path, "lz4") {
		if b, err = firefox.Unpack(b); err != nil {
			return err
		}
	}
	_, err = firefox.Parse(b)
	return err
}

func database(path string, c *tally) error {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	copied, err := firefox.Copy(context.Background(), path, dir)
	if err != nil {
		return err
	}
	db, err := firefox.Open(copied, "mode=ro")
	if err != nil {
		return err
	}
	defer db.Close()
	_, changes, err := firefox.Read(context.Background(), db)
	c.Changes += int64(len(changes))
	return err
}

// takenAt reads as much of a photo as the scan does.
func takenAt(path string, c *tally) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	head, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return err
	}
	if photo.Is(filepath.Base(path), head[:min(len(head), 512)]) {
		c.Records++
	}
	if at := photo.TakenAt(head); at != "" {
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			if _, err2 := time.Parse("2006-01-02T15:04:05", strings.SplitN(at, ".", 2)[0]); err2 != nil {
				return fmt.Errorf("taken at %q", at)
			}
		}
	}
	return nil
}

// rules brings a container's records into three targets, and meets them with themselves.
func rules(k item.Kind, path string) func(string, *tally) error {
	return func(file string, c *tally) error {
		debug.SetMemoryLimit(112 << 20) // as the command has it
		data, err := os.ReadFile(file)
		if err != nil || len(data) > 64<<20 { // larger containers have no records
			return err
		}
		r := kind.Rules(k)
		if r == nil {
			return errors.New("no rules")
		}
		records := r.Split(path, data)
		c.Records = int64(len(records))
		for _, p := range []rule.Profile{{}, {Version: "3.0", Strict: true, Schedules: true, MaxSize: 1 << 20, Region: "DE"}, {Version: "4.0", Strict: true, Drops: []string{"X-*", "PHOTO"}}, {Version: "2.1"}} {
			if k == item.Calendar {
				p.Version = ""
			}
			var shaped []item.Record
			for _, one := range records {
				out, changes, ok := r.Shape(one, p)
				c.Changes += int64(len(changes))
				for _, ch := range changes {
					if err := c.Change(ch); err != nil {
						return err
					}
				}
				if ok {
					shaped = append(shaped, out)
				}
			}
			if p.Region == "" && p.Version != "" {
				continue
			}
			decisions, err := r.Match(context.Background(), shaped[:len(shaped)/2], shaped, rule.Options{Profile: p})
			if err != nil {
				return err
			}
			if len(decisions) != len(shaped) {
				return fmt.Errorf("%d decisions about %d records", len(decisions), len(shaped))
			}
			c.Verdicts = map[string]int{}
			for _, d := range decisions {
				c.Verdicts[d.Verdict.String()]++
			}
		}
		return nil
	}
}
