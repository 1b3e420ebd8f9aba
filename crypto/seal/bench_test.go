package seal

import (
	"crypto/rand"
	"testing"
)

// The plaintext of a class L and of a class S blob.
var benchSizes = []struct {
	name  string
	plain int
}{{"L", 4206520}, {"S", 261832}}

func BenchmarkSeal(b *testing.B) {
	for _, s := range benchSizes {
		b.Run(s.name, func(b *testing.B) {
			k, plain, dst := NewKey(), make([]byte, s.plain), make([]byte, 0, Size(s.plain))
			rand.Read(plain)
			b.SetBytes(int64(s.plain))
			b.ReportAllocs()
			for b.Loop() {
				Seal(dst, &k, nil, plain)
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, s := range benchSizes {
		k, plain := NewKey(), make([]byte, s.plain)
		rand.Read(plain)
		blob := Seal(nil, &k, nil, plain)
		b.Run(s.name, func(b *testing.B) {
			b.SetBytes(int64(s.plain))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Open(plain[:0], &k, nil, blob); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(s.name+"/in-place", func(b *testing.B) {
			work := make([]byte, len(blob))
			b.SetBytes(int64(s.plain))
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				copy(work, blob)
				b.StartTimer()
				if _, err := Open(work[:0], &k, nil, work); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTiny is what sealing costs besides its bytes: a journal entry, an envelope.
func BenchmarkTiny(b *testing.B) {
	k, plain, dst := NewKey(), make([]byte, 100), make([]byte, 0, Size(100))
	context := vectorContext()
	b.Run("seal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			Seal(dst, &k, context, plain)
		}
	})
	blob := Seal(nil, &k, context, plain)
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := Open(plain[:0], &k, context, blob); err != nil {
				b.Fatal(err)
			}
		}
	})
}
