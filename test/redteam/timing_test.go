package redteam

import (
	"cmp"
	"crypto/ecdh"
	"crypto/sha256"
	"errors"
	"flag"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/serverpb"
)

// Of TestE10Refusals.
var (
	refusals = flag.Int("refusals", 0, "refuse this `number` of changed messages of each kind, and compare how long that takes; 0: a few, and no comparison of times")
	seed     = flag.Uint64("refusals.seed", 1, "of -refusals")
)

// refusal is one kind of message, damaged in ways that whoever damages it must not be able to tell apart by what the device
// does or by how long it takes.
type refusal struct {
	name string
	want error
	ways []damage
	good func(t *testing.T) sample
	anew bool // one for each refusal
}

// sample is a true message, what makes a damaged one as good as can be (nil: nothing), and what refuses it then.
type sample struct {
	message []byte
	finish  func([]byte)
	try     func([]byte) error
}

// damage is where a message is changed.
type damage struct {
	name     string
	from, to int                  // one bit of these bytes, or
	change   func(message []byte) // anything
}

func bitsOf(name string, from, to int) damage { return damage{name: name, from: from, to: to} }

func (d damage) do(rng *rand.Rand, message []byte) {
	if d.change != nil {
		d.change(message)
		return
	}
	message[d.from+rng.IntN(d.to-d.from)] ^= 1 << rng.IntN(8)
}

// Where the parts of a sealed grant lie (docs/SPEC.md, 5.1).
const (
	grantX25519 = 1088 // behind ML-KEM's ciphertext
	grantInner  = grantX25519 + 32
	grantTag    = grant.Size - key.SignatureSize - 16
	grantR      = grant.Size - key.SignatureSize
	grantS      = grantR + 32
)

// refusalsOf lists what a malicious server, or a malicious sender, can have a device refuse.
func refusalsOf() []refusal {
	sealed := seal.HeaderSize
	last := sealed + seal.RecordSize // of the tag of the first record
	return []refusal{
		{"a grant, by the server", grant.ErrGrant, []damage{
			bitsOf("ML-KEM", 0, grantX25519), bitsOf("X25519", grantX25519, grantInner), bitsOf("sealed", grantInner, grantTag),
			bitsOf("tag", grantTag, grantR), bitsOf("R", grantR, grantS), bitsOf("S", grantS, grant.Size-1), bitsOf("S, too large", grant.Size-1, grant.Size),
		}, goodGrant, true},
		{"a grant, signed by its sender", grant.ErrGrant, []damage{
			bitsOf("ML-KEM's first byte", 0, 1), bitsOf("ML-KEM", 1, grantX25519), bitsOf("X25519", grantX25519, grantInner-1), bitsOf("sealed", grantInner, grantTag),
			bitsOf("tag's first byte", grantTag, grantTag+1), bitsOf("tag's last byte", grantR-1, grantR),
		}, goodSignedGrant, false},
		{"a ticket's grant, commitment", grant.ErrGrant, []damage{bitsOf("salt", 0, 24), bitsOf("first byte", 24, 25), bitsOf("last byte", 55, 56)}, goodTicket, false},
		{"a ticket's grant, content", grant.ErrGrant, []damage{
			bitsOf("sealed", sealed, grant.TicketSize-key.SignatureSize-16), bitsOf("tag's first byte", grant.TicketSize-key.SignatureSize-16, grant.TicketSize-key.SignatureSize-15),
			bitsOf("tag's last byte", grant.TicketSize-key.SignatureSize-1, grant.TicketSize-key.SignatureSize),
		}, goodTicket, false},
		{"a ticket's grant, signature", grant.ErrGrant, []damage{
			bitsOf("R", grant.TicketSize-64, grant.TicketSize-32), bitsOf("S", grant.TicketSize-32, grant.TicketSize-1), bitsOf("S, too large", grant.TicketSize-1, grant.TicketSize),
		}, goodTicket, true},
		{"a pack, commitment", seal.ErrOpen, []damage{bitsOf("salt", 0, 24), bitsOf("first byte", 24, 25), bitsOf("last byte", 55, 56)}, goodPack, false},
		{"a pack, first record", seal.ErrOpen, []damage{
			bitsOf("content", sealed, last), bitsOf("tag's first byte", last, last+1), bitsOf("tag's last byte", last+15, last+16),
		}, goodPack, false},
		{"message 2 of a pairing", pairing.ErrMismatch, []damage{
			bitsOf("tag's first byte", 33, 34), bitsOf("tag", 34, 96), bitsOf("tag's last byte", 96, 97), {name: "another point", change: anotherPoint},
		}, goodMessage2, false},
		{"message 3 of a pairing", pairing.ErrMismatch, []damage{
			bitsOf("tag's first byte", 1, 2), bitsOf("tag's last byte", 64, 65), bitsOf("nonce", 65, 89), bitsOf("the grant's tag", 89, 105), bitsOf("grant", 105, 105+grant.Size),
		}, goodMessage3, false},
	}
}

