package enex

import (
	"bytes"
	"crypto/md5"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const fixtures = "../../../../shared/fixtures/notes/obsidianmd__obsidian-importer/evernote/"

// converted is a note, with its attachments by the path that it has for them.
type converted struct {
	*Note
	files map[string][]byte
}

func read(t testing.TB, r io.Reader) (notes []converted, err error) {
	t.Helper()
	err = Read(t.Context(), r, t.TempDir(), func(n *Note) error {
		c := converted{n, map[string][]byte{}}
		err := n.Convert(func(r *Resource) (string, error) {
			f, err := r.Open()
			if err != nil {
				return "", err
			}
			defer f.Close()
			b, err := io.ReadAll(f)
			if sum := md5.Sum(b); hex.EncodeToString(sum[:]) != r.Hash || int64(len(b)) != r.Size {
				t.Errorf("%s has another hash or size", r.Name())
			}
			c.files["attachments/"+r.Name()] = b
			return "attachments/" + r.Name(), err
		})
		notes = append(notes, c)
		return err
	})
	return notes, err
}

const header = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<!DOCTYPE en-export SYSTEM "http://xml.evernote.com/pub/evernote-export4.dtd">` + "\n<en-export>\n"

// enexOf is a file with one note of the ENML.
func enexOf(enml, more string) string {
	return header + "<note><title>t</title><content><![CDATA[<?xml version=\"1.0\"?><!DOCTYPE en-note SYSTEM \"http://xml.evernote.com/pub/enml2.dtd\"><en-note>" + enml + "</en-note>]]></content>" + more + "</note>\n</en-export>\n"
}

func one(t *testing.T, file string) converted {
	t.Helper()
	notes, err := read(t, strings.NewReader(file))
	if err != nil || len(notes) != 1 {
		t.Fatalf("%d notes, %v", len(notes), err)
	}
	return notes[0]
}

func TestText(t *testing.T) {
	for enml, want := range map[string]string{
		`<div>a</div><div>b &amp; &lt;c&gt; &#55357;&#56832;</div>`:                                                                             "a\n\nb & &lt;c&gt; 😀",
		`<div><en-todo checked="false"/>One</div><div><en-todo checked="true" />Two</div>`:                                                      "- [ ] One\n- [x] Two",
		`<ul><li><div><en-todo checked="true"/>One</div></li></ul>`:                                                                             "- [x] One",
		`<ol style="--en-todo:true;"><li style="--en-checked:false;">Open</li><li style="--en-checked:true;"><div>Done</div></li></ol>`:         "1. [ ] Open\n2. [x] Done",
		`<div style="--en-codeblock:true;--en-codeblockLanguage:go;"><div>func f() {</div><div>    x = "*_` + "`" + `"</div><div>}</div></div>`: "```go\nfunc f() {\n    x = \"*_`\"\n}\n```",
		`<table><tr><td>a</td><td>b</td></tr><tr><td>1</td><td>2</td></tr></table>`:                                                             "| a | b |\n|---|---|\n| 1 | 2 |",
		`<span style="font-weight: bold;">x</span> <b>y</b> <i>z</i> <s>q</s>`:                                                                  "**x** **y** *z* ~~q~~",
		`<a href="javascript:alert(1)">j</a><script>alert(2)</script>`:                                                                          "[j](javascript:alert%281%29)",
		`<h1>T</h1><hr/><blockquote>q</blockquote>`:                                                                                             "# T\n\n* * *\n\n> q",
	} {
		n := one(t, enexOf(enml, ""))
		if n.Body != want {
			t.Errorf("%s:\ngot  %q\nwant %q", enml, n.Body, want)
		}
	}
}

