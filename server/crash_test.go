package server_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/server"
)

// trail is what one sender was promised about one session, and what it has asked for and not been answered yet.
type trail struct {
	sid                     id.Session
	old, young              *device
	opened, claimed, pinned bool
	committed, final        bool
	epoch                   uint64
	blobs                   []id.Blob
	deleting                []id.Blob // asked for
	messages                []uint64
	acking                  uint64         // asked for
	ending                  serverpb.State // asked for
	ended                   serverpb.State
}

// history is the trails of one world.
type history struct {
	mu     sync.Mutex // guards trails and what they point to
	trails []*trail
}

func (h *history) note(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

// copy returns the trails as they are now.
func (h *history) copy() []trail {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := make([]trail, len(h.trails))
	for i, t := range h.trails {
		out[i] = *t
		out[i].blobs, out[i].deleting, out[i].messages = slices.Clone(t.blobs), slices.Clone(t.deleting), slices.Clone(t.messages)
	}
	return out
}

// live runs sessions through their lives, one after the other, until stop; each step is noted when it was answered. It returns the first
// refusal, which must not be.
func (h *history) live(w *world, rng *rand.Rand, sessions int, stop func() bool) (err error) {
	for range sessions {
		if err := h.session(w, rng, stop); err != nil || stop() {
			return err
		}
	}
	return nil
}

func (h *history) session(w *world, rng *rand.Rand, stop func() bool) error {
	t := &trail{sid: id.NewSession(), old: w.device(), young: w.device()}
	tick := newTicket()
	h.note(func() { h.trails = append(h.trails, t) })
	steps := []func() error{
		func() error { return h.did(t.old.openTicket(t.sid, tick), func() { t.opened = true }) },
		func() error {
			_, err := t.young.claimTicket(tick, tick.claim)
			return h.did(err, func() { t.claimed = true })
		},
		func() error { return h.did(t.old.pin(t.sid, t.young), func() { t.pinned = true }) },
		func() error { return h.blob(t) }, func() error { return h.blob(t) },
		func() error {
			n, err := t.old.post(t.sid[:], t.young, "hello")
			return h.did(err, func() { t.messages = append(t.messages, n) })
		},
		func() error {
			return h.did(t.old.commit(t.sid, 0, false, "root 0"), func() { t.committed, t.epoch = true, 0 })
		},
		func() error { return h.blob(t) }, func() error { return h.forget(t) },
		func() error {
			h.note(func() { t.acking = t.messages[0] })
			_, err := call(t.young, "Ack", &serverpb.AckRequest{Scope: t.sid[:], UpTo: t.messages[0]}, &serverpb.AckResponse{})
			return err
		},
		func() error {
			return h.did(t.old.commit(t.sid, 1, true, "root 1"), func() { t.epoch, t.final = 1, true })
		},
		func() error { return h.end(t, rng) },
	}
	for _, step := range steps {
		if err := step(); err != nil || stop() {
			return err
		}
	}
	return nil
}

func (h *history) did(err error, f func()) error {
	if err == nil {
		h.note(f)
	}
	return err
}

func (h *history) blob(t *trail) error {
	n := id.NewBlob()
	return h.did(t.old.put(t.sid, n, blobOf(n)), func() { t.blobs = append(t.blobs, n) })
}

func (h *history) forget(t *trail) error {
	n := t.blobs[0]
	h.note(func() { t.deleting = append(t.deleting, n) })
	s, _ := t.old.raw("DELETE", path(t.sid, n), nil)
	return orNil(s)
}

func (h *history) end(t *trail, rng *rand.Rand) error {
	to := serverpb.State_STATE_DONE
	if rng.IntN(3) == 0 {
		to = serverpb.State_STATE_REVOKED
	}
	h.note(func() { t.ending = to })
	var err error
	if to == serverpb.State_STATE_DONE {
		err = t.old.finish(t.sid, "ack")
	} else {
		_, err = call(t.old, "Revoke", &serverpb.RevokeRequest{Session: t.sid[:]}, &serverpb.RevokeResponse{})
	}
	return h.did(err, func() { t.ended = to })
}

// kept compares a server that was opened after a crash with what had been promised before, and asked for until after, the crash.
func kept(w *world, before, after []trail) error {
	for i := range before {
		b, a := &before[i], &after[i]
		b.old.w, b.young.w = w, w
		if err := keptSession(b, a); err != nil {
			return fmt.Errorf("session %d: %w", i, err)
		}
	}
	_, damaged, err := w.Scrub(context.Background(), func(int64) error { return nil })
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%d blob rows without their blobs", damaged)
	}
	return err
}

