//go:build linux

package hostile

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/fidelity"
)

// What a process may take. A machine that runs eight test suites at once is slow: the deadline only tells a process that never ends.
const (
	maxRSS     = 300 << 20
	addressMax = 12 << 20 // KiB of address space, so that a process that takes all there is ends before the machine does
)

// deadline is how long one process may take.
func deadline() time.Duration {
	if d, err := time.ParseDuration(os.Getenv("DECANT_HOSTILE_DEADLINE")); err == nil {
		return d
	}
	return 2 * time.Minute
}

// all gives every case its place: the table's row, the file, the probe and the scheme.
func all() map[string][]hostileFile {
	fill := func(in []hostileFile, file, probe, scheme string) (out []hostileFile) {
		for _, c := range in {
			if c.file == "" {
				c.file = file
			}
			if c.probe == "" {
				c.probe = probe
			}
			if c.scheme == "" {
				c.scheme = scheme
			}
			out = append(out, c)
		}
		return out
	}
	return map[string][]hostileFile{
		"RT-18 cards":     fill(cards, "a.vcf", "contact vcf", "vcf"),
		"RT-18 calendars": fill(calendars, "a.ics", "calendar ics", "ics"),
		"RT-18 bookmarks": fill(bookmarkFiles, "", "", "bookmarks"),
		"RT-18 networks":  fill(networkFiles, "", "", "wifi"),
		"RT-18 settings":  fill(settings, "dconf.txt", "dconf", "dconf"),
		"RT-18 notes":     fill(notesDirs, "n", "notes takeout", "notes"),
		"RT-18 mail":      fill(mail, "a.mbox", "mbox", "mbox"),
		"RT-19 messages":  fill(archives, "a.xml", "smsxml", "smsxml"),
		"RT-19 databases": fill(databases, "mmssms.db", "mmssms", "mmssms"),
		"RT-19 zips":      fill(zips, "a.zip", "smsie takeout", "smsie"),
		"RT-20 takeouts":  fill(takeouts, "takeout-1.zip", "takeout", "takeout"),
		"RT-20 pictures":  fill(pictures, "", "photo photos", "photos"),
	}
}

// sandbox is a directory in which a process may write in some places only.
type sandbox struct {
	t      *testing.T
	base   string // everything
	in     string // the hostile file, or the directory of such
	outDir string // targets
	state  string
	home   string
	trap   trap
	token  string // in the secret file
	known  string
	cpu    time.Duration // of the last process
	hits   atomic.Int64
	last   atomic.Value
	before map[string]string
}

// secretToken is what must not be found anywhere.
const secretToken = "b6kq-not-for-you-9w2z"

func newSandbox(t *testing.T, c hostileFile) *sandbox {
	t.Helper()
	base := t.TempDir()
	s := &sandbox{t: t, base: base, known: c.known, outDir: filepath.Join(base, "a", "b", "out"), state: filepath.Join(base, "a", "b", "state"), home: filepath.Join(base, "a", "b", "home"), token: secretToken}
	inDir := filepath.Join(base, "a", "b", "in")
	for _, d := range []string{s.outDir, s.state, s.home, inDir, filepath.Join(s.home, "tmp")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.trap.secret = filepath.Join(base, "secret.txt")
	if err := os.WriteFile(s.trap.secret, []byte(s.token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.trap.url = s.listen()
	s.in = filepath.Join(inDir, c.file)
	if err := s.make(c); err != nil {
		t.Fatal(err)
	}
	s.before = tree(base, s.outDir, s.state, s.home)
	return s
}

func (s *sandbox) make(c hostileFile) error {
	if c.dir != nil {
		if err := os.MkdirAll(s.in, 0o700); err != nil {
			return err
		}
		return c.dir(s.in, s.trap)
	}
	f, err := os.Create(s.in)
	if err != nil {
		return err
	}
	defer f.Close()
	w := &out{bufio.NewWriterSize(f, 1<<16)}
	c.write(w, s.trap)
	return w.Flush()
}

// listen starts the canary: whatever connects to it has been fooled.
func (s *sandbox) listen() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.last.Store(r.Method + " " + r.URL.String()) }),
		ConnState: func(_ net.Conn, st http.ConnState) {
			if st == http.StateNew {
				s.hits.Add(1)
			}
		}}
	go srv.Serve(l)
	s.t.Cleanup(func() { srv.Close() })
	return "http://" + l.Addr().String()
}

// tree describes what is below base, but for some directories.
func tree(base string, but ...string) map[string]string {
	m := map[string]string{}
	filepath.WalkDir(base, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if slices.Contains(but, p) {
			return fs.SkipDir
		}
		if fi, err := d.Info(); err == nil && !d.IsDir() {
			m[p] = fmt.Sprint(fi.Mode(), fi.Size(), fi.ModTime().UnixNano())
		} else {
			m[p] = "directory"
		}
		return nil
	})
	return m
}

