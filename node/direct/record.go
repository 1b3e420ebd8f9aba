package direct

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// record is what the desk keeps of a session, as JSON. It is replaced and not changed.
type record struct {
	ID        id.Session   `json:"id"`
	Sender    id.Peer      `json:"sender"`
	State     remote.State `json:"state"` // 0: admitted, and not opened yet
	Class     wire.Class   `json:"class"`
	Blobs     uint64       `json:"blobs"`   // declared
	Created   int64        `json:"created"` // Unix ms
	Expires   int64        `json:"expires"` // Unix ms; told, not enforced
	Admitted  bool         `json:"admitted"`
	Pinned    bool         `json:"pinned,omitempty"`
	Committed bool         `json:"committed,omitempty"`
	Final     bool         `json:"final,omitempty"`
	Epoch     uint64       `json:"epoch,omitempty"`
	Card      []byte       `json:"card,omitempty"`
	Pin       []byte       `json:"pin,omitempty"`
	Ack       []byte       `json:"ack,omitempty"`
}

// Keys of the store.
const (
	keySession = "session"
	keyRoot    = "root"   // epoch, final, signature, sealed root
	keyOffers  = "offer/" // + sender
)

func (r *record) key() string {
	if r.Admitted {
		return keySession
	}
	return keyOffers + r.Sender.String()
}

// encode returns the record's value.
func (r *record) encode() []byte {
	b, err := json.Marshal(r)
	if err != nil {
		panic("direct: " + err.Error()) // nothing in a record can't be encoded
	}
	return b
}

func decodeRecord(v []byte) (*record, error) {
	var r record
	if err := json.Unmarshal(v, &r); err != nil {
		return nil, fmt.Errorf("session record: %w", err)
	}
	return &r, nil
}

const rootHead = 8 + 1 + 64

func encodeRoot(r *remote.Root) []byte {
	final := byte(0)
	if r.Final {
		final = 1
	}
	out := append(binary.BigEndian.AppendUint64(nil, r.Epoch), final)
	return append(append(out, r.Signature...), r.Sealed...)
}

func decodeRoot(v []byte) (*remote.Root, error) {
	if len(v) <= rootHead {
		return nil, errors.New("root record: malformed")
	}
	return &remote.Root{Epoch: binary.BigEndian.Uint64(v), Final: v[8] == 1, Signature: v[9:rootHead:rootHead], Sealed: v[rootHead:]}, nil
}

func (d *Desk) loadSession() error {
	v, err := d.cfg.Store.Get(keySession)
	if err == nil && v != nil {
		d.session, err = decodeRecord(v)
	}
	if err != nil {
		return err
	}
	if v, err = d.cfg.Store.Get(keyRoot); err == nil && v != nil {
		d.root, err = decodeRoot(v)
	}
	if err != nil {
		return err
	}
	return d.cfg.Store.Each(keyOffers, func(_ string, v []byte) error {
		r, err := decodeRecord(v)
		if err == nil {
			d.offers[r.Sender] = r
		}
		return err
	})
}

// keep stores a record together with kv, makes it the current one, and wakes who waits.
// The caller holds mu.
func (d *Desk) keep(r *record, kv map[string][]byte) error {
	if kv == nil {
		kv = map[string][]byte{}
	}
	kv[r.key()] = r.encode()
	if err := d.put(kv); err != nil {
		return err
	}
	if r.Admitted {
		d.session = r
	} else {
		d.offers[r.Sender] = r
	}
	d.ring()
	return nil
}
