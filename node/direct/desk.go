package direct

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Store is the desk's durable small state. Values are at most wire.MaxRoot and a little.
// The desk calls it from one goroutine at a time.
type Store interface {
	// Get returns the value of key, nil if there is none. The caller owns it.
	Get(key string) ([]byte, error)
	// Put writes all of kv in one synced batch; a nil value deletes its key. After an error
	// all of it may be there or nothing, and the desk writes no more.
	Put(kv map[string][]byte) error
	// Each calls fn for every key that begins with prefix, in any order. key and value
	// are valid during the call, which must not use the Store.
	Each(prefix string, fn func(key string, value []byte) error) error
}

// Config configures a Desk. Device, Store, Spool, Caller and Deliver are required.
type Config struct {
	Device id.Peer // the receiver, whose desk this is
	Store  Store
	Spool  string // directory for sealed blobs that are read later; created with mode 0700

	// Caller returns the authenticated identity that a request came from: link.PeerFrom.
	Caller func(context.Context) (id.Peer, bool)

	// Deliver takes a blob in. When it returns nil the blob need not be put again unless
	// this machine crashes; with keep the desk spools it. note is what the sender said
	// of the blob, at most wire.MaxNote bytes and as little trusted as the blob, both
	// Deliver's until it returns. The context ends with the desk, not with the request.
	//
	// It is called by several goroutines, with one name by one at a time, and again with
	// a blob that it has taken if the sender did not hear of it. An error that holds a
	// wire.Status is told to the sender, any other as Internal, which makes the sender
	// try again: a blob that does not verify is wire.Malformed.
	Deliver func(ctx context.Context, name id.Blob, note, blob []byte) (keep bool, err error)

	// Ready returns when a blob with this note would be taken in, before any of its bytes
	// is read. When ctx ends, after 20 s, the sender is told Busy. nil: always ready.
	Ready func(ctx context.Context, note []byte) error

	// Has tells which of the blobs that were delivered and not kept need not be put
	// again; the answer has the length and order of names. nil: none.
	Has func(ctx context.Context, names []id.Blob) ([]bool, error)

	// Checkpoint makes everything durable for which Deliver has returned before the call.
	// A final root is stored and acknowledged only after it. One call at a time, under a
	// context that ends with the desk. nil: Deliver did so already.
	Checkpoint func(ctx context.Context) error

	// Free returns the bytes free on the target. nil: plenty.
	Free func() uint64

	// Boot names the run of this machine. If it is not that of the last process, or zero
	// (unknown), delivered blobs may be lost and Hello tells a new incarnation.
	Boot [16]byte

	Now func() time.Time // nil: time.Now
}

// Limits of a desk, which serves one session of one sender.
const (
	patience   = 20 * time.Second // that a request waits to be taken before it is Busy; below every stall limit of the carriers
	plateLife  = 10 * time.Minute
	life       = 14 * 24 * time.Hour // of a session whose sender names none
	maxLife    = 30 * 24 * time.Hour
	maxPlates  = 16
	maxOffers  = 64 // of devices that are not admitted, one each
	strangers  = 64 // requests under way of devices that are not admitted
	perPeer    = 8  // of them of one device
	transfers  = 8  // blob bodies under way at once, each with a buffer
	spoolSpare = 64 // blobs spooled beyond those declared
	plenty     = 1 << 62
)

// Desk serves one receiver's one session. All methods are safe for concurrent use.
type Desk struct {
	cfg         Config
	incarnation [16]byte
	spool       *spool
	names       names         // of blobs being put
	slots       chan struct{} // taken by blob bodies under way
	buffers     sync.Pool     // of *[]byte

	ctx    context.Context // of deliveries and checkpoints; ended by Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // requests and the checkpoint under way

	// mu guards the rest, and is held while the store is used: what the store holds and
	// what stands here are one.
	mu       sync.Mutex
	closed   bool
	broken   error   // of the store; the desk does not know any more what is in it
	session  *record // admitted; nil: nobody is
	root     *remote.Root
	offers   map[id.Peer]*record // by senders who are not admitted
	plates   map[id.Scope]*plate
	boxes    map[id.Scope]*box
	bell     chan struct{}   // closed and replaced at each change
	guests   map[id.Peer]int // requests under way of devices that are not admitted
	visits   int             // of them all
	taken    int64           // deliveries of this process
	flushed  int64           // of them made durable; -1 before the first checkpoint
	flushing *checkpoint     // under way
}