// run starts a process in the sandbox, and returns what it said.
func (s *sandbox) run(extra []string, path string, args ...string) (stdout, stderr string, exit int, peakKiB int64) {
	s.cpu = 0
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), deadline())
	defer cancel()
	line := fmt.Sprintf(`ulimit -v %d; ulimit -c 0; exec "$0" "$@"`, addressMax)
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", line, path}, args...)...)
	cmd.Dir = s.home
	cmd.Env = append([]string{"HOME=" + s.home, "TMPDIR=" + filepath.Join(s.home, "tmp"), "PATH=/usr/bin:/bin", "LANG=C.UTF-8", "XDG_STATE_HOME=" + s.state,
		"http_proxy=" + s.trap.url, "https_proxy=" + s.trap.url, "all_proxy=" + s.trap.url, "GOTRACEBACK=single"}, extra...)
	// Linux counts the peak of the process that forks for the one that is forked: let it be small.
	debug.FreeOSMemory()
	os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	var o, e bytes.Buffer
	cmd.Stdout, cmd.Stderr = &o, &e
	err := cmd.Run()
	if ctx.Err() != nil {
		s.t.Errorf("it did not end within %v", deadline())
	} else if err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	if u, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage); ok {
		peakKiB = u.Maxrss
		s.cpu += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode(), peakKiB
}

// check looks for everything that must not have happened.
func (s *sandbox) check(said string) {
	s.t.Helper()
	if n := s.hits.Load(); n > 0 {
		s.t.Errorf("%d connections were made, the last for %v", n, s.last.Load())
	}
	for _, word := range []string{"panic:", "goroutine 1 [", "fatal error:", "SIGSEGV"} {
		if i := strings.Index(said, word); i >= 0 {
			s.t.Errorf("it crashed: %.1500s", said[i:])
		}
	}
	if strings.Contains(said, s.token) {
		s.t.Error("it has told the secret")
	}
	after := tree(s.base, s.outDir, s.state, s.home)
	for p, v := range after {
		if s.before[p] != v {
			s.t.Errorf("%q was changed or made", p)
		}
	}
	for p := range s.before {
		if after[p] == "" {
			s.t.Errorf("%q is gone", p)
		}
	}
	for _, p := range []string{"/tmp/escaped", filepath.Join(s.home, "escaped"), filepath.Join(s.home, "x")} {
		if _, err := os.Lstat(p); err == nil {
			s.t.Errorf("%q was made", p)
		}
	}
	filepath.WalkDir(s.outDir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if !d.IsDir() && !d.Type().IsRegular() {
			s.t.Errorf("%q is no file", p)
			return nil
		}
		if b, err := head(p); err == nil && bytes.Contains(b, []byte(s.token)) {
			s.t.Errorf("%q has the secret", p)
		}
		return nil
	})
}

// complain fails for what takes too much or loses something, unless that is known.
func (s *sandbox) complain(format string, args ...any) {
	s.t.Helper()
	if s.known != "" {
		s.t.Logf("known (%s): "+format, append([]any{s.known}, args...)...)
		return
	}
	s.t.Errorf(format, args...)
}

// head reads what a search for the secret needs: small files whole, of large ones the beginning.
func head(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, 4<<20)
	n, _ := f.Read(b)
	return b[:n], nil
}

// each runs a test for every case, the rows in order.
func each(t *testing.T, f func(t *testing.T, c hostileFile)) {
	rows := all()
	var names []string
	for n := range rows {
		names = append(names, n)
	}
	slices.Sort(names)
	for _, n := range names {
		t.Run(n, func(t *testing.T) {
			for _, c := range rows[n] {
				t.Run(c.name, func(t *testing.T) { f(t, c) })
			}
		})
	}
}

// TestProbes lets each package read what is meant for it, in a process of its own.
func TestProbes(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes minutes, and with the race detector many: run it without")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, c hostileFile) {
		for name := range strings.FieldsSeq(c.probe) {
			t.Run(name, func(t *testing.T) { probe(t, self, name, c) })
		}
	})
}

// probe lets one package read one file.
func probe(t *testing.T, self, name string, c hostileFile) {
	if probes[name] == nil {
		t.Fatalf("nothing reads %s", name)
	}
	s := newSandbox(t, c)
	stdout, stderr, exit, _ := s.run([]string{"DECANT_HOSTILE_PROBE=" + name, "DECANT_HOSTILE_FILE=" + s.in}, self)
	s.check(stdout + stderr)
	var got tally
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || exit != 0 {
		t.Fatalf("exit %d, %v: %.600s", exit, err, stderr)
	}
	size := int64(0)
	if fi, err := os.Stat(s.in); err == nil && fi.Mode().IsRegular() {
		size = fi.Size()
	}
	t.Logf("%d KiB file: %d records, %d files, %d changes, %v, %.1f s CPU, peak %d MiB, %s", size>>10, got.Records, got.Files, got.Changes, got.Verdicts, s.cpu.Seconds(), got.PeakKiB>>10, got.Err)
	if limit := maxRSS + 2*min(size, 64<<20); !raced && got.PeakKiB<<10 > limit {
		s.complain("it took %d MiB, more than %d", got.PeakKiB>>10, limit>>20)
	}
}

