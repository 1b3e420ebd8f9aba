package folder

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// Roots and pins are replaced by newer ones under a higher number, which is their name: 16 hexadecimal digits.

func numbered(dir string, n uint64) string { return fmt.Sprintf("%s/%016x", dir, n) }

// maxTries bounds the files that are read in search of a whole one.
const maxTries = 16

// numbers returns the numbers in a directory, highest first.
func (p *place) numbers(dir string) ([]uint64, error) {
	names, err := p.list(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []uint64
	for _, name := range names {
		if b, ok := unhex(name, 8); ok {
			out = append(out, binary.BigEndian.Uint64(b))
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out, nil
}

// newest returns the record with the highest number that is whole and that parse takes, nil if there is none, and the highest
// number of any.
func newest[T any](p *place, dir string, k kind, parse func(n uint64, body []byte) *T) (*T, uint64, error) {
	all, err := p.numbers(dir)
	if err != nil || len(all) == 0 {
		return nil, 0, err
	}
	for _, n := range all[:min(len(all), maxTries)] {
		body, err := p.read(numbered(dir, n), k)
		if err != nil {
			return nil, 0, err
		}
		if body == nil {
			continue
		}
		if out := parse(n, body); out != nil {
			return out, all[0], nil
		}
	}
	return nil, all[0], nil
}

// removeBelow removes what a newer file has replaced.
func (p *place) removeBelow(dir string, n uint64) error {
	all, err := p.numbers(dir)
	if err != nil {
		return err
	}
	for _, old := range all {
		if old < n {
			if err := p.remove(numbered(dir, old)); err != nil {
				return err
			}
		}
	}
	return nil
}

// unhex decodes a name of n bytes in lower-case hexadecimal digits.
func unhex(name string, n int) ([]byte, bool) {
	b, err := hex.DecodeString(name)
	return b, err == nil && len(b) == n && hex.EncodeToString(b) == name
}
