package fault

import (
	"bytes"
	"context"
	"crypto/rand"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/impair"
)

// stretch is a sender's way to a server over a link that can be made bad.
type stretch struct {
	link  *impair.Link
	blobs *remote.Session
	near  *remote.Session // the same without the link
}

// newStretch opens a session at a server of its own, behind a link.
func newStretch(t *testing.T, seed uint64, p impair.Profile, kept int) *stretch {
	t.Helper()
	in := env.NewInside(t, filepath.Join(t.TempDir(), "server"), nil, nil)
	s := &stretch{link: impair.Both(seed, p)}
	proxy, err := impair.Listen("127.0.0.1:0", net.JoinHostPort(in.Address.Host, strconv.Itoa(int(in.Address.Port))), s.link)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	far := in.Address
	at := netip.MustParseAddrPort(proxy.Address())
	far.Host, far.Port = at.Addr().String(), at.Port()
	device, sid := key.NewDevice(), id.NewSession()
	dial := func(to id.Server) *remote.Session {
		r, err := remote.New(remote.Config{Device: device, Server: to, Carrier: link.Fast, FirstContact: -1, Stall: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		if to == in.Address {
			if _, err := r.Open(t.Context(), remote.Offer{Session: sid, Class: wire.ClassS, Blobs: uint64(kept)}); err != nil {
				t.Fatal(err)
			}
		}
		return r.Session(sid)
	}
	s.near, s.blobs = dial(in.Address), dial(far)
	return s
}

func (s *stretch) route(name string, kept transfer.Kept) *transfer.Route {
	return &transfer.Route{Name: func() string { return name }, Kept: kept, Slots: streams,
		Put: func(ctx context.Context, name id.Blob, _, blob []byte) error { return s.blobs.Put(ctx, name, blob) }}
}

// TestR13Flapping sends packs over two routes that come and go by themselves, and counts what was sent in vain.
func TestR13Flapping(t *testing.T) {
	const packs = 64
	p := impair.Profile{Delay: 5 * time.Millisecond, Rate: 2 << 20}
	ways := map[transfer.Kept]*stretch{transfer.KeptDelivered: newStretch(t, 1, p, packs), transfer.KeptStored: newStretch(t, 2, p, packs)}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	flapping, calm := context.WithCancel(ctx)
	var flaps sync.WaitGroup
	var outages atomic.Int64
	for kept, s := range ways {
		flaps.Go(func() {
			n := s.link.Flap(flapping, uint64(kept), impair.Span{Min: 300 * time.Millisecond, Max: time.Second}, impair.Span{Min: 300 * time.Millisecond, Max: 2 * time.Second})
			outages.Add(int64(n))
		})
	}
	r := transfer.NewRoutes(ways[transfer.KeptDelivered].route("direct", transfer.KeptDelivered), ways[transfer.KeptStored].route("stored", transfer.KeptStored))
	var work sync.WaitGroup
	left := make(chan int, packs)
	for i := range packs {
		left <- i
	}
	close(left)
	r.Expect(packs)
	for range 2*streams + 2 {
		work.Go(func() {
			blob := make([]byte, wire.BlobSizeS)
			for range left {
				rand.Read(blob)
				name := id.NewBlob()
				kept, err := r.Put(ctx, name, nil, blob)
				if err != nil {
					t.Error(err)
					return
				}
				got, err := ways[kept].near.Get(ctx, name, nil)
				if err != nil || !bytes.Equal(got, blob) {
					t.Errorf("a pack is not where it is said to be: %v", err)
				}
			}
		})
	}
	work.Wait()
	calm()
	flaps.Wait()
	var sent int64
	for _, s := range ways {
		sent += s.link.Up.Stats().Bytes
	}
	payload := int64(packs * wire.BlobSizeS)
	vain := float64(sent-payload) / wire.BlobSizeS
	t.Logf("%d outages, %.1f packs sent in vain", outages.Load(), vain)
	if most := float64(outages.Load()*streams) + packs/8; vain > most {
		t.Errorf("%.1f packs sent in vain in %d outages", vain, outages.Load())
	}
}