func TestProperties(t *testing.T) {
	n := one(t, enexOf("x", `<created>20241222T222542Z</created><updated>20241223T151903Z</updated><tag>a</tag><tag>b</tag>
<note-attributes><latitude> 52.5 </latitude><author>me</author><source>web</source><reminder-time>20250101T000000Z</reminder-time><application-data key="color">blue</application-data><application-data key="p">high</application-data></note-attributes>
<task><title>do</title><taskStatus>open</taskStatus></task><task><title>too</title></task><new>what</new><new>else</new>`))
	if !n.Created.Equal(time.Date(2024, 12, 22, 22, 25, 42, 0, time.UTC)) || fmt.Sprint(n.Labels) != "[a b]" || len(n.Changes) != 0 {
		t.Errorf("%+v", n.Note)
	}
	md := string(n.Markdown())
	for _, want := range []string{"title: t\n", "created: 2024-12-22T22:25:42Z\n", "- a\n", `latitude: "52.5"`, "author: me", "source_type: web", "reminder_time: 2025-01-01T00:00:00Z", "color: blue", "p: high", "title: do", "title: too", "taskStatus: open", "- what", "- else", "source: Evernote", "\n---\nx\n"} {
		if !strings.Contains(md, want) {
			t.Errorf("%q is not there:\n%s", want, md)
		}
	}
}

func TestAttachments(t *testing.T) {
	b := bytes.Repeat([]byte{1, 2, 3}, 50_000)
	sum := md5.Sum(b)
	data := base64.StdEncoding.EncodeToString(b)
	for i := 76; i < len(data); i += 77 {
		data = data[:i] + "\n" + data[i:]
	}
	n := one(t, enexOf(`<div>see <en-media hash="`+hex.EncodeToString(sum[:])+`" type="image/png" width="50"/></div><en-media hash="00" type="x/y"/>`,
		`<resource><data encoding="base64">`+data+`</data><mime>image/png</mime><width>7</width><recognition><![CDATA[<recoIndex/>]]></recognition><resource-attributes><timestamp>20240101T000000Z</timestamp><file-name>../a b(1).png</file-name><source-url>http://x/</source-url></resource-attributes></resource>
<resource><data encoding="base64">aGVsbG8=</data><mime>text/plain</mime></resource><resource><data encoding="base64">aGVs*</data><mime>text/plain</mime></resource><resource><data encoding="base64">aGVsbG8</data></resource><resource/>`))
	if len(n.Resources) != 4 || !bytes.Equal(n.files["attachments/a b(1).png"], b) || n.Resources[0].Modified.Year() != 2024 {
		t.Errorf("%d attachments, %v", len(n.Resources), n.Resources[0])
	}
	for _, want := range []string{"](attachments/a%20b%281%29.png)", "missing attachment 00", "(attachments/5d41402abc4b2a76b9719d911017c592.txt)"} {
		if !strings.Contains(n.Body, want) {
			t.Errorf("%q is not in\n%s", want, n.Body)
		}
	}
	if md := string(n.Markdown()); !strings.Contains(md, "source_url: http://x/") {
		t.Errorf("the attributes are not there:\n%s", md)
	}
	told := fmt.Sprint(n.Changes)
	for _, want := range []string{"EN-MEDIA", "damaged", "RECOGNITION", "no content", "STYLE"} {
		if !strings.Contains(told, want) {
			t.Errorf("%s is not told: %v", want, n.Changes)
		}
	}
}

func TestEncryptedTextIsKept(t *testing.T) {
	n := one(t, enexOf(`<en-crypt hint="h" cipher="AES">RU5DMCR2</en-crypt>`, ""))
	if !strings.Contains(n.Body, "RU5DMCR2") || !strings.Contains(n.Body, "hint=h") || len(n.Changes) != 1 {
		t.Errorf("%q %v", n.Body, n.Changes)
	}
}

