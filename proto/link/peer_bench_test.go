//go:build unix

package link

import (
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/decant-dev/decant/proto/wire"
)

// BenchmarkPeerPut puts blobs of class L from one endpoint to another in this process, over each way that there is.
func BenchmarkPeerPut(b *testing.B) {
	for _, way := range []string{"fast", "tcp", "quic", "relayed"} {
		for _, conns := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/conns=%d", way, conns), func(b *testing.B) { benchPeer(b, way, conns) })
		}
	}
}

func benchPeer(b *testing.B, way string, conns int) {
	taken := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		buf := pool.Get().(*[]byte)
		defer pool.Put(buf)
		if _, err := io.ReadFull(r.Body, *buf); err != nil {
			b.Error(err)
		}
	})
	d := benchWay(b, way, taken)
	blob := make([]byte, wire.BlobSizeL)
	rand.Read(blob)
	work := make(chan struct{})
	errs := make(chan error, conns)
	for range conns {
		go func() {
			for range work {
				if err := transferBlob(d, blob, nil, true); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	work <- struct{}{} // the way is found
	b.SetBytes(int64(len(blob)))
	before := cpu()
	b.ResetTimer()
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	for range conns {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric((cpu()-before).Seconds()/float64(b.N*len(blob))*(1<<30), "cpu-s/GiB")
}

// benchWay makes two endpoints that have only one way to each other.
func benchWay(b *testing.B, way string, h http.Handler) *PeerDialer {
	if way == "relayed" {
		relay, l := listenRelay(b)
		receiver, sender := outside(b, relay, h), outside(b, relay, nil)
		l.befriend(sender.self(), receiver.self())
		receiver.askRelay()
		return dialPeer(b, sender, receiver.self())
	}
	receiver, sender := endpoint(b, EndpointConfig{Handler: h}), endpoint(b, EndpointConfig{})
	at := receiver.server.Addr().AddrPort()
	addr := map[string]string{"fast": at.String(), "quic": hostAddrs(at.Addr(), at.Port())[0].String(), "tcp": hostAddrs(at.Addr(), at.Port())[1].String()}[way]
	return dialPeer(b, sender, receiver.self(), addr)
}

// cpu is what this process has used, both ends and the relay together.
func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
