package seal

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"flag"
	"slices"
	"testing"
	"testing/cryptotest"

	"github.com/decant-dev/decant/crypto/internal/vector"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

var update = flag.Bool("update", false, "write the test vectors again")

const blobDir, keysDir = "testdata/blob", "testdata/keys"

// hkdfExpand is HKDF-Expand-SHA-512 of RFC 5869, section 2.3, from HMAC alone.
func hkdfExpand(prk, info []byte, n int) []byte {
	var out, t []byte
	for i := byte(1); len(out) < n; i++ {
		h := hmac.New(sha512.New, prk)
		h.Write(t)
		h.Write(info)
		h.Write([]byte{i})
		t = h.Sum(nil)
		out = append(out, t...)
	}
	return out[:n]
}

// reference is chunked-encryption written from its specification a second time, with
// hooks for everything that a broken or hostile sender could do differently.
type reference struct {
	aead   string        // name in the derivation
	sizes  func(int) int // plaintext length of record i; nil is the format's
	number func(int) int // counter of record i; nil is the format's
}

func (r reference) seal(key, context, salt, plain []byte) []byte {
	if r.aead == "" {
		r.aead = "AEAD_AES_256_GCM"
	}
	info := slices.Concat([]byte("c2sp.org/chunked-encryption@v1+"+r.aead), []byte{0}, salt, context)
	derived := hkdfExpand(key, info, 32+12+32)
	block, err := aes.NewCipher(derived[:32])
	if err != nil {
		panic(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	out := slices.Concat(salt, derived[44:])
	for i := 0; ; i++ {
		size, n := min(16384, len(plain)), i
		if r.sizes != nil {
			size = r.sizes(i)
		}
		if size < 0 {
			return out
		}
		if r.number != nil {
			n = r.number(i)
		}
		nonce := slices.Clone(derived[32:44])
		for j := range 8 {
			nonce[11-j] ^= byte(n >> (8 * j))
		}
		out = gcm.Seal(out, nonce, plain[:size], nil)
		plain = plain[size:]
		if r.sizes == nil && size < 16384 {
			return out
		}
	}
}

// pattern is the plaintext of the vectors: byte i is i mod 251.
func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

func vectorContext() []byte {
	return label.LV(label.Pack, bytes.Repeat([]byte{0x51}, 16), label.U64(1), label.U64(7))
}

// blobVectors are what the format takes and, by class, what it refuses.
func blobVectors(t *testing.T) []vector.File {
	cryptotest.SetGlobalRandom(t, 1)
	context := vectorContext()
	key, err := KeyFromBytes(bytes.Repeat([]byte{0x42}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	file := func(name, expect, comment string, context []byte, plain int, blob []byte) vector.File {
		f := vector.File{Name: name, Comment: comment, Expect: expect, Fields: []vector.Field{
			vector.Hex("key", key.Bytes()), vector.Hex("context", context), vector.Num("plain-size", plain)}}
		if expect == "ok" && len(blob) > 1024 { // the salt and the hash say it all
			sum := sha256.Sum256(blob)
			f.Fields = append(f.Fields, vector.Hex("salt", blob[:24]), vector.Hex("commitment", blob[24:56]), vector.Hex("blob-sha256", sum[:]))
			return f
		}
		f.Body = blob
		return f
	}
	var out []vector.File
	ok := func(name, comment string, context []byte, plain int) {
		out = append(out, file(name, "ok", comment, context, plain, Seal(nil, &key, context, pattern(plain))))
	}
	ok("ok-empty", "no plaintext: one empty record", context, 0)
	ok("ok-one-byte", "one byte", context, 1)
	ok("ok-no-context", "an empty context", nil, 16)
	ok("ok-record-less-one", "the longest plaintext of one record", context, RecordSize-1)
	ok("ok-record", "a full record and an empty one", context, RecordSize)
	ok("ok-record-and-one", "a full record and a byte", context, RecordSize+1)
	ok("ok-class-s", "the plaintext of a class S blob", context, 261832)
	ok("ok-class-l", "the plaintext of a class L blob", context, 4206520)

	salt := bytes.Repeat([]byte{0x5a}, 24)
	small := reference{}.seal(key.Bytes(), context, salt, pattern(40))
	big := reference{}.seal(key.Bytes(), context, salt, pattern(2*RecordSize+40))
	refuse := func(name, comment string, blob []byte) {
		out = append(out, file(name, "refuse", comment, context, 0, blob))
	}
	edit := func(b []byte, f func(b []byte) []byte) []byte { return f(slices.Clone(b)) }
	flip := func(at int) []byte { return edit(small, func(b []byte) []byte { b[at] ^= 1; return b }) }
	cut := func(b []byte, n int) []byte { return slices.Clone(b[:n]) }
	const r0, r1, r2 = HeaderSize, HeaderSize + sealedRecord, HeaderSize + 2*sealedRecord

	refuse("nothing", "no bytes at all", nil)
	refuse("header-cut", "one byte short of a header", cut(small, HeaderSize-1))
	refuse("header-only", "a header and no record", cut(small, HeaderSize))
	refuse("tag-cut", "a header and a record shorter than a tag", cut(small, HeaderSize+TagSize-1))
	refuse("last-byte-cut", "the last byte is missing", cut(small, len(small)-1))
	refuse("byte-added", "a byte too many", append(slices.Clone(small), 0))
	refuse("salt-flipped", "one bit of the salt", flip(3))
	refuse("commitment-flipped", "one bit of the commitment; every record would open", flip(30))
	refuse("ciphertext-flipped", "one bit of the ciphertext", flip(HeaderSize+5))
	refuse("tag-flipped", "one bit of the last tag", flip(len(small)-1))
	refuse("final-record-cut", "the final record is missing, the one before it is full", cut(big, r2))
	refuse("record-dropped", "the middle record is missing", edit(big, func(b []byte) []byte { return slices.Delete(b, r1, r2) }))
	refuse("records-swapped", "two full records have changed places", slices.Concat(big[:r0], big[r1:r2], big[r0:r1], big[r2:]))
	refuse("record-doubled", "a full record twice", slices.Concat(big[:r1], big[r0:]))
	refuse("salt-of-another", "header of another blob of the same key and context", slices.Concat(
		reference{}.seal(key.Bytes(), context, bytes.Repeat([]byte{0x5b}, 24), nil)[:HeaderSize], small[HeaderSize:]))
	refuse("key-of-another", "sealed under another key", reference{}.seal(bytes.Repeat([]byte{0x43}, 32), context, salt, pattern(40)))
	refuse("context-of-another-pack", "sealed for pack 8 instead of 7", reference{}.seal(key.Bytes(),
		label.LV(label.Pack, bytes.Repeat([]byte{0x51}, 16), label.U64(1), label.U64(8)), salt, pattern(40)))
	refuse("context-empty", "sealed for no context", reference{}.seal(key.Bytes(), nil, salt, pattern(40)))
	refuse("aead-name", "derived under the name of another AEAD", reference{aead: "AEAD_AES_128_GCM"}.seal(key.Bytes(), context, salt, pattern(40)))
	sizes := func(n ...int) func(int) int {
		return func(i int) int {
			if i < len(n) {
				return n[i]
			}
			return -1
		}
	}
	refuse("empty-record-added", "an empty record behind the final one, made with the key",
		reference{sizes: sizes(40, 0)}.seal(key.Bytes(), context, salt, pattern(40)))
	refuse("short-record-first", "a short record in front of others, made with the key",
		reference{sizes: sizes(100, RecordSize, 5)}.seal(key.Bytes(), context, salt, pattern(100+RecordSize+5)))
	refuse("counter-from-one", "records counted from 1",
		reference{number: func(i int) int { return i + 1 }}.seal(key.Bytes(), context, salt, pattern(40)))
	refuse("counter-constant", "every record under the same nonce",
		reference{number: func(int) int { return 0 }}.seal(key.Bytes(), context, salt, pattern(RecordSize+40)))
	return out
}

func TestVectorsAreCurrent(t *testing.T) {
	vector.Current(t, blobDir, blobVectors(t), *update)
	vector.Current(t, keysDir, keyVectors(t), *update)
}

// TestVectors needs nothing but the files; it also seals each success a second time with
// the reference, whose derivation is HMAC alone.
func TestVectors(t *testing.T) {
	for _, f := range vector.Read(t, blobDir) {
		t.Run(f.Name, func(t *testing.T) {
			key, err := KeyFromBytes(f.Bytes(t, "key"))
			if err != nil {
				t.Fatal(err)
			}
			context, plain, blob := f.Bytes(t, "context"), pattern(f.Num(t, "plain-size")), f.Body
			if f.Expect != "ok" {
				got, err := Open(nil, &key, context, blob)
				if err != ErrOpen || got != nil {
					t.Errorf("Open: %d bytes, %v", len(got), err)
				}
				if got, err = Open(blob[:0], &key, context, blob); err != ErrOpen || got != nil {
					t.Errorf("Open in place: %d bytes, %v", len(got), err)
				}
				return
			}
			if len(blob) == 0 {
				blob = reference{}.seal(f.Bytes(t, "key"), context, f.Bytes(t, "salt"), plain)
				if sum := sha256.Sum256(blob); !bytes.Equal(sum[:], f.Bytes(t, "blob-sha256")) {
					t.Error("the reference makes another blob")
				}
				if c, err := CommitmentOf(blob); err != nil || !bytes.Equal(c[:], f.Bytes(t, "commitment")) {
					t.Errorf("commitment %s, %v", c, err)
				}
			} else if again := (reference{}).seal(f.Bytes(t, "key"), context, blob[:24], plain); !bytes.Equal(again, blob) {
				t.Error("the reference makes another blob")
			}
			if got, err := Open(nil, &key, context, blob); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// keyVectors are the key schedule.
func keyVectors(t *testing.T) []vector.File {
	mk, err := MasterKeyFromBytes(bytes.Repeat([]byte{0x4d}, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	sid, card := id.Session(bytes.Repeat([]byte{0x51}, 16)), id.CardHash(bytes.Repeat([]byte{0xca}, 32))
	keys, err := Schedule(mk, sid, card)
	if err != nil {
		t.Fatal(err)
	}
	return []vector.File{{Name: "ok-schedule", Comment: "session keys from the master key, the session and the sender's card", Expect: "ok",
		Fields: []vector.Field{vector.Hex("master", mk.Bytes()), vector.Hex("session", sid[:]), vector.Hex("sender-card", card[:]),
			vector.Hex("pack", keys.Pack.Bytes()), vector.Hex("manifest", keys.Manifest.Bytes()), vector.Hex("mailbox", keys.Mailbox.Bytes())}}}
}

// TestScheduleVectors derives the keys again with HMAC alone.
func TestScheduleVectors(t *testing.T) {
	for _, f := range vector.Read(t, keysDir) {
		sid, card := f.Bytes(t, "session"), f.Bytes(t, "sender-card")
		salt := sha256.Sum256(label.LV("decant/1/root", sid, card))
		extract := hmac.New(sha512.New, salt[:])
		extract.Write(f.Bytes(t, "master"))
		prk := extract.Sum(nil)
		for name, l := range map[string]string{"pack": "decant/1/pack", "manifest": "decant/1/manifest", "mailbox": "decant/1/mailbox"} {
			if got := hex.EncodeToString(hkdfExpand(prk, []byte(l), 32)); got != f.Text(t, name) {
				t.Errorf("%s: %s = %s, want %s", f.Name, name, got, f.Text(t, name))
			}
		}
	}
}

// Each bound field of the key schedule reaches each key, and no two keys agree.
func TestScheduleBindsEveryField(t *testing.T) {
	mk, sid, card := NewMasterKey(), id.NewSession(), id.CardHash{1}
	sid2, card2 := sid, card
	sid2[15] ^= 1
	card2[31] ^= 1
	seen := map[[KeySize]byte]string{}
	for _, c := range []struct {
		name string
		mk   *MasterKey
		sid  id.Session
		card id.CardHash
	}{{"the session", mk, sid, card}, {"another master key", NewMasterKey(), sid, card}, {"another session", mk, sid2, card}, {"another sender", mk, sid, card2}} {
		keys, err := Schedule(c.mk, c.sid, c.card)
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range []Key{keys.Pack, keys.Manifest, keys.Mailbox} {
			if other, ok := seen[k.k]; ok {
				t.Errorf("key %d of %s is also a key of %s", i, c.name, other)
			}
			seen[k.k] = c.name
		}
	}
}

// A blob opens in the one place it was sealed for: every field of every context that the
// protocol has (SPEC 3.4) is changed, and every context is tried for every other.
func TestContextBindsEveryField(t *testing.T) {
	k := NewKey()
	sid, a, b := bytes.Repeat([]byte{1}, 16), bytes.Repeat([]byte{2}, 32), bytes.Repeat([]byte{3}, 32)
	parts := map[label.Label][][]byte{
		label.Pack:     {sid, label.U64(1), label.U64(2)},
		label.Manifest: {sid, label.U64(1), label.U64(2)},
		label.RootBlob: {sid, label.U64(1)},
		label.Mailbox:  {sid, a, b, []byte("purpose")},
		label.TicketGr: {sid},
	}
	for l, fields := range parts {
		blob := Seal(nil, &k, label.LV(l, fields...), []byte("plaintext"))
		if _, err := Open(nil, &k, label.LV(l, fields...), blob); err != nil {
			t.Fatalf("%s: %v", l, err)
		}
		refuse := func(what string, context []byte) {
			t.Helper()
			if got, err := Open(nil, &k, context, blob); !errors.Is(err, ErrOpen) || got != nil {
				t.Errorf("%s opened for %s", l, what)
			}
		}
		for i := range fields {
			for j := range fields[i] {
				changed := slices.Clone(fields)
				changed[i] = slices.Clone(fields[i])
				changed[i][j] ^= 1
				refuse("a changed field", label.LV(l, changed...))
			}
			refuse("a missing field", label.LV(l, slices.Delete(slices.Clone(fields), i, i+1)...))
			for j := range i {
				if swapped := slices.Clone(fields); !bytes.Equal(fields[i], fields[j]) {
					swapped[i], swapped[j] = swapped[j], swapped[i]
					refuse("swapped fields", label.LV(l, swapped...))
				}
			}
		}
		for _, other := range label.All {
			if other != l {
				refuse(string(other), label.LV(other, fields...))
			}
		}
	}
}

// TestRT13EveryBitOfABlob flips each bit of a short blob and cuts a longer one at every kind of place.
func TestRT13EveryBitOfABlob(t *testing.T) {
	k := NewKey()
	blob := Seal(nil, &k, []byte("context"), pattern(100))
	for i := range len(blob) * 8 {
		bad := slices.Clone(blob)
		bad[i/8] ^= 1 << (i % 8)
		if got, err := Open(nil, &k, []byte("context"), bad); err != ErrOpen || got != nil {
			t.Fatalf("bit %d: %d bytes, %v", i, len(got), err)
		}
	}
	blob = Seal(nil, &k, nil, pattern(3*RecordSize+100))
	for n := range blob { // every truncation, on record boundaries or not
		if n%1024 != 0 && (n-HeaderSize)%sealedRecord > 20 {
			continue
		}
		if got, err := Open(nil, &k, nil, blob[:n]); err != ErrOpen || got != nil {
			t.Fatalf("cut to %d: %d bytes, %v", n, len(got), err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	key, err := KeyFromBytes(bytes.Repeat([]byte{0x42}, KeySize))
	if err != nil {
		f.Fatal(err)
	}
	context := vectorContext()
	for _, v := range vector.Read(f, blobDir) {
		if len(v.Body) < 1024 {
			f.Add(v.Body)
		}
	}
	f.Fuzz(func(t *testing.T, blob []byte) {
		plain, err := Open(nil, &key, context, blob)
		if err != nil {
			if err != ErrOpen || plain != nil {
				t.Fatalf("%d bytes, %v", len(plain), err)
			}
			return
		}
		if again := (reference{}).seal(key.Bytes(), context, blob[:24], plain); !bytes.Equal(again, blob) {
			t.Error("a blob opens that sealing does not make")
		}
	})
}

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("key"), []byte("context"), 16385)
	f.Fuzz(func(t *testing.T, seed, context []byte, n int) {
		sum := sha256.Sum256(seed)
		k, err := KeyFromBytes(sum[:])
		if err != nil {
			t.Fatal(err)
		}
		plain := pattern(n & 0xffff)
		blob := Seal(nil, &k, context, plain)
		if want := (reference{}).seal(sum[:], context, blob[:24], plain); !bytes.Equal(blob, want) {
			t.Error("Seal and the reference differ")
		}
		if got, err := Open(nil, &k, context, blob); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("Open: %v", err)
		}
	})
}
