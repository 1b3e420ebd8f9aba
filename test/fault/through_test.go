package fault

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

// crossing is a transfer that begins with a server or directly, is cut off in the middle, and goes on through a stick.
type crossing struct {
	t     *testing.T
	w     *env.World
	mode  string // "code", "ticket", "direct"
	src   string
	to    string
	stick string
	env   []string // of every process
	kill  map[string]string
	limit time.Duration

	ticket   string
	sent     []*env.Result // the sender's runs, the first until the cut
	received []*env.Result
}

func newCrossing(t *testing.T, mode string) *crossing {
	t.Helper()
	c := &crossing{t: t, mode: mode, limit: 9 * time.Minute, kill: map[string]string{}}
	c.src = source(t, t.TempDir())
	more := corpus.Spec{Parts: []corpus.Part{{Dir: "d", Ext: ".bin", Count: 20, PerDir: 5, Min: 300 << 10, Max: 500 << 10, Fill: corpus.Random}}}
	if _, err := corpus.Generate(filepath.Join(c.src, "more"), more, 12); err != nil { // a dying process may get some packs more through
		t.Fatal(err)
	}
	c.world()
	return c
}

func (c *crossing) world() {
	c.w = env.NewWorld(c.t, env.WorldOptions{Build: env.Faulty, Limit: c.limit, Server: env.ServerOptions{Args: []string{"--fast-only"}}})
	c.to, c.stick = c.w.Path("to"), c.w.Path("stick")
	if err := os.Mkdir(c.stick, 0o755); err != nil {
		c.t.Fatal(err)
	}
}

func (c *crossing) device(name string, args ...string) env.Command {
	d := c.w.Device(name, args...)
	d.Env = slices.Clone(c.env)
	if c.mode == "direct" {
		d.Env = append(d.Env, "DECANT_ROUTE=direct", "DECANT_LOOPBACK=1")
	}
	return d
}

// begin sends so many packs, and then both devices die and the network is gone.
func (c *crossing) begin(packs string) {
	c.t.Helper()
	dies := env.KillEnv(string(kill.SenderPackNoted) + ":" + packs)
	if c.mode == "ticket" {
		d := c.device("old", "send", "--ticket", c.src)
		d.Env = append(d.Env, dies)
		c.cut(c.w.Run(d))
		return
	}
	p := c.w.Start(c.device("new", "receive", "--yes", "--to", c.to))
	d := c.device("old", "send", "--code-fd", "3", c.src)
	d.Secret = c.w.Code(p)
	d.Env = append(d.Env, dies)
	r := c.w.Run(d)
	if _, err := p.WaitFor(c.w.Ctx, "the catalog", func(e env.Event) bool { return e.Stage == "receiving" }); err != nil {
		c.t.Fatal(err)
	}
	p.Kill()
	c.received = append(c.received, p.Wait())
	c.cut(r)
}

func (c *crossing) cut(r *env.Result) {
	c.t.Helper()
	c.sent = append(c.sent, r)
	c.ticket = r.Ticket()
	if r.Exit != env.ExitKilled {
		c.t.Fatalf("the sender was not cut off: exit code %d, %s", r.Exit, r.Stderr)
	}
	c.w.Server.Kill()
}

// put runs the sender with the stick until it is through.
func (c *crossing) put(args ...string) *env.Outcome {
	c.t.Helper()
	runs, err := env.Survive(c.w.Ctx, func(int) (env.Command, error) {
		d := c.device("old", append([]string{"send", "--to", "folder:" + c.stick, c.src}, args...)...)
		if p := c.kill["sender"]; p != "" {
			d.Env = append(d.Env, env.KillEnv(p))
		}
		return d, nil
	})
	c.sent = append(c.sent, runs...)
	if err != nil {
		c.t.Fatalf("send to the stick: %v", err)
	}
	return runs[len(runs)-1].Outcome()
}

