package impair

import (
	"bytes"
	"context"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

// carry takes what send writes through a stream inside a bubble and returns what came out, and when its last byte did.
func carry(t *testing.T, link *Link, send func(io.Writer)) (got []byte, took time.Duration) {
	t.Helper()
	ctx, fail := context.WithCancel(t.Context())
	defer fail()
	in, src := net.Pipe()
	dst, out := net.Pipe()
	began := time.Now()
	go func() {
		send(in)
		in.Close()
	}()
	go func() {
		newStream(link.Up, link.roundTrip).carry(ctx, fail, dst, src)
		dst.Close()
	}()
	got, err := io.ReadAll(out)
	if err != nil {
		t.Error(err)
	}
	return got, time.Since(began)
}

func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// TestStreamThroughput measures what TCP would get, in bytes and seconds of a bubble.
func TestStreamThroughput(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		profile  Profile
		bytes    int
		min, max float64 // bytes a second
	}{
		"rate":          {Profile{Rate: 1 << 20}, 8 << 20, 0.97 * (1 << 20), 1.01 * (1 << 20)},
		"rate and loss": {Profile{Rate: 30_000, Delay: 10 * ms, Loss: 0.01}, 600_000, 0.8 * 30_000, 1.01 * 30_000},
		"loss":          {Profile{Delay: 50 * ms, Loss: 0.01}, 4 << 20, 0.8 * Mathis(100*ms, 0.01), 1.02 * Mathis(100*ms, 0.01)},
		"much loss":     {Profile{Delay: 150 * ms, Loss: 0.1}, 1 << 20, 0.7 * Mathis(300*ms, 0.1), 1.02 * Mathis(300*ms, 0.1)},
		"window":        {Profile{Delay: 400 * ms}, 32 << 20, 0.8 * window / 0.8, 1.1 * window / 0.8},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent := noise(c.bytes)
				got, took := carry(t, Both(1, c.profile), func(w io.Writer) { w.Write(sent) })
				if !bytes.Equal(got, sent) {
					t.Errorf("%d bytes arrived, not the %d that were sent", len(got), len(sent))
				}
				if rate := float64(len(got)) / took.Seconds(); rate < c.min || rate > c.max {
					t.Errorf("%.0f bytes a second, want %.0f to %.0f", rate, c.min, c.max)
				}
			})
		})
	}
}

// TestStreamStalls looks at single writes, as of a request: most arrive after the delay, the part that lost its segment
// after a retransmission timeout more.
func TestStreamStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const delay = 50 * time.Millisecond
		const count = 2000
		ctx, fail := context.WithCancel(t.Context())
		defer fail()
		in, src := net.Pipe()
		dst, out := net.Pipe()
		go func() {
			newStream(NewLine(1, Profile{Delay: delay, Loss: 0.05}), func() time.Duration { return 2 * delay }).carry(ctx, fail, dst, src)
			dst.Close()
		}()
		stalled := 0
		for range count {
			began := time.Now()
			in.Write([]byte("request"))
			if _, err := io.ReadFull(out, make([]byte, 7)); err != nil {
				t.Fatal(err)
			}
			switch took := time.Since(began); {
			case took >= delay+minRTO:
				stalled++
			case took > delay+10*time.Millisecond:
				t.Fatalf("a request took %v", took)
			}
		}
		in.Close()
		if stalled < count*5/100*6/10 || stalled > count*5/100*15/10 {
			t.Errorf("%d of %d requests stalled at 5 %% loss", stalled, count)
		}
	})
}

func TestStreamStandsStillWhileCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		link := Both(1, Profile{Delay: time.Second})
		got, took := carry(t, link, func(w io.Writer) {
			w.Write([]byte("before"))
			link.Cut()
			go func() {
				time.Sleep(time.Hour)
				link.Restore()
			}()
			w.Write([]byte("behind"))
		})
		if string(got) != "beforebehind" || took < time.Hour || took > time.Hour+2*time.Second {
			t.Errorf("%q after %v", got, took)
		}
	})
}

func TestStreamFlipsBits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := noise(1000 * segment)
		got, _ := carry(t, Both(1, Profile{Corrupt: 0.02}), func(w io.Writer) { w.Write(sent) })
		if len(got) != len(sent) {
			t.Fatalf("%d bytes of %d", len(got), len(sent))
		}
		if bits := hamming(got, sent); bits < 5 || bits > 50 {
			t.Errorf("%d bits flipped in 1,000 segments, want about 20", bits)
		}
	})
}
