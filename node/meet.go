package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	routefolder "github.com/decant-dev/decant/node/folder"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/proto/id"
)

// Where a session was opened, as state.Home has it; empty is the server or, with meta.Folder, the folder.
const homeDirect = "direct"

// parseServer parses what meta has of the server, which may be nothing.
func parseServer(s string) (id.Server, error) {
	if s == "" {
		return id.Server{}, nil
	}
	return id.ParseServer(s)
}

// folderPath makes the path of a folder route absolute; empty stays empty.
func folderPath(dir string) (string, error) {
	if dir == "" {
		return "", nil
	}
	return filepath.Abs(dir)
}

// connect reaches the server or opens the folder, and makes this device findable.
func (r *receiving) connect(ctx context.Context) (err error) {
	if r.meta.Folder != "" {
		return r.openFolder()
	}
	if r.through != "" {
		return r.connectFolder(ctx)
	}
	r.joinFolder(ctx)
	if !r.server.IsZero() && r.st.Home != homeDirect {
		if r.remote, err = r.n.dial(r.id, r.server, r.n.cfg.Route == RouteAuto && !r.meta.Ticket); err != nil {
			return err
		}
		if _, err := r.remote.Hello(ctx); err != nil {
			if !errors.Is(err, remote.ErrUnreachable) || r.meta.Ticket || r.n.cfg.Route == RouteStored {
				r.remote.Close()
				return err
			}
			r.n.notice("server-unreachable", "")
			if r.keys == nil {
				r.remote.Close()
				r.remote = nil // a code of our own will do
			}
		}
	}
	if r.n.cfg.Route == RouteStored {
		return nil
	}
	if err := r.appear(); err != nil {
		if r.remote == nil {
			return err
		}
		r.n.cfg.Log.Info("no direct route", "err", err)
	}
	return nil
}

func (r *receiving) openFolder() error {
	f, err := routefolder.Open(routefolder.Config{Dir: r.meta.Folder, Device: r.id.device.Peer()})
	if err != nil {
		return err
	}
	r.hub = newHub(inFolder{f})
	return nil
}

// opening is where a ticket is claimed.
func (r *receiving) opening() service {
	if r.hub != nil {
		return r.hub.home()
	}
	return asked{r.remote}
}

func (r *receiving) disconnect() {
	r.near.close()
	if r.remote != nil {
		r.remote.Close()
	}
}

// meet puts together who holds the session, once it is known, and keeps listening to the
// sender until stop is called.
func (r *receiving) meet(ctx context.Context) (stop func(), err error) {
	if r.hub == nil {
		r.hub = newHub()
		if r.remote != nil && r.st.Home != homeDirect {
			r.hub.add(asked{r.remote})
		}
	}
	if r.near != nil {
		if err := r.near.admit(); err != nil {
			return nil, err
		}
		r.hub.add(atDesk{r.near.desk})
	}
	if r.folder != nil {
		r.hub.add(*r.folder)
	}
	if homes, _ := r.hub.all(); len(homes) == 0 {
		return nil, fmt.Errorf("%w: the direct route is switched off", ErrUnreachable)
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { r.listen(ctx) })
	wg.Go(func() { r.recallCache(ctx) })
	if r.near != nil {
		wg.Go(func() {
			r.n.tellAddrs(ctx, r.hub, r.near.ep, r.envelope(session.Addrs), r.st.Session.Scope(), r.st.Peer, func() {})
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}, nil
}

// listen reads what the sender says, until ctx or the session ends.
func (r *receiving) listen(ctx context.Context) {
	box := r.hub.inbox(r.st.Session.Scope())
	var meeting sync.WaitGroup
	defer meeting.Wait()
	for {
		ms, ack, err := box.fetch(ctx, fetchWait)
		if hasEnded(err) || len(ack) > 0 || err != nil && !pause(ctx, retryPause) {
			return
		}
		for i := range ms {
			purpose, payload, err := session.OpenEnvelope(r.keys, r.st.Session, ms[i].From, r.id.device.Peer(), ms[i].Body)
			if err != nil || ms[i].From != r.st.Peer {
				continue
			}
			if purpose == session.Cache {
				if at, ok := r.noteCache(payload); ok {
					meeting.Go(func() { r.meetCache(ctx, at) })
				}
				continue
			}
			r.heard(purpose, payload)
		}
		if len(ms) > 0 { // what is lost now, the manifest names again
			_ = box.ack(ctx, ms[len(ms)-1].Sequence)
		}
	}
}

// retryPause is between two tries of what has failed for no reason that ends it.
const retryPause = fetchWait / 20

func (r *receiving) heard(purpose session.Purpose, payload []byte) {
	switch purpose {
	case session.Announce:
		if refs, err := manifest.DecodePackList(payload); err == nil {
			r.news.put(refs)
		}
	case session.Addrs:
		if addrs, ok := parseAddrs(payload); ok && r.near != nil {
			r.near.ep.Reach(r.st.Peer, addrs)
		}
	}
}

// announcements are packs that the sender said are in a store, until somebody fetches them.
type announcements struct {
	mu   sync.Mutex // guards the rest
	refs []manifest.PackRef
	wake chan struct{} // closed when there are some; nil if nobody waits
}

// maxNews bounds announcements that nobody takes; the manifest names them all.
const maxNews = 1 << 16

func (a *announcements) put(refs []manifest.PackRef) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.refs = append(a.refs, refs[:min(len(refs), maxNews-len(a.refs))]...)
	if a.wake != nil {
		close(a.wake)
		a.wake = nil
	}
}

// pass hands announcements on until ctx ends.
func (a *announcements) pass(ctx context.Context, ch chan<- manifest.PackRef) {
	for ctx.Err() == nil {
		a.mu.Lock()
		refs := a.refs
		a.refs = nil
		if len(refs) == 0 && a.wake == nil {
			a.wake = make(chan struct{})
		}
		wake := a.wake
		a.mu.Unlock()
		for _, ref := range refs {
			select {
			case ch <- ref:
			case <-ctx.Done():
				return
			}
		}
		if len(refs) > 0 {
			continue
		}
		select {
		case <-wake:
		case <-ctx.Done():
		}
	}
}