func TestHostile(t *testing.T) {
	for name, file := range map[string]string{
		"nothing": "", "no XML": "hello", "another": "<a></a>", "entities": `<!DOCTYPE en-export [<!ENTITY a "b">]><en-export/>`, "external": `<!DOCTYPE en-export SYSTEM "file:///etc/passwd" [<!ENTITY x SYSTEM "file:///etc/passwd">]><en-export/>`,
		"deep": header + strings.Repeat("<note>", 100_000), "crossed": header + "<note><title></note></title>", "ends": header + "<note><title>", "long tag": header + "<note a='" + strings.Repeat("x", 1<<20),
		"element in data": header + "<note><resource><data><x/></data></resource></note>", "endless data": header + "<note><resource><data>AAAA",
	} {
		if _, err := read(t, strings.NewReader(file)); !errors.Is(err, ErrForm) {
			t.Errorf("%s: %v", name, err)
		}
	}
	deep := one(t, enexOf(strings.Repeat("<div>", 50_000)+"text", ""))
	if !strings.Contains(deep.Body, "text") {
		t.Errorf("deep: %q", deep.Body)
	}
	large := one(t, enexOf(strings.Repeat("<b>word</b> ", 500_000), ""))
	if strings.Count(large.Body, "word") != 500_000 || len(large.Changes) != 1 {
		t.Errorf("large: %d bytes, %v", len(large.Body), large.Changes)
	}
	brackets := one(t, enexOf(strings.Repeat("&#x5b;", 400_000), ""))
	if strings.Count(brackets.Body, "[") != 400_000 || len(brackets.Changes) != 1 {
		t.Errorf("brackets: %d bytes, %v", len(brackets.Body), brackets.Changes)
	}
	spans := one(t, enexOf("<table>"+strings.Repeat("<tr><td colspan='99999999' rowspan='99'>x</td></tr>", 200)+"</table>", ""))
	if len(spans.Body) > 1<<20 {
		t.Errorf("spans: %d bytes", len(spans.Body))
	}
	props := one(t, enexOf("x", strings.Repeat("<tag>"+strings.Repeat("y", 1000)+"</tag>", 3000)))
	if len(props.Changes) != 1 {
		t.Errorf("many tags: %v", props.Changes)
	}
	if n := one(t, header+"<note><title>a &nbsp; &bogus; &#xD83D;&#xDE00; &#55357; x</title></note></en-export>"); n.Title != "a &nbsp; &bogus; 😀 \ufffd x" {
		t.Errorf("%q", n.Title)
	}
}

// All files of the fixtures are read, and where somebody else's converter has given its
// result, that has no word and no attachment which ours has not.
func TestFixtures(t *testing.T) {
	files, _ := filepath.Glob(fixtures + "*.enex")
	more, _ := filepath.Glob(fixtures + "*/*.enex")
	evenMore, _ := filepath.Glob(fixtures + "*/*/*.enex")
	if files = append(append(files, more...), evenMore...); len(files) == 0 {
		t.Skip("the shared fixtures are not there")
	}
	compared := 0
	for _, file := range files {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		notes, err := read(t, f)
		f.Close()
		if err != nil || len(notes) == 0 {
			t.Errorf("%s: %d notes, %v", file, len(notes), err)
			continue
		}
		want := filepath.Join(fixtures, "expected", strings.TrimSuffix(filepath.Base(file), ".enex"))
		for _, n := range notes {
			b, err := os.ReadFile(filepath.Join(want, strings.TrimRight(n.Title, ".")+".md"))
			if err != nil {
				continue
			}
			compared++
			ours := " " + strings.Join(words(string(n.Markdown())), " ") + " "
			for _, w := range words(string(b)) {
				if !strings.Contains(ours, w) {
					t.Errorf("%s: %s: %q is missing in\n%s", filepath.Base(file), n.Title, w, n.Body)
				}
			}
			theirs, _ := filepath.Glob(filepath.Join(want, "attachments", "*"))
			for _, a := range theirs {
				b, _ := os.ReadFile(a)
				found := false
				for _, have := range n.files {
					found = found || bytes.Equal(have, b)
				}
				if !found && len(notes) == 1 {
					t.Errorf("%s: %s is missing", n.Title, a)
				}
			}
		}
	}
	t.Logf("%d files, %d notes compared", len(files), compared)
}

// words are the letters and digits of a text, without what is Markdown's, and without the
// names of attachments, which are another matter.
func words(s string) []string {
	var out []string
	for line := range strings.SplitSeq(s, "\n") {
		if strings.Contains(line, "![[") || strings.HasPrefix(line, "```") || line == "---" || line == "tags:" {
			continue
		}
		out = append(out, strings.FieldsFunc(line, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r > 0x7f && r != '\u00a0')
		})...)
	}
	return out
}

func FuzzRead(f *testing.F) {
	f.Add(enexOf(`<div><en-todo/>a <en-media hash="5d41402abc4b2a76b9719d911017c592"/></div><table><tr><td colspan="3">x</td></tr></table>`, `<tag>x</tag><resource><data encoding="base64">aGVsbG8=</data><mime>text/plain</mime></resource>`))
	f.Fuzz(func(t *testing.T, file string) {
		notes, err := read(t, strings.NewReader(file))
		if err != nil {
			return
		}
		for _, n := range notes {
			n.Markdown()
		}
	})
}
