package grant

import (
	"errors"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
)

var notAfter = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// party is one device with the card it shows in one role.
type party struct {
	d    *key.Device
	e    *key.Exchange
	card []byte
}

func newParty(t testing.TB, role key.Role) party {
	t.Helper()
	p := party{d: key.NewDevice()}
	var err error
	if p.e, err = key.NewExchange(); err != nil {
		t.Fatal(err)
	}
	if p.card, err = key.SignCard(p.d, p.e, role, key.Limits{MaxItems: 7, MaxBytes: 9}, notAfter, "label"); err != nil {
		t.Fatal(err)
	}
	return p
}

func newGrant(from, to party) *Grant {
	return &Grant{MK: seal.NewMasterKey(), Session: id.NewSession(), Epoch: 3, Commit: id.Commit{1, 2, 3},
		SenderCard: key.HashCard(from.card), ReceiverCard: key.HashCard(to.card), NotAfter: notAfter}
}

func same(a, b *Grant) bool {
	return a.MK.Equal(b.MK) && a.Session == b.Session && a.Epoch == b.Epoch && a.Commit == b.Commit &&
		a.SenderCard == b.SenderCard && a.ReceiverCard == b.ReceiverCard && a.NotAfter.Equal(b.NotAfter)
}

func TestRoundTrip(t *testing.T) {
	from, to := newParty(t, key.Sender), newParty(t, key.Receiver)
	g := newGrant(from, to)
	b, err := Seal(g, from.d, from.e, to.card)
	if err != nil || len(b) != Size {
		t.Fatalf("Seal: %d bytes, %v", len(b), err)
	}
	got, err := Open(b, to.e, from.card, to.card, g.Session)
	if err != nil || !same(got, g) {
		t.Fatalf("Open: %+v, %v", got, err)
	}
}

func TestTicketRoundTrip(t *testing.T) {
	from := newParty(t, key.Sender)
	g, k := newGrant(from, from), seal.NewKey()
	g.ReceiverCard = id.CardHash{}
	b, err := SealTicket(g, from.d, from.card, &k)
	if err != nil || len(b) != TicketSize {
		t.Fatalf("SealTicket: %d bytes, %v", len(b), err)
	}
	got, card, err := OpenTicket(b, &k, g.Session)
	if err != nil || !same(got, g) || string(card) != string(from.card) {
		t.Fatalf("OpenTicket: %+v, %v", got, err)
	}
}

// A sender can't be talked into sealing for something that is no receiver's card.
func TestSealRefuses(t *testing.T) {
	from, to, other := newParty(t, key.Sender), newParty(t, key.Receiver), newParty(t, key.Receiver)
	self := from
	var err error
	if self.card, err = key.SignCard(from.d, from.e, key.Receiver, key.Limits{}, notAfter, ""); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		card   []byte
		change func(*Grant)
	}{
		"sender's own card":     {from.card, func(g *Grant) { g.ReceiverCard = key.HashCard(from.card) }},
		"own device as target":  {self.card, func(g *Grant) { g.ReceiverCard = key.HashCard(self.card) }},
		"hash of another card":  {other.card, func(*Grant) {}},
		"garbage":               {[]byte("card"), func(*Grant) {}},
		"no master key":         {to.card, func(g *Grant) { g.MK = nil }},
		"no session":            {to.card, func(g *Grant) { g.Session = id.Session{} }},
		"no end":                {to.card, func(g *Grant) { g.NotAfter = time.Time{} }},
		"end after year 9999":   {to.card, func(g *Grant) { g.NotAfter = key.MaxNotAfter.Add(time.Second) }},
		"end before the epoch":  {to.card, func(g *Grant) { g.NotAfter = time.Unix(-1, 0) }},
		"sender's card refused": {to.card[:len(to.card)-1], func(*Grant) {}},
	} {
		g := newGrant(from, to)
		c.change(g)
		if _, err := Seal(g, from.d, from.e, c.card); !errors.Is(err, ErrGrant) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// a clock that is a day off does not end a grant.
func TestExpired(t *testing.T) {
	g := &Grant{NotAfter: notAfter}
	for after, want := range map[time.Duration]bool{-time.Hour: false, 0: false, key.ClockSkew: false, key.ClockSkew + time.Second: true} {
		if got := g.Expired(notAfter.Add(after)); got != want {
			t.Errorf("%v after: %v", after, got)
		}
	}
}
