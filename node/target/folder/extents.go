package folder

import (
	"errors"
	"slices"
)

// maxRuns bounds the separate runs of one item that may be waiting for what lies
// between them: pieces are 1 MiB, so an honest sender has a handful.
const maxRuns = 1 << 14

// ErrPieces is returned for pieces that no honest sender produces: far more of them, or
// far beyond the size announced, than the content can need.
var ErrPieces = errors.New("pieces of an item don't fit together")

// run is [from, to).
type run struct{ from, to int64 }

// runs is a set of bytes as ordered runs that don't touch.
type runs []run

// add adds [from, to).
func (r *runs) add(from, to int64) error {
	if from >= to {
		return nil
	}
	s := *r
	i, _ := slices.BinarySearchFunc(s, from, func(a run, v int64) int {
		if a.to < v {
			return -1
		}
		return 1
	})
	j := i
	for j < len(s) && s[j].from <= to {
		from, to = min(from, s[j].from), max(to, s[j].to)
		j++
	}
	if i == j && len(s) >= maxRuns {
		return ErrPieces
	}
	*r = slices.Replace(s, i, j, run{from, to})
	return nil
}

// covers reports whether [0, size) is there.
func (r runs) covers(size int64) bool {
	return size == 0 || len(r) > 0 && r[0].from == 0 && r[0].to >= size
}

// end is one more than the highest byte.
func (r runs) end() int64 {
	if len(r) == 0 {
		return 0
	}
	return r[len(r)-1].to
}

// missing returns how many bytes of [0, size) are not there.
func (r runs) missing(size int64) int64 {
	left := size
	for _, x := range r {
		left -= max(0, min(x.to, size)-min(x.from, size))
	}
	return left
}