// take runs the receiver with the stick.
func (c *crossing) take(args ...string) *env.Result {
	c.t.Helper()
	for life := 0; ; life++ {
		d := c.device("new", append([]string{"receive", "--from", "folder:" + c.stick, "--yes", "--to", c.to}, args...)...)
		if c.mode == "ticket" {
			d.Args, d.Secret = append(d.Args, "--ticket-fd", "3"), c.ticket
		}
		if p := c.kill["receiver"]; p != "" && life == 0 {
			d.Env = append(d.Env, env.KillEnv(p))
		}
		r := c.w.Run(d)
		c.received = append(c.received, r)
		if r.Exit != env.ExitKilled {
			return r
		}
	}
}

// whole demands that everything is there, once, and that the old device may be wiped.
func (c *crossing) whole() {
	c.t.Helper()
	if err := corpus.Compare(c.src, filepath.Join(c.to, "src")); err != nil {
		c.t.Error(err)
	}
	if r := c.w.Run(c.device("old", "receipt")); !r.Outcome().SafeWipe {
		c.t.Errorf("the sender is not told that it may be wiped: exit code %d, %s", r.Exit, r.Stderr)
	}
	sid := c.sent[len(c.sent)-1].Outcome().Session
	if left, _ := filepath.Glob(filepath.Join(c.stick, "decant", "1", sid, "blobs")); len(left) > 0 {
		c.t.Errorf("packs are left in the folder: %v", left)
	}
}

// read is how many bytes the sender read in all runs that told it, and wire how many it put.
func (c *crossing) told(from int) (read, wire int64) {
	for _, r := range c.sent[from:] {
		read, wire = read+r.Outcome().Read, wire+r.WireBytes()
	}
	return read, wire
}

// size is what all files of a directory hold.
func size(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		fi, err := d.Info()
		if err == nil {
			n += fi.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestR21FolderCompletes: what was begun with a server by code, with a ticket, or directly goes on through a stick when nothing else
// is left. The stick gets only what is nowhere else; what the receiver then still lacks it asks for through the stick.
func TestR21FolderCompletes(t *testing.T) {
	for _, mode := range []string{"direct", "code", "ticket"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := newCrossing(t, mode)
			c.begin("5")
			out := c.put()
			read, _ := c.told(1)
			total := size(t, c.src)
			t.Logf("%d of %d bytes were read for the stick, %d packs are elsewhere", read, total, out.Elsewhere)
			if read == 0 || read > total-3*blobSize {
				t.Errorf("%d bytes of %d were read: the stick is to get what was not sent yet", read, total)
			}
			if stored := mode != "direct"; stored != (out.Elsewhere > 0) {
				t.Errorf("%d packs are said to be at the server only", out.Elsewhere)
			}
			r := c.take()
			if r.Exit == env.ExitTryAgain && r.ErrorName() == "incomplete" && mode != "direct" {
				c.put()
				r = c.take()
			}
			if err := r.Err(); err != nil {
				t.Fatalf("receive from the stick: %v", err)
			}
			c.whole()
		})
	}
}

// TestR21ServerIsBack: the server comes back when the rest is on the stick. The receiver takes each part from where it is, in one
// run, and nothing twice.
func TestR21ServerIsBack(t *testing.T) {
	for _, mode := range []string{"code", "ticket"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			c := newCrossing(t, mode)
			c.begin("5")
			out := c.put()
			if out.Elsewhere == 0 {
				t.Fatal("the server has nothing that the stick has not")
			}
			if err := c.w.Server.Start(); err != nil {
				t.Fatal(err)
			}
			if err := c.take().Err(); err != nil {
				t.Fatalf("receive from both: %v", err)
			}
			var got int64
			for _, r := range c.received {
				got += r.WireBytes()
			}
			if read, total := got, size(t, c.src); read > total+(streams+workers+4)*blobSize {
				t.Errorf("%d bytes were fetched of %d", read, total)
			}
			c.whole()
		})
	}
}

// TestFolderWhole: with --whole everything that the other device is not known to have is on the stick, and nobody needs the server.
func TestFolderWhole(t *testing.T) {
	c := newCrossing(t, "code")
	c.begin("5")
	if out := c.put("--whole"); out.Elsewhere != 0 {
		t.Errorf("%d packs are elsewhere", out.Elsewhere)
	}
	if err := c.take().Err(); err != nil {
		t.Fatalf("receive from the stick: %v", err)
	}
	c.whole()
}

