package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

// TestTicket moves a collection of every sort with a ticket: the two devices are never online together. Nothing in what
// the server could see holds a canary (C-1), the old device is not touched, and is declared safe to wipe only with the
// receipt (C-5).
func TestTicket(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{Record: true})
	canaries := env.NewCanaries(64)
	src := collection(t, w, "src", canaries)
	pristine := copyTree(t, src, w.Path("pristine"))

	sent, ticket := w.SendTicket(src)
	canaries.Watch(ticket)
	if o := sent.Outcome(); o.Receipt != nil || o.Losses != 0 || o.Packs == 0 {
		t.Errorf("sent: %+v", o)
	}
	if r := w.Run(w.Device("old", "receipt")); r.Exit != env.ExitTryAgain {
		t.Errorf("C-5: a receipt before anything arrived: exit code %d, %s", r.Exit, r.Stderr)
	}
	searchServer(t, w, canaries) // while it keeps everything
	received := w.Must(w.ReceiveTicket(ticket, w.Path("to")))
	same(t, src, w.Path("to", "src"))
	r := received.Outcome().Receipt
	if r == nil || r.Outcome("failed").Items != 0 || r.Outcome("lost").Items != 0 || r.Outcome("moved").Items == 0 {
		t.Errorf("receipt: %+v", r)
	}
	if got := w.Must(w.Device("old", "receipt")); !got.Outcome().SafeWipe {
		t.Errorf("C-5: not safe to wipe with a receipt: %s", got.Stderr)
	}
	same(t, pristine, src)

	searchServer(t, w, canaries)
	report := func(hits []env.Hit, searched int64, err error) {
		t.Helper()
		must(t, err)
		for _, h := range hits {
			t.Errorf("C-1: %v", h)
		}
	}
	report(canaries.SearchTree(w.Proxy.Dir))
	for _, name := range []string{"old.log", "new.log"} {
		b, err := os.ReadFile(w.Path(name))
		must(t, err)
		report(canaries.SearchBytes(name, b), 0, nil)
	}
}

// searchServer looks for canaries in the server's memory, metrics, files and log.
func searchServer(t *testing.T, w *env.World, canaries *env.Canaries) {
	t.Helper()
	inMemory, size, err := canaries.SearchMemory(w.Server.Process().PID())
	must(t, err)
	inFiles, stored, err := canaries.SearchTree(w.Server.Dir)
	must(t, err)
	for _, h := range slices.Concat(inMemory, inFiles) {
		t.Errorf("C-1: %v", h)
	}
	if size < 10<<20 || stored < 100<<10 {
		t.Errorf("C-1: only %d bytes of memory and %d of files were searched", size, stored)
	}
}

// TestCode pairs two devices that are online together, verifies, and takes everything back.
func TestCode(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	src := collection(t, w, "src", nil)
	to := w.Write("to", map[string]string{"mine/kept.txt": "kept", "src/text.txt": "another text", "src/contacts.vcf": vcard("1", "someone", "else")})
	before := copyTree(t, to, w.Path("before"))
	sent, received := w.ByCode(to, src)
	if r := sent.Outcome().Receipt; r == nil || !r.SafeWipe {
		t.Errorf("the sender has no receipt that allows to wipe: %+v", r)
	}
	r := received.Outcome().Receipt
	// The contact of the same identity and another content, and the file of the same name.
	if r.Outcome("kept both").Items != 2 || r.Outcome("merged").Items == 0 || r.Outcome("failed").Items != 0 {
		t.Errorf("receipt: %+v", r.Kinds)
	}
	if b, err := os.ReadFile(filepath.Join(to, "src", "text.txt")); err != nil || string(b) != "another text" {
		t.Errorf("the target's own file holds %q, %v", b, err)
	}
	if v := w.Must(w.Device("new", "verify")); v.Outcome().Different != 0 || v.Outcome().Items == 0 {
		t.Errorf("verify: %+v", v.Outcome())
	}
	undone := w.Must(w.Device("new", "undo", "--yes"))
	if undone.Exit != env.ExitOK || undone.Outcome().Refused != 0 {
		t.Errorf("undo: exit code %d, %+v", undone.Exit, undone.Outcome())
	}
	same(t, before, to)
}