// party is one device's keys and card.
type party struct {
	device   *key.Device
	exchange *key.Exchange
	card     []byte
}

func newParty(t *testing.T, role key.Role) party {
	t.Helper()
	p := party{device: key.NewDevice()}
	var err error
	if p.exchange, err = key.NewExchange(); err != nil {
		t.Fatal(err)
	}
	if p.card, err = key.SignCard(p.device, p.exchange, role, key.Limits{}, time.Now().Add(time.Hour), ""); err != nil {
		t.Fatal(err)
	}
	return p
}

func sealGrant(t *testing.T, from, to party) (sid id.Session, sealed []byte) {
	t.Helper()
	sid = id.NewSession()
	sealed, err := grant.Seal(&grant.Grant{MK: seal.NewMasterKey(), Session: sid, NotAfter: time.Now().Add(time.Hour).Truncate(time.Second),
		SenderCard: key.HashCard(from.card), ReceiverCard: key.HashCard(to.card)}, from.device, from.exchange, to.card)
	if err != nil {
		t.Fatal(err)
	}
	return sid, sealed
}

func goodGrant(t *testing.T) sample {
	from, to := newParty(t, key.Sender), newParty(t, key.Receiver)
	sid, sealed := sealGrant(t, from, to)
	return sample{message: sealed, try: func(b []byte) error { _, err := grant.Open(b, to.exchange, from.card, to.card, sid); return err }}
}

// goodSignedGrant is goodGrant of a sender who signs whatever it is.
func goodSignedGrant(t *testing.T) sample {
	from, to := newParty(t, key.Sender), newParty(t, key.Receiver)
	sid, sealed := sealGrant(t, from, to)
	return sample{sealed, func(b []byte) {
		sum := sha256.Sum256(b[:grantR])
		copy(b[grantR:], from.device.Sign(label.Grant, sum[:]))
	}, func(b []byte) error { _, err := grant.Open(b, to.exchange, from.card, to.card, sid); return err }}
}

func goodTicket(t *testing.T) sample {
	from, k, sid := newParty(t, key.Sender), seal.NewKey(), id.NewSession()
	sealed, err := grant.SealTicket(&grant.Grant{MK: seal.NewMasterKey(), Session: sid, NotAfter: time.Now().Add(time.Hour).Truncate(time.Second),
		SenderCard: key.HashCard(from.card)}, from.device, from.card, &k)
	if err != nil {
		t.Fatal(err)
	}
	return sample{message: sealed, try: func(b []byte) error { _, _, err := grant.OpenTicket(b, &k, sid); return err }}
}

func goodPack(*testing.T) sample {
	k, into := seal.NewKey(), make([]byte, 0, 64<<10)
	return sample{message: seal.Seal(nil, &k, []byte("pack"), make([]byte, 40<<10)),
		try: func(b []byte) error { _, err := seal.Open(into, &k, []byte("pack"), b); return err }}
}

