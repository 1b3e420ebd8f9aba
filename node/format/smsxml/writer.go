package smsxml

import (
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
)

// Head returns how an archive begins: declaration, style sheet and start tag. root is
// "smses" or "calls".
func Head(root string, count int) []byte {
	sheet := "sms.xsl"
	if root == "calls" {
		sheet = "calls.xsl"
	}
	return []byte("<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<?xml-stylesheet type=\"text/xsl\" href=\"" + sheet + "\"?>\n" +
		"<" + root + " count=\"" + strconv.Itoa(count) + "\">\n")
}

// Tail returns how an archive ends.
func Tail(root string) []byte { return []byte("</" + root + ">") }

// AppendElement appends a message as the app writes it, on lines of its own. What
// can't be an attribute is left out.
func AppendElement(dst []byte, e *message.Element) []byte {
	dst = appendTag(append(dst, "  "...), e.Name, e.Attrs)
	if e.Name != "mms" && len(e.XML) == 0 {
		return append(dst, " />\n"...)
	}
	dst = append(dst, ">\n"...)
	if e.Name == "mms" {
		dst = appendList(dst, "parts", "part", e.Parts)
		dst = appendList(dst, "addrs", "addr", e.Addrs)
	}
	for _, x := range e.XML {
		if wellFormed(x) {
			dst = append(append(append(dst, "    "...), x...), '\n')
		}
	}
	return append(append(append(dst, "  </"...), e.Name...), ">\n"...)
}

// AppendCall appends a call as the app writes it.
func AppendCall(dst []byte, attrs []message.Attr) []byte {
	return append(appendTag(append(dst, "  "...), "call", attrs), " />\n"...)
}

func appendList(dst []byte, name, element string, list [][]message.Attr) []byte {
	dst = append(append(append(dst, "    <"...), name...), ">\n"...)
	for _, attrs := range list {
		dst = append(appendTag(append(dst, "      "...), element, attrs), " />\n"...)
	}
	return append(append(append(dst, "    </"...), name...), ">\n"...)
}

func appendTag(dst []byte, name string, attrs []message.Attr) []byte {
	dst = append(append(dst, '<'), name...)
	for _, a := range attrs {
		if !message.IsAttribute(a.Name) { // Rules.Shape has told so
			continue
		}
		dst = append(append(append(dst, ' '), a.Name...), `="`...)
		dst = append(appendValue(dst, a.Value), '"')
	}
	return dst
}

// appendValue escapes a value as Android's serializer does: characters beyond U+FFFF are
// references to the halves of their surrogate pairs.
func appendValue(dst []byte, s string) []byte {
	start := 0
	flush := func(i int) { dst = append(dst, s[start:i]...) }
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if text := escapes[c]; text != "" {
				flush(i)
				dst = append(dst, text...)
				start = i + 1
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		half, isHalf := rune(0), false
		if r == utf8.RuneError && n == 1 {
			if half, isHalf = rawjson.Half(s[i:]); isHalf {
				n = 3
			}
		}
		switch {
		case isHalf:
			flush(i)
			dst = appendReference(dst, half)
			start = i + n
		case r == utf8.RuneError && n == 1:
			flush(i)
			dst = append(dst, "\ufffd"...)
			start = i + n
		case r > 0xFFFF:
			flush(i)
			dst = appendReference(dst, 0xD800+(r-0x10000)>>10)
			dst = appendReference(dst, 0xDC00+(r-0x10000)&0x3FF)
			start = i + n
		}
		i += n
	}
	flush(len(s))
	return dst
}

func appendReference(dst []byte, r rune) []byte {
	return append(strconv.AppendInt(append(dst, "&#"...), int64(r), 10), ';')
}

var escapes = func() (e [utf8.RuneSelf]string) {
	for c := range 0x20 {
		e[c] = "&#" + strconv.Itoa(c) + ";"
	}
	e['&'], e['<'], e['>'], e['"'] = "&amp;", "&lt;", "&gt;", "&quot;"
	return e
}()

// wellFormed reports whether text is one element that can stand in an archive. A
// canonical form may come from anywhere.
func wellFormed(text string) bool {
	r := &Reader{buf: []byte("<mms>" + text + "</mms>"), err: io.EOF, opened: true, root: Root{Name: "smses"}}
	r.end = len(r.buf)
	rec, err := r.Next()
	return err == nil && len(rec.XML) == 1 && rec.XML[0] == text && len(rec.Parts)+len(rec.Addrs) == 0 && int(rec.End) == len(r.buf)
}
