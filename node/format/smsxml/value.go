package smsxml

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
	"golang.org/x/text/encoding/charmap"
)

var (
	errName  = errors.New("has no name where one must be")
	errAttr  = errors.New("has an attribute without a value in quotes")
	errAttrs = errors.New("has too many attributes")
)

func isNameByte(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '.' || c == ':' || c >= 0x80
}

// name reads the name of an element or attribute.
func (r *Reader) name() (string, error) {
	var out []byte
	for {
		c, ok := r.peek()
		if !ok || !isNameByte(c) {
			break
		}
		if len(out) == maxName {
			return "", errors.New("has a name that is too long")
		}
		out = append(out, c)
		r.skip(1)
	}
	if len(out) == 0 || !utf8.Valid(out) || '0' <= out[0] && out[0] <= '9' || out[0] == '-' || out[0] == '.' {
		return "", errName
	}
	return string(out), nil
}

// attrs reads the attributes of an element and the end of its tag; empty if that is />.
// where, if not nil, is told where each value stands.
func (r *Reader) attrs(where func(name string, start, end int64)) (out []message.Attr, empty bool, err error) {
	for n := 0; ; n++ {
		r.blanks()
		c, _ := r.peek()
		switch {
		case c == '>':
			r.skip(1)
			return out, false, nil
		case r.eat("/>"):
			return out, true, nil
		case n == MaxAttrs:
			return nil, false, errAttrs
		}
		name, err := r.name()
		if err != nil {
			return nil, false, err
		}
		r.blanks()
		if !r.eat("=") {
			return nil, false, errAttr
		}
		r.blanks()
		start := r.offset() + 1
		value, fits, err := r.value(name)
		if err != nil {
			return nil, false, err
		}
		if where != nil {
			where(name, start, r.offset()-1)
		}
		out = r.attr(out, name, value, fits)
	}
}

// attr adds an attribute, if it can.
func (r *Reader) attr(out []message.Attr, name, value string, fits bool) []message.Attr {
	if !fits {
		r.flag(strings.ToUpper(name), item.EffectDropped, "it is too long", value)
		return out
	}
	for _, a := range out {
		if a.Name == name {
			r.flag(strings.ToUpper(name), item.EffectDropped, "it is there twice, and the first one is taken", value)
			return out
		}
	}
	return append(out, message.Attr{Name: name, Value: value})
}

// value reads a value in quotes; fits is false if it is too long, and then value is how it begins.
func (r *Reader) value(name string) (value string, fits bool, err error) {
	quote, ok := r.peek()
	if !ok || quote != '"' && quote != '\'' {
		return "", false, errAttr
	}
	r.skip(1)
	limit := maxValue
	if name == "data" {
		limit = maxData
	}
	limit = min(limit, r.budget)
	v := collector{limit: limit, latin: r.latin}
	for {
		if r.at >= r.end && !r.fill() {
			return "", false, errAttr
		}
		n := bytes.IndexByte(r.buf[r.at:r.end], quote)
		if a := bytes.IndexByte(r.buf[r.at:r.at+orAll(n, r.end-r.at)], '&'); a >= 0 {
			v.text(r.buf[r.at : r.at+a])
			r.skip(a)
			r.entity(&v)
			continue
		}
		if n < 0 {
			v.text(r.buf[r.at:r.end])
			r.skip(r.end - r.at)
			continue
		}
		v.text(r.buf[r.at : r.at+n])
		r.skip(n + 1)
		break
	}
	if v.over {
		return string(v.out[:min(len(v.out), item.MaxShown)]), false, nil
	}
	r.budget -= len(v.out)
	return r.decode(name, v), true, nil
}

func orAll(n, all int) int {
	if n < 0 {
		return all
	}
	return n
}

// collector gathers a value up to a limit.
type collector struct {
	out   []byte
	limit int
	over  bool
	odd   string // why the value is to be flagged
	latin bool   // text is in Windows-1252
}

