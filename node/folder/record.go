package folder

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Every file but a blob is a record (SPEC 11.2): version, kind, body, and a checksum of all that. The checksum tells a file
// that some program has not finished copying from a whole one. It protects from nobody: what must not be changed is signed or
// sealed inside.
type kind byte

// The kinds; the numbers are in the files.
const (
	kindMark    kind = 1 // of the folder: 16 random bytes
	kindLocator kind = 2 // the session of a ticket's locator
	kindOffer   kind = 3
	kindTicket  kind = 4 // share (32) ‖ grant
	kindPin     kind = 5
	kindRoot    kind = 6
	kindClaim   kind = 7
	kindEnd     kind = 8 // the ack
	kindMessage kind = 9
)

// bodyLimits are the most bytes that the body of a record has.
var bodyLimits = [...]int{
	kindMark: id.Size, kindLocator: id.Size, kindOffer: id.Size + 32 + 1 + 8 + 8 + 1 + id.Size + 32, kindTicket: 32 + wire.MaxGrant,
	kindPin: 32 + maxStatement, kindRoot: 8 + 1 + 64 + wire.MaxRoot, kindClaim: 32 + 1 + 64 + wire.MaxCard, kindEnd: maxStatement,
	kindMessage: 32 + 32 + wire.MaxBody,
}

