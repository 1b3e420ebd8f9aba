package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/decant-dev/decant/node/direct"
	routefolder "github.com/decant-dev/decant/node/folder"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// service is whoever keeps a session: the server, the receiver's own desk, a folder.
type service interface {
	Hello(context.Context) (*remote.Hello, error)
	Open(context.Context, remote.Offer) (time.Time, error)
	Claim(context.Context, remote.Claim) (*remote.Claimed, error)
	Pin(ctx context.Context, sid id.Session, receiver id.Peer, pin []byte) error
	Commit(ctx context.Context, sid id.Session, root *remote.Root) error
	GetRoot(ctx context.Context, sid id.Session, minEpoch uint64, wait time.Duration) (*remote.Root, error)
	Status(ctx context.Context, sid id.Session) (*remote.Status, error)
	Finish(ctx context.Context, sid id.Session, ack []byte) error
	Mailbox(scope id.Scope) transfer.Mailbox
	Session(sid id.Session) transfer.BlobStore
}

// asked is a service behind the server protocol: the server, or a desk as its sender sees it.
type asked struct{ *remote.Remote }

func (a asked) Mailbox(scope id.Scope) transfer.Mailbox   { return a.Remote.Mailbox(scope) }
func (a asked) Session(sid id.Session) transfer.BlobStore { return a.Remote.Session(sid) }

// atDesk is the receiver's own desk.
type atDesk struct{ *direct.Desk }

func (a atDesk) Mailbox(scope id.Scope) transfer.Mailbox   { return a.Desk.Mailbox(scope) }
func (a atDesk) Session(sid id.Session) transfer.BlobStore { return a.Desk.Session(sid) }

// inFolder is a folder.
type inFolder struct{ *routefolder.Folder }

func (a inFolder) Mailbox(scope id.Scope) transfer.Mailbox   { return a.Folder.Mailbox(scope) }
func (a inFolder) Session(sid id.Session) transfer.BlobStore { return a.Folder.Session(sid) }

// hub is the services that hold one session together. What one of them has is enough; what
// is told is told to all that answer, also to those that come while it is told. The first is the
// session's home, where it was opened. Safe for concurrent use.
type hub struct {
	mu    sync.Mutex // guards the rest
	homes []service
	added chan struct{}        // closed when the next one comes
	given map[id.Blob]*atCache // whose a blob is that a cache gave
}

func newHub(homes ...service) *hub { return &hub{homes: homes, added: make(chan struct{})} }

// add puts another service behind the others.
func (h *hub) add(s service) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.homes = append(slices.Clone(h.homes), s)
	close(h.added)
	h.added = make(chan struct{})
}

// all returns the services, and what is closed when there are more.
func (h *hub) all() ([]service, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.homes, h.added
}

// home is the service at which the session was opened.
func (h *hub) home() service {
	homes, _ := h.all()
	return homes[0]
}

// grace is how long one service that has agreed waits for the others.
const grace = 10 * time.Second

// reply is what one service answered.
type reply[T any] struct {
	from  service
	value T
	err   error
}

// askAll runs do with every service at once, also with one that is added meanwhile, and
// gives each answer to take as it comes. It ends when all have answered or take has had
// enough, and returns when nothing runs any more. take says how long the others may still take, if at all.
func askAll[T any](ctx context.Context, h *hub, do func(context.Context, service) (T, error), take func(reply[T]) (slack time.Duration, limited bool)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	replies := make(chan reply[T])
	asked := map[service]bool{}
	homes, added := h.all()
	running := 0
	for {
		for _, s := range homes {
			if asked[s] {
				continue
			}
			asked[s] = true
			running++
			go func() {
				v, err := do(ctx, s)
				replies <- reply[T]{s, v, err}
			}()
		}
		if running == 0 {
			return
		}
		select {
		case r := <-replies:
			running--
			if slack, limited := take(r); limited {
				late := time.AfterFunc(slack, cancel)
				defer late.Stop()
				added = nil // whoever comes now is too late
			}
		case <-added:
			homes, added = h.all()
		}
	}
}

// tell runs do with every service at once and returns nil when one has agreed and the others have answered or
// are late by more than slack. If none agrees the error is the home's.
func (h *hub) tell(ctx context.Context, slack time.Duration, do func(context.Context, service) error) error {
	return h.tellAfter(ctx, func(service) time.Duration { return slack }, do)
}

// tellAfter is tell where the slack depends on who has agreed.
func (h *hub) tellAfter(ctx context.Context, slack func(service) time.Duration, do func(context.Context, service) error) error {
	agreed, home := false, h.home()
	var failed error
	askAll(ctx, h, func(ctx context.Context, s service) (struct{}, error) { return struct{}{}, do(ctx, s) }, func(r reply[struct{}]) (time.Duration, bool) {
		if r.err != nil {
			if failed == nil || r.from == home {
				failed = r.err
			}
			return 0, false
		}
		agreed = true
		return slack(r.from), true
	})
	if agreed {
		return nil
	}
	return failed
}

func (h *hub) commit(ctx context.Context, sid id.Session, root *remote.Root) error {
	return h.tell(ctx, grace, func(ctx context.Context, s service) error { return s.Commit(ctx, sid, root) })
}

// finish ends the session. Once its home has done so the receiver may have heard it there, and be gone.
func (h *hub) finish(ctx context.Context, sid id.Session, ack []byte) error {
	home := h.home()
	slack := func(s service) time.Duration {
		switch {
		case s == home:
			return others
		case isFolder(s): // the receiver has left its receipt there because it could not be reached
			return viaPatience
		}
		return grace
	}
	return h.tellAfter(ctx, slack, func(ctx context.Context, s service) error {
		err := s.Finish(ctx, sid, ack)
		if hasEnded(err) {
			return nil
		}
		return err
	})
}

