package contentline

import (
	"encoding/binary"
	"unicode/utf16"
	"unicode/utf8"
)

// wide says how text was written in UTF-16.
type wide struct {
	order binary.ByteOrder
	mark  bool   // it has a byte order mark
	tail  []byte // an odd byte at the end
}

// narrow turns UTF-16 into UTF-8 and returns everything else as it is. A surrogate
// without its other half becomes the three bytes that UTF-8 would have for it, so that nothing is lost.
func narrow(data []byte) ([]byte, *wide) {
	w := wideKind(data)
	if w == nil {
		return data, nil
	}
	if w.mark {
		data = data[2:]
	}
	if len(data)%2 == 1 {
		w.tail, data = data[len(data)-1:], data[:len(data)-1]
	}
	out := make([]byte, 0, len(data)/2+len(data)/8)
	for i := 0; i < len(data); i += 2 {
		r := rune(w.order.Uint16(data[i:]))
		if utf16.IsSurrogate(r) {
			if i+3 < len(data) {
				if both := utf16.DecodeRune(r, rune(w.order.Uint16(data[i+2:]))); both != utf8.RuneError {
					out = utf8.AppendRune(out, both)
					i += 2
					continue
				}
			}
			out = append(out, 0xe0|byte(r>>12), 0x80|byte(r>>6)&0x3f|0x80, 0x80|byte(r)&0x3f)
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out, w
}

// wideKind recognises UTF-16 by its mark, or by the word that files begin with.
func wideKind(data []byte) *wide {
	if len(data) < 4 {
		return nil
	}
	switch {
	case data[0] == 0xff && data[1] == 0xfe && (data[2] != 0 || data[3] != 0):
		return &wide{order: binary.LittleEndian, mark: true}
	case data[0] == 0xfe && data[1] == 0xff:
		return &wide{order: binary.BigEndian, mark: true}
	case data[0]|0x20 == 'b' && data[1] == 0 && data[2]|0x20 == 'e' && data[3] == 0:
		return &wide{order: binary.LittleEndian}
	case data[0] == 0 && data[1]|0x20 == 'b' && data[2] == 0 && data[3]|0x20 == 'e':
		return &wide{order: binary.BigEndian}
	}
	return nil
}

// widen is the reverse of narrow.
func (w *wide) widen(text []byte) []byte {
	out := make([]byte, 0, 2*len(text)+2)
	put := func(v uint16) {
		var b [2]byte
		w.order.PutUint16(b[:], v)
		out = append(out, b[:]...)
	}
	if w.mark {
		put(0xfeff)
	}
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		if r == utf8.RuneError && n <= 1 && len(text) >= 3 && text[0] == 0xed && text[1] >= 0xa0 && text[2]&0xc0 == 0x80 {
			put(0xd000 | uint16(text[1]&0x3f)<<6 | uint16(text[2]&0x3f))
			text = text[3:]
			continue
		}
		text = text[max(n, 1):]
		if a, b := utf16.EncodeRune(r); a != utf8.RuneError {
			put(uint16(a))
			put(uint16(b))
		} else {
			put(uint16(r))
		}
	}
	return append(out, w.tail...)
}

// Narrow returns data as the codec reads it: UTF-16 as UTF-8, all else as it is.
func Narrow(data []byte) []byte {
	text, _ := narrow(data)
	return text
}

// Widen returns text in UTF-16 if that is what like is in, with its byte order and mark;
// else text itself.
func Widen(like, text []byte) []byte {
	if w := wideKind(like); w != nil {
		w.tail = nil
		return w.widen(text)
	}
	return text
}
