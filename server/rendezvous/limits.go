package rendezvous

import (
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
	"github.com/decant-dev/decant/server/db"
)

// Limits bound what devices may take. Zero fields take the value of DefaultLimits.
type Limits struct {
	SessionBytes      uint64        // of one session's blobs
	Expiry            time.Duration // of a session whose sender names none
	MaxExpiry         time.Duration // longer ones are cut to it
	Tombstone         time.Duration // for which an ended session still tells how it ended
	SubnetSessions    int           // live sessions opened from one /24 (IPv4) or /48 (IPv6)
	SubnetBytes       uint64        // declared by them together; 0: half of the disk
	SubnetNameplates  int           // live nameplates of one subnet
	Nameplate         time.Duration // life of a nameplate
	SessionMessages   int           // unacknowledged in a session's mailboxes
	SessionMailBytes  int           // of them
	SessionPosts      uint64        // in a session's life
	NameplateMessages int           // unacknowledged in a nameplate's mailboxes
	NameplatePosts    uint64        // in a nameplate's life
	Waiters           int           // long polls at once
	ScopeWaiters      int           // of them on one session or nameplate
	RelayBytes        uint64        // relayed between two devices while they share sessions; a circuit that began before is not cut
}

// DefaultLimits admits 500 devices behind one address, each with a session, a nameplate and long polls of its own
// (adversity R-24), with room to begin again.
func DefaultLimits() Limits {
	return Limits{
		SessionBytes: 1 << 40, Expiry: 14 * 24 * time.Hour, MaxExpiry: 30 * 24 * time.Hour, Tombstone: 30 * 24 * time.Hour,
		SubnetSessions: 2000, SubnetNameplates: 1000, Nameplate: 10 * time.Minute,
		SessionMessages: 4096, SessionMailBytes: 64 << 20, SessionPosts: 1 << 17,
		NameplateMessages: 64, NameplatePosts: 256,
		Waiters: 20000, ScopeWaiters: 16, RelayBytes: 256 << 30,
	}
}

func orElse[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// withDefaults fills in zero fields.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	orElse(&l.SessionBytes, d.SessionBytes)
	orElse(&l.Expiry, d.Expiry)
	orElse(&l.MaxExpiry, d.MaxExpiry)
	orElse(&l.Tombstone, d.Tombstone)
	orElse(&l.SubnetSessions, d.SubnetSessions)
	orElse(&l.SubnetNameplates, d.SubnetNameplates)
	orElse(&l.Nameplate, d.Nameplate)
	orElse(&l.SessionMessages, d.SessionMessages)
	orElse(&l.SessionMailBytes, d.SessionMailBytes)
	orElse(&l.SessionPosts, d.SessionPosts)
	orElse(&l.NameplateMessages, d.NameplateMessages)
	orElse(&l.NameplatePosts, d.NameplatePosts)
	orElse(&l.Waiters, d.Waiters)
	orElse(&l.ScopeWaiters, d.ScopeWaiters)
	orElse(&l.RelayBytes, d.RelayBytes)
	return l
}

// Subnet stands for an address block in records and budgets: a keyed hash, so that the database holds no addresses.
type Subnet [8]byte

var subnetKey = db.MetaKey("subnet-key")

// subnets turns addresses into Subnets.
type subnets struct{ key []byte }

func newSubnets(d *db.DB) (subnets, error) {
	key, err := d.Get(subnetKey)
	if err != nil || key != nil {
		return subnets{key}, err
	}
	key = make([]byte, 32)
	rand.Read(key)
	b := d.Batch()
	b.Set(subnetKey, key)
	return subnets{key}, b.Commit()
}

// of returns the subnet of an address. All callers whose address is unknown share one.
func (s subnets) of(a netip.Addr) (out Subnet) {
	bits := 48
	if a = a.Unmap(); a.Is4() {
		bits = 24
	}
	p, _ := a.WithZone("").Prefix(bits)
	text, _ := p.MarshalBinary()
	h := sha256.New()
	h.Write(s.key)
	h.Write(text)
	copy(out[:], h.Sum(nil))
	return out
}

// usage is what one subnet has taken.
type usage struct {
	sessions, nameplates int
	bytes                uint64
}

// ledger holds the budgets in memory; it is counted from the records at the start.
type ledger struct {
	limits Limits

	mu       sync.Mutex // guards the rest
	subnets  map[Subnet]*usage
	reserved uint64 // bytes declared by live sessions
	sessions int
}

// declaredBytes is what a session reserves.
func declaredBytes(s *Session) uint64 { return s.Declared * uint64(s.Class.BlobSize()) }

func (l *ledger) of(n Subnet) *usage {
	u := l.subnets[n]
	if u == nil {
		u = &usage{}
		l.subnets[n] = u
	}
	return u
}

// addSession takes a session's share of its subnet's budget. Unless force is set, it refuses to exceed it.
func (l *ledger) addSession(s *Session, subnetBytes uint64, force bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, n := l.of(s.Subnet), declaredBytes(s)
	if !force && u.sessions >= l.limits.SubnetSessions {
		return wire.QuotaCount
	}
	if !force && u.bytes+n > subnetBytes {
		return wire.QuotaSpace
	}
	u.sessions++
	u.bytes += n
	l.reserved += n
	l.sessions++
	return nil
}

func (l *ledger) removeSession(s *Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u, n := l.of(s.Subnet), declaredBytes(s)
	u.sessions--
	u.bytes -= n
	l.reserved -= n
	l.sessions--
	l.drop(s.Subnet, u)
}

func (l *ledger) drop(n Subnet, u *usage) {
	if *u == (usage{}) {
		delete(l.subnets, n)
	}
}

func (l *ledger) addNameplate(n Subnet, force bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.of(n)
	if !force && u.nameplates >= l.limits.SubnetNameplates {
		return wire.QuotaCount
	}
	u.nameplates++
	return nil
}

func (l *ledger) removeNameplate(n Subnet) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.of(n)
	u.nameplates--
	l.drop(n, u)
}

// totals returns the live sessions and the bytes that they declared.
func (l *ledger) totals() (sessions int, reserved uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sessions, l.reserved
}

// keyed is a mutex per scope, so that what happens to one session waits for no other.
type keyed struct {
	mu   sync.Mutex // guards held
	held map[id.Scope]*lock
}

type lock struct {
	sync.Mutex
	users int // guarded by keyed.mu
}

// lock locks a scope and returns the function that unlocks it.
func (k *keyed) lock(s id.Scope) (unlock func()) {
	k.mu.Lock()
	l := k.held[s]
	if l == nil {
		l = &lock{}
		k.held[s] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.held, s)
		}
	}
}