// others is how much longer the rest may take when one service has waited in vain for what it was asked to wait for.
const others = time.Second

// getRoot waits for a root with every service at once. One that fails is left out while others answer.
func (h *hub) getRoot(ctx context.Context, sid id.Session, least uint64, wait time.Duration) (root *remote.Root, err error) {
	home, answered := h.home(), false
	var failed error
	askAll(ctx, h, func(ctx context.Context, s service) (*remote.Root, error) { return s.GetRoot(ctx, sid, least, wait) },
		func(r reply[*remote.Root]) (time.Duration, bool) {
			switch {
			case r.value != nil:
				if root == nil || r.value.Epoch > root.Epoch {
					root = r.value
				}
				return h.older(), true
			case root != nil:
			case errors.Is(r.err, remote.ErrOlder):
				err = r.err
				return 0, true
			case r.err == nil:
				answered = true
				return others, true
			case failed == nil || r.from == home:
				failed = r.err
			}
			return 0, false
		})
	if root != nil || err != nil || answered {
		return root, err
	}
	return nil, failed
}

// older is how long a root waits for a newer one: one of the services may be a folder that was written some time ago.
func (h *hub) older() time.Duration {
	homes, _ := h.all()
	if len(homes) > 1 && slices.ContainsFunc(homes, isFolder) {
		return others
	}
	return 0
}

func isFolder(s service) bool {
	if r, ok := s.(*rooted); ok {
		s = r.service
	}
	_, ok := s.(inFolder)
	return ok
}

// post puts a message where the other device will find it.
func (h *hub) post(ctx context.Context, scope id.Scope, to id.Peer, body []byte, slack time.Duration) error {
	return h.tell(ctx, slack, func(ctx context.Context, s service) error { return s.Mailbox(scope).Post(ctx, to, body) })
}

// store reads blobs from whichever service has them.
func (h *hub) store(sid id.Session) transfer.BlobStore { return stores{h, sid} }

type stores struct {
	h   *hub
	sid id.Session
}

// Get implements transfer.BlobStore. What is at hand is asked first: the last added.
func (s stores) Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error) {
	var err error
	homes, _ := s.h.all()
	for _, home := range slices.Backward(homes) {
		var got []byte
		if got, err = home.Session(s.sid).Get(ctx, name, dst); err == nil {
			s.h.gave(name, home)
			return got, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return dst, err
}

func (s stores) home() transfer.BlobStore { return s.h.home().Session(s.sid) }

// Put implements transfer.BlobStore.
func (s stores) Put(ctx context.Context, name id.Blob, blob []byte) error {
	return s.home().Put(ctx, name, blob)
}

// Has implements transfer.BlobStore.
func (s stores) Has(ctx context.Context, names []id.Blob) ([]bool, error) {
	return s.home().Has(ctx, names)
}

// Delete implements transfer.BlobStore.
func (s stores) Delete(ctx context.Context, names ...id.Blob) error {
	return s.home().Delete(ctx, names...)
}

// inbox reads the messages of a session's scope from all services of a hub. It numbers
// them anew, for one reader: it is not safe for concurrent use.
type inbox struct {
	h     *hub
	scope id.Scope
	after map[service]uint64 // what was read of each
	seen  []origin           // by number - 1
}

type origin struct {
	from     service
	sequence uint64
}

func (h *hub) inbox(scope id.Scope) *inbox {
	return &inbox{h: h, scope: scope, after: map[service]uint64{}}
}

// mail is what one service has for this device.
type mail struct {
	ms  []wire.Message
	ack []byte
}

// fetch returns messages that it has not returned before, waiting up to wait for the first. ack is the sender's ack of a
// finished session. The error is the home's, if no other service answers.
func (b *inbox) fetch(ctx context.Context, wait time.Duration) (ms []wire.Message, ack []byte, err error) {
	home, answered := b.h.home(), false
	var mu sync.Mutex // guards b.after against a service that is added meanwhile
	askAll(ctx, b.h, func(ctx context.Context, s service) (m mail, err error) {
		mu.Lock()
		after := b.after[s]
		mu.Unlock()
		m.ms, m.ack, err = s.Mailbox(b.scope).Fetch(ctx, after, wait)
		return m, err
	}, func(r reply[mail]) (time.Duration, bool) {
		if r.err != nil {
			if err == nil || r.from == home {
				err = r.err
			}
			return 0, false
		}
		answered = true
		mu.Lock()
		defer mu.Unlock()
		for _, m := range r.value.ms {
			b.after[r.from] = m.Sequence
			b.seen = append(b.seen, origin{r.from, m.Sequence})
			m.Sequence = uint64(len(b.seen))
			ms = append(ms, m)
		}
		if len(r.value.ack) > 0 {
			ack = r.value.ack
		}
		if len(ms) > 0 || len(ack) > 0 {
			return 0, true // the others have nothing yet, or give it the next time
		}
		return others, true
	})
	if answered {
		err = nil
	}
	return ms, ack, err
}

// ack removes the messages up to a number, with the service that each came from.
func (b *inbox) ack(ctx context.Context, upTo uint64) error {
	upTos := map[service]uint64{}
	for _, o := range b.seen[:upTo] {
		upTos[o.from] = max(upTos[o.from], o.sequence)
	}
	var errs []error
	for s, n := range upTos {
		errs = append(errs, s.Mailbox(b.scope).Ack(ctx, n))
	}
	return errors.Join(errs...)
}
