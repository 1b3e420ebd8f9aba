package server_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"pgregory.net/rapid"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server"
)

// The model is the protocol's section 7 once more, in plain Go without time, disk or concurrency.
type model struct {
	sessions map[int]*modelSession
	now      time.Duration
}

type modelSession struct {
	state            serverpb.State
	sender, receiver int // receiver: -1 while there is none
	claimed, pinned  bool
	committed, final bool
	epoch            uint64
	root             string
	blobs            map[int]bool
	mail             map[int][]modelMessage
	next             uint64
	ack              string
	expires          time.Duration
	requests         map[string]string // caller and request ID → what it asked
	answers          map[string]uint64
}

type modelMessage struct {
	sequence uint64
	from     int
	body     string
}

const (
	modelExpiry    = 14 * 24 * time.Hour
	modelTombstone = 30 * 24 * time.Hour
)

func (s *modelSession) ended() bool { return s.state >= serverpb.State_STATE_DONE }

func (s *modelSession) refusal() error {
	return map[serverpb.State]error{serverpb.State_STATE_DONE: wire.Done, serverpb.State_STATE_EXPIRED: wire.Expired,
		serverpb.State_STATE_REVOKED: wire.Revoked}[s.state]
}

func (s *modelSession) party(d int) bool { return d == s.sender || d == s.receiver }

// request checks a request ID; again tells that the answer is known.
func (s *modelSession) request(key, asks string) (again bool, err error) {
	before, seen := s.requests[key]
	if seen && before != asks {
		return false, wire.Conflict
	}
	return seen, nil
}

// bury is what every end does.
func (s *modelSession) bury(state serverpb.State, now time.Duration) {
	s.state, s.expires = state, now+modelTombstone
	s.blobs, s.mail, s.requests, s.answers = map[int]bool{}, map[int][]modelMessage{}, map[string]string{}, map[string]uint64{}
}

// sweep is what the passing of time does.
func (m *model) sweep() {
	for i, s := range m.sessions {
		if m.now < s.expires {
			continue
		}
		if s.ended() {
			delete(m.sessions, i)
		} else {
			s.bury(serverpb.State_STATE_EXPIRED, m.now)
		}
	}
}

// run drives the real server and the model with the same operations and compares every answer.
type run struct {
	clock   atomic.Int64 // the model's now, for the server's goroutines
	t       *rapid.T
	w       *world
	m       *model
	base    time.Time
	devices []*device
	ids     []id.Session
	names   []id.Blob
	rids    []id.Request
}

func (r *run) pick(what string, n int) int { return rapid.IntRange(0, n-1).Draw(r.t, what) }

func (r *run) same(got, want error) {
	r.t.Helper()
	if want == nil && got == nil {
		return
	}
	if want == nil || !errors.Is(got, want) {
		r.t.Fatalf("server says %v, model %v", got, want)
	}
}

// on draws a device and a session; s is nil if the model has none.
func (r *run) on() (dev, sess int, d *device, s *modelSession) {
	dev, sess = r.pick("device", len(r.devices)), r.pick("session", len(r.ids))
	return dev, sess, r.devices[dev], r.m.sessions[sess]
}

// bySender is the check that most of the sender's calls begin with.
func bySender(s *modelSession, dev int) error {
	switch {
	case s == nil:
		return wire.NotFound
	case s.sender != dev:
		return wire.Forbidden
	}
	return s.refusal()
}

func byParty(s *modelSession, dev int) error {
	switch {
	case s == nil:
		return wire.NotFound
	case !s.party(dev):
		return wire.Forbidden
	}
	return s.refusal()
}

