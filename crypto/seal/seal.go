// Package seal turns a plaintext into a sealed blob and back: C2SP chunked-encryption
// in the Cobblestone-256 profile (docs/SPEC.md section 3.4), and the schedule of
// session keys (section 2.4).
//
//	blob = salt (24) ‖ commitment (32) ‖ records
//	key (32) ‖ base nonce (12) ‖ commitment (32) =
//	    HKDF-Expand-SHA-512(Key, "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM" ‖ 0x00 ‖ salt ‖ context)
//	record i = AES-256-GCM(key, base nonce XOR i, plaintext[i*16384:…]), no additional data
//
// The last record is always shorter than 16 KiB, and empty if need be, so a truncated
// blob is recognised. The context says what the blob is and where it belongs (a
// label.LV of label, session and position); a blob opened in another place fails at the
// commitment, before anything is decrypted.
//
// No caller passes a nonce. Uniqueness: every Seal draws a fresh 24-byte salt, which
// with the Key gives a fresh AES key and base nonce; inside a blob the nonce is the base
// XOR a counter that does not repeat. Nothing is encrypted deterministically, and a
// retry is a new blob.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"

	"github.com/decant-dev/decant/crypto/nonce"
	"github.com/decant-dev/decant/proto/id"
)

// Sizes in bytes of the layout.
const (
	RecordSize = 16 << 10                  // plaintext of every record but the last
	HeaderSize = saltSize + commitmentSize // in front of the records
	TagSize    = 16                        // behind every record's ciphertext

	saltSize       = 24
	commitmentSize = 32
	nonceSize      = 12
	sealedRecord   = RecordSize + TagSize
)

const info = "c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\x00"

// ErrOpen is the one error for everything that can be wrong with a blob: a wrong key,
// context or commitment, a flipped bit, a wrong length, a missing end.
var ErrOpen = errors.New("sealed blob does not open")

// Size returns the length of the blob that seals plain bytes.
func Size(plain int) int { return HeaderSize + plain + TagSize*(plain/RecordSize+1) }

// PlainSize returns the one plaintext length whose blob has exactly the given length,
// or -1 if there is none.
func PlainSize(sealed int) int {
	records := sealed - HeaderSize
	last := records%sealedRecord - TagSize
	if records < TagSize || last < 0 {
		return -1
	}
	return records/sealedRecord*RecordSize + last
}

// Seal appends to dst the blob that seals plain under k for context, and returns the
// extended slice. It allocates nothing but the cipher's state if dst has Size(len(plain))
// bytes of spare capacity, and keeps neither slice. The spare capacity must not overlap
// plain; Seal panics if it does. Safe for concurrent use.
func Seal(dst []byte, k *Key, context, plain []byte) []byte {
	dst = slices.Grow(dst, Size(len(plain)))
	head := len(dst)
	out := dst[head : head+Size(len(plain))]
	if overlap(out, plain) {
		panic("seal: plaintext overlaps the blob")
	}
	rand.Read(out[:saltSize])
	m := derive(k, context, out[:saltSize])
	copy(out[saltSize:], m.commitment())
	if nonce.Enabled {
		nonce.Record(m.key(), m.nonces(len(plain)/RecordSize+1))
	}
	dst = dst[:head+HeaderSize]
	aead, n := m.aead(), counter{base: m.base()}
	for {
		rec := plain[:min(RecordSize, len(plain))]
		plain = plain[len(rec):]
		dst = aead.Seal(dst, n.next(), rec, nil)
		if len(rec) < RecordSize {
			return dst
		}
	}
}

