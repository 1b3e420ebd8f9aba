package apply

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/proto/id"
)

// Level says how much the receiver has made sure of. The numbers are on the wire: append only.
type Level uint8

// The levels.
const (
	Synced   Level = 1 // written, synced, in place
	ReadBack Level = 2 // and read again from storage and compared with the chunk hashes
)

// String returns the level's name.
func (l Level) String() string {
	switch l {
	case Synced:
		return "synced"
	case ReadBack:
		return "read back"
	}
	return fmt.Sprintf("level(%d)", uint8(l))
}

// ErrReceipt is the one error for a receipt that is malformed, exaggerated, or not signed
// by the device expected.
var ErrReceipt = errors.New("receipt is not valid")

// Receipt is what the new device vouches for (docs/SPEC.md section 9.2).
type Receipt struct {
	Session id.Session
	Epoch   uint64
	Commit  id.Commit // of that epoch's root: what was applied
	Level   Level
	At      time.Time     // whole seconds, UTC
	Kinds   []KindReceipt // ascending by Kind, each with at least one item
}

// KindReceipt counts one kind's items by outcome, Counts[o-1] for outcome o.
type KindReceipt struct {
	Kind   item.Kind
	Counts [outcomes]item.Tally
}

const (
	receiptVersion = 1
	outcomes       = int(item.Failed)
	receiptHead    = 1 + id.Size + 8 + 32 + 1 + 8 + 1
	kindSize       = 1 + outcomes*16
	maxTally       = 1 << 62
)

// Of returns the count of one outcome.
func (k *KindReceipt) Of(o item.Outcome) item.Tally { return k.Counts[o-1] }

// Total adds up all kinds by outcome.
func (r *Receipt) Total(o item.Outcome) (t item.Tally) {
	for i := range r.Kinds {
		t.Items += r.Kinds[i].Of(o).Items
		t.Bytes += r.Kinds[i].Of(o).Bytes
	}
	return t
}

// Complete reports whether everything is on the new device that the old one could
// read and the person has chosen.
func (r *Receipt) Complete() bool { return r.Total(item.Failed).Items == 0 }

// NewReceipt makes the receipt of a summary.
func NewReceipt(s *Summary, session id.Session, epoch uint64, commit id.Commit, level Level, at time.Time) *Receipt {
	r := &Receipt{Session: session, Epoch: epoch, Commit: commit, Level: level, At: at.UTC().Truncate(time.Second)}
	for i := range s.Kinds {
		k := KindReceipt{Kind: s.Kinds[i].Kind}
		for o := item.Moved; o <= item.Failed; o++ {
			k.Counts[o-1] = *s.Kinds[i].Tally(o)
		}
		if !k.empty() {
			r.Kinds = append(r.Kinds, k)
		}
	}
	return r
}

func (k *KindReceipt) empty() bool {
	for _, t := range k.Counts {
		if t.Items != 0 {
			return false
		}
	}
	return true
}

// SignReceipt encodes and signs a receipt.
func SignReceipt(d *key.Device, r *Receipt) []byte {
	b := append([]byte{receiptVersion}, r.Session[:]...)
	b = binary.BigEndian.AppendUint64(b, r.Epoch)
	b = append(b, r.Commit[:]...)
	b = append(b, byte(r.Level))
	b = binary.BigEndian.AppendUint64(b, uint64(r.At.Unix()))
	b = append(b, byte(len(r.Kinds)))
	for i := range r.Kinds {
		b = append(b, byte(r.Kinds[i].Kind))
		for _, t := range r.Kinds[i].Counts {
			b = binary.BigEndian.AppendUint64(b, uint64(t.Items))
			b = binary.BigEndian.AppendUint64(b, uint64(t.Bytes))
		}
	}
	return append(b, d.Sign(label.Receipt, b)...)
}

// ParseReceipt reads a receipt and verifies that receiver has signed it. Whether it is
// for the right session, epoch and commit is the caller's to ask. The error is ErrReceipt.
func ParseReceipt(b []byte, receiver id.Peer) (*Receipt, error) {
	if len(b) < receiptHead+key.SignatureSize || len(b) != receiptHead+int(b[receiptHead-1])*kindSize+key.SignatureSize {
		return nil, ErrReceipt
	}
	body, sig := b[:len(b)-key.SignatureSize], b[len(b)-key.SignatureSize:]
	if key.Verify(receiver, label.Receipt, body, sig) != nil || body[0] != receiptVersion {
		return nil, ErrReceipt
	}
	r := &Receipt{Session: id.Session(body[1:17]), Epoch: binary.BigEndian.Uint64(body[17:]), Commit: id.Commit(body[25:57]), Level: Level(body[57])}
	at := binary.BigEndian.Uint64(body[58:])
	if r.Level != Synced && r.Level != ReadBack || at > uint64(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC).Unix()) {
		return nil, ErrReceipt
	}
	r.At = time.Unix(int64(at), 0).UTC()
	last := item.KindNone
	for rest := body[receiptHead:]; len(rest) > 0; rest = rest[kindSize:] {
		k := KindReceipt{Kind: item.Kind(rest[0])}
		if !k.Kind.Valid() || k.Kind <= last || !k.decode(rest[1:kindSize]) || k.empty() {
			return nil, ErrReceipt
		}
		last = k.Kind
		r.Kinds = append(r.Kinds, k)
	}
	return r, nil
}

func (k *KindReceipt) decode(b []byte) bool {
	for i := range k.Counts {
		items, bytes := binary.BigEndian.Uint64(b[16*i:]), binary.BigEndian.Uint64(b[16*i+8:])
		if items > maxTally/uint64(len(item.Kinds)) || bytes > maxTally/uint64(len(item.Kinds)) || items == 0 && bytes != 0 {
			return false
		}
		k.Counts[i] = item.Tally{Items: int64(items), Bytes: int64(bytes)}
	}
	return true
}
