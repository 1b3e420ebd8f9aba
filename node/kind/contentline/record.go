package contentline

import (
	"bytes"
	"crypto/sha256"

	"github.com/decant-dev/decant/node/item"
)

// Record is one card or calendar object inside a file.
type Record struct {
	Ranges   []item.Range // its bytes: ascending, apart from each other and from those of other records
	Identity []byte       // what makes two records the same; nil if Problem
	Problem  string       // not "": it could not be parsed, and stays what it is, bytes of its file
}

// Problems of records.
const (
	ProblemNoEnd    = "has no end"
	ProblemNesting  = "is not nested properly"
	ProblemTooDeep  = "is nested too deeply"
	ProblemTooMany  = "has too many parts"
	ProblemNoRecord = "holds no record" // of a file
)

// The first byte of an identity says what follows.
const (
	byUID     = 1 // the UID
	byContent = 2 // Fingerprint
)

// MaxUID is the longest UID that identifies a record, in bytes. A longer one counts as none.
const MaxUID = 1000

// UIDIdentity returns the identity of a record with this UID.
func UIDIdentity(uid []byte) []byte { return append([]byte{byUID}, uid...) }

// ContentIdentity returns the identity of a record without a UID.
func ContentIdentity(record []byte) []byte {
	sum := Fingerprint(record)
	return append([]byte{byContent}, sum[:]...)
}

// NormalUID returns the form in which UIDs are compared: a UUID is written in several
// ways, everything else only as it is. It may return uid itself.
func NormalUID(uid []byte) []byte {
	const urn = "urn:uuid:"
	bare := uid
	if len(uid) > len(urn) && EqualFold(uid[:len(urn)], urn) {
		bare = uid[len(urn):]
	}
	if isUUID(bare) {
		return bytes.ToLower(bare)
	}
	return uid
}

func isUUID(b []byte) bool {
	if len(b) != 36 {
		return false
	}
	for i, c := range b {
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
				return false
			}
		}
	}
	return true
}

// Fingerprint is the SHA-256 of a run of lines, each ended by one LF however it is ended
// in the data, so that a record keeps its fingerprint in a file with other line breaks.
func Fingerprint(lines []byte) [32]byte {
	h := sha256.New()
	buf := make([]byte, 0, 4<<10)
	eachLine(lines, func(text []byte) {
		if len(buf)+len(text)+1 > cap(buf) {
			h.Write(buf)
			buf = buf[:0]
		}
		if len(text) >= cap(buf) {
			h.Write(text)
			text = nil
		}
		buf = append(append(buf, text...), '\n')
	})
	h.Write(buf)
	return [32]byte(h.Sum(nil))
}

// AppendLines appends a run of lines, each ended by brk.
func AppendLines(dst, lines []byte, brk string) []byte {
	eachLine(lines, func(text []byte) { dst = append(append(dst, text...), brk...) })
	return dst
}

func eachLine(data []byte, f func(text []byte)) {
	s := NewScanner(data)
	for bytes.HasPrefix(data, bom) { // one that is left would be none the next time
		data = data[len(bom):]
		s.data = data
	}
	for pos := 0; pos < len(data); {
		end := s.physical(pos)
		f(data[pos:s.textEnd(pos, end)])
		pos = end
	}
}

// Break returns the line break of a file: that of its first line, CRLF if it has none.
func Break(data []byte) string {
	i := bytes.IndexByte(data, '\n')
	switch {
	case i < 0 && bytes.IndexByte(data, '\r') >= 0:
		return "\r"
	case i < 0 || i > 0 && data[i-1] == '\r':
		return "\r\n"
	}
	return "\n"
}

// Bytes returns the bytes of a record, copied if it has several ranges.
func (r *Record) Bytes(data []byte) []byte {
	if len(r.Ranges) == 1 {
		g := r.Ranges[0]
		return data[g.Offset : g.Offset+g.Length]
	}
	var out []byte
	for _, g := range r.Ranges {
		out = append(out, data[g.Offset:g.Offset+g.Length]...)
	}
	return out
}

// Size returns the sum of the ranges' lengths.
func (r *Record) Size() (n int64) {
	for _, g := range r.Ranges {
		n += g.Length
	}
	return n
}

// State is how a record stands to a file that may already have it.
type State uint8

// The states.
const (
	New     State = iota // the file has none of this identity
	Same                 // the file has it, line for line
	Differs              // the file has one of this identity with other content
)
