package exact

import (
	"bytes"
	"math"
	"testing"
)

func TestVarints(t *testing.T) {
	for _, n := range []uint64{0, 1, 127, 128, 16383, 16384, 1<<32 - 1, 1 << 63, math.MaxUint64} {
		b := Append(nil, n)
		if len(b) != Size(n) {
			t.Errorf("%d takes %d bytes, Size says %d", n, len(b), Size(n))
		}
		r := NewReader(b)
		if got := r.Uvarint(); got != n || !r.Done() {
			t.Errorf("%d becomes %d", n, got)
		}
		if Zigzag(Unzigzag(n)) != n {
			t.Errorf("zigzag of %d is not reversed", n)
		}
	}
	for want, n := range []int64{0, -1, 1, -2, 2} {
		if Zigzag(n) != uint64(want) {
			t.Errorf("zigzag of %d is %d", n, Zigzag(n))
		}
	}
}

func TestE14LongerVarintsAreRefused(t *testing.T) {
	for _, b := range [][]byte{nil, {0x80}, {0x80, 0}, {0xff, 0x80, 0}, bytes.Repeat([]byte{0x80}, 20), append(bytes.Repeat([]byte{0xff}, 9), 2), append(bytes.Repeat([]byte{0x80}, 9), 0)} {
		r := NewReader(b)
		if n := r.Uvarint(); !r.Failed() || n != 0 {
			t.Errorf("%x is read as %d", b, n)
		}
		if r.Byte() != 0 || r.Bytes(1) != nil || r.Uvarint() != 0 || r.Done() || r.Len() != 0 {
			t.Errorf("%x: a failed reader gives something", b)
		}
	}
}

func TestReaderStaysInside(t *testing.T) {
	r := NewReader([]byte{3, 'a', 'b'})
	if b := r.Prefixed(10); b != nil || !r.Failed() {
		t.Errorf("read %q", b)
	}
	r = NewReader([]byte{3, 'a', 'b', 'c', 'd'})
	if b := r.Prefixed(3); string(b) != "abc" || cap(b) != 3 || r.Len() != 1 {
		t.Errorf("read %q", b)
	}
	r = NewReader([]byte{3, 'a', 'b', 'c'})
	if r.Prefixed(2) != nil || !r.Failed() {
		t.Error("more than the most is read")
	}
	r = NewReader([]byte{1, 2})
	var fixed [3]byte
	if r.Fixed(fixed[:]); !r.Failed() || fixed != [3]byte{} {
		t.Error("a short fixed field is read")
	}
	if r := NewReader(nil); r.Bytes(-1) != nil || !r.Failed() {
		t.Error("a negative length is read")
	}
}

// FuzzUvarint reads numbers until the reader fails or ends, and writes them again.
func FuzzUvarint(f *testing.F) {
	f.Add([]byte{0, 0x80, 1, 0xff, 0xff, 3})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(b)
		var again []byte
		for r.Len() > 0 {
			n := r.Uvarint()
			if r.Failed() {
				return
			}
			again = Append(again, n)
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x is written %x", b, again)
		}
	})
}