// Open appends to dst the plaintext of blob and returns the extended slice. It checks the
// commitment before it decrypts, and hands out nothing that is not authenticated to the
// end: on failure what it wrote is wiped, and it returns nil and ErrOpen.
//
// The spare capacity of dst must not overlap blob, with one exception: Open(blob[:0], k,
// context, blob) opens in place, and blob is then garbage, also on failure. Open panics
// on any other overlap. It keeps neither slice. Safe for concurrent use.
func Open(dst []byte, k *Key, context, blob []byte) ([]byte, error) {
	n := PlainSize(len(blob))
	if n < 0 {
		return nil, ErrOpen
	}
	dst = slices.Grow(dst, n)
	head := len(dst)
	out := dst[head : head+n]
	inPlace := n > 0 && &out[0] == &blob[0]
	if overlap(out, blob) && !inPlace {
		panic("seal: plaintext overlaps the blob")
	}
	m := derive(k, context, blob[:saltSize])
	if subtle.ConstantTimeCompare(m.commitment(), blob[saltSize:HeaderSize]) != 1 {
		return nil, ErrOpen
	}
	if !openRecords(out, &m, blob[HeaderSize:], inPlace) {
		clear(out)
		if inPlace {
			clear(blob) // a record's last bytes may lie behind out
		}
		return nil, ErrOpen
	}
	return dst[:head+n], nil
}

// openRecords decrypts records into out, which has their exact length. In place, each
// record is decrypted where it lies and then moved down, still hot in the cache: the
// distance grows by a tag each record, and the AEAD takes exact overlap only.
func openRecords(out []byte, m *material, records []byte, inPlace bool) bool {
	aead, n := m.aead(), counter{base: m.base()}
	for len(records) > 0 {
		rec := records[:min(sealedRecord, len(records))]
		records = records[len(rec):]
		to := out[:0]
		if inPlace {
			to = rec[:0]
		}
		plain, err := aead.Open(to, n.next(), rec, nil)
		if err != nil {
			return false
		}
		if inPlace {
			copy(out, plain)
		}
		out = out[len(plain):]
	}
	return true
}

// OpenWith is Open for a blob whose commitment is known from a place that is already
// authenticated: any other blob, also one sealed by the same sender for the same
// context, gives ErrOpen.
func OpenWith(dst []byte, k *Key, context, blob []byte, want id.Commitment) ([]byte, error) {
	if got, err := CommitmentOf(blob); err != nil || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
		return nil, ErrOpen
	}
	return Open(dst, k, context, blob)
}

// CommitmentOf returns the commitment that stands in a blob. It proves nothing before Open.
func CommitmentOf(blob []byte) (id.Commitment, error) {
	if len(blob) < HeaderSize+TagSize {
		return id.Commitment{}, ErrOpen
	}
	return id.Commitment(blob[saltSize:HeaderSize]), nil
}

// material is what is derived for one blob: key ‖ base nonce ‖ commitment.
type material [KeySize + nonceSize + commitmentSize]byte

func derive(k *Key, context, salt []byte) material {
	b, err := hkdf.Expand(sha512.New, k.k[:], info+string(salt)+string(context), len(material{}))
	if err != nil {
		panic("seal: HKDF refused its arguments")
	}
	return material(b)
}

func (m *material) key() []byte           { return m[:KeySize] }
func (m *material) base() [nonceSize]byte { return [nonceSize]byte(m[KeySize:]) }
func (m *material) commitment() []byte    { return m[KeySize+nonceSize:] }

func (m *material) aead() cipher.AEAD {
	block, err := aes.NewCipher(m.key())
	if err != nil {
		panic("seal: AES refused its key")
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("seal: GCM refused its cipher")
	}
	return aead
}

// nonces lists the nonces of the first records, for the oracle.
func (m *material) nonces(records int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		c := counter{base: m.base()}
		for range records {
			if !yield(c.next()) {
				return
			}
		}
	}
}

// counter gives base XOR 0, base XOR 1, …
type counter struct {
	base, out [nonceSize]byte
	n         uint64
}

// next returns the nonce of the next record; it is valid until the call after it. 2³⁸
// records, where the format ends, are 4 PiB: no slice is that long.
func (c *counter) next() []byte {
	c.out = c.base
	low := c.out[nonceSize-8:]
	binary.BigEndian.PutUint64(low, binary.BigEndian.Uint64(low)^c.n)
	c.n++
	return c.out[:]
}

// overlap reports whether the two share memory.
func overlap(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	pa, pb := reflect.ValueOf(a).Pointer(), reflect.ValueOf(b).Pointer()
	return pa < pb+uintptr(len(b)) && pb < pa+uintptr(len(a))
}