func (v *collector) add(b []byte) {
	if room := v.limit - len(v.out); len(b) > room {
		b, v.over = b[:max(room, 0)], true
	}
	v.out = append(v.out, b...)
}

// text adds bytes of the file.
func (v *collector) text(b []byte) {
	if !v.latin {
		v.add(b)
		return
	}
	for _, c := range b {
		v.add(utf8.AppendRune(make([]byte, 0, 4), charmap.Windows1252.DecodeByte(c)))
	}
}

var entities = []struct{ text, value string }{{"&amp;", "&"}, {"&quot;", `"`}, {"&lt;", "<"}, {"&gt;", ">"}, {"&apos;", "'"}}

// entity reads what begins with &. What is no reference that XML itself defines stays text.
func (r *Reader) entity(v *collector) {
	for _, e := range entities {
		if r.eat(e.text) {
			v.add([]byte(e.value))
			return
		}
	}
	if c, n, ok := r.number16(); ok {
		r.skip(n)
		v.add(rawjson.AppendWTF8(make([]byte, 0, 4), c))
		return
	}
	r.skip(1)
	v.add([]byte("&"))
	v.odd = "it has a & that is no reference: kept as text"
}

// number16 parses the character reference that is next, without going past it.
func (r *Reader) number16() (c rune, n int, ok bool) {
	const longest = 12
	for r.end-r.at < longest && r.fill() {
	}
	b := r.buf[r.at:min(r.end, r.at+longest)]
	semicolon := bytes.IndexByte(b, ';')
	if semicolon < 3 || b[1] != '#' {
		return 0, 0, false
	}
	digits, base := string(b[2:semicolon]), 10
	if b[2] == 'x' || b[2] == 'X' {
		digits, base = digits[1:], 16
	}
	u, err := strconv.ParseUint(digits, base, 32)
	if err != nil || u > utf8.MaxRune {
		return 0, 0, false
	}
	return rune(u), semicolon + 1, true
}

// decode makes a string of a value's bytes.
func (r *Reader) decode(name string, v collector) string {
	if !utf8.Valid(v.out) {
		v.out = r.mend(name, v.out)
	}
	if v.odd != "" {
		r.flag(strings.ToUpper(name), item.EffectFlagged, v.odd, string(v.out[:min(len(v.out), item.MaxShown)]))
	}
	return string(v.out)
}

// mend joins pairs, keeps halves, and takes bytes that are no UTF-8 for Windows-1252.
func (r *Reader) mend(name string, in []byte) []byte {
	out := make([]byte, 0, len(in)+16)
	var lone, foreign bool
	for i := 0; i < len(in); {
		c, n := utf8.DecodeRune(in[i:])
		if c != utf8.RuneError || n > 1 {
			out = append(out, in[i:i+n]...)
			i += n
			continue
		}
		high, ok := rawjson.Half(string(in[i:min(len(in), i+3)]))
		if !ok {
			foreign = true
			out = utf8.AppendRune(out, charmap.Windows1252.DecodeByte(in[i]))
			i++
			continue
		}
		low, ok := rawjson.Half(string(in[i+3 : min(len(in), i+6)]))
		if high < 0xDC00 && ok && low >= 0xDC00 {
			out = utf8.AppendRune(out, 0x10000+(high-0xD800)<<10+(low-0xDC00))
			i += 6
			continue
		}
		lone = true
		out = append(out, in[i:i+3]...)
		i += 3
	}
	if foreign {
		r.flag(strings.ToUpper(name), item.EffectRepaired, "it has bytes that are no UTF-8: taken for Windows-1252", strconv.QuoteToASCII(string(in[:min(len(in), item.MaxShown/4)])))
	}
	if lone {
		r.flag(strings.ToUpper(name), item.EffectFlagged, "it has half of a character, which stays", "")
	}
	return out
}