// TestTwiceAddsNothing sends the same collection to the same place a second time: every item is found to be there.
func TestTwiceAddsNothing(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	src, to := collection(t, w, "src", nil), w.Path("to")
	for round := range 2 {
		sent := w.Must(w.Device("old", "send", "--ticket", "--new", src))
		received := w.Must(w.ReceiveTicket(sent.Ticket(), to, "--new"))
		same(t, src, filepath.Join(to, "src"))
		r := received.Outcome().Receipt
		if moved := r.Outcome("moved").Items; (round == 0) != (moved > 0) {
			t.Errorf("round %d: %+v", round, r.Kinds)
		}
		if entries, err := os.ReadDir(to); err != nil || len(entries) != 1 {
			t.Errorf("round %d: beside the collection lies something: %v, %v", round, entries, err)
		}
	}
}

// TestDelta sends again after nothing, and then after little, has changed: only that crosses the network.
func TestDelta(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	src := w.Path("src")
	total, err := corpus.Generate(src, corpus.Handset.Scaled(0.004), 3)
	must(t, err)
	first, ticket := w.SendTicket(src)
	if o := first.Outcome(); o.WireBytes < total/2 || o.Read < total {
		t.Errorf("the first send read %d and sent %d of %d bytes", o.Read, o.WireBytes, total)
	}
	again := w.Must(w.Device("old", "send", "--ticket", src))
	if o := again.Outcome(); !o.Unchanged || o.WireBytes != 0 || o.Read != 0 {
		t.Errorf("nothing had changed, and the second send did %+v", o)
	}
	changed := filepath.Join(src, "texts", "0000", "f0000003.txt")
	must(t, os.WriteFile(changed, []byte("something else"), 0o644))
	must(t, os.WriteFile(filepath.Join(src, "texts", "new.txt"), []byte("new"), 0o644))
	must(t, os.Remove(filepath.Join(src, "texts", "0000", "f0000004.txt")))
	delta := w.Must(w.Device("old", "send", "--ticket", src))
	if o := delta.Outcome(); o.Unchanged || o.Epoch <= first.Outcome().Epoch || o.Read > 1000 || o.WireBytes > 2<<20 {
		t.Errorf("little had changed, and the third send did %+v after %+v", o, first.Outcome())
	}
	w.Must(w.ReceiveTicket(ticket, w.Path("to")))
	same(t, src, w.Path("to", "src"))
}

// TestEarlyReceiver has the new device fetch while the old one still sends through a narrow link.
func TestEarlyReceiver(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	src := w.Path("src")
	_, err := corpus.Generate(src, corpus.Handset.Scaled(0.005), 4)
	must(t, err)
	w.Proxy.Rate.Store(2 << 20) // a second, on each connection
	receiver := w.Start(w.Device("new", "receive", "--yes", "--to", w.Path("to")))
	send := w.Device("old", "send", "--code-fd", "3", src)
	send.Secret = w.Code(receiver)
	sender := w.Start(send)
	got, err := receiver.WaitFor(w.Ctx, "content", func(e env.Event) bool {
		return e.Stage == "receiving" && e.Progress != nil && e.Progress.WireBytes > 0 || e.Progress != nil && e.Progress.BytesDone > 0
	})
	must(t, err)
	w.Proxy.Rate.Store(0)
	waiting, err := sender.WaitFor(w.Ctx, "the end of sending", func(e env.Event) bool { return e.Type == "stage" && e.Stage == "waiting" })
	must(t, err)
	if !got.Time.Before(waiting.Time) {
		t.Errorf("the first content arrived at %v, after everything had been sent at %v", got.Time, waiting.Time)
	}
	must(t, sender.Wait().Err())
	must(t, receiver.Wait().Err())
	same(t, src, w.Path("to", "src"))
}

// TestLibp2pCarrier moves a collection over libp2p streams instead of the fast lane.
func TestLibp2pCarrier(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	src := w.Write("src", map[string]string{"a": "b", "c/d": strings.Repeat("e", 1<<20)})
	device := func(c env.Command) env.Command {
		for i, a := range c.Args {
			switch a {
			case "fast":
				c.Args[i] = "libp2p"
			case w.Server.Via(w.Proxy.Address):
				c.Args[i] = w.Server.Address
			}
		}
		return c
	}
	sent := w.Must(device(w.Device("old", "send", "--ticket", src)))
	w.Must(device(w.ReceiveTicket(sent.Ticket(), w.Path("to"))))
	same(t, src, w.Path("to", "src"))
	if up, _ := w.Proxy.Bytes(); up != 0 {
		t.Errorf("%d bytes went over the fast lane", up)
	}
}

