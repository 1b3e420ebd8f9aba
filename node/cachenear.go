package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// atCache is a cache as a receiver sees it: one more place for packs and roots. Nothing that it gives is used before it
// verifies, a root here and a pack where it is opened; and it is asked for each thing for a short time only, since the server has everything
// in the end.
type atCache struct {
	asked
	verify func(*remote.Root) error
}

// cacheGet is how long one pack may take from a cache. One that is slower is no help.
const cacheGet = 30 * time.Second

// GetRoot implements service. A root that is not the sender's is an error.
func (a *atCache) GetRoot(ctx context.Context, sid id.Session, least uint64, wait time.Duration) (*remote.Root, error) {
	root, err := a.asked.GetRoot(ctx, sid, least, wait)
	if errors.Is(err, remote.ErrOlder) {
		return nil, errCacheLies
	}
	if err == nil && root != nil {
		err = a.verify(root)
	}
	if err != nil {
		return nil, err
	}
	return root, nil
}

var errCacheLies = errors.New("the cache gives what the sender did not send")

// Session implements service.
func (a *atCache) Session(sid id.Session) transfer.BlobStore { return cacheBlobs{a.asked.Session(sid)} }

// Mailbox implements service: a cache has none.
func (a *atCache) Mailbox(id.Scope) transfer.Mailbox { return noMailbox{} }

// cacheBlobs bounds how long a blob may take.
type cacheBlobs struct{ transfer.BlobStore }

func (c cacheBlobs) Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, cacheGet)
	defer cancel()
	return c.BlobStore.Get(ctx, name, dst)
}

type noMailbox struct{}

var errNoMailbox = wire.Fail(wire.NotFound, "mailbox of a cache")

func (noMailbox) Post(context.Context, id.Peer, []byte) error { return errNoMailbox }
func (noMailbox) Fetch(context.Context, uint64, time.Duration) ([]wire.Message, []byte, error) {
	return nil, nil, errNoMailbox
}
func (noMailbox) Ack(context.Context, uint64) error { return errNoMailbox }

// caches are what a receiver knows of caches.
type caches struct {
	mu   sync.Mutex // guards the rest
	told bool       // of one, in this run or an earlier one
	met  map[id.Server]bool
}

// keyCache has the address of the cache that the sender told.
var keyCache = []byte("m/cache")

// noteCache keeps where the sender says that a cache is: durably, before the message is acknowledged.
func (r *receiving) noteCache(text []byte) (at id.Server, ok bool) {
	at, err := id.ParseServer(string(text))
	if err != nil || r.t.j.Batch().Put(keyCache, text).Commit() != nil {
		return at, false
	}
	kill.Point(kill.ReceiverCache)
	return at, true
}

// recallCache meets the cache that an earlier run was told of.
func (r *receiving) recallCache(ctx context.Context) {
	if text, err := r.t.j.Get(keyCache); err == nil {
		if at, err := id.ParseServer(string(text)); err == nil {
			r.meetCache(ctx, at)
		}
	}
}

// meetCache has the hub ask a cache too, if it is within reach.
func (r *receiving) meetCache(ctx context.Context, at id.Server) {
	c := &r.caches
	c.mu.Lock()
	c.told = true
	met := c.met[at]
	if c.met == nil {
		c.met = map[id.Server]bool{}
	}
	c.met[at] = true
	c.mu.Unlock()
	if met {
		return
	}
	x, err := r.n.dialCache(r.id, at)
	if err != nil {
		return
	}
	if _, err := x.Claim(ctx, remote.Claim{Session: r.st.Session, Card: r.meta.Card}); err != nil {
		r.n.cfg.Log.Info("cache out of reach", "err", err)
		x.Close()
		return
	}
	r.hub.add(&atCache{asked{x}, r.verifyRoot})
	context.AfterFunc(ctx, func() { x.Close() })
	r.n.notice("cache-near", at.HostPort())
}

// verifyRoot checks that the sender has sealed and signed a root. It reads what does not change any more once the session is known.
func (r *receiving) verifyRoot(got *remote.Root) error {
	_, commit, err := manifest.OpenRoot(r.keys, r.st.Session, got.Epoch, got.Sealed)
	if err == nil {
		err = manifest.VerifyCommit(r.st.Peer, commit, got.Signature)
	}
	if err != nil {
		return errors.Join(errCacheLies, err)
	}
	return nil
}

// brought judges an error after which packs of an epoch may be missing. nil says that trying again helps: a cache was still bringing them to the
// server, and that was waited for; newest is then the epoch to try, a later one if the sender had to send again what a cache lost. Otherwise it is
// the error to return. sealed must be false before the first call for an epoch; afterwards it says that the server has the whole epoch, so
// that nothing is waited for any more.
func (r *receiving) brought(ctx context.Context, err error, epoch uint64, sealed *bool) (newest uint64, _ error) {
	var gone *transfer.MissingError
	r.caches.mu.Lock()
	told := r.caches.told
	r.caches.mu.Unlock()
	if !errors.As(err, &gone) || !told || *sealed {
		return epoch, err
	}
	home := r.hub.home()
	root, err := home.GetRoot(ctx, r.st.Session, epoch, 0)
	if err == nil && root == nil {
		r.n.notice("waiting-for-cache", "")
		root, err = home.GetRoot(ctx, r.st.Session, epoch, fetchWait)
	}
	if root != nil {
		newest = root.Epoch
		*sealed = newest == epoch
	}
	return max(newest, epoch), err
}

// gave notes that a blob came from a cache.
func (h *hub) gave(name id.Blob, by service) {
	c, ok := by.(*atCache)
	if !ok {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.given == nil {
		h.given = map[id.Blob]*atCache{}
	}
	h.given[name] = c
}

// Doubt implements transfer's wish to be told what does not open: a cache that gave it is not asked again, for anything.
func (s stores) Doubt(name id.Blob) bool {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	c := s.h.given[name]
	if c == nil {
		return false
	}
	delete(s.h.given, name)
	s.h.homes = slices.DeleteFunc(slices.Clone(s.h.homes), func(x service) bool { return x == service(c) })
	return true
}
