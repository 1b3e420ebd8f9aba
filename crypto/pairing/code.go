package pairing

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"strconv"

	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/proto/id"
)

// MaxCode is the length in bytes of the longest text that ParseCode looks at.
const MaxCode = 64

// MaxNameplate is the largest nameplate.
const MaxNameplate = 999_999_999

// ErrCode is returned, wrapped with the reason, for text that is no code. The reason
// repeats nothing of what was typed.
var ErrCode = errors.New("not a pairing code")

// Code is what the new device shows and a person types on the old one: a public nameplate
// and three secret words, 33 bits. It is good for one exchange within ten minutes.
type Code struct {
	Nameplate uint32
	Words     [3]string
}

// NewCode draws the words for a nameplate that the server allocated (1 to MaxNameplate).
func NewCode(nameplate uint32) Code {
	c := Code{Nameplate: nameplate}
	for i := range c.Words {
		var b [2]byte
		rand.Read(b[:])
		c.Words[i] = wordList[binary.BigEndian.Uint16(b[:])%uint16(len(wordList))] // 2¹⁶ is a multiple of 2¹¹: no bias
	}
	return c
}

// ParseCode reads a code as a person types it: number and three words, separated by
// single spaces or dashes, capitals or not, each word in full or by at least its first
// four letters. Anything else, letters of other scripts included, is an ErrCode.
func ParseCode(s string) (Code, error) {
	f, ok := split(s, 4, MaxCode)
	if !ok {
		return Code{}, fmt.Errorf("%w: want a number and three words, with dashes between", ErrCode)
	}
	n, ok := parseNameplate(f[0])
	if !ok {
		return Code{}, fmt.Errorf("%w: it begins with a number", ErrCode)
	}
	c := Code{Nameplate: n}
	for i, w := range f[1:] {
		at, ok := lookup(w)
		if !ok {
			return Code{}, fmt.Errorf("%w: word %d is not on the list", ErrCode, i+1)
		}
		c.Words[i] = wordList[at]
	}
	return c, nil
}

func parseNameplate(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && s[0] != '0' && n <= MaxNameplate
}

// String returns the code for the screen, "7-word-word-word".
func (c Code) String() string {
	return fmt.Sprintf("%d-%s-%s-%s", c.Nameplate, c.Words[0], c.Words[1], c.Words[2])
}

// LogValue keeps the words out of logs.
func (c Code) LogValue() slog.Value { return slog.StringValue("pairing code (redacted)") }

// Params are the inputs of the exchange for this code, with the server at which it was
// allocated and the scope that the server gave for the nameplate.
func (c Code) Params(server id.Peer, scope id.Scope) Params {
	return Params{
		PRS:     label.LV(label.Code, []byte(c.Words[0]), []byte(c.Words[1]), []byte(c.Words[2])),
		Server:  server,
		Scope:   scope,
		Channel: label.LV(label.CI, []byte("code"), label.U64(uint64(c.Nameplate))),
	}
}