const (
	recordVersion = 1
	recordHead    = 2
	recordTail    = 4
	maxStatement  = 4096                // bytes of a pin or an ack
	maxUnixMs     = 253_402_300_799_999 // the end of the year 9999
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// frame makes a record of parts of a body.
func frame(k kind, parts ...[]byte) []byte {
	out := []byte{recordVersion, byte(k)}
	for _, p := range parts {
		out = append(out, p...)
	}
	return binary.BigEndian.AppendUint32(out, crc32.Checksum(out, castagnoli))
}

// unframe returns the body of a record, nil if it is none of that kind.
func unframe(k kind, b []byte) []byte {
	if len(b) < recordHead+recordTail || b[0] != recordVersion || b[1] != byte(k) {
		return nil
	}
	body, sum := b[:len(b)-recordTail], b[len(b)-recordTail:]
	if crc32.Checksum(body, castagnoli) != binary.BigEndian.Uint32(sum) {
		return nil
	}
	return body[recordHead:]
}

// read returns the body of a record, nil if none that is whole is there.
func (p *place) read(name string, k kind) ([]byte, error) {
	f, size, err := p.open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if size > int64(recordHead+bodyLimits[k]+recordTail) {
		return nil, nil
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(f, b); err == io.EOF || err == io.ErrUnexpectedEOF {
		return nil, nil // it has just become shorter
	} else if err != nil {
		return nil, err
	}
	return unframe(k, b), nil
}

// keep makes a record that is written once: the same again is no error, another is wire.Conflict.
func (p *place) keep(name string, k kind, parts ...[]byte) error {
	record := frame(k, parts...)
	there, err := p.read(name, k)
	switch {
	case err != nil:
		return err
	case there == nil:
		return p.create(name, record)
	case !bytes.Equal(there, unframe(k, record)):
		return wire.Conflict
	}
	return p.syncDir(path.Dir(name)) // whoever wrote it may not have come to this
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

func boolean(on bool) []byte {
	if on {
		return []byte{1}
	}
	return []byte{0}
}

// reader takes a body apart. After a field that is not there, or out of range, bad is set and the rest is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || len(r.b) < n {
		r.bad = true
		return make([]byte, n)
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

func (r *reader) flag() bool {
	b := r.take(1)[0]
	r.bad = r.bad || b > 1
	return b == 1
}

// rest takes what is left, if it has least to most bytes.
func (r *reader) rest(least, most int) []byte {
	if len(r.b) < least || len(r.b) > most {
		r.bad = true
	}
	out := r.b
	r.b = nil
	return out
}

// whole reports whether all fields were there and nothing else.
func (r *reader) whole() bool { return !r.bad && len(r.b) == 0 }

// offer is what a sender says of its session.
type offer struct {
	sender   id.Peer
	class    wire.Class
	blobs    uint64
	expires  int64 // ms since 1970
	ticket   bool
	locator  id.Locator // of a ticket session
	claimKey [32]byte   // of a ticket session
}

func (o *offer) parts(sid id.Session) [][]byte {
	out := [][]byte{sid[:], o.sender[:], {byte(o.class)}, u64(o.blobs), u64(uint64(o.expires)), boolean(o.ticket)}
	if o.ticket {
		out = append(out, o.locator[:], o.claimKey[:])
	}
	return out
}

// parseOffer returns nil unless the body is an offer of that session.
func parseOffer(sid id.Session, body []byte) *offer {
	r := reader{b: body}
	same := id.Session(r.take(id.Size)) == sid
	o := &offer{sender: id.Peer(r.take(32)), class: wire.Class(r.take(1)[0]), blobs: r.u64(), expires: int64(r.u64()), ticket: r.flag()}
	if o.ticket {
		o.locator, o.claimKey = id.Locator(r.take(id.Size)), [32]byte(r.take(32))
	}
	if !r.whole() || !same || o.class.BlobSize() == 0 || o.blobs == 0 || o.blobs > maxBlobs || o.expires < 0 || o.expires > maxUnixMs {
		return nil
	}
	return o
}

func (o *offer) expiry() time.Time { return time.UnixMilli(o.expires) }

// same reports whether both ask for the same. Times differ when a request is repeated.
func (o *offer) same(p *offer) bool {
	a, b := *o, *p
	a.expires, b.expires = 0, 0
	return a == b
}

func rootParts(r *remote.Root) [][]byte {
	return [][]byte{u64(r.Epoch), boolean(r.Final), r.Signature, r.Sealed}
}

// parseRoot returns nil unless the body is the root of that epoch.
func parseRoot(epoch uint64, body []byte) *remote.Root {
	r := reader{b: body}
	root := &remote.Root{Epoch: r.u64(), Final: r.flag(), Signature: r.take(64), Sealed: r.rest(1, wire.MaxRoot)}
	if !r.whole() || root.Epoch != epoch {
		return nil
	}
	return root
}

// pin names the receiver that the sender has confirmed.
type pin struct {
	receiver  id.Peer
	statement []byte // signed by the sender (SPEC 6.5)
}

func parsePin(body []byte) *pin {
	r := reader{b: body}
	p := &pin{receiver: id.Peer(r.take(32)), statement: r.rest(0, maxStatement)}
	if !r.whole() || p.receiver.IsZero() {
		return nil
	}
	return p
}

// claim is a device's wish to be the receiver.
type claim struct {
	peer      id.Peer
	signature []byte // by the ticket's claim key, nil without a ticket
	card      []byte
}

func (c *claim) parts() [][]byte {
	return [][]byte{c.peer[:], boolean(c.signature != nil), c.signature, c.card}
}

// parseClaim returns nil unless the body is a claim of that device.
func parseClaim(peer id.Peer, body []byte) *claim {
	r := reader{b: body}
	c := &claim{peer: id.Peer(r.take(32))}
	if r.flag() {
		c.signature = r.take(64)
	}
	c.card = r.rest(0, wire.MaxCard)
	if !r.whole() || c.peer != peer {
		return nil
	}
	return c
}

// proved reports whether the claimer held the session's ticket.
func (c *claim) proved(o *offer) bool {
	return o.ticket && key.VerifyClaim(o.claimKey, o.locator, c.peer, key.HashCard(c.card), c.signature) == nil
}

// message is one message of a mailbox.
type message struct {
	from, to id.Peer
	body     []byte
}

func (m *message) parts() [][]byte { return [][]byte{m.from[:], m.to[:], m.body} }

func parseMessage(body []byte) *message {
	r := reader{b: body}
	m := &message{from: id.Peer(r.take(32)), to: id.Peer(r.take(32)), body: r.rest(0, wire.MaxBody)}
	if !r.whole() {
		return nil
	}
	return m
}

// parseTicket returns what a sender has left for the device that a ticket will name; share is nil if the body is no such thing.
func parseTicket(body []byte) (share, grant []byte) {
	r := reader{b: body}
	share, grant = r.take(32), r.rest(0, wire.MaxGrant)
	if !r.whole() {
		return nil, nil
	}
	return share, grant
}
