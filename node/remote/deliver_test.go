package remote

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// desk answers each PUT after some time, and keeps what it was asked.
type desk struct {
	wait    time.Duration
	answers []wire.Status
	asked   []*http.Request
	at      []time.Time
}

func (d *desk) RoundTrip(r *http.Request) (*http.Response, error) {
	defer r.Body.Close()
	d.asked, d.at = append(d.asked, r), append(d.at, time.Now())
	time.Sleep(d.wait)
	s := d.answers[0]
	d.answers = d.answers[1:]
	h := http.Header{}
	if s != wire.OK {
		h.Set(wire.StatusHeader, strconv.Itoa(int(s)))
	}
	return &http.Response{StatusCode: s.HTTP(), Header: h, Body: io.NopCloser(bytes.NewReader(nil))}, nil
}

// TestDeliver asks a desk that does not take the blob for a while: again as soon as it has
// waited, and without sending the blob before the desk says so.
func TestDeliver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{wait: 20 * time.Second, answers: make([]wire.Status, 24)}
		for i := range d.answers {
			if i < 20 || i == 22 {
				d.answers[i] = wire.Busy
			}
		}
		r, err := New(Config{Transport: d})
		if err != nil {
			t.Fatal(err)
		}
		s := r.Session(id.NewSession())
		note := []byte{0xfb, 0xff, 0}
		for range 3 {
			if err := s.Deliver(t.Context(), id.NewBlob(), note, random(wire.BlobSizeS)); err != nil {
				t.Fatal(err)
			}
		}
		if took := d.at[19].Sub(d.at[0]); took > 19*(d.wait+2*backoffBase) {
			t.Errorf("asked 20 times in %v", took)
		}
		for i, r := range d.asked {
			// The blob is sent unasked once the desk has taken one, until it says busy again.
			if asks := r.Header.Get("Expect") == "100-continue"; asks != (i <= 20 || i == 23) {
				t.Errorf("request %d asks before it sends: %v", i, asks)
			}
			if r.Method != http.MethodPut || r.ContentLength != wire.BlobSizeS || r.Header.Get(wire.NoteHeader) != base64.RawURLEncoding.EncodeToString(note) {
				t.Errorf("%s of %d bytes: %v", r.Method, r.ContentLength, r.Header)
			}
		}
		if err := s.Deliver(t.Context(), id.NewBlob(), make([]byte, wire.MaxNote+1), nil); !errors.Is(err, wire.TooLarge) {
			t.Errorf("a note too long: %v", err)
		}
	})
}

// TestDeliverToBusyDesk backs off from a desk that refuses without having waited.
func TestDeliverToBusyDesk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &desk{answers: make([]wire.Status, 12)}
		for i := range d.answers {
			d.answers[i] = wire.Busy
		}
		d.answers[11] = wire.OK
		r, err := New(Config{Transport: d})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := r.Session(id.NewSession()).Deliver(t.Context(), id.NewBlob(), nil, random(100)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < time.Second {
			t.Errorf("%d attempts in %v", len(d.asked), took)
		}
	})
}