// pair plays an exchange up to message 2.
func pair(t *testing.T) (o *pairing.Old, n *pairing.New, message2 []byte) {
	from, to := newParty(t, key.Sender), newParty(t, key.Receiver)
	p := pairing.NewCode(7).Params(key.NewDevice().Peer(), id.NewScope())
	o, message1, err := pairing.StartOld(p, from.card)
	if err != nil {
		t.Fatal(err)
	}
	if n, message2, err = pairing.AnswerNew(p, to.card, message1); err != nil {
		t.Fatal(err)
	}
	return o, n, message2
}

func goodMessage2(t *testing.T) sample {
	o, _, message2 := pair(t)
	return sample{message: message2, try: func(b []byte) error { _, err := o.Finish(b); return err }}
}

// anotherPoint puts another honest point in the place of Yb.
func anotherPoint(message []byte) {
	e, err := ecdh.X25519().GenerateKey(nil)
	if err != nil {
		panic(err)
	}
	copy(message[1:33], e.PublicKey().Bytes())
}

func goodMessage3(t *testing.T) sample {
	o, n, message2 := pair(t)
	p, err := o.Finish(message2)
	if err != nil {
		t.Fatal(err)
	}
	return sample{message: p.Message3(make([]byte, grant.Size)), try: func(b []byte) error { _, _, err := n.Confirm(b); return err }}
}

// perSample is how often each way is taken with the same keys and message; signed ones are made anew each time, since a
// processor is 0.4 % faster with a signature's numbers that it has just had.
const perSample = 8

// measure refuses about n messages, the ways in random order, and returns how long each took, by way. Every refusal must be the same error.
func (r refusal) measure(t *testing.T, rng *rand.Rand, n int) [][]time.Duration {
	took := make([][]time.Duration, len(r.ways))
	order := make([]int, perSample*len(r.ways))
	for i := range order {
		order[i] = i % len(r.ways)
	}
	for done := 0; done < n; done += len(order) {
		s := r.good(t)
		buf := make([]byte, len(s.message))
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, way := range order {
			if r.anew {
				s = r.good(t)
			}
			copy(buf, s.message)
			r.ways[way].do(rng, buf)
			if s.finish != nil {
				s.finish(buf)
			}
			began := time.Now()
			err := s.try(buf)
			took[way] = append(took[way], time.Since(began))
			if !errors.Is(err, r.want) || err.Error() != r.want.Error() {
				t.Fatalf("%s, %s: %v", r.name, r.ways[way].name, err)
			}
		}
	}
	return took
}

// kruskalWallis is the probability that samples as unlike each other as these, or more, come from one distribution. It looks at
// ranks only, so a few that the system interrupted weigh no more than others.
func kruskalWallis(groups [][]time.Duration) float64 {
	type value struct {
		d     time.Duration
		group int
	}
	var all []value
	for g, list := range groups {
		for _, d := range list {
			all = append(all, value{d, g})
		}
	}
	slices.SortFunc(all, func(a, b value) int { return cmp.Compare(a.d, b.d) })
	sums, ties, n := make([]float64, len(groups)), 0.0, float64(len(all))
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].d == all[i].d {
			j++
		}
		for _, v := range all[i:j] {
			sums[v.group] += float64(i+j+1) / 2
		}
		same := float64(j - i)
		ties += same*same*same - same
		i = j
	}
	h := 0.0
	for g, s := range sums {
		h += s * s / float64(len(groups[g]))
	}
	h = (12/(n*(n+1))*h - 3*(n+1)) / (1 - ties/(n*n*n-n))
	return chiSquareTail(h, float64(len(groups)-1))
}

// chiSquareTail is the probability that a chi-square variable of so many degrees of freedom is at least x (Wilson and Hilferty's approximation).
func chiSquareTail(x, degrees float64) float64 {
	v := 2 / (9 * degrees)
	z := (math.Cbrt(x/degrees) - (1 - v)) / math.Sqrt(v)
	return math.Erfc(z/math.Sqrt2) / 2
}