// New opens the desk with what an earlier process left in the store and the spool.
// Close it before the store.
func New(cfg Config) (*Desk, error) {
	if cfg.Device.IsZero() || cfg.Store == nil || cfg.Spool == "" || cfg.Caller == nil || cfg.Deliver == nil {
		return nil, errors.New("direct: incomplete configuration")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Desk{cfg: cfg, slots: make(chan struct{}, transfers), names: names{held: map[id.Blob]chan struct{}{}, reading: map[id.Blob][]*reading{}},
		offers: map[id.Peer]*record{}, plates: map[id.Scope]*plate{}, boxes: map[id.Scope]*box{}, guests: map[id.Peer]int{},
		bell: make(chan struct{}), flushed: -1}
	d.buffers.New = func() any { return new([]byte) }
	if err := d.load(); err != nil {
		return nil, fmt.Errorf("desk: %w", err)
	}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// load reads what the last process left, and finishes what it did not.
func (d *Desk) load() (err error) {
	if err := errors.Join(d.incarnate(), d.loadSession(), d.loadPlates(), d.loadMail()); err != nil {
		return err
	}
	if d.spool, err = openSpool(d.cfg.Spool); err != nil {
		return err
	}
	if d.session != nil && d.session.State == remote.Done {
		return d.spool.clear()
	}
	return nil
}

const keyIncarnation = "incarnation" // ‖ Config.Boot of the process that drew it

// incarnate keeps the incarnation of the last process if nothing can have been lost since.
func (d *Desk) incarnate() error {
	v, err := d.cfg.Store.Get(keyIncarnation)
	if err != nil {
		return err
	}
	if len(v) == 32 && [16]byte(v[16:]) == d.cfg.Boot && d.cfg.Boot != [16]byte{} {
		copy(d.incarnation[:], v)
		return nil
	}
	rand.Read(d.incarnation[:])
	return d.cfg.Store.Put(map[string][]byte{keyIncarnation: append(d.incarnation[:], d.cfg.Boot[:]...)})
}

// Close ends every wait, waits for the requests under way, and lets no other in. Close
// the carrier first: a body that is being read is waited for. The receiver's own calls
// must have returned, or are waiting ones. It is idempotent.
func (d *Desk) Close() error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.cancel()
	d.wg.Wait()
	return nil
}

// Hello tells what the desk tells its sender. A device that is not admitted does not
// learn how much room there is.
func (d *Desk) Hello(context.Context) (*remote.Hello, error) { return d.hello(d.cfg.Device), nil }

func (d *Desk) hello(caller id.Peer) *remote.Hello {
	h := &remote.Hello{Version: wire.Version, Incarnation: d.incarnation, Time: d.cfg.Now(), MaxSessionBytes: plenty, MaxExpiry: maxLife, FreeBytes: plenty}
	if d.cfg.Free != nil && !d.isGuest(caller) {
		h.FreeBytes = d.cfg.Free()
	}
	return h
}

// isGuest reports whether caller is neither the receiver nor admitted.
func (d *Desk) isGuest(caller id.Peer) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return caller != d.cfg.Device && (d.session == nil || d.session.Sender != caller)
}

// put writes to the store. A write that failed is never tried again: only the next
// process can know what came of it. The caller holds mu.
func (d *Desk) put(kv map[string][]byte) error {
	if d.broken == nil {
		d.broken = d.cfg.Store.Put(kv)
	}
	return d.broken
}

// ring lets everyone look again who waits for a change. The caller holds mu.
func (d *Desk) ring() {
	close(d.bell)
	d.bell = make(chan struct{})
}

// poll calls try, with mu held, at once and after each change until it reports that it
// found something or fails. It is false when wait is over.
func (d *Desk) poll(ctx context.Context, wait time.Duration, try func() (bool, error)) (bool, error) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		d.mu.Lock()
		found, err := try()
		rung := d.bell
		d.mu.Unlock()
		if found || err != nil || wait <= 0 {
			return found, err
		}
		select {
		case <-rung:
		case <-timer.C:
			return false, nil
		case <-d.ctx.Done():
			return false, wire.Fail(wire.Draining, "desk")
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
