package bookmark

import (
	"bytes"
	"crypto/sha256"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// Extension ends the name of a container of bookmarks.
const Extension = ".bookmarks.ndjson"

// ProblemForm is the problem of a line that is no bookmark.
const ProblemForm = "is no bookmark"

// lines calls each with the offsets of every line that is not blank.
func lines(data []byte, each func(start, end int)) {
	for at := 0; at < len(data); {
		end := at + bytes.IndexByte(data[at:], '\n') + 1
		if end == at {
			end = len(data)
		}
		if len(bytes.TrimSpace(data[at:end])) > 0 {
			each(at, end)
		}
		at = end
	}
}

// Records returns the bookmarks of a container in their order, those that could not be
// read with a Problem. Two of one identity are the same node of one tree: place and
// address are the same, and so is their number among such. The result does not refer to data.
func Records(data []byte) (all []contentline.Record) {
	seen := map[string]int{}
	lines(data, func(start, end int) {
		r := contentline.Record{Ranges: []item.Range{{Offset: int64(start), Length: int64(end - start)}}}
		if b, err := Parse(data[start:end]); err != nil {
			r.Problem = ProblemForm
		} else {
			key := b.key()
			sum := sha256.Sum256([]byte(key + "\x00\x02" + strconv.Itoa(seen[key])))
			seen[key]++
			r.Identity = contentline.UIDIdentity(sum[:])
		}
		all = append(all, r)
	})
	return all
}

// Merge returns the container existing with the lines of from behind its own that it does
// not have, whatever their position and GUID. Merging twice is merging once. It returns
// nil if either has a line that could not be read: keep both files then.
func Merge(existing, from []byte) []byte {
	have, ok := fingerprints(existing)
	if !ok {
		return nil
	}
	out, added := slices.Clip(existing), false
	lines(from, func(start, end int) {
		b, err := Parse(from[start:end])
		if err != nil {
			ok = false
			return
		}
		if sum := b.fingerprint(); have[sum] > 0 {
			have[sum]--
			return
		}
		if n := len(out); n > 0 && out[n-1] != '\n' {
			out = append(out, '\n')
		}
		out, added = append(append(out, bytes.TrimRight(from[start:end], "\r\n")...), '\n'), true
	})
	switch {
	case !ok:
		return nil
	case !added:
		return existing
	}
	return out
}

func fingerprints(data []byte) (map[[32]byte]int, bool) {
	have, ok := map[[32]byte]int{}, true
	lines(data, func(start, end int) {
		b, err := Parse(data[start:end])
		if err != nil {
			ok = false
			return
		}
		have[b.fingerprint()]++
	})
	return have, ok
}

// fingerprint tells nodes apart that differ in anything but position and GUID.
func (b *Bookmark) fingerprint() [32]byte {
	c := *b
	c.Pos, c.GUID = 0, ""
	return sha256.Sum256(c.Encode())
}

// Version is a text that changes whenever a person changes the node: anything but its position,
// that of its folders, its GUID, and when it was visited.
func (b *Bookmark) Version() string {
	c := *b
	c.Nth, c.Visited = nil, 0
	sum := c.fingerprint()
	return string(appendHex(nil, sum[:16]))
}

func appendHex(dst, b []byte) []byte {
	const digits = "0123456789abcdef"
	for _, c := range b {
		dst = append(dst, digits[c>>4], digits[c&15])
	}
	return dst
}

// Record returns the node as a record.
func (b *Bookmark) Record(book, from string) item.Record {
	return item.Record{Kind: item.Bookmark, Book: book, Label: b.Label(), From: from, Data: b.Encode()}
}

// Rules brings bookmarks together. It implements rule.Rules.
type Rules struct{}

// Split cuts a container into its lines.
func (Rules) Split(file string, data []byte) (all []item.Record) {
	book, number, at := strings.TrimSuffix(path.Base(file), Extension), 0, 0
	lines(data, func(start, end int) {
		number += bytes.Count(data[at:start], []byte("\n")) + 1
		at = end
		r := item.Record{Kind: item.Bookmark, Book: book, From: file + ":" + strconv.Itoa(number), Data: data[start:end:end]}
		if b, err := Parse(r.Data); err == nil {
			r.Label = b.Label()
		} else {
			r.Label = "line " + strconv.Itoa(number)
		}
		all = append(all, r)
	})
	return all
}