func (r *run) open() {
	dev, sess, d, s := r.on()
	ri, declared := r.pick("request", len(r.rids)), uint64(4+r.pick("declared", 2))
	key, asks := fmt.Sprint(dev, ri), fmt.Sprint("open", declared)
	_, got := call(d, "Open", &serverpb.OpenRequest{RequestId: r.rids[ri][:], Session: r.ids[sess][:], SizeClass: 1, DeclaredBlobs: declared},
		&serverpb.OpenResponse{})
	if s != nil {
		again, err := s.request(key, asks)
		if err == nil && !again {
			err = wire.Conflict
		}
		r.same(got, err)
		return
	}
	r.same(got, nil)
	r.m.sessions[sess] = &modelSession{state: serverpb.State_STATE_OPEN, sender: dev, receiver: -1, blobs: map[int]bool{},
		mail: map[int][]modelMessage{}, next: 1, expires: r.m.now + modelExpiry, requests: map[string]string{key: asks}, answers: map[string]uint64{}}
}

func (r *run) claim() {
	dev, sess, d, s := r.on()
	ri := r.pick("request", len(r.rids))
	key := fmt.Sprint(dev, ri)
	_, got := call(d, "Claim", &serverpb.ClaimRequest{RequestId: r.rids[ri][:], Session: r.ids[sess][:]}, &serverpb.ClaimResponse{})
	want := func() error {
		if s == nil {
			return wire.NotFound
		}
		if _, err := s.request(key, "claim"); err != nil {
			return err
		}
		switch {
		case s.ended():
			return s.refusal()
		case dev == s.sender:
			return wire.Forbidden
		case s.receiver < 0:
			return wire.NotPinned
		case s.receiver != dev:
			return wire.AlreadyClaimed
		}
		s.claimed, s.requests[key] = true, "claim"
		return nil
	}()
	r.same(got, want)
}

func (r *run) pin() {
	dev, sess, d, s := r.on()
	to := r.pick("receiver", len(r.devices))
	got := d.pin(r.ids[sess], r.devices[to])
	want := bySender(s, dev)
	if want == nil && to == dev {
		want = wire.Malformed
	}
	if want == nil {
		s.claimed = s.claimed && s.receiver == to
		s.receiver, s.pinned = to, true
	}
	r.same(got, want)
}

func (r *run) commit() {
	dev, sess, d, s := r.on()
	epoch, final, root := uint64(r.pick("epoch", 3)), rapid.Bool().Draw(r.t, "final"), fmt.Sprint("root", r.pick("root", 2))
	got := d.commit(r.ids[sess], epoch, final, root)
	want := bySender(s, dev)
	if want == nil {
		switch {
		case s.committed && epoch == s.epoch && root == s.root && final == s.final:
		case s.committed && epoch < s.epoch:
			want = wire.StaleEpoch
		case s.committed && epoch == s.epoch:
			want = wire.Conflict
		case s.state == serverpb.State_STATE_SEALED && !final:
			want = wire.WrongState
		default:
			s.committed, s.epoch, s.final, s.root = true, epoch, final, root
			if final {
				s.state = serverpb.State_STATE_SEALED
			}
		}
	}
	r.same(got, want)
}

func (r *run) getRoot() {
	dev, sess, d, s := r.on()
	least := uint64(r.pick("epoch", 3))
	root, got := call(d, "GetRoot", &serverpb.GetRootRequest{Session: r.ids[sess][:], MinEpoch: least}, &serverpb.GetRootResponse{})
	want := byParty(s, dev)
	r.same(got, want)
	if want != nil {
		return
	}
	found := s.committed && s.epoch >= least
	if root.Found != found || found && (root.Epoch != s.epoch || string(root.Root) != s.root || root.Final != s.final) {
		r.t.Fatalf("root %v, model %+v", root, s)
	}
}

func (r *run) put() {
	dev, sess, d, s := r.on()
	name, variant := r.pick("blob", len(r.names)), r.pick("variant", 2)
	blob := bytes.Clone(blobOf(r.names[name]))
	blob[100] ^= byte(variant)
	got := d.put(r.ids[sess], r.names[name], blob)
	want := bySender(s, dev)
	if want == nil {
		if before, ok := s.blobs[name]; ok && before != (variant == 1) {
			want = wire.Conflict
		} else {
			s.blobs[name] = variant == 1
		}
	}
	r.same(got, want)
}

