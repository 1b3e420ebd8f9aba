package contentline

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fixtures calls f for every public sample of address books and calendars.
func fixtures(t testing.TB, f func(name string, data []byte)) {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "..", "shared", "fixtures")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the public collection is not here")
	}
	n := 0
	for _, sub := range []string{"vcard", "ics"} {
		err := filepath.WalkDir(filepath.Join(dir, sub), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			switch filepath.Ext(p) {
			case ".json", ".xml", ".html":
				return nil
			}
			data, err := os.ReadFile(p)
			if err == nil {
				n++
				f(d.Name(), data)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n == 0 {
		t.Fatal("no files")
	}
}

func TestPublicFilesStayAsTheyAre(t *testing.T) {
	fixtures(t, func(name string, data []byte) {
		for _, d := range [][]byte{data, toUTF16(data)} {
			f := Parse(d)
			if !bytes.Equal(f.Bytes(), d) {
				t.Errorf("%s: %d bytes became %d", name, len(d), len(f.Bytes()))
			}
		}
	})
}

func toUTF16(data []byte) []byte {
	w := wide{order: wideKind([]byte{0xff, 0xfe, 'B', 0}).order, mark: true}
	return w.widen(data)
}

// TestPublicFilesWrittenAnew makes every property of the public files one that is
// written anew, and looks whether it still says the same.
func TestPublicFilesWrittenAnew(t *testing.T) {
	fixtures(t, func(name string, data []byte) {
		f, again := Parse(data), Parse(data)
		for c := range again.Root.All() {
			for p := range c.Properties() {
				if p.Name() != "" {
					p.edit()
				}
			}
		}
		compareFiles(t, name, f, Parse(again.Bytes()))
	})
}

// compareFiles compares what the properties of two files say. Blank lines do not count.
func compareFiles(t *testing.T, name string, a, b *File) {
	t.Helper()
	x, y := list(a), list(b)
	for i := range min(len(x), len(y)) {
		if x[i].name != y[i].name || x[i].Group() != y[i].Group() || !slices.EqualFunc(x[i].Params(), y[i].Params(), sameParam) {
			t.Fatalf("%s: property %d: %q became %q", name, i, x[i].Raw(), y[i].Raw())
		}
		if v, w := x[i].Value(), y[i].Value(); v != w && !(x[i].encoding() != "" && strings.ReplaceAll(strings.TrimSuffix(v, "="), " ", "") == strings.ReplaceAll(w, " ", "")) {
			t.Fatalf("%s: property %d: value %q became %q", name, i, v, w)
		}
	}
	if len(x) != len(y) {
		t.Fatalf("%s: %d properties became %d", name, len(x), len(y))
	}
}

func list(f *File) (out []*Property) {
	for c := range f.Root.All() {
		for p := range c.Properties() {
			if !p.Blank() {
				out = append(out, p)
			}
		}
	}
	return out
}

func TestDecode(t *testing.T) {
	const (
		v21 = "BEGIN:VCARD\r\nVERSION:2.1\r\n"
		v30 = "BEGIN:VCARD\r\nVERSION:3.0\r\n"
		v40 = "BEGIN:VCARD\r\nVERSION:4.0\r\n"
	)
	for _, c := range []struct {
		name, data string
		want       string
		problem    Problem
	}{
		{"quoted-printable", v21 + "NOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:Gr=C3=BC=\r\n=C3=9Fe=0D=0Ahier", "Grüße\nhier", ""},
		{"bare encoding", v21 + "NOTE;QUOTED-PRINTABLE:a=3Db", "a=b", ""},
		{"Latin-1", v21 + "NOTE;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:M=FCller", "Müller", ""},
		{"Shift_JIS with a backslash byte", v30 + "NOTE;CHARSET=SHIFT_JIS:\x88\xc0\x93\xa1\x83\x5c", "安藤ソ", ""},
		{"no character set", v21 + "NOTE:M\xfcller", "Müller", ProblemCharset},
		{"unknown character set", v21 + "NOTE;CHARSET=X-NONE:M\xfcller", "Müller", ProblemCharset},
		{"quoted-printable in 3.0", v30 + "NOTE;ENCODING=QUOTED-PRINTABLE:M=C3=BCller", "Müller", ""},
		{"escapes in 2.1", v21 + `NOTE:a\,b\\c\;d`, `a\,b\\c;d`, ""},
		{"blank behind a soft break", v21 + "NOTE;ENCODING=QUOTED-PRINTABLE:a=\r\n b", "a b", ""},
		{"escapes in 3.0", v30 + `NOTE:a\,b\;c\nd\Ne\\n http\://x \x \`, "a,b;c\nd\ne\\n http://x \\x \\", ""},
		{"folds", v40 + "NOTE:Gr\xc3\r\n \xbc\r\n\t\xc3\x9fe", "Grüße", ""},
		{"control character", v40 + "NOTE:a\x00b", "a\x00b", ProblemControl},
		{"cut escapes", v21 + "NOTE;QUOTED-PRINTABLE:a=4", "a=4", ""},
		{"broken soft break", v21 + "NOTE;QUOTED-PRINTABLE:a=", "a", ""},
		{"backslash at the end of a line", v21 + "NOTE:one\\\r\ntwo\\\r\nthree", `one\ntwo\nthree`, ""},
		{"backslash and semicolon in 2.1", v21 + `NOTE:\\;`, `\;`, ""},
	} {
		f := Parse([]byte(c.data + "\r\nEND:VCARD\r\n"))
		p := f.Root.Nodes[0].Component.Get("NOTE")
		if got := p.Text(); got != c.want || p.Check() != c.problem {
			t.Errorf("%s: %q, problem %q; want %q, %q", c.name, got, p.Check(), c.want, c.problem)
		}
		if f.Root.Nodes[0].Component.End == nil {
			t.Errorf("%s: no end", c.name)
		}
	}
}

func TestStructured(t *testing.T) {
	for _, c := range []struct {
		version, line string
		want          [][]string
	}{
		{"2.1", `N:;A\;B\\;C\\\;;D;\:E;\\\\;`, [][]string{{""}, {`A;B\`}, {`C\;`}, {"D"}, {":E"}, {`\\`}, {""}}},
		{"2.1", "N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=41=3B=42;=43", [][]string{{"A;B"}, {"C"}}},
		{"2.1", "N:Doe;Richter, James", [][]string{{"Doe"}, {"Richter, James"}}},
		{"3.0", `N:Doe;John;Richter\, James,Jim;Mr.`, [][]string{{"Doe"}, {"John"}, {"Richter, James", "Jim"}, {"Mr."}}},
		{"3.0", "N;CHARSET=SHIFT_JIS:\x88\xc0\x93\xa1;\x83\x5c", [][]string{{"安藤"}, {"ソ"}}},
		{"4.0", "N:", [][]string{{""}}},
	} {
		f := Parse([]byte("BEGIN:VCARD\nVERSION:" + c.version + "\n" + c.line + "\nEND:VCARD\n"))
		if got := f.Root.Nodes[0].Component.Get("N").Components(); !slices.EqualFunc(got, c.want, slices.Equal) {
			t.Errorf("%q: %q, want %q", c.line, got, c.want)
		}
	}
}

func TestParams(t *testing.T) {
	for _, c := range []struct{ version, line, want string }{
		{"2.1", "TEL;CELL;VOICE;X-A=b:1", "|CELL||VOICE|X-A|b"},
		{"3.0", `TEL;TYPE="COMMA,SEPARATED:INSIDE.DQUOTE",PREF:1`, "TYPE|COMMA,SEPARATED:INSIDE.DQUOTE+PREF"},
		{"4.0", "ADR;LABEL=A ^'B^' ^n^^C;type=\"work\":;;", "LABEL|A \"B\" \n^C|TYPE|work"},
		{"3.0", "TEL;X=a^nb:1", "X|a^nb"},
		{"3.0", `TEL;CN="never;TYPE=home:1`, `CN|"never|TYPE|home`},
		{"3.0", "item1.TEL:1", ""},
	} {
		f := Parse([]byte("BEGIN:VCARD\nVERSION:" + c.version + "\n" + c.line + "\nEND:VCARD\n"))
		var got []string
		for _, q := range f.Root.Nodes[0].Component.Nodes[1].Property.Params() {
			got = append(got, q.Name, strings.Join(q.Values, "+"))
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%q: %q, want %q", c.line, s, c.want)
		}
	}
}

func TestBinary(t *testing.T) {
	const v21, v40 = "BEGIN:VCARD\r\nVERSION:2.1\r\n", "BEGIN:VCARD\r\nVERSION:4.0\r\n"
	for _, c := range []struct{ name, data, want, media string }{
		{"folded, blank line", v21 + "PHOTO;ENCODING=BASE64;JPEG:\r\n QUJD\r\n REVG\r\n\r\nX:1", "ABCDEF", ""},
		{"folded, no blank line", v21 + "PHOTO;ENCODING=BASE64;JPEG:\r\n QUJD\r\n REVG\r\nX:1", "ABCDEF", ""},
		{"not folded, blank line", v21 + "PHOTO;BASE64:QUJD\r\nREVG\r\n\r\nX:1", "ABCDEF", ""},
		{"not folded, no blank line", v21 + "PHOTO;ENCODING=B:QUJD\r\nREVG\r\nX:1", "ABCDEF", ""},
		{"no padding", v21 + "PHOTO;ENCODING=B:QUI\r\nX:1", "AB", ""},
		{"data: URI", v40 + "PHOTO:data:image/png;base64,QUJD\r\nX:1", "ABC", "image/png"},
		{"escaped data: URI", v40 + "PHOTO:data:image/png\\;base64\\,QUJD\r\nX:1", "ABC", "image/png"},
		{"data: URI in percents", v40 + "PHOTO:data:,A%20B\r\nX:1", "A B", ""},
		{"no base64", v21 + "PHOTO;ENCODING=B:Q!\r\nX:1", "-", ""},
		{"a URI", v40 + "PHOTO:http://a.example/\r\nX:1", "-", ""},
	} {
		data := c.data + "\r\nEND:VCARD\r\n"
		f := Parse([]byte(data))
		card := f.Root.Nodes[0].Component
		b, media, ok := card.Get("PHOTO").Binary()
		if !ok {
			b = []byte("-")
		}
		if string(b) != c.want || media != c.media || card.Get("X") == nil || card.End == nil {
			t.Errorf("%s: %q %q", c.name, b, media)
		}
		if string(f.Bytes()) != data {
			t.Errorf("%s: the bytes changed", c.name)
		}
	}
}

func TestEdit(t *testing.T) {
	const head, tail = "BEGIN:VCARD\r\nVERSION:%\r\n", "END:VCARD\r\n"
	for _, c := range []struct {
		name, version, line string
		do                  func(*Property)
		want                string
	}{
		{"nothing", "3.0", "NOTE:a\r\n b\r\n", func(p *Property) { p.SetText("ab"); p.SetName("NOTE"); p.SetGroup("") }, "NOTE:a\r\n b\r\n"},
		{"text", "3.0", "NOTE;X=\"a;b\":a\r\n", func(p *Property) { p.SetText("b,c;d\\e\nf") }, "NOTE;X=\"a;b\":b\\,c\\;d\\\\e\\nf\r\n"},
		{"text in 2.1", "2.1", "NOTE:a\r\n", func(p *Property) { p.SetText("ü\nb") }, "NOTE;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=C3=BC=0D=0Ab\r\n"},
		{"no need for quoted-printable", "2.1", "NOTE;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8;HOME:=C3=BC\r\n", func(p *Property) { p.SetText("b") }, "NOTE;HOME:b\r\n"},
		{"soft breaks", "2.1", "NOTE:a\r\n", func(p *Property) { p.SetText(strings.Repeat("é", 14)) },
			"NOTE;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9=\r\n=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9=C3=A9\r\n"},
		{"fold", "4.0", "NOTE:a\r\n", func(p *Property) { p.SetText(strings.Repeat("é", 40)) }, "NOTE:" + strings.Repeat("é", 35) + "\r\n " + strings.Repeat("é", 5) + "\r\n"},
		{"components", "4.0", "N:a;b\r\n", func(p *Property) { p.SetComponents([][]string{{"x,y"}, {"1", "2"}, {""}}) }, "N:x\\,y;1,2;\r\n"},
		{"components in 2.1", "2.1", "N:a;b\r\n", func(p *Property) { p.SetComponents([][]string{{"x;y"}, {"1", "2"}, {"ü"}}) },
			"N;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:x\\;y;1,2;=C3=BC\r\n"},
		{"list", "4.0", "CATEGORIES:a\r\n", func(p *Property) { p.SetList([]string{"a", "b,c"}) }, "CATEGORIES:a,b\\,c\r\n"},
		{"group and name", "3.0", "item1.TEL:1\r\n", func(p *Property) { p.SetGroup("g2"); p.SetName("X-TEL") }, "g2.X-TEL:1\r\n"},
		{"parameter", "4.0", "TEL;A=b;TYPE=x;B=c:1\r\n", func(p *Property) { p.SetParam("TYPE", "home", "a:b \"c\"\n^") }, "TEL;A=b;TYPE=home,\"a:b ^'c^'^n^^\";B=c:1\r\n"},
		{"parameter in 3.0", "3.0", "TEL:1\r\n", func(p *Property) { p.SetParam("X", "a \"b\"\n") }, "TEL;X=\"a 'b' \":1\r\n"},
		{"no parameter", "3.0", "TEL;A=b;TYPE=x:1\r\n", func(p *Property) { p.SetParam("TYPE") }, "TEL;A=b:1\r\n"},
		{"binary in 2.1", "2.1", "PHOTO;JPEG:x\r\n", func(p *Property) { p.SetBinary([]byte("ABC"), "image/jpeg") }, "PHOTO;JPEG;ENCODING=BASE64:\r\n QUJD\r\n\r\n"},
		{"binary in 4.0", "4.0", "PHOTO:x\r\n", func(p *Property) { p.SetBinary([]byte("ABC"), "image/jpeg") }, "PHOTO:data:image/jpeg;base64,QUJD\r\n"},
		{"doubled break", "3.0", "NOTE:a\r\r\n", func(p *Property) { p.SetText("b") }, "NOTE:b\r\r\n"},
		{"parameter of quoted-printable", "2.1", "NOTE;ENCODING=QUOTED-PRINTABLE:a=\r\nb\r\n", func(p *Property) { p.SetParam("X", "y") }, "NOTE;ENCODING=QUOTED-PRINTABLE;X=y:ab\r\n"},
		{"line break in a raw value", "3.0", "NOTE:a\r\n", func(p *Property) { p.SetValue("a\r\nEND:VCARD") }, "NOTE:a\\nEND:VCARD\r\n"},
	} {
		pre := strings.Replace(head, "%", c.version, 1)
		f := Parse([]byte(pre + c.line + tail))
		c.do(f.Root.Nodes[0].Component.Nodes[1].Property)
		if got := string(f.Bytes()); got != pre+c.want+tail {
			t.Errorf("%s: %q, want %q", c.name, got, pre+c.want+tail)
		}
	}
}

func TestInsertAndRemove(t *testing.T) {
	f := Parse([]byte("BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nUID:a\nBEGIN:VALARM\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR"))
	event := f.Root.Nodes[0].Component.Nodes[1].Component
	p := NewProperty(event.Dialect, f.Break(), "SUMMARY")
	p.SetText("a,b")
	event.Append(p)
	event.Remove(event.Get("UID"))
	event.AppendComponent(NewComponent("VALARM", event.Dialect, f.Break()))
	f.Root.AppendComponent(NewComponent("VCALENDAR", ICal20, f.Break()))
	const want = "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nSUMMARY:a\\,b\nBEGIN:VALARM\nEND:VALARM\nBEGIN:VALARM\nEND:VALARM\nEND:VEVENT\nEND:VCALENDAR\nBEGIN:VCALENDAR\nEND:VCALENDAR\n"
	if got := string(f.Bytes()); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	copied := event.Clone()
	copied.Get("SUMMARY").SetText("other")
	if copied.Parent != nil || string(f.Bytes()) != want || !strings.Contains(string(copied.Bytes()), "other") {
		t.Errorf("a copy's edit: %q", copied.Bytes())
	}
}

func TestAppendBehindASoftBreak(t *testing.T) {
	f := Parse([]byte("BEGIN:VCARD\r\nVERSION:2.1\r\nNOTE;QUOTED-PRINTABLE:a=\r\nEND:VCARD\r\n"))
	card := f.Root.Nodes[0].Component
	p := NewProperty(card.Dialect, f.Break(), "TEL")
	p.SetText("1")
	card.Append(p)
	if again := Parse(f.Bytes()).Root.Nodes[0].Component; again.Text("TEL") != "1" || again.Text("NOTE") != "a" {
		t.Errorf("%q", f.Bytes())
	}
}

func TestNesting(t *testing.T) {
	for _, c := range []struct{ name, data, want string }{
		{"agent", "BEGIN:VCARD\nAGENT:\n\nBEGIN:VCARD\nEND:VCARD\nFN:a\nEND:VCARD\n", "VCARD(AGENT,,VCARD(),FN)"},
		{"agent on one line", "BEGIN:VCARD\nAGENT:BEGIN:VCARD\nFN:x\nEND:VCARD\nFN:a\nEND:VCARD\n", "VCARD(VCARD(FN),FN)"},
		{"no end", "BEGIN:VCARD\nFN:a\nBEGIN:VCARD\nEND:VCARD\n", "VCARD!(FN),VCARD()"},
		{"stray end", "END:VCARD\nBEGIN:VCARD\nEND:VEVENT\nEND:VCARD\n", "END!,VCARD(END!)"},
		{"crossed", "BEGIN:VCALENDAR\nBEGIN:VEVENT\nBEGIN:VALARM\nEND:VEVENT\nBEGIN:VTODO\nBEGIN:VEVENT\nEND:VCALENDAR\n", "VCALENDAR(VEVENT(VALARM!()),VTODO!(),VEVENT!())"},
		{"broken lines", "BEGIN:VCARD\n#comment\nFN:a\nEND:VCARD\n", "VCARD(!,FN)"},
	} {
		f := Parse([]byte(c.data))
		if got := outline(f.Root); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// outline writes a tree on one line; "!" marks what is flagged or not closed.
func outline(c *Component) string {
	var parts []string
	for _, n := range c.Nodes {
		switch {
		case n.Component == nil && n.Property.Problem() != "":
			parts = append(parts, n.Property.Name()+"!")
		case n.Component == nil:
			parts = append(parts, n.Property.Name())
		case n.Component.End == nil:
			parts = append(parts, n.Component.Name+"!("+outline(n.Component)+")")
		default:
			parts = append(parts, n.Component.Name+"("+outline(n.Component)+")")
		}
	}
	return strings.Join(parts, ",")
}

// TestRT18Tree bounds what Parse makes of what is meant to exhaust it.
func TestRT18Tree(t *testing.T) {
	for name, c := range map[string]struct {
		data  string
		nodes int
		depth int
	}{
		"a hundred thousand nested": {strings.Repeat("BEGIN:X\n", 1e5), 1e5, MaxDepth},
		"nested and closed":         {strings.Repeat("BEGIN:X\n", 1e5) + strings.Repeat("END:X\n", 1e5), 2e5, MaxDepth},
		"a million properties":      {"BEGIN:VCARD\n" + strings.Repeat("TEL;HOME:+1\n", 1e6) + "END:VCARD\n", 1e6 + 2, 1},
		"three million blank lines": {strings.Repeat("\n", 3e6), 2, 0},
		"three million lines":       {strings.Repeat("a\n", 3e6), MaxLines + 1, 0},
		"a folded line of 20 MB":    {"NOTE:" + strings.Repeat("\n "+strings.Repeat("x", 73), 20<<20/75), 1, 0},
		"base64 on its own lines":   {"P;ENCODING=B:" + strings.Repeat("QUJD\n", 1e6), 1, 0},
		"backslashes":               {"P:" + strings.Repeat("\\\n", 1e6), 1, 0},
		"base64 that never goes on": {strings.Repeat("P;ENCODING=B:\n\n", 5e5), 5e5, 0},
		"stray ends":                {strings.Repeat("BEGIN:A\n", MaxDepth) + strings.Repeat("END:B\n", 1e5), MaxDepth + 1e5, MaxDepth},
		"parameters":                {"P" + strings.Repeat(";A", 1e6) + ":1\n", 1, 0},
		"quotes":                    {"P" + strings.Repeat(";\"", 1e6) + ":1\n", 1, 0},
	} {
		f := Parse([]byte(c.data))
		nodes, depth := 0, 0
		for x := range f.Root.All() {
			d := 0
			for y := x; y.Parent != nil; y = y.Parent {
				d++
			}
			depth = max(depth, d)
			for _, q := range [...]*Property{x.Begin, x.End} {
				if q != nil {
					nodes++
				}
			}
			for p := range x.Properties() {
				nodes++
				p.Params()
				p.Text()
			}
		}
		if nodes != c.nodes || depth != c.depth {
			t.Errorf("%s: %d nodes, depth %d; want %d, %d", name, nodes, depth, c.nodes, c.depth)
		}
		if string(f.Bytes()) != c.data {
			t.Errorf("%s: the bytes changed", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=UTF-8;QUOTED-PRINTABLE:=41=\r\n=42;b\r\nPHOTO;BASE64:\r\n QUJD\r\n\r\nEND:VCARD\r\n",
		"BEGIN:VCARD\nVERSION:4.0\nitem1.ADR;LABEL=\"a,b^n\":;;c\\,d;e\nAGENT:\nBEGIN:VCARD\nEND:VCARD\nEND:VCARD",
		"BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VEVENT\nDTSTART;TZID=\"X;Y\":2024\n 0101\nEND:VEVENT\nEND:VCALENDAR\n",
		"\xff\xfeB\x00E\x00\x00\xd8", "\ufeffN:a\\\nb\n\nBEGIN:X\rEND:X\r", "P;ENCODING=B:Q\nQQ\n\n:\n",
	} {
		f.Add([]byte(s), uint16(1), "té,x;\n\\")
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint16, text string) {
		file := Parse(data)
		if !bytes.Equal(file.Bytes(), data) {
			t.Fatalf("%q became %q", data, file.Bytes())
		}
		all := list(file)
		for _, p := range all {
			p.Text()
			p.List()
			p.Components()
			p.Binary()
			p.Check()
		}
		if len(all) == 0 {
			return
		}
		p := all[int(which)%len(all)]
		if slices.Contains([]string{"", "BEGIN", "END", "AGENT", "VERSION"}, p.Name()) || p.problem != "" || strings.ContainsFunc(p.Name(), func(r rune) bool { return r > 0x7f || !nameByte(byte(r)) }) {
			return
		}
		at := 0
		for &file.Text()[at] != &p.raw[0] {
			at++
		}
		before, after := file.Text()[:at], file.Text()[at+len(p.raw):]
		text = strings.ToValidUTF8(text, "?")
		p.SetText(text)
		if got := p.Text(); got != newlines(text) {
			t.Fatalf("%q was set, and %q read", text, got)
		}
		if got := file.Root.Bytes(); !bytes.HasPrefix(got, before) || !bytes.HasSuffix(got, after) {
			t.Fatalf("setting %q to %q made %q of %q", p.Name(), text, got, file.Text())
		}
		if p.Touched() {
			line := Parse(append([]byte("BEGIN:VCARD"+p.Break()+"VERSION:"+p.dialect.String()+p.Break()), p.Raw()...))
			q := line.Root.Nodes[0].Component.Nodes
			if len(q) < 2 || q[1].Property == nil || p.dialect != ICal20 && p.dialect != VCal10 && q[1].Property.Text() != newlines(text) {
				t.Fatalf("%q does not say %q", p.Raw(), text)
			}
		}
	})
}

func ExampleParse() {
	f := Parse([]byte("BEGIN:VCARD\r\nVERSION:2.1\r\nN;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:M=FCller;J\r\nTEL;CELL:1\r\nEND:VCARD\r\n"))
	for card := range f.Root.Components() {
		fmt.Println(card.Get("N").Components())
		tel := card.Get("TEL")
		tel.SetText("+49 30 1")
	}
	fmt.Print(strings.ReplaceAll(string(f.Bytes()), "\r", ""))
	// Output:
	// [[Müller] [J]]
	// BEGIN:VCARD
	// VERSION:2.1
	// N;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:M=FCller;J
	// TEL;CELL:+49 30 1
	// END:VCARD
}
