package fault

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/nonce"
	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

func TestMain(m *testing.M) { env.Main(m) }

// journey is one transfer, from a collection to a directory that holds other things already, through processes that may be
// told to die. It runs to completion whatever dies.
type journey struct {
	mode   string                // "code", "ticket", "direct" (by code, without a server), "lost" (the same, and what was staged is lost), "cache" (by ticket, over a cache), "nearby" (by code, beside one), or "vanished" (by ticket, and the cache is lost)
	kill   map[string][][]string // kill points by side, "server", "cache", "sender", "receiver", and life
	env    []string              // of every process
	build  env.Build
	awaits bool // the server's death, even if it comes after everything else
}

// arrived is what a journey came to.
type arrived struct {
	w        *env.World
	cache    *env.Server // nil without one
	mode     string
	to       string
	into     string        // the new device's apps, into which records are brought (by ticket)
	sources  []string      // of these records
	sent     []*env.Result // the sender's runs, and those that ask for the receipt
	received []*env.Result
	scripted int // deaths that belong to the mode
	deaths   int // of all processes, beyond these
	up, down int64
	kinds    map[string]map[string]env.Tally // of the receipt: outcomes by kind
}

// serverless reports whether the devices of a mode find each other without the server.
func serverless(mode string) bool { return mode == "direct" || mode == "lost" }

// blobSize is that of collections under 16 MiB; streams and workers are how many blobs are under way, and opened, at once.
const (
	blobSize = 256 << 10
	streams  = 4
	workers  = 4
)

// source makes the collection that all journeys send: enough packs for every order of events, small enough to send often.
func source(t *testing.T, dir string) string {
	t.Helper()
	spec := corpus.Spec{Name: "src", Parts: []corpus.Part{
		{Dir: "docs/a", Ext: ".doc", Count: 6, PerDir: 3, Min: 200 << 10, Max: 500 << 10, Fill: corpus.Random},
		{Dir: "docs/b", Ext: ".txt", Count: 120, PerDir: 30, Min: 10, Max: 6 << 10, Fill: corpus.Text},
	}}
	src := filepath.Join(dir, "src")
	if _, err := corpus.Generate(src, spec, 11); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(src, "book.vcf"), card("a")+card("b"))
	write(t, filepath.Join(src, "docs", "twice.txt"), "from the old device")
	write(t, filepath.Join(src, "docs", "same.txt"), "the same on both")
	settle(t, src)
	return src
}

// target makes what the new device has already: a file of the same name and another content, one that is the same, an address
// book to merge with, and something that is nobody's business.
func target(t *testing.T, dir string) string {
	t.Helper()
	to := filepath.Join(dir, "to")
	write(t, filepath.Join(to, "src", "book.vcf"), card("b")+card("c"))
	write(t, filepath.Join(to, "src", "docs", "twice.txt"), "from the new device")
	write(t, filepath.Join(to, "src", "docs", "same.txt"), "the same on both")
	write(t, filepath.Join(to, "mine.txt"), "mine")
	settle(t, to)
	return to
}

