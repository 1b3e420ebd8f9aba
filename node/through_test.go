package node

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	routefolder "github.com/decant-dev/decant/node/folder"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// held is a folder that holds a session with one pack and one root.
func held(t *testing.T, epoch uint64) (f inFolder, sid id.Session, pack id.Blob, root *remote.Root) {
	t.Helper()
	opened, err := routefolder.Open(routefolder.Config{Dir: t.TempDir(), Device: key.NewDevice().Peer(), Create: true})
	if err != nil {
		t.Fatal(err)
	}
	f, sid, pack = inFolder{opened}, id.NewSession(), id.NewBlob()
	root = &remote.Root{Epoch: epoch, Final: true, Sealed: []byte("sealed"), Signature: make([]byte, 64)}
	if _, err := f.Open(t.Context(), remote.Offer{Session: sid, Class: wire.ClassS, Blobs: 10}); err != nil {
		t.Fatal(err)
	}
	if err := f.Session(sid).Put(t.Context(), pack, make([]byte, wire.BlobSizeS)); err != nil {
		t.Fatal(err)
	}
	return f, sid, pack, root
}

// TestRooted: a root is told where its whole manifest is, and nowhere else.
func TestRooted(t *testing.T) {
	f, sid, pack, root := held(t, 1)
	for _, x := range []struct {
		name     string
		manifest []id.Blob
		err      error
	}{
		{"elsewhere", []id.Blob{id.NewBlob()}, errElsewhere},
		{"in part", []id.Blob{pack, id.NewBlob()}, errElsewhere},
		{"here", []id.Blob{pack}, nil},
	} {
		r := &rooted{f, func(*remote.Root) ([]id.Blob, error) { return x.manifest, nil }}
		if err := r.Commit(t.Context(), sid, root); !errors.Is(err, x.err) {
			t.Errorf("%s: %v, want %v", x.name, err, x.err)
		}
		st, err := f.Status(t.Context(), sid)
		if err != nil || st.Committed != (x.err == nil) {
			t.Errorf("%s: %+v, %v", x.name, st, err)
		}
	}
	missing, err := lacking(t.Context(), f.Session(id.NewSession()), []id.Blob{pack})
	if err != nil || len(missing) != 1 {
		t.Errorf("a session that is not there has all but %v, %v", missing, err)
	}
}

// late is a server with a newer root, which takes a moment, and with a pack of its own.
type late struct {
	service
	root *remote.Root
	pack id.Blob
}

func (l *late) GetRoot(ctx context.Context, _ id.Session, _ uint64, _ time.Duration) (*remote.Root, error) {
	select {
	case <-time.After(others / 10):
		return l.root, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *late) Session(id.Session) transfer.BlobStore { return l }

func (l *late) Get(_ context.Context, name id.Blob, dst []byte) ([]byte, error) {
	if name == l.pack {
		return append(dst, 1), nil
	}
	return dst, wire.Fail(wire.NotFound, "get")
}

func (l *late) Put(context.Context, id.Blob, []byte) error     { return errors.ErrUnsupported }
func (l *late) Has(context.Context, []id.Blob) ([]bool, error) { return nil, errors.ErrUnsupported }
func (l *late) Delete(context.Context, ...id.Blob) error       { return errors.ErrUnsupported }

// TestNewerThanTheFolder: a folder answers at once, and may have been written some time ago; who has something newer is heard.
func TestNewerThanTheFolder(t *testing.T) {
	synctest.Test(t, newerThanTheFolder)
}

func newerThanTheFolder(t *testing.T) {
	f, sid, _, root := held(t, 1)
	if err := f.Commit(t.Context(), sid, root); err != nil {
		t.Fatal(err)
	}
	server := &late{root: &remote.Root{Epoch: 2}}
	got, err := newHub(server, f).getRoot(t.Context(), sid, 1, time.Minute)
	if err != nil || got.Epoch != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err = newHub(f).getRoot(t.Context(), sid, 1, time.Minute); err != nil || got.Epoch != 1 {
		t.Errorf("alone: %+v, %v", got, err)
	}
}

// TestCompletable says which transfers a folder may complete.
func TestCompletable(t *testing.T) {
	for _, x := range []struct {
		name string
		meta meta
		st   state
		want bool
	}{
		{"not paired", meta{}, state{State: session.Open}, false},
		{"paired", meta{}, state{State: session.Sending, Granted: true}, true},
		{"ticket", meta{Ticket: true}, state{State: session.Stored}, true},
		{"ticket that nobody has seen", meta{Ticket: true}, state{State: session.New}, false},
		{"begun in a folder", meta{Ticket: true, Folder: "/a"}, state{State: session.Stored}, false},
	} {
		if got := completable(&x.meta, &x.st, "/b"); got != x.want {
			t.Errorf("%s: %v", x.name, got)
		}
		if completable(&x.meta, &x.st, "") {
			t.Errorf("%s: without a folder", x.name)
		}
	}
}
