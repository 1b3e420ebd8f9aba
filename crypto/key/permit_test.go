package key

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"testing"
	"time"

	"github.com/decant-dev/decant/crypto/internal/vector"
	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

const permitDir = "testdata/permit"

func seeded(t testing.TB, n byte) *Device {
	t.Helper()
	d, err := DeviceFromSeed(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var examplePermit = Permit{Session: id.Session{1}, Cache: id.Peer{2}, Server: id.Peer{3}, NotAfter: time.Unix(1_900_000_000, 0)}

func permitVectors(t testing.TB) []vector.File {
	sender, other := seeded(t, 1), seeded(t, 2)
	peer := sender.Peer()
	good := SignPermit(sender, examplePermit)
	body := good[:PermitSize-SignatureSize]
	refuse := func(name, comment string, b []byte) vector.File {
		return vector.File{Name: name, Comment: comment, Expect: "refuse", Fields: []vector.Field{vector.Hex("sender", peer[:])}, Body: b}
	}
	late := binary.BigEndian.AppendUint64(bytes.Clone(body[:id.Size+64]), 253_402_300_800)
	return []vector.File{
		{Name: "ok", Comment: "a permit", Expect: "ok", Body: good, Fields: []vector.Field{vector.Hex("sender", peer[:]), vector.Hex("session", examplePermit.Session[:]),
			vector.Hex("cache", examplePermit.Cache[:]), vector.Hex("server", examplePermit.Server[:]), vector.Num("not-after", int(examplePermit.NotAfter.Unix()))}},
		refuse("nothing", "no bytes at all", nil),
		refuse("byte-added", "a byte too many", append(bytes.Clone(good), 0)),
		refuse("signed-by-another", "signed by another device", append(bytes.Clone(body), other.Sign(label.Permit, body)...)),
		refuse("signed-as-pin", "signed under another label", append(bytes.Clone(body), sender.Sign(label.Pin, body)...)),
		refuse("after-9999", "good beyond the year 9999", append(late, sender.Sign(label.Permit, late)...)),
	}
}

func TestPermitVectors(t *testing.T) {
	vector.Current(t, permitDir, permitVectors(t), *update)
	for _, f := range vector.Read(t, permitDir) {
		p, err := ParsePermit(f.Body, id.Peer(f.Bytes(t, "sender")))
		if f.Expect != "ok" {
			if err != ErrPermit || p != (Permit{}) {
				t.Errorf("%s (%s): %+v, %v", f.Name, f.Comment, p, err)
			}
			continue
		}
		want := Permit{id.Session(f.Bytes(t, "session")), id.Peer(f.Bytes(t, "cache")), id.Peer(f.Bytes(t, "server")), time.Unix(int64(f.Num(t, "not-after")), 0)}
		if err != nil || p != want {
			t.Errorf("%s: %+v, %v", f.Name, p, err)
		}
	}
}

// TestPermitEveryByte changes each byte of a permit.
func TestPermitEveryByte(t *testing.T) {
	sender := seeded(t, 1)
	good := SignPermit(sender, examplePermit)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, err := ParsePermit(bad, sender.Peer()); err != ErrPermit {
			t.Errorf("byte %d: %v: %s", i, err, hex.EncodeToString(bad))
		}
	}
}
