package smsxml

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/message"
)

// all reads an archive: its records and what was wrong with it.
func all(t testing.TB, in io.Reader) (records []*Record, broken []*BrokenError, err error) {
	t.Helper()
	r := NewReader(in)
	for {
		rec, err := r.Next()
		b := (*BrokenError)(nil)
		switch {
		case err == io.EOF:
			return records, broken, nil
		case errors.As(err, &b):
			broken = append(broken, b)
		case err != nil:
			return records, broken, err
		default:
			records = append(records, rec)
		}
	}
}

func one(t *testing.T, xml string) *Record {
	t.Helper()
	records, broken, err := all(t, strings.NewReader(`<smses count="7">`+xml+`</smses>`))
	if err != nil || len(broken) > 0 || len(records) != 1 {
		t.Fatalf("%s: %d records, broken %v, %v", xml, len(records), broken, err)
	}
	return records[0]
}

func TestValuesKeepWhatXMLParsersDestroy(t *testing.T) {
	for text, want := range map[string]string{
		`&#55357;&#56832;`:              "😀",
		`&#xD83D;&#xDE00;`:              "😀",
		`&#128512;`:                     "😀",
		"😀":                             "😀",
		"\xed\xa0\xbd\xed\xb8\x80":      "😀", // CESU-8
		`&#0;&#1;&#31;`:                 "\x00\x01\x1f",
		`a&#10;b&#13;&#9;`:              "a\nb\r\t",
		`&#55357;x`:                     "\xed\xa0\xbdx",
		`&#56832;&#55357;`:              "\xed\xb8\x80\xed\xa0\xbd",
		`&amp;lt; &lt;&gt;&quot;&apos;`: `&lt; <>"'`,
		`A & B &foo; &#; &#99999999;`:   `A & B &foo; &#; &#99999999;`,
		"caf\xe9":                       "café",
		"1 < 2 'x'":                     "1 < 2 'x'",
		"":                              "",
	} {
		rec := one(t, `<sms body="`+text+`" />`)
		if got := rec.Attrs[0].Value; got != want {
			t.Errorf("%q is read as %q, want %q", text, got, want)
		}
		again := one(t, string(AppendElement(nil, &rec.Element)))
		if got := again.Attrs[0].Value; got != want {
			t.Errorf("%q comes back as %q", text, got)
		}
	}
	got := string(AppendElement(nil, &message.Element{Name: "sms", Attrs: []message.Attr{{Name: "body", Value: "\"a\" <b> & '😀'\n\x00"}}}))
	if want := "  <sms body=\"&quot;a&quot; &lt;b&gt; &amp; '&#55357;&#56832;'&#10;&#0;\" />\n"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
}

func TestOddValuesAreFlagged(t *testing.T) {
	for xml, want := range map[string]string{
		`<sms body="&#55357;"/>`:                                  "flagged BODY",
		"<sms body=\"\xff\"/>":                                    "repaired BODY",
		`<sms body="a" body="b"/>`:                                "dropped BODY",
		`<sms body="a&b"/>`:                                       "flagged BODY",
		`<sms body="a">text</sms>`:                                "dropped SMS",
		`<mms><foo a="1"><bar/></foo></mms>`:                      "flagged FOO",
		`<mms><parts x="1"></parts></mms>`:                        "dropped PARTS/X",
		`<mms><parts><part ct="a/b">x</part></parts></mms>`:       "dropped PART",
		`<mms><parts><foo/></parts></mms>`:                        "dropped PARTS/FOO",
		`<sms body="` + strings.Repeat("x", maxValue+1) + `"/>`:   "dropped BODY",
		`<sms body="` + strings.Repeat("&lt;", maxValue) + `" />`: "",
	} {
		rec := one(t, xml)
		got := ""
		for _, f := range rec.Flags {
			got += f.Effect.String() + " " + f.Property
		}
		if got != want {
			t.Errorf("%.80s: flags %q, want %q", xml, got, want)
		}
	}
}