// TestE10Refusals damages messages in many ways. Each refusal is one error with one text; with -refusals N it also demands that the time
// tells nothing: that the ways can't be told apart at p = 0.01 over all kinds together, in two measurements in a row.
func TestE10Refusals(t *testing.T) {
	rng := rand.New(rand.NewPCG(*seed, 10))
	kinds := refusalsOf()
	level := 0.01 / float64(len(kinds))
	for _, r := range kinds {
		t.Run(r.name, func(t *testing.T) {
			if *refusals == 0 {
				r.measure(t, rng, 200)
				return
			}
			for try := range 2 {
				took := r.measure(t, rng, *refusals)
				p := kruskalWallis(took)
				total := 0
				for i, list := range took {
					total += len(list)
					slices.Sort(list)
					t.Logf("%-20s %6d refusals, median %v, quartiles %v and %v", r.ways[i].name, len(list), list[len(list)/2], list[len(list)/4], list[len(list)*3/4])
				}
				t.Logf("%s: %d refusals, p = %.4f", r.name, total, p)
				if p >= level {
					return
				}
				if try == 1 {
					t.Errorf("the time tells where it was damaged: p = %.2g, twice below %.4f", p, level)
				}
			}
		})
	}
}

// TestE10Statistic: the comparison finds a difference of a hundredth of the spread's width, and none where there is none.
func TestE10Statistic(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	draw := func(shift float64) (list []time.Duration) {
		for range 20_000 {
			list = append(list, time.Duration(100_000+10_000*(rng.NormFloat64()+shift)))
		}
		return list
	}
	if p := kruskalWallis([][]time.Duration{draw(0), draw(0), draw(0)}); p < 0.001 {
		t.Errorf("three alike: p = %v", p)
	}
	if p := kruskalWallis([][]time.Duration{draw(0), draw(0.1), draw(0)}); p > 1e-6 {
		t.Errorf("one of three differs: p = %v", p)
	}
	for x, want := range map[float64]float64{11.070: 0.05, 15.086: 0.01, 20.515: 0.001} {
		if got := chiSquareTail(x, 5); math.Abs(got/want-1) > 0.15 {
			t.Errorf("chi-square %v of 5 degrees: %v, want %v", x, got, want)
		}
	}
}

// TestE10Device: whatever a server does to a ticket's grant, the device says the same to its person, asks the server for the same, and writes nothing.
func TestE10Device(t *testing.T) {
	damages := map[string]func([]byte){
		"salt":       func(b []byte) { b[0] ^= 1 },
		"commitment": func(b []byte) { b[30] ^= 0x80 },
		"content":    func(b []byte) { b[seal.HeaderSize+500] ^= 4 },
		"tag":        func(b []byte) { b[grant.TicketSize-key.SignatureSize-1] ^= 1 },
		"R":          func(b []byte) { b[grant.TicketSize-40] ^= 1 },
		"S":          func(b []byte) { b[grant.TicketSize-20] ^= 1 },
		"all zeros":  func(b []byte) { clear(b) },
	}
	var want []string
	for name, do := range damages {
		w := newWorld(t)
		_, ticket := w.sendTicket(w.open("old"), w.collection())
		var asked []string
		w.layer.tell(func(x *exchange) {
			asked = append(asked, x.call)
			if x.call == "Claim" {
				edit(x, func(m *serverpb.ClaimResponse) { do(m.Grant) })
			}
		})
		_, err := w.receiveTicket(w.open("new"), ticket, "to", yes)
		w.layer.tell(nil)
		if !errors.Is(err, node.ErrInterferedWith) || err.Error() != node.ErrInterferedWith.Error() {
			t.Errorf("%s: %v", name, err)
		}
		w.empty("to")
		if want == nil {
			want = asked
		}
		if !slices.Equal(asked, want) {
			t.Errorf("%s: the device asks %v, and %v after another damage", name, asked, want)
		}
	}
	if !slices.Contains(want, "Claim") {
		t.Errorf("the device never claimed: %v", want)
	}
}