// TestFolderRefusals: a folder of another transfer, one that is older than what this device has seen, and a transfer that was never
// paired.
func TestFolderRefusals(t *testing.T) {
	c := newCrossing(t, "code")
	if r := c.w.Run(c.device("early", "resume", "--from", "folder:"+c.stick)); r.ErrorName() != "no-transfer" {
		t.Errorf("nothing to resume: %q, %s", r.ErrorName(), r.Stderr)
	}
	c.begin("5")
	if r := c.take(); r.Exit != env.ExitTryAgain || r.ErrorName() != "other-folder" {
		t.Errorf("an empty folder: exit code %d, %q", r.Exit, r.ErrorName())
	}
	other := c.device("other", "send", "--to", "folder:"+c.stick, c.src)
	if err := c.w.Run(other).Err(); err != nil {
		t.Fatal(err)
	}
	if r := c.take(); r.Exit != env.ExitTryAgain || r.ErrorName() != "other-folder" {
		t.Errorf("a folder of another transfer: exit code %d, %q", r.Exit, r.ErrorName())
	}
	c.put("--whole")
	if err := os.CopyFS(c.w.Path("copy"), os.DirFS(c.stick)); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(c.src, "docs", "new.txt"), "new")
	c.put()
	look := c.device("new", "resume", "--from", "folder:"+c.stick, "--yes")
	look.Env = append(look.Env, env.KillEnv(string(kill.ReceiverEpoch)))
	if r := c.w.Run(look); r.Exit != env.ExitKilled {
		t.Fatalf("looking at the newer one: exit code %d, %s", r.Exit, r.Stderr)
	}
	if r := c.w.Run(c.device("new", "resume", "--from", "folder:"+c.w.Path("copy"), "--yes")); r.Exit != env.ExitTryAgain || r.ErrorName() != "folder-older" {
		t.Errorf("an older copy: exit code %d, %q, %s", r.Exit, r.ErrorName(), r.Stderr)
	}
	if err := c.take().Err(); err != nil {
		t.Fatal(err)
	}
	c.whole()
}

// TestFolderRots damages packs on the stick: the receiver takes nothing of them, asks for them again, and the sender writes them anew.
func TestFolderRots(t *testing.T) {
	c := newCrossing(t, "direct")
	c.begin("3")
	sid := c.put().Session
	packs, err := filepath.Glob(filepath.Join(c.stick, "decant", "1", sid, "blobs", "*"))
	if err != nil || len(packs) < 10 {
		t.Fatalf("%d packs, %v", len(packs), err)
	}
	root := c.manifest(packs)
	rotten := 0
	for _, path := range packs {
		if root[path] {
			continue // the manifest: without it nothing can be asked for
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		rotten++
	}
	if r := c.take(); r.Exit != env.ExitTryAgain || r.ErrorName() != "incomplete" {
		t.Fatalf("%d packs are damaged: exit code %d, %q, %s", rotten, r.Exit, r.ErrorName(), r.Stderr)
	}
	if _, err := os.Stat(filepath.Join(c.to, "src")); err == nil {
		t.Error("something was applied")
	}
	c.put()
	if err := c.take().Err(); err != nil {
		t.Fatal(err)
	}
	c.whole()
}

// manifest tells which of the packs on the stick are the last that were written, with the manifest among them.
func (c *crossing) manifest(packs []string) map[string]bool {
	c.t.Helper()
	at := map[string]time.Time{}
	for _, p := range packs {
		fi, err := os.Stat(p)
		if err != nil {
			c.t.Fatal(err)
		}
		at[p] = fi.ModTime()
	}
	slices.SortFunc(packs, func(a, b string) int { return at[a].Compare(at[b]) })
	last := map[string]bool{}
	for _, p := range packs[len(packs)/2:] {
		last[p] = true
	}
	return last
}