func card(uid string) string {
	return "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:" + uid + "\r\nFN:" + uid + "\r\nEND:VCARD\r\n"
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// settle gives the hand-written files, and the directories above them, a time of the past, the same in every journey.
func settle(t *testing.T, root string) {
	t.Helper()
	at := time.Date(2023, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, path := range []string{"", "kept-for-undo", "kept-for-undo/tree", "kept-for-undo/undo", "mine.txt", "book.vcf", "docs/twice.txt", "docs/same.txt", "docs", "src/book.vcf", "src/docs/twice.txt",
		"src/docs/same.txt", "src/docs", "src"} {
		if err := os.Chtimes(filepath.Join(root, path), at, at); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// run takes the journey in a world of its own and checks what must hold for every one.
func (j journey) run(t *testing.T, src string) *arrived {
	t.Helper()
	with := func(side string) []string {
		if len(j.kill[side]) == 0 {
			return j.env
		}
		return append(slices.Clone(j.env), env.KillLives(j.kill[side]...))
	}
	w := env.NewWorld(t, env.WorldOptions{Build: j.build, Server: env.ServerOptions{Env: with("server"), Args: []string{"--fast-only"}}})
	a := &arrived{w: w, mode: j.mode, to: target(t, w.Dir), into: apps(t, w.Dir), sources: archives(t, w.Dir)}
	first := w.Server.Process()
	stop := w.Server.KeepAlive()
	device := func(name, side string, args ...string) env.Command {
		c := w.Device(name, args...)
		c.Env = with(side)
		switch {
		case serverless(j.mode):
			c.Env = append(slices.Clone(c.Env), "DECANT_ROUTE=direct", "DECANT_LOOPBACK=1")
		case a.cache != nil:
			c.Env = append(slices.Clone(c.Env), "DECANT_ROUTE=stored", "DECANT_CACHE="+a.cache.Address)
		}
		return c
	}
	stopCache := a.startCache(j.mode, env.ServerOptions{Env: with("cache"), Args: []string{"--fast-only"}})
	var err error
	switch j.mode {
	case "ticket", "cache":
		err = a.byTicket(device, src)
	case "vanished":
		err = a.vanishing(device, src)
	case "lost":
		err = a.byCode(a.losing(device), src)
	default:
		err = a.byCode(device, src)
	}
	if err == nil && j.awaits {
		select { // the server sweeps after the last answer
		case <-first.Done():
		case <-time.After(time.Minute):
		}
	}
	serverDeaths, serverErr := stop()
	cacheDeaths, cacheErr := stopCache()
	if err := errors.Join(err, serverErr, cacheErr); err != nil {
		t.Fatalf("%v\nserver's log:\n%s", err, tail(filepath.Join(w.Server.Dir, "log")))
	}
	a.deaths = serverDeaths + cacheDeaths + env.Killed(a.sent) + env.Killed(a.received) - a.scripted
	a.up, a.down = w.Proxy.Bytes()
	a.check(t)
	return a
}

func tail(path string) string {
	b, _ := os.ReadFile(path)
	return string(b[max(len(b)-3000, 0):])
}

// commander makes a device's command.
type commander func(name, side string, args ...string) env.Command

// orReceipt is what a person does after a crash: the same again, or, where the device's status says that everything is there
// already, ask for the receipt.
func (a *arrived) orReceipt(life int, again env.Command, name string) env.Command {
	if life == 0 {
		return again
	}
	for _, t := range a.w.Must(a.w.Device(name, "status")).Outcome().Transfers {
		if t.State == "done" || t.State == "applied" && (!serverless(a.mode) || name == "old") { // without a server nobody else hands the receipt over
			again.Secret = ""
			again.Args = a.w.Device(name, "receipt").Args
		}
	}
	return again
}

// timeless gives everything below a directory one time, and returns the directory.
func timeless(t *testing.T, dir string) string {
	t.Helper()
	at := time.Date(2023, 1, 2, 3, 4, 5, 0, time.UTC)
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return errors.Join(err, os.Chtimes(path, at, at))
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// apps makes what the new device's apps have already.
func apps(t *testing.T, dir string) string {
	dir = filepath.Join(dir, "apps")
	write(t, filepath.Join(dir, "sms.xml"), messages(3, 7))
	write(t, filepath.Join(dir, "Here.nmconnection"), "[connection]\nid=Here\ntype=wifi\n\n[wifi]\nssid=Here\n")
	return dir
}

// archives makes what the old device's apps have exported, and names it as sources.
func archives(t *testing.T, dir string) []string {
	dir = filepath.Join(dir, "exports")
	write(t, filepath.Join(dir, "sms.xml"), messages(0, 6))
	var b strings.Builder
	for i := range 100 { // more than one batch
		fmt.Fprintf(&b, "network={\n\tssid=\"network %d\"\n\tpsk=\"as secret as %d\"\n}\n", i, i)
	}
	write(t, filepath.Join(dir, "wpa_supplicant.conf"), b.String())
	return []string{"smsxml:" + filepath.Join(dir, "sms.xml"), "wifi:" + filepath.Join(dir, "wpa_supplicant.conf")}
}

// messages is an archive of the messages from first to last.
func messages(first, last int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<smses count=\"%d\">\n", last-first+1)
	for i := first; i <= last; i++ {
		fmt.Fprintf(&b, "  <sms protocol=\"0\" address=\"+4930%d\" date=\"%d\" type=\"1\" body=\"message %d &#55357;&#56832;\" read=\"1\" status=\"-1\" />\n", 5550100+i, 1700000000000+i, i)
	}
	b.WriteString("</smses>\n")
	return b.String()
}

// byTicket sends, then receives, then asks for the receipt.
func (a *arrived) byTicket(device commander, src string) (err error) {
	if a.sent, err = env.Survive(a.w.Ctx, func(int) (env.Command, error) {
		return device("old", "sender", append([]string{"send", "--ticket", src}, a.sources...)...), nil
	}, env.ExitTryAgain); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	receive := device("new", "receiver", "receive", "--ticket", "--ticket-fd", "3", "--yes", "--to", a.to, "--into", "smsxml:"+filepath.Join(a.into, "sms.xml"), "--into", "wifi:"+a.into)
	receive.Secret = a.sent[len(a.sent)-1].Ticket()
	if a.received, err = env.Survive(a.w.Ctx, func(life int) (env.Command, error) {
		return a.orReceipt(life, receive, "new"), nil
	}, env.ExitTryAgain); err != nil {
		return fmt.Errorf("receive: %w", err)
	}
	asked, err := env.Survive(a.w.Ctx, func(int) (env.Command, error) {
		c := device("old", "sender", "receipt")
		if env.Killed(a.sent) > 0 {
			c.Env = nil
		}
		return c, nil
	}, env.ExitTryAgain)
	a.sent = append(a.sent, asked...)
	if err != nil {
		return fmt.Errorf("receipt: %w", err)
	}
	return nil
}

// startCache starts the cache of modes that have one.
func (a *arrived) startCache(mode string, o env.ServerOptions) (stop func() (int, error)) {
	switch mode {
	case "cache", "nearby":
		a.cache = a.w.StartCache(o)
		return a.cache.KeepAlive()
	case "vanished":
		a.cache = a.w.StartDetachedCache(o)
	}
	return func() (int, error) { return 0, nil }
}

// vanishing sends to a cache that never reaches the server, and is lost with all it has before the sender is asked again.
func (a *arrived) vanishing(device commander, src string) error {
	send := func(int) (env.Command, error) {
		return device("old", "sender", append([]string{"send", "--ticket", src}, a.sources...)...), nil
	}
	first, err := env.Survive(a.w.Ctx, send, env.ExitTryAgain)
	if err != nil {
		return fmt.Errorf("send: %w", err)
	}
	if !first[len(first)-1].Outcome().Cached {
		return errors.New("nothing is in the cache")
	}
	a.cache.Kill()
	if err := os.RemoveAll(a.cache.Dir); err != nil {
		return err
	}
	err = a.byTicket(device, src)
	a.sent = append(first, a.sent...)
	return err
}

// losing has the receiver die when everything is there, and then removes what it had staged, as a power cut may.
func (a *arrived) losing(device commander) commander {
	lives := 0
	return func(name, side string, args ...string) env.Command {
		c := device(name, side, args...)
		if side != "receiver" || args[0] != "receive" {
			return c
		}
		if lives++; lives == 1 {
			c.Env = append(slices.Clone(c.Env), env.KillEnv(string(kill.ReceiverDeskCommitted)+":2"))
		} else if a.scripted == 0 {
			a.scripted = 1
			staged, _ := filepath.Glob(filepath.Join(a.to, ".decant-*", "tree", "*"))
			for _, path := range staged {
				_ = os.RemoveAll(path)
			}
		}
		return c
	}
}

// byCode runs both sides at once; the sender types whatever code the receiver shows at the time.
func (a *arrived) byCode(device commander, src string) error {
	codes := &board{more: make(chan struct{})}
	var sendErr, receiveErr error
	var wg sync.WaitGroup
	wg.Go(func() {
		defer codes.show("0-none-none-none") // let the sender end
		a.received, receiveErr = surviveShowing(a.w, codes, func(life int) env.Command {
			return a.orReceipt(life, device("new", "receiver", "receive", "--yes", "--to", a.to), "new")
		})
	})
	wg.Go(func() {
		a.sent, sendErr = env.Survive(a.w.Ctx, func(life int) (env.Command, error) {
			c := device("old", "sender", "send", "--code-fd", "3", src)
			c.Secret = codes.newest(a.w)
			return a.orReceipt(life, c, "old"), nil
		}, env.ExitTryAgain, env.ExitRefused) // refused: the receiver died and shows another code
	})
	wg.Wait()
	if err := errors.Join(sendErr, receiveErr); err != nil {
		return fmt.Errorf("send: %v; receive: %v", sendErr, receiveErr)
	}
	return nil
}

// board is where the receiver's newest code stands.
type board struct {
	mu   sync.Mutex // guards code and more
	code string
	more chan struct{}
}

func (b *board) show(code string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.code == "" || !strings.HasPrefix(code, "0-") {
		b.code = code
	}
	close(b.more)
	b.more = make(chan struct{})
}

func (b *board) newest(w *env.World) string {
	for {
		b.mu.Lock()
		code, more := b.code, b.more
		b.mu.Unlock()
		if code != "" {
			return code
		}
		select {
		case <-more:
		case <-w.Ctx.Done():
			return "0-none-none-none"
		}
	}
}

// surviveShowing is env.Survive for a receiver, whose codes go to the board as they appear.
func surviveShowing(w *env.World, codes *board, next func(life int) env.Command) ([]*env.Result, error) {
	var wg sync.WaitGroup
	defer wg.Wait()
	return env.SurviveWatching(w.Ctx, func(life int) (env.Command, error) { return next(life), nil }, func(p *env.Process) {
		wg.Go(func() {
			for seen := ""; ; {
				e, err := p.WaitFor(w.Ctx, "a code", func(e env.Event) bool { return e.Pairing != nil && e.Pairing.Code != "" && e.Pairing.Code != seen })
				if err != nil {
					return
				}
				seen = e.Pairing.Code
				codes.show(seen)
			}
		})
	}, env.ExitTryAgain)
}

// check demands what holds for every journey: the receipt is there on both devices and allows to wipe, the session is over on
// the server, and the new device finds everything when asked again.
func (a *arrived) check(t *testing.T) {
	t.Helper()
	if last := a.w.Must(a.w.Device("old", "receipt")).Outcome(); !last.SafeWipe {
		t.Errorf("the sender is not told that it may be wiped: %+v", last)
	}
	a.kinds = a.w.Must(a.w.Device("new", "receipt")).Outcome().Kinds
	if len(a.kinds) == 0 {
		t.Error("the receipt counts nothing")
	}
	if ts := a.w.Must(a.w.Device("old", "status")).Outcome().Transfers; len(ts) != 1 || ts[0].State != "done" {
		t.Errorf("the sender should have one transfer that is done, and has %+v", ts)
	}
	// With a ticket the receiver is not there any more when the sender confirms.
	if ts := a.w.Must(a.w.Device("new", "status")).Outcome().Transfers; len(ts) != 1 || ts[0].State != "done" && ts[0].State != "applied" {
		t.Errorf("the receiver should have one transfer that is applied, and has %+v", ts)
	}
	if v := a.w.Must(a.w.Device("new", "verify")).Outcome(); v.Different != 0 || v.Items == 0 {
		t.Errorf("verify: %+v", v)
	}
	settle(t, a.to)
	timeless(t, filepath.Join(a.to, "Messages")) // they were made when they were gathered
	timeless(t, filepath.Join(a.to, "Networks"))
	a.nameUndo(t)
}

// nameUndo gives the directory in which the originals of merged files are kept for undo a name that is the same in every journey.
func (a *arrived) nameUndo(t *testing.T) {
	t.Helper()
	kept, err := filepath.Glob(filepath.Join(a.to, ".decant-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(kept) > 1 {
		t.Errorf("transfers left %v", kept)
	}
	for _, dir := range kept {
		if err := os.Rename(dir, filepath.Join(a.to, "kept-for-undo")); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, a.to)
}

// regular shows the regular files and directories of a file system: a copy of a state directory has no sockets.
type regular struct{ fs.FS }

// ReadDir implements fs.ReadDirFS.
func (r regular) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(r.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return !e.IsDir() && !e.Type().IsRegular() }), err
}

// noNonceTwice reads what all processes recorded, at least so many calls.
func noNonceTwice(t *testing.T, oracle string, least int) {
	t.Helper()
	f, err := os.Open(oracle)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines, repeats, err := nonce.Repeats(f)
	if err != nil || repeats != 0 || lines < least {
		t.Errorf("C-3: %d of %d (key, nonce) pairs were used before, %v", repeats, lines, err)
	}
	t.Logf("C-3: %d (key, nonce) pairs, no two alike", lines)
}