func keptSession(b, a *trail) error {
	if !b.opened {
		return nil
	}
	st, err := b.old.status(b.sid)
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	ended := st.State >= serverpb.State_STATE_DONE
	switch {
	case b.ended != 0 && st.State != b.ended, ended && st.State != a.ending:
		return fmt.Errorf("state %v, promised %v, asked for %v", st.State, b.ended, a.ending)
	case ended:
		return nil
	case b.claimed && !bytes.Equal(st.Receiver, b.young.peer[:]), b.pinned && !st.Pinned:
		return fmt.Errorf("claim or pin forgotten")
	case b.committed && (!st.Committed || st.Epoch < b.epoch), b.final && st.State != serverpb.State_STATE_SEALED:
		return fmt.Errorf("commit forgotten: %v", st)
	}
	if st.Committed {
		root, err := call(b.old, "GetRoot", &serverpb.GetRootRequest{Session: b.sid[:]}, &serverpb.GetRootResponse{})
		if err != nil || string(root.Root) != fmt.Sprint("root ", root.Epoch) {
			return fmt.Errorf("root: %v, %w", root, err)
		}
	}
	for _, n := range b.blobs {
		if slices.Contains(a.deleting, n) {
			continue
		}
		if blob, err := b.old.get(b.sid, n); err != nil || !bytes.Equal(blob, blobOf(n)) {
			return fmt.Errorf("blob lost: %w", err)
		}
	}
	return keptMail(b, a)
}

func keptMail(b, a *trail) error {
	if !b.claimed {
		return nil
	}
	mail, err := b.young.fetch(b.sid[:], 0, 0)
	if err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	for _, n := range b.messages {
		found := slices.ContainsFunc(mail.Messages, func(m *serverpb.Envelope) bool { return m.Sequence == n })
		if !found && n > a.acking {
			return fmt.Errorf("message %d lost", n)
		}
	}
	return nil
}

// reopen opens a server on what a crash left and checks it; then it must work as if nothing had been.
func reopen(t *testing.T, fs vfs.FS, before, after []trail, rng *rand.Rand) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	w := prepare(t, server.Config{Dir: "state", FS: fs, Fatal: func(m string) { panic(m) }})
	w.direct = true
	s, err := server.New(w.config)
	if err != nil {
		return err
	}
	defer s.Close()
	w.Server, w.handler = s, authenticated(s.Handler())
	if err := kept(w, before, after); err != nil {
		return err
	}
	return (&history{}).live(w, rng, 1, func() bool { return false })
}

// What is run in full on demand.
var (
	instants = flag.Int("instants", 0, "cut the power at this `number` of instants (TestR3PowerCut)")
	tails    = flag.Int("tails", 0, "damage this `number` of file ends (TestR7DamagedEnds)")
	flips    = flag.Int("flips", 0, "flip this `number` of bits (TestR8EveryFlip)")
)

// TestR3PowerCut cuts the power between any two operations on the file system, keeping none, some or all of what was not synced.
func TestR3PowerCut(t *testing.T) {
	worlds, clones := 10, 55
	if testing.Short() {
		worlds, clones = 5, 10
	}
	if *instants > 0 {
		clones = (*instants + worlds - 1) / worlds
	}
	var total atomic.Int64
	for i := range worlds {
		percent := []int{0, 10, 50, 90, 100}[i%5]
		t.Run(fmt.Sprintf("%d-unsynced%%=%d", i, percent), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			total.Add(powerCuts(t, seed, percent, clones))
		})
	}
	t.Logf("%d clones opened", total.Load())
	if want := int64(worlds * clones * 9 / 10); total.Load() < want {
		t.Errorf("only %d clones, want %d", total.Load(), want)
	}
}

type clone struct {
	fs            vfs.FS
	before, after []trail
}