func (r *run) get() {
	dev, sess, d, s := r.on()
	name := r.pick("blob", len(r.names))
	b, got := d.get(r.ids[sess], r.names[name])
	want := byParty(s, dev)
	var changed bool
	if want == nil {
		var ok bool
		if changed, ok = s.blobs[name]; !ok {
			want = wire.NotFound
		}
	}
	r.same(got, want)
	if want == nil {
		blob := bytes.Clone(blobOf(r.names[name]))
		if changed {
			blob[100] ^= 1
		}
		if !bytes.Equal(b, blob) {
			r.t.Fatal("other bytes came back")
		}
	}
}

func (r *run) remove() {
	dev, sess, d, s := r.on()
	name := r.pick("blob", len(r.names))
	status, _ := d.raw(http.MethodDelete, path(r.ids[sess], r.names[name]), nil)
	want := bySender(s, dev)
	if want == nil {
		delete(s.blobs, name)
	}
	r.same(orNil(status), want)
}

func (r *run) has() {
	dev, sess, d, s := r.on()
	req := &serverpb.HasRequest{Session: r.ids[sess][:]}
	var bits byte
	for i, n := range r.names {
		req.Names = append(req.Names, n[:])
		if s != nil {
			if _, ok := s.blobs[i]; ok {
				bits |= 1 << i
			}
		}
	}
	resp, got := call(d, "Has", req, &serverpb.HasResponse{})
	want := byParty(s, dev)
	r.same(got, want)
	if want == nil && (len(resp.Present) != 1 || resp.Present[0] != bits) {
		r.t.Fatalf("has %v, model %b", resp.Present, bits)
	}
}

func (r *run) post() {
	dev, sess, d, s := r.on()
	to, ri, body := r.pick("to", len(r.devices)), r.pick("request", len(r.rids)), fmt.Sprint("body", r.pick("body", 2))
	key, asks := fmt.Sprint(dev, ri), fmt.Sprint("post", to, body)
	resp, got := call(d, "Post", &serverpb.PostRequest{RequestId: r.rids[ri][:], Scope: r.ids[sess][:], To: r.devices[to].peer[:], Body: []byte(body)},
		&serverpb.PostResponse{})
	want := byParty(s, dev)
	if want == nil && dev != s.sender && to != s.sender {
		want = wire.Forbidden
	}
	var again bool
	if want == nil {
		again, want = s.request(key, asks)
	}
	r.same(got, want)
	if want != nil {
		return
	}
	if !again {
		s.requests[key], s.answers[key] = asks, s.next
		s.mail[to] = append(s.mail[to], modelMessage{s.next, dev, body})
		s.next++
	}
	if resp.Sequence != s.answers[key] {
		r.t.Fatalf("sequence %d, model %d", resp.Sequence, s.answers[key])
	}
}

func (r *run) fetch() {
	dev, sess, d, s := r.on()
	after := uint64(r.pick("after", 4))
	resp, got := d.fetch(r.ids[sess][:], after, 0)
	want := byParty(s, dev)
	if s != nil && s.party(dev) && s.state == serverpb.State_STATE_DONE {
		want = nil
	}
	r.same(got, want)
	if want != nil {
		return
	}
	var list []modelMessage
	for _, m := range resp.Messages {
		from := slices.IndexFunc(r.devices, func(d *device) bool { return bytes.Equal(d.peer[:], m.From) })
		list = append(list, modelMessage{m.Sequence, from, string(m.Body)})
	}
	var model []modelMessage
	for _, m := range s.mail[dev] {
		if m.sequence > after {
			model = append(model, m)
		}
	}
	if !slices.Equal(list, model) || string(resp.Ack) != s.ack {
		r.t.Fatalf("fetched %v and ack %q, model %v and %q", list, resp.Ack, model, s.ack)
	}
}

