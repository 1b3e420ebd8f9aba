package key

import (
	"bytes"
	"encoding/binary"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/internal/vector"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

var update = flag.Bool("update", false, "write the test vectors again")

const cardDir = "testdata/card"

var testNotAfter = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// body is the card's layout written a second time, from SPEC 2.3, without any check.
func (c *Card) body() []byte {
	return slices.Concat([]byte{c.Version, byte(c.Role)}, c.Peer[:], c.XWing, c.Box[:],
		label.U64(c.Limits.MaxItems), label.U64(c.Limits.MaxBytes), label.U64(uint64(c.NotAfter.Unix())),
		[]byte{byte(len(c.Label))}, []byte(c.Label))
}

func testCard(t testing.TB, d *Device) *Card {
	t.Helper()
	e := fixedExchange(t, 2)
	return &Card{Version: 1, Role: Receiver, Peer: d.Peer(), XWing: e.XWing().PublicKey().Bytes(), Box: [32]byte(e.box.PublicKey().Bytes()),
		Limits: Limits{MaxItems: 1_000_000, MaxBytes: 1 << 40}, NotAfter: testNotAfter, Label: "phone"}
}

func cardVectors(t *testing.T) []vector.File {
	d := fixedDevice(t, 1)
	var out []vector.File
	add := func(name, expect, comment string, card []byte) {
		f := vector.File{Name: name, Comment: comment, Expect: expect, Body: card}
		if expect == "ok" {
			h := HashCard(card)
			f.Fields = []vector.Field{vector.Hex("device-seed", d.Seed()), vector.Hex("exchange", fixedExchange(t, 2).Bytes()), vector.Hex("hash", h[:])}
		}
		out = append(out, f)
	}
	ok := func(name, comment string, role Role, limits Limits, lab string) {
		card, err := SignCard(d, fixedExchange(t, 2), role, limits, testNotAfter, lab)
		if err != nil {
			t.Fatal(err)
		}
		add(name, "ok", comment, card)
	}
	ok("ok-sender", "a sender's card without limits and label", Sender, Limits{}, "")
	ok("ok-receiver", "a receiver's card", Receiver, Limits{MaxItems: 1_000_000, MaxBytes: 1 << 40}, "phone")
	ok("ok-longest-label", "64 bytes of label, 32 letters", Receiver, Limits{}, strings.Repeat("é", 32))

	sign := func(c *Card) []byte { b := c.body(); return append(b, d.Sign(label.Card, b)...) }
	refuse := func(name, comment string, change func(c *Card)) {
		c := testCard(t, d)
		change(c)
		add(name, "refuse", comment, sign(c))
	}
	refuse("version-0", "version 0", func(c *Card) { c.Version = 0 })
	refuse("version-2", "version 2", func(c *Card) { c.Version = 2 })
	refuse("role-0", "no role", func(c *Card) { c.Role = 0 })
	refuse("role-3", "an unknown role", func(c *Card) { c.Role = 3 })
	refuse("peer-of-another", "signed by another device than it names", func(c *Card) { c.Peer = fixedDevice(t, 3).Peer() })
	refuse("peer-small-order", "a device key of small order", func(c *Card) { c.Peer = id.Peer{1} })
	refuse("xwing-not-canonical", "an ML-KEM coefficient of 4095", func(c *Card) { c.XWing[0], c.XWing[1] = 0xff, 0xff })
	refuse("xwing-low-order", "X-Wing with the X25519 point 0", func(c *Card) { clear(c.XWing[XWingSize-32:]) })
	refuse("box-low-order", "the box key is the X25519 point 1", func(c *Card) { c.Box = [32]byte{1} })
	refuse("box-not-canonical", "the box key has its top bit set", func(c *Card) { c.Box[31] |= 0x80 })
	refuse("not-after-0", "no end", func(c *Card) { c.NotAfter = time.Unix(0, 0) })
	refuse("not-after-10000", "ends in the year 10000", func(c *Card) { c.NotAfter = MaxNotAfter.Add(time.Second) })
	refuse("not-after-negative", "the time's top bit set", func(c *Card) { c.NotAfter = time.Unix(-1, 0) })
	refuse("label-too-long", "65 bytes of label", func(c *Card) { c.Label = strings.Repeat("a", 65) })
	refuse("label-not-utf8", "a label that is not UTF-8", func(c *Card) { c.Label = "\xff" })
	refuse("label-escape", "a label with a terminal's escape character", func(c *Card) { c.Label = "\x1b[2J" })
	refuse("label-c1", "a label with an 8-bit control character", func(c *Card) { c.Label = "\u009b2J" })

	good := sign(testCard(t, d))
	body, sig := good[:len(good)-SignatureSize], good[len(good)-SignatureSize:]
	add("nothing", "refuse", "no bytes at all", nil)
	add("unsigned", "refuse", "the signature is missing", body)
	add("byte-added", "refuse", "a byte too many", append(slices.Clone(good), 0))
	add("byte-cut", "refuse", "the last byte is missing", good[:len(good)-1])
	longer := slices.Clone(body)
	longer[offLabelLen]++
	add("label-length", "refuse", "the label's length is one too large, signed so", slices.Concat(longer, d.Sign(label.Card, longer)))
	add("signed-as-pin", "refuse", "signed under another label", slices.Concat(body, d.Sign(label.Pin, body)))
	add("signature-large-s", "refuse", "S plus the group order", slices.Concat(body, withLargeS(sig)))
	add("signature-small-r", "refuse", "R of small order, equation satisfied", slices.Concat(body, withSmallR(t, d.Seed(), label.Card, body)))
	return out
}

func TestVectorsAreCurrent(t *testing.T) { vector.Current(t, cardDir, cardVectors(t), *update) }

func TestVectors(t *testing.T) {
	for _, f := range vector.Read(t, cardDir) {
		t.Run(f.Name, func(t *testing.T) {
			c, err := ParseCard(f.Body)
			if f.Expect != "ok" {
				if err != ErrCard || c != nil {
					t.Errorf("ParseCard: %v, %v", c, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if body := c.body(); !bytes.Equal(body, f.Body[:len(f.Body)-SignatureSize]) {
				t.Error("the fields encode to other bytes")
			}
			d, err := DeviceFromSeed(f.Bytes(t, "device-seed"))
			if err != nil || d.Peer() != c.Peer {
				t.Errorf("peer %s, %v", c.Peer, err)
			}
			e, err := ParseExchange(f.Bytes(t, "exchange"))
			if err != nil || !bytes.Equal(e.XWing().PublicKey().Bytes(), c.XWing) || !bytes.Equal(e.box.PublicKey().Bytes(), c.Box[:]) {
				t.Errorf("public keys differ, %v", err)
			}
			if h := HashCard(f.Body); !bytes.Equal(h[:], f.Bytes(t, "hash")) {
				t.Errorf("hash %s", h)
			}
		})
	}
}

// Every byte of a card is bound by its signature.
func TestRT13EveryByteOfACard(t *testing.T) {
	d := fixedDevice(t, 1)
	good, err := SignCard(d, fixedExchange(t, 2), Receiver, Limits{MaxItems: 1}, testNotAfter, "phone")
	if err != nil {
		t.Fatal(err)
	}
	for i := range good {
		bad := slices.Clone(good)
		bad[i] ^= 1 << (i % 8)
		if _, err := ParseCard(bad); err != ErrCard {
			t.Errorf("byte %d: %v", i, err)
		}
		if HashCard(bad) == HashCard(good) {
			t.Errorf("byte %d is not in the hash", i)
		}
	}
	for n := range good {
		if _, err := ParseCard(good[:n]); err != ErrCard {
			t.Errorf("cut to %d: %v", n, err)
		}
	}
}

func TestSignCardRefuses(t *testing.T) {
	d, e := fixedDevice(t, 1), fixedExchange(t, 2)
	for name, c := range map[string]struct {
		role     Role
		notAfter time.Time
		lab      string
	}{
		"no role":           {0, testNotAfter, ""},
		"no end":            {Sender, time.Time{}, ""},
		"far end":           {Sender, MaxNotAfter.Add(time.Second), ""},
		"long label":        {Sender, testNotAfter, strings.Repeat("a", 65)},
		"not UTF-8":         {Sender, testNotAfter, "\xc0\xaf"},
		"control character": {Sender, testNotAfter, "a\nb"},
	} {
		if _, err := SignCard(d, e, c.role, Limits{}, c.notAfter, c.lab); err != ErrCard {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// a clock that is a day off does not end a card.
func TestExpired(t *testing.T) {
	c := testCard(t, fixedDevice(t, 1))
	for after, want := range map[time.Duration]bool{-time.Hour: false, 0: false, 24 * time.Hour: false, 24*time.Hour + time.Second: true} {
		if got := c.Expired(c.NotAfter.Add(after)); got != want {
			t.Errorf("%v after: %v", after, got)
		}
	}
}

// FuzzParseCard signs what the fuzzer makes, so that the parser is reached behind the signature.
func FuzzParseCard(f *testing.F) {
	d := fixedDevice(f, 1)
	for _, v := range vector.Read(f, cardDir) {
		f.Add(v.Body, true)
		f.Add(v.Body, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, sign bool) {
		if sign && len(b) > offXWing+SignatureSize {
			b = slices.Clone(b[:len(b)-SignatureSize])
			peer := d.Peer()
			copy(b[offPeer:], peer[:])
			b = append(b, d.Sign(label.Card, b)...)
		}
		c, err := ParseCard(b)
		if err != nil {
			if err != ErrCard {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(c.body(), b[:len(b)-SignatureSize]) {
			t.Error("two encodings of one card")
		}
		if binary.BigEndian.Uint64(b[offItems:]) != c.Limits.MaxItems || len(b) > MaxCardSize {
			t.Error("limits")
		}
	})
}
