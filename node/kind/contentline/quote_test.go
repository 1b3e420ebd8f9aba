package contentline

import (
	"slices"
	"testing"
)

// TestQuoteCarets: a bare circumflex is quoted, and every parameter says what it said.
func TestQuoteCarets(t *testing.T) {
	for _, c := range []struct{ version, line, want string }{
		{"4.0", `ADR;TYPE=work;LABEL=a^nb^'c:;;d`, `ADR;TYPE=work;LABEL="a^nb^'c":;;d`},
		{"4.0", `ADR;LABEL="a^nb":;;d`, `ADR;LABEL="a^nb":;;d`},
		{"4.0", `X;a=one^^,"two^",three:v`, `X;a="one^^","two^",three:v`},
		{"4.0", `X;A=^":v`, `X;A=^":v`}, // a quote without another one stays broken
		{"3.0", `X;A=a^nb:v`, `X;A="a^nb":v`},
		{"3.0", `X;A=b:v^w`, `X;A=b:v^w`},
		{"2.1", `TEL;a^b:1`, `TEL;a^b:1`}, // no name
	} {
		f := Parse([]byte("BEGIN:VCARD\nVERSION:" + c.version + "\n" + c.line + "\nEND:VCARD\n"))
		p := f.Root.Nodes[0].Component.Nodes[1].Property
		before := p.Params()
		p.QuoteCarets()
		if got := string(p.Raw()); got != c.want+"\n" {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
		again := Parse([]byte("BEGIN:VCARD\nVERSION:" + c.version + "\n" + string(p.Raw()) + "END:VCARD\n"))
		if after := again.Root.Nodes[0].Component.Nodes[1].Property.Params(); !slices.EqualFunc(before, after, sameParam) {
			t.Errorf("%s: %q became %q", c.line, before, after)
		}
	}
}
