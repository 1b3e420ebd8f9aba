package smsxml

import (
	"bytes"
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/kind/message"
	"pgregory.net/rapid"
)

// drawValue makes a value of any trouble that archives are known for.
func drawValue(t *rapid.T, name string) string {
	switch rapid.IntRange(0, 9).Draw(t, "sort") {
	case 0:
		return "null"
	case 1:
		return rapid.SampledFrom([]string{"", "0", "1", "-1", "007", "1609459200123", "1609459200", "bad", "99999999999999999999", "(Unknown)", "2", "137", "151", "130", "129"}).Draw(t, "number")
	case 2:
		return rapid.SampledFrom([]string{"😀 \x00\x01\n\r\t", "\xed\xa0\xbd", "\xed\xb8\x80 \xed\xa0\xbd", "a & <b> \"c\" 'd' &amp;", "+1 555-521-5554~+49170", "insert-address-token", "line\u2028\ufffe"}).Draw(t, "odd")
	case 3:
		if name == "data" {
			return base64.StdEncoding.EncodeToString(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
		}
		return rapid.SampledFrom([]string{"text/plain", "application/smil", "image/jpeg"}).Draw(t, "type")
	}
	return rapid.String().Draw(t, "text")
}

var names = []string{"protocol", "address", "date", "type", "subject", "body", "toa", "sc_toa", "service_center", "read", "status", "locked", "date_sent", "sub_id",
	"readable_date", "contact_name", "seen", "msg_box", "ct_t", "sub", "m_type", "m_id", "unknown", "_id", "X-y.z", "seq", "ct", "name", "chset", "cd", "fn", "cid", "cl", "text", "data", "charset"}

func drawAttrs(t *rapid.T) (attrs []message.Attr) {
	order := rapid.Permutation(names).Draw(t, "names")
	for _, n := range order[:rapid.IntRange(0, len(order)).Draw(t, "count")] {
		attrs = append(attrs, message.Attr{Name: n, Value: drawValue(t, n)})
	}
	if rapid.Bool().Draw(t, "usual") { // the order in which the app writes them
		var sorted []message.Attr
		for _, n := range names {
			for _, a := range attrs {
				if a.Name == n {
					sorted = append(sorted, a)
				}
			}
		}
		return sorted
	}
	return attrs
}

func drawElement(t *rapid.T) *message.Element {
	e := &message.Element{Name: rapid.SampledFrom([]string{"sms", "mms"}).Draw(t, "element"), Attrs: drawAttrs(t)}
	if e.Name == "mms" {
		for range rapid.IntRange(0, 3).Draw(t, "parts") {
			e.Parts = append(e.Parts, drawAttrs(t))
		}
		for range rapid.IntRange(0, 3).Draw(t, "addrs") {
			e.Addrs = append(e.Addrs, drawAttrs(t))
		}
		if rapid.IntRange(0, 9).Draw(t, "xml") == 0 {
			e.XML = []string{`<foo a="&#55357;"><bar>x</bar></foo>`}
		}
	}
	return e
}

// TestAnyElementRoundTrips: XML to canonical form to XML keeps every attribute in its order, whatever is in it.
func TestAnyElementRoundTrips(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		e := drawElement(rt)
		text := AppendElement(nil, e)
		rec, err := Parse(text)
		if err != nil {
			rt.Fatalf("%v in %q", err, text)
		}
		if a, b := dump(&Record{Element: *e}), dump(rec); a != b {
			rt.Fatalf("written\n%q\nread as\n%q", a, b)
		}
		data := rec.Canonical().Data
		m, err := message.Decode(data)
		if err != nil {
			rt.Fatalf("%v in %s", err, data)
		}
		if again := m.Bytes(); !bytes.Equal(again, data) {
			rt.Fatalf("the canonical form changes:\n%s\n%s", data, again)
		}
		back, err := Parse(AppendElement(nil, m.SBR()))
		if err != nil {
			rt.Fatal(err)
		}
		if a, b := dump(rec), dump(back); a != b {
			rt.Fatalf("went in as\n%q\ncame out as\n%q\nfrom %s", a, b, data)
		}
	})
}

// FuzzReader: no panic, bounded, and what is read once is read again after it was written.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`<?xml version='1.0'?><smses count="1"><sms body="&#55357;&#56832;&#0;" x='1'/><mms><parts><part data="QQ=="/></parts><addrs><addr/></addrs><foo/></mms></smses>`))
	f.Add([]byte("<calls><call number='\xff&bad;'/></calls>"))
	f.Add([]byte("<smses>text<sms body=\"x<sms /></smses>"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewReader(bytes.NewReader(data))
		for n := 0; ; n++ {
			if n > len(data)+2 {
				t.Fatal("it does not end")
			}
			rec, err := r.Next()
			if err == io.EOF || err == ErrDoctype || err == ErrDepth || err == ErrEncoding || err == ErrArchive {
				return
			}
			if err != nil {
				continue
			}
			if rec.Offset < 0 || rec.End > int64(len(data)) || data[rec.Offset] != '<' || data[rec.End-1] != '>' {
				t.Fatalf("it is said to be at %d to %d", rec.Offset, rec.End)
			}
			throughCanonical(t, strings.ToValidUTF8(string(data), "?"), rec)
		}
	})
}