// targets say into what the command brings what it has read by a scheme.
var targets = map[string]string{"vcf": "vcf:OUT/out.vcf", "ics": "ics:OUT/out.ics", "smsxml": "smsxml:OUT/out.xml", "smsie": "smsxml:OUT/out.xml", "bookmarks": "bookmarks:OUT/out.html",
	"notes": "notes:OUT/notes", "wifi": "wifi:OUT/wifi", "dconf": "dconf:OUT/dconf.txt", "mbox": "mbox:OUT/out.mbox", "mmssms": "smsxml:OUT/out.xml", "takeout": "notes:OUT/notes", "photos": "folder:OUT/photos"}

var command = sync.OnceValues(func() (string, error) { return env.Binary(env.Plain) })

// TestCommand imports every file through the command.
func TestCommand(t *testing.T) {
	if testing.Short() || raced {
		t.Skip("takes minutes, and with the race detector many: run it without")
	}
	decant, err := command()
	if err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, c hostileFile) {
		if c.scheme == "" {
			t.Skip("it is no source of records")
		}
		s := newSandbox(t, c)
		into := strings.Replace(targets[c.scheme], "OUT", s.outDir, 1)
		from := c.scheme + ":" + s.in
		for name, source := range map[string]bool{from: true, into: false} {
			if err := node.CheckPlace(name, source); err != nil {
				t.Skipf("%s: %v", name, err)
			}
		}
		if scheme, dir, _ := strings.Cut(into, ":"); scheme == "notes" || scheme == "wifi" {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		args := []string{"import", from, "--into", into, "--yes", "--conflicts", "both", "--region", "DE", "--state", s.state}
		stdout, stderr, exit, peak := s.run(nil, decant, args...)
		s.check(stdout + stderr)
		t.Logf("exit %d, %.1f s CPU, peak %d MiB: %.300q", exit, s.cpu.Seconds(), peak>>10, last(stderr+stdout))
		if exit < 0 || exit == 2 {
			t.Errorf("exit %d: %.1000s", exit, stderr)
		}
		if peak<<10 > maxRSS {
			s.complain("it took %d MiB, more than %d", peak>>10, maxRSS>>20)
		}
		s.checkText(stdout + stderr)
		if exit != 0 && exit != env.ExitLeftBehind {
			if len(c.keeps) > 0 || c.whole {
				t.Errorf("nothing came of it: %.1000s", stderr)
			}
			return
		}
		s.compare(c, decant, into, args)
	})
}

// last is the end of what a process said.
func last(s string) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-300):]
}

// checkText fails for what must not reach a terminal.
func (s *sandbox) checkText(said string) {
	for i, c := range said {
		if c < 0x20 && c != '\n' && c != '\r' && c != '\t' || c >= 0x7f && c < 0xa0 || c == '\u202e' || c == '\u2028' {
			s.t.Errorf("it printed %U: %.60q", c, said[max(0, i-30):])
			return
		}
	}
}

// compare looks at what came out: nothing is lost silently, and a second time changes nothing.
func (s *sandbox) compare(c hostileFile, decant, into string, args []string) {
	report, stderr, exit, peak := s.run(nil, decant, "report", "--json", "--state", s.state)
	s.t.Logf("the report: %d KiB, peak %d MiB", len(report)>>10, peak>>10)
	s.check(stderr)
	if exit != 0 && len(report) == 0 {
		s.t.Errorf("report: exit %d: %.600s", exit, stderr)
	}
	if peak<<10 > maxRSS {
		s.complain("the report took %d MiB", peak>>10)
	}
	_, path, _ := strings.Cut(into, ":")
	came, err := os.ReadFile(path)
	if err != nil {
		if len(c.keeps) > 0 || c.whole {
			s.t.Error(err)
		}
		return
	}
	for _, k := range c.keeps {
		if !bytes.Contains(came, []byte(k)) {
			s.t.Errorf("%q did not arrive", k)
		}
	}
	if !c.whole {
		return
	}
	sent, err := os.ReadFile(s.in)
	if err != nil {
		s.t.Fatal(err)
	}
	before, err := fidelity.Parse(s.in, sent)
	if err != nil {
		s.t.Fatal(err)
	}
	after, err := fidelity.Parse(path, came)
	if err != nil {
		s.t.Fatal(err)
	}
	changes, err := fidelity.ReadReport(strings.NewReader(report))
	if err != nil {
		s.t.Fatal(err)
	}
	r := fidelity.Compare(before, after, fidelity.Options{Report: changes, Merged: true}) // what is there twice may come out once
	if n := len(r.Silent()); n > 0 {
		var b strings.Builder
		r.WriteLosses(&b, 12)
		s.complain("%d silent losses of %d properties\n%s", n, r.StrictProperties, &b)
	}
	s.run(nil, decant, args...)
	if again, err := os.ReadFile(path); err != nil || !bytes.Equal(came, again) {
		s.t.Errorf("a second import changed the target, %v", err)
	}
}