func powerCuts(t *testing.T, seed uint64, percent, clones int) int64 {
	mem := vfs.NewCrashableMem()
	h := &history{}
	var mu sync.Mutex // guards rng and taken
	rng := rand.New(rand.NewPCG(seed, 1))
	taken := 0
	queue := make(chan clone)
	cut := func(op errorfs.Op) error {
		if op.Kind.ReadOrWrite() != errorfs.OpIsWrite {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if taken >= clones || rng.IntN(12) != 0 {
			return nil
		}
		taken++
		before := h.copy()
		fs := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})
		queue <- clone{fs, before, h.copy()}
		return nil
	}
	var verify sync.WaitGroup
	for i := range 2 {
		verify.Go(func() {
			for c := range queue {
				if err := reopen(t, c.fs, ownDevices(c.before), c.after, rand.New(rand.NewPCG(seed, uint64(i+2)))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	w := prepare(t, server.Config{Dir: "state", FS: errorfs.Wrap(mem, errorfs.InjectorFunc(cut))})
	w.direct = true
	w.open()
	enough := func() bool { mu.Lock(); defer mu.Unlock(); return taken >= clones }
	var work sync.WaitGroup
	for i := range 3 {
		work.Go(func() {
			if err := h.live(w, rand.New(rand.NewPCG(seed, uint64(i+10))), max(40, clones), enough); err != nil {
				t.Error(err)
			}
		})
	}
	work.Wait()
	w.stop()
	close(queue)
	verify.Wait()
	return int64(taken)
}

// ownDevices gives the trails devices of their own, since a device is bound to a world.
func ownDevices(list []trail) []trail {
	for i := range list {
		list[i].old, list[i].young = &device{peer: list[i].old.peer}, &device{peer: list[i].young.peer}
	}
	return list
}

// TestR5FailedOperation makes the k-th writing operation fail, for every k: the server refuses, or dies, and what it had promised is there
// after a restart; it never promises anything whose sync failed.
func TestR5FailedOperation(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 7
	}
	died, refused := 0, 0
	for k := 0; ; k += step {
		hit, dead := failAt(t, int64(k))
		if !hit {
			t.Logf("%d operations failed, one at a time: %d deaths, %d refusals or nothing", k/step, died, refused)
			if died == 0 || refused == 0 {
				t.Error("the faults did not reach the database and the blobs")
			}
			return
		}
		if dead {
			died++
		} else {
			refused++
		}
	}
}

// failAt runs a short history in which one operation fails.
func failAt(t *testing.T, k int64) (hit, dead bool) {
	mem := vfs.NewCrashableMem()
	var count atomic.Int64
	var over atomic.Bool // the flush on closing dies in the runtime when its log can't be created, which no test survives
	inject := func(op errorfs.Op) error {
		if over.Load() || op.Kind.ReadOrWrite() == errorfs.OpIsRead || op.Kind == errorfs.OpFileClose || strings.HasSuffix(op.Path, "LOCK") {
			return nil
		}
		if count.Add(1) == k+1 {
			return errorfs.ErrInjected
		}
		return nil
	}
	death := make(chan string, 100)
	finished := make(chan struct{})
	h := &history{}
	go func() {
		defer close(finished)
		defer func() { // the database panics where it finds no other way to die
			if p := recover(); p != nil {
				death <- fmt.Sprint(p)
			}
		}()
		w := prepare(t, server.Config{Dir: "state", FS: errorfs.Wrap(mem, errorfs.InjectorFunc(inject)),
			Fatal: func(m string) { death <- m; select {} }})
		w.direct = true
		s, err := server.New(w.config)
		if err != nil {
			return
		}
		w.Server, w.handler = s, authenticated(s.Handler())
		// A refusal ends the history: the device would come again later.
		_ = h.live(w, rand.New(rand.NewPCG(1, 1)), 1, func() bool { return false })
		over.Store(true)
		_ = s.Close()
	}()
	select {
	case <-finished:
	case <-death:
		dead = true
	}
	dead = dead || len(death) > 0
	before := h.copy()
	percent := int(k % 3 * 50)
	fs := mem.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rand.New(rand.NewPCG(uint64(k), 2))})
	if err := reopen(t, fs, ownDevices(before), h.copy(), rand.New(rand.NewPCG(uint64(k), 3))); err != nil {
		t.Errorf("operation %d failed (death %v), then: %v", k, dead, err)
	}
	return count.Load() > k, dead
}

// tail is the end of a log in which the database can't tell damage from a write that the power cut tore: up to two of its blocks
// (docs/OPERATIONS.md "Bit rot").
const tail = 64 << 10

// TestR7GarbledLog flips a byte of the database's log somewhere before its tail: the server refuses to open, or everything that was promised is
// there. It never opens with something silently missing.
func TestR7GarbledLog(t *testing.T) {
	mem := vfs.NewCrashableMem()
	w := prepare(t, server.Config{Dir: "state", FS: mem})
	w.direct = true
	w.open()
	h := &history{}
	if err := h.live(w, rand.New(rand.NewPCG(1, 1)), 4, func() bool { return false }); err != nil {
		t.Fatal(err)
	}
	before := h.copy()
	d := w.device()
	sid := d.mustOpen()
	for range 5 {
		_, err := d.post(sid[:], d, strings.Repeat("x", 60_000))
		d.must(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	clones := make([]*vfs.MemFS, 20)
	for i := range clones {
		clones[i] = mem.CrashClone(vfs.CrashCloneCfg{})
	}
	w.stop()
	refused := 0
	for _, fs := range clones {
		path, size := longestLog(t, fs)
		at := rng.Int64N(size - tail)
		f, err := fs.OpenReadWrite(path, vfs.WriteCategoryUnspecified)
		mustNot(t, err)
		b := make([]byte, 1)
		_, err = f.ReadAt(b, at)
		mustNot(t, err)
		_, err = f.WriteAt([]byte{b[0] ^ 0x55}, at)
		mustNot(t, err)
		mustNot(t, f.Close())
		c := prepare(t, server.Config{Dir: "state", FS: fs, Fatal: func(m string) { panic(m) }})
		c.direct = true
		if c.Server, err = server.New(c.config); err != nil {
			refused++
			continue
		}
		c.handler = authenticated(c.Server.Handler())
		if err := kept(c, ownDevices(slices.Clone(before)), before); err != nil {
			t.Errorf("byte %d of %d garbled: opened, and %v", at, size, err)
		}
		c.stop()
	}
	t.Logf("%d of %d refused", refused, len(clones))
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}

// longestLog returns the database's largest log and the length of its part that was written.
func longestLog(t *testing.T, fs vfs.FS) (path string, size int64) {
	t.Helper()
	names, err := fs.List("state/db")
	mustNot(t, err)
	for _, n := range names {
		if info, err := fs.Stat("state/db/" + n); strings.HasSuffix(n, ".log") && err == nil && info.Size() > size {
			path, size = "state/db/"+n, info.Size()
		}
	}
	return path, size
}