func (r *run) ack() {
	dev, sess, d, s := r.on()
	upTo := uint64(r.pick("up to", 4))
	_, got := call(d, "Ack", &serverpb.AckRequest{Scope: r.ids[sess][:], UpTo: upTo}, &serverpb.AckResponse{})
	want := byParty(s, dev)
	if s != nil && s.party(dev) && s.ended() {
		want = nil
	}
	if want == nil {
		s.mail[dev] = slices.DeleteFunc(s.mail[dev], func(m modelMessage) bool { return m.sequence <= upTo })
	}
	r.same(got, want)
}

func (r *run) finish() {
	dev, sess, d, s := r.on()
	ack := fmt.Sprint("ack", r.pick("ack", 2))
	got := d.finish(r.ids[sess], ack)
	want := bySender(s, dev)
	switch {
	case s == nil || s.sender != dev:
	case s.state == serverpb.State_STATE_DONE && s.ack == ack:
		want = nil
	case s.state == serverpb.State_STATE_DONE:
		want = wire.Conflict
	case want == nil:
		s.bury(serverpb.State_STATE_DONE, r.m.now)
		s.ack = ack
	}
	r.same(got, want)
}

func (r *run) revoke() {
	dev, sess, d, s := r.on()
	_, got := call(d, "Revoke", &serverpb.RevokeRequest{Session: r.ids[sess][:]}, &serverpb.RevokeResponse{})
	want := bySender(s, dev)
	if want == wire.Revoked {
		want = nil
	} else if want == nil {
		s.bury(serverpb.State_STATE_REVOKED, r.m.now)
	}
	r.same(got, want)
}

func (r *run) status() {
	dev, sess, d, s := r.on()
	got, err := d.status(r.ids[sess])
	want := byParty(s, dev)
	if s != nil && s.party(dev) {
		want = nil
	}
	r.same(err, want)
	if want != nil {
		return
	}
	var receiver []byte
	if s.receiver >= 0 {
		receiver = r.devices[s.receiver].peer[:]
	}
	if got.State != s.state || got.Committed != s.committed || got.Epoch != s.epoch || got.Final != s.final || got.Pinned != s.pinned ||
		!bytes.Equal(got.Receiver, receiver) || !s.ended() && got.Blobs != uint64(len(s.blobs)) {
		r.t.Fatalf("status %v, model %+v", got, s)
	}
}

func (r *run) wait() {
	r.m.now += time.Duration(1+r.pick("days", 10)) * 24 * time.Hour
	r.clock.Store(int64(r.m.now))
	if err := r.w.Sweep(context.Background()); err != nil {
		r.t.Fatal(err)
	}
	r.m.sweep()
}

// TestR20ServerFollowsTheModel drives the server with random operations, repeated requests, the passing of days and restarts.
func TestR20ServerFollowsTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := &run{t: rt, m: &model{sessions: map[int]*modelSession{}}, base: time.Now()}
		r.w = prepare(t, server.Config{Dir: "state", FS: vfs.NewMem(), Now: func() time.Time { return r.base.Add(time.Duration(r.clock.Load())) }})
		r.w.direct = true
		r.w.open()
		defer r.w.stop()
		for range 3 {
			r.devices, r.ids = append(r.devices, r.w.device()), append(r.ids, id.NewSession())
			r.names, r.rids = append(r.names, id.NewBlob()), append(r.rids, id.NewRequest())
		}
		often := func(f func()) func(*rapid.T) { return func(*rapid.T) { f() } }
		rt.Repeat(map[string]func(*rapid.T){
			"open": often(r.open), "open2": often(r.open), "claim": often(r.claim), "pin": often(r.pin), "commit": often(r.commit),
			"root": often(r.getRoot), "put": often(r.put), "get": often(r.get), "delete": often(r.remove), "has": often(r.has),
			"post": often(r.post), "fetch": often(r.fetch), "ack": often(r.ack), "finish": often(r.finish), "revoke": often(r.revoke),
			"status": often(r.status), "wait": often(r.wait), "restart": often(r.w.restart),
		})
	})
}