// TestUnreadable sends what can be read, lists what can't, and says so in the exit code.
func TestUnreadable(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	src := w.Write("src", map[string]string{"open.txt": "open", "closed.txt": "closed", "shut/inside.txt": "inside"})
	must(t, os.Chmod(filepath.Join(src, "closed.txt"), 0))
	must(t, os.Chmod(filepath.Join(src, "shut"), 0))
	must(t, syscall.Mkfifo(filepath.Join(src, "pipe"), 0o644))
	must(t, os.Symlink("open.txt", filepath.Join(src, "link")))
	c := w.Device("old", "send", "--ticket", src)
	if os.Getuid() == 0 { // who can read everything
		c.UID = 65534
		must(t, os.Mkdir(w.Path("old"), 0o700))
		must(t, os.Chown(w.Path("old"), c.UID, c.UID))
		must(t, os.WriteFile(w.Path("old.log"), nil, 0o666))
		must(t, os.Chmod(w.Path("old.log"), 0o666))
		for dir := w.Dir; len(dir) > len(os.TempDir()); dir = filepath.Dir(dir) {
			must(t, os.Chmod(dir, 0o755))
		}
	}
	sent := w.Run(c)
	if sent.Exit != env.ExitLeftBehind {
		t.Fatalf("exit code %d: %s", sent.Exit, sent.Stderr)
	}
	reasons := map[string]bool{}
	for _, e := range sent.Events {
		for _, word := range []string{"unreadable", "special", "symlink"} {
			if e.Type == "loss" && strings.Contains(string(e.Loss), `"`+word+`"`) {
				reasons[word] = true
			}
		}
	}
	if len(reasons) != 3 {
		t.Errorf("losses: %v, want all three reasons", reasons)
	}
	received := w.Run(w.ReceiveTicket(sent.Ticket(), w.Path("to")))
	if received.Exit != env.ExitLeftBehind || received.Outcome().Receipt.Outcome("lost").Items == 0 {
		t.Errorf("exit code %d, receipt %+v", received.Exit, received.Outcome().Receipt)
	}
	if b, err := os.ReadFile(w.Path("to", "src", "open.txt")); err != nil || string(b) != "open" {
		t.Errorf("what could be read holds %q, %v", b, err)
	}
	for _, name := range []string{"closed.txt", "pipe", "link"} {
		if _, err := os.Lstat(w.Path("to", "src", name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
}

// TestBadUse names what goes wrong between people and commands, and what is said about it.
func TestBadUse(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	src := w.Write("src", map[string]string{"a": "b"})
	_, ticket := w.SendTicket(src)
	nowhere := w.Device("lost", "send", "--ticket", src)
	nowhere.Args[2] = w.Server.Via("127.0.0.1:1")
	other := w.ReceiveTicket(ticket, w.Path("other"))
	other.Args[6] = w.Path("third")
	wrong := "legal winner thank year wave sausage worth useful legal winner thank yellow" // a valid checksum
	cases := []struct {
		name string
		c    env.Command
		exit int
		says string
	}{
		{"nothing to send", w.Device("empty", "send", "--ticket", w.Write("nothing", map[string]string{"dir/": ""})), 1, "nothing-to-send"},
		{"ticket that nobody gave out", w.ReceiveTicket(wrong, w.Path("to")), env.ExitRefused, "wrong-ticket"},
		{"ticket that is none", w.ReceiveTicket("not a ticket", w.Path("to")), env.ExitRefused, "malformed"},
		{"no receipt", w.Device("old", "receipt"), env.ExitTryAgain, "not-complete"},
		{"first receiver", w.ReceiveTicket(ticket, w.Path("to")), env.ExitOK, ""},
		{"second receiver", other, env.ExitRefused, ""},
		{"no server", nowhere, env.ExitTryAgain, "unreachable"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			r := w.Run(tc.c)
			if r.Exit != tc.exit || tc.says != "" && r.ErrorName() != tc.says {
				t.Errorf("exit code %d, error %q, want %d, %q\n%s", r.Exit, r.ErrorName(), tc.exit, tc.says, r.Stderr)
			}
		})
	}
	if _, err := os.Stat(w.Path("other")); err == nil {
		t.Error("the second receiver wrote something")
	}
}