func TestBrokenPlacesArePassedOver(t *testing.T) {
	const good = `<sms body="good" />`
	for name, c := range map[string]struct {
		xml             string
		records, broken int
	}{
		"no quote":    {`<smses>` + good + `<sms body=5 />` + good + `</smses>`, 2, 2},
		"not closed":  {`<smses>` + good + `<mms body="x"><parts>` + good + `</smses>`, 1, 2},
		"cut off":     {`<smses>` + good + `<sms body="x`, 1, 1},
		"no end":      {`<smses>` + good, 1, 1},
		"text":        {`<smses>` + good + `oops` + good + `</smses>`, 2, 1},
		"unknown":     {`<smses>` + good + `<foo a="1"><bar/></foo>` + good + `</smses>`, 2, 1},
		"wrong end":   {`<smses>` + good + `</foo>` + good + `</smses>`, 2, 2},
		"comments":    {"<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<!--File Created By -- x-->\n<?xml-stylesheet type=\"text/xsl\" href=\"sms.xsl\"?>\n<smses count='9'><!-- <sms body='no'/> -->" + good + `</smses> <!-- end -->`, 1, 0},
		"empty":       {`<smses count="0" />`, 0, 0},
		"byte order":  {"\xef\xbb\xbf<smses>" + good + "</smses>", 1, 0},
		"twice ended": {`<smses>` + good + `</smses></smses>`, 1, 0},
	} {
		records, broken, err := all(t, strings.NewReader(c.xml))
		if err != nil || len(records) != c.records || len(broken) != c.broken {
			t.Errorf("%s: %d records, %d broken %v, %v; want %d and %d", name, len(records), len(broken), broken, err, c.records, c.broken)
		}
	}
}

// fixtures are real archives from public projects (Apache-2.0; see the index beside them).
func fixtures(t testing.TB) []string {
	dir := "../../../../shared/fixtures/sms/shruggietech__sms-backup-restore-parser/fixtures"
	names, _ := filepath.Glob(dir + "/*.xml")
	if len(names) == 0 {
		t.Log("the shared fixtures are not here: only testdata is used")
	}
	own, _ := filepath.Glob("testdata/*.xml")
	return append(names, own...)
}

func TestFixturesRoundTripThroughTheCanonicalForm(t *testing.T) {
	attributes, parts := 0, 0
	for _, name := range fixtures(t) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		records, _, err := all(t, bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range records {
			attributes += len(rec.Attrs)
			parts += len(rec.Parts)
			throughCanonical(t, filepath.Base(name), rec)
		}
	}
	if attributes == 0 {
		t.Fatal("no attribute was compared")
	}
	t.Logf("%d attributes of messages and %d parts are the same", attributes, parts)
}

// throughCanonical writes a record's canonical form as XML again and compares.
func throughCanonical(t *testing.T, name string, rec *Record) {
	t.Helper()
	data := rec.Canonical().Data
	var text []byte
	if rec.Kind() == item.Call {
		c, err := call.Decode(data)
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, data)
		}
		text = AppendCall(nil, c.SBR())
	} else {
		m, err := message.Decode(data)
		if err != nil {
			t.Fatalf("%s: %v in %s", name, err, data)
		}
		if again := m.Bytes(); !bytes.Equal(again, data) {
			t.Errorf("%s: the canonical form changes:\n%s\n%s", name, data, again)
		}
		text = AppendElement(nil, m.SBR())
	}
	again, err := Parse(text)
	if err != nil {
		t.Fatalf("%s: %v in %s", name, err, text)
	}
	if a, b := dump(rec), dump(again); a != b {
		t.Errorf("%s: read\n%s\ncame back as\n%s\nfrom %s", name, a, b, data)
	}
}

func dump(rec *Record) string {
	var b strings.Builder
	line := func(kind string, attrs []message.Attr) {
		b.WriteString(kind)
		for _, a := range attrs {
			b.WriteString(" " + a.Name + "=" + a.Value + "\x1f")
		}
		b.WriteByte('\n')
	}
	line(rec.Name, rec.Attrs)
	for _, p := range rec.Parts {
		line("part", p)
	}
	for _, a := range rec.Addrs {
		line("addr", a)
	}
	for _, x := range rec.XML {
		b.WriteString(x + "\n")
	}
	return b.String()
}
