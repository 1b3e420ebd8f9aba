package direct

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// plate is a nameplate that can be resolved here.
type plate struct {
	scope   id.Scope
	number  uint32
	expires time.Time
}

const keyPlates = "plate/" // + scope: number, expiry in Unix ms

func (p *plate) key() string { return keyPlates + p.scope.String() }

func (p *plate) encode() []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(p.scope[:], p.number), uint64(p.expires.UnixMilli()))
}

func decodePlate(v []byte) (*plate, error) {
	if len(v) != id.Size+4+8 {
		return nil, errors.New("nameplate record: malformed")
	}
	return &plate{id.Scope(v[:id.Size]), binary.BigEndian.Uint32(v[id.Size:]), time.UnixMilli(int64(binary.BigEndian.Uint64(v[id.Size+4:])))}, nil
}

func (d *Desk) loadPlates() error {
	return d.cfg.Store.Each(keyPlates, func(_ string, v []byte) error {
		p, err := decodePlate(v)
		if err == nil {
			d.plates[p.scope] = p
		}
		return err
	})
}

// Allocate draws a nameplate of five or six digits and a random scope for it, good for
// ten minutes. It is durable when it is returned.
func (d *Desk) Allocate(context.Context) (*remote.Nameplate, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := &plate{scope: id.NewScope(), number: d.drawNumber(), expires: d.cfg.Now().Add(plateLife)}
	if err := d.addPlate(p); err != nil {
		return nil, fmt.Errorf("allocate: %w", err)
	}
	kill.Point(kill.ReceiverDeskPlate)
	return &remote.Nameplate{Number: p.number, Scope: p.scope, Expires: p.expires}, nil
}

// drawNumber draws a number that is no secret, but that no other device nearby is likely
// to have drawn. The caller holds mu.
func (d *Desk) drawNumber() uint32 {
	for {
		n := 10_000 + rand.Uint32N(990_000)
		if d.resolveNumber(n) == nil {
			return n
		}
	}
}

// Offer makes a nameplate that a server allocated to this device resolvable here too,
// until expires. It is durable when nil is returned; the same again is no error.
func (d *Desk) Offer(scope id.Scope, number uint32, expires time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.addPlate(&plate{scope: scope, number: number, expires: expires}); err != nil {
		return fmt.Errorf("offer nameplate: %w", err)
	}
	return nil
}

// addPlate stores a nameplate and forgets those that are over. The caller holds mu.
func (d *Desk) addPlate(p *plate) error {
	for _, old := range d.plates {
		if !d.live(old) {
			if err := d.removePlate(old.scope); err != nil {
				return err
			}
		}
	}
	if len(d.plates) >= maxPlates {
		return wire.QuotaCount
	}
	if err := d.put(map[string][]byte{p.key(): p.encode()}); err != nil {
		return err
	}
	d.plates[p.scope] = p
	return nil
}

func (d *Desk) live(p *plate) bool { return p != nil && d.cfg.Now().Before(p.expires) }

// Release forgets a nameplate with its messages. One that is not there is no error.
func (d *Desk) Release(_ context.Context, scope id.Scope) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.plates[scope] == nil {
		return nil
	}
	if err := d.removePlate(scope); err != nil {
		return fmt.Errorf("release: %w", err)
	}
	d.ring()
	return nil
}

// removePlate forgets a nameplate, live or not. The caller holds mu.
func (d *Desk) removePlate(scope id.Scope) error {
	kv, err := d.mailOf(scope)
	if err != nil {
		return err
	}
	kv[d.plates[scope].key()] = nil
	if err := d.put(kv); err != nil {
		return err
	}
	delete(d.plates, scope)
	delete(d.boxes, scope)
	return nil
}

// resolve finds a live nameplate by its number or, from a link, by its scope.
func (d *Desk) resolve(number uint32, scope id.Scope) (id.Scope, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.plates[scope]
	if number != 0 {
		p = d.resolveNumber(number)
	}
	if !d.live(p) {
		return id.Scope{}, wire.NotFound
	}
	return p.scope, nil
}

// resolveNumber returns the live nameplate of a number, or nil. The caller holds mu.
func (d *Desk) resolveNumber(number uint32) *plate {
	for _, p := range d.plates {
		if p.number == number && d.live(p) {
			return p
		}
	}
	return nil
}

// pairing reports whether a nameplate lives. The caller holds mu.
func (d *Desk) pairing() bool {
	for _, p := range d.plates {
		if d.live(p) {
			return true
		}
	}
	return false
}
