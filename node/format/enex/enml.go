package enex

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/JohannesKaufmann/html-to-markdown/v2/converter"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/base"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/commonmark"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/strikethrough"
	"github.com/JohannesKaufmann/html-to-markdown/v2/plugin/table"
	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/note"
)

// Limits of the text of a note. What goes beyond is still there, but plain.
const (
	maxMarkup   = 4 << 20 // bytes
	maxNodes    = 50_000
	maxBrackets = 10_000 // for each of them the converter looks for its end
	maxNesting  = 100
	maxSpan     = 20  // columns or rows of one cell
	maxSpans    = 500 // cells of more than one column or row
	unchecked   = '\ufdd0'
	checked     = '\ufdd1'
	lineBreak   = "\n"
)

// Convert makes Markdown of the note's text. attach is called for each attachment, in the
// order in which the note has them, and returns what the text is to refer to.
func (n *Note) Convert(attach func(*Resource) (string, error)) error {
	c := &conversion{n: n, paths: map[string]string{}, byHash: map[string]*Resource{}, used: map[string]bool{}, styles: map[string]bool{}}
	var described []any
	for _, r := range n.Resources {
		if c.byHash[r.Hash] != nil { // twice the same
			continue
		}
		to, err := attach(r)
		if err != nil {
			return err
		}
		c.paths[r.Hash], c.byHash[r.Hash] = to, r
		if len(r.fields) > 0 {
			m := map[string]any{"file": to, "mime": r.Mime}
			for _, f := range r.fields {
				put(m, f.Name, f.Value)
			}
			described = append(described, m)
		}
	}
	if len(described) > 0 {
		n.Fields = append(n.Fields, note.Field{Name: "attachments", Value: described})
	}
	n.Body = c.markdown(n.content.String())
	n.content.Reset()
	if n.cut {
		n.lost("CONTENT", item.EffectDropped, fmt.Sprintf("its text is not whole: it has more than %d bytes or is no text", MaxContent), "")
	}
	c.leftOver()
	if len(c.styles) > 0 {
		n.lost("CONTENT/STYLE", item.EffectDropped, "Markdown has no such formatting", strings.Join(slices.Sorted(maps.Keys(c.styles)), ", "))
	}
	return nil
}

type conversion struct {
	n      *Note
	paths  map[string]string // by hash
	byHash map[string]*Resource
	used   map[string]bool
	styles map[string]bool // formatting that is lost
	nodes  int
	spans  int
}

// leftOver refers to attachments that the text does not show.
func (c *conversion) leftOver() {
	var links []string
	for _, r := range c.n.Resources {
		if !c.used[r.Hash] {
			c.used[r.Hash] = true
			links = append(links, note.Link(r.Name(), c.paths[r.Hash], r.IsImage()))
		}
	}
	if len(links) > 0 {
		c.n.Body = strings.TrimLeft(c.n.Body+"\n\n"+strings.Join(links, "\n")+"\n", "\n")
	}
}

var converters = converter.NewConverter(converter.WithPlugins(base.NewBasePlugin(), commonmark.NewCommonmarkPlugin(), strikethrough.NewStrikethroughPlugin(),
	table.NewTablePlugin(table.WithHeaderPromotion(true), table.WithPresentationTables(true), table.WithNewlineBehavior(table.NewlineBehaviorPreserve), table.WithCellPaddingBehavior(table.CellPaddingBehaviorMinimal))))

func (c *conversion) markdown(enml string) (out string) {
	enml = strings.ToValidUTF8(enml, "\ufffd")
	enml = surrogates.ReplaceAllStringFunc(enml, join)
	enml = strings.NewReplacer(string(unchecked), "\ufffd", string(checked), "\ufffd").Replace(enml)
	doc := c.parse(enml)
	if doc == nil {
		c.n.lost("CONTENT", item.EffectAltered, "the note is too large: its text is kept without formatting", "")
		return plain(enml)
	}
	defer func() { // the converter is not ours
		if p := recover(); p != nil {
			c.n.lost("CONTENT", item.EffectAltered, "its text is kept without formatting", fmt.Sprint(p))
			out = plain(enml)
		}
	}()
	c.rewrite(doc)
	b, err := converters.ConvertNode(doc)
	if err != nil {
		c.n.lost("CONTENT", item.EffectAltered, "its text is kept without formatting", err.Error())
		return plain(enml)
	}
	return boxes(string(b))
}

// surrogates are the halves of a pair, each written as a character by itself.
var surrogates = regexp.MustCompile(`&#(5[56][0-9]{3}|x[dD][89abAB][0-9a-fA-F]{2});&#(5[67][0-9]{3}|x[dD][c-fC-F][0-9a-fA-F]{2});`)

func join(pair string) string {
	high, low, _ := strings.Cut(pair, ";")
	a, _ := number(high)
	b, _ := number(low)
	if r := utf16.DecodeRune(a, b); r != utf8.RuneError {
		return string(r)
	}
	return pair
}

// boxes puts the boxes of tasks where Markdown wants them.
func boxes(s string) string {
	if !strings.ContainsRune(s, unchecked) && !strings.ContainsRune(s, checked) {
		return strings.TrimSpace(s)
	}
	lines := strings.Split(strings.TrimSpace(s), "\n")
	for i, line := range lines {
		for _, box := range []struct {
			r    rune
			text string
		}{{unchecked, "[ ] "}, {checked, "[x] "}} {
			before, after, ok := strings.Cut(line, string(box.r))
			if !ok {
				continue
			}
			if strings.TrimSpace(before) == "" {
				before += "- "
			}
			line = before + box.text + strings.TrimLeft(after, " \u00a0")
			line = strings.ReplaceAll(line, string(box.r), box.text)
		}
		lines[i] = strings.TrimRight(line, " ")
	}
	out := lines[:0]
	for i, line := range lines { // tasks that were paragraphs are one list
		if line == "" && i > 0 && i+1 < len(lines) && isTask(lines[i-1]) && isTask(lines[i+1]) {
			continue
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func isTask(line string) bool {
	return strings.HasPrefix(line, "- [ ]") || strings.HasPrefix(line, "- [x]")
}

// plain is the text of ENML without markup.
func plain(enml string) string {
	z := html.NewTokenizer(strings.NewReader(enml))
	var b strings.Builder
	for {
		switch z.Next() {
		case html.ErrorToken:
			return strings.TrimSpace(b.String())
		case html.TextToken:
			b.Write(z.Text())
		case html.StartTagToken, html.SelfClosingTagToken:
			switch name, _ := z.TagName(); string(name) {
			case "br", "div", "p", "li", "tr":
				b.WriteByte('\n')
			}
		}
	}
}

var void = map[string]bool{"br": true, "hr": true, "img": true, "col": true, "input": true, "en-media": true, "en-todo": true, "wbr": true, "area": true, "base": true, "link": true, "meta": true}

// parse makes a tree of ENML, which is XML of HTML's elements: an element that is empty ends
// at once, which no HTML parser would do. nil is too large a note.
func (c *conversion) parse(enml string) *html.Node {
	if len(enml) > maxMarkup {
		return nil
	}
	doc := &html.Node{Type: html.DocumentNode}
	open := []*html.Node{doc}
	z := html.NewTokenizer(strings.NewReader(enml))
	over, brackets := 0, 0
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			return doc
		}
		in := open[len(open)-1]
		if c.nodes++; c.nodes > maxNodes {
			return nil
		}
		switch t := z.Token(); kind {
		case html.TextToken:
			if brackets += strings.Count(t.Data, "["); brackets > maxBrackets {
				return nil
			}
			if in != doc || strings.TrimSpace(t.Data) != "" {
				in.AppendChild(&html.Node{Type: html.TextNode, Data: t.Data})
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name := t.Data
			if name == "script" || name == "style" || name == "title" || name == "textarea" {
				c.styles["<"+name+">"] = true
			}
			e := &html.Node{Type: html.ElementNode, Data: name, DataAtom: atom.Lookup([]byte(name)), Attr: t.Attr}
			switch name {
			case "en-note":
				e.Data, e.DataAtom = "div", atom.Div
			}
			if len(open) > maxNesting {
				if kind == html.StartTagToken && !void[name] {
					over++
				}
				if void[name] {
					in.AppendChild(e)
				}
				continue
			}
			in.AppendChild(e)
			if kind == html.StartTagToken && !void[name] {
				open = append(open, e)
			}
		case html.EndTagToken:
			if over > 0 {
				over--
				continue
			}
			name := t.Data
			if name == "en-note" {
				name = "div"
			}
			for i := len(open) - 1; i > 0; i-- {
				if open[i].Data == name {
					open = open[:i]
					break
				}
			}
		}
	}
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// rewrite makes HTML of what only Evernote has.
func (c *conversion) rewrite(n *html.Node) {
	if n.Type == html.ElementNode {
		style := strings.ReplaceAll(attr(n, "style"), " ", "")
		if strings.Contains(style, "-en-codeblock:true") {
			c.code(n, style)
			return
		}
		c.style(n)
		switch n.Data {
		case "en-todo":
			box := string(unchecked)
			if attr(n, "checked") == "true" {
				box = string(checked)
			}
			*n = html.Node{Type: html.TextNode, Data: box, Parent: n.Parent, PrevSibling: n.PrevSibling, NextSibling: n.NextSibling}
			return
		case "en-media":
			c.media(n)
			return
		case "en-crypt":
			c.crypt(n)
			return
		case "ul", "ol":
			if strings.Contains(style, "--en-todo:true") {
				tasks(n)
			}
		case "td", "th":
			c.span(n)
		}
	}
	for k := n.FirstChild; k != nil; k = k.NextSibling {
		c.rewrite(k)
	}
}

// tasks marks the items of a list of tasks.
func tasks(list *html.Node) {
	for li := list.FirstChild; li != nil; li = li.NextSibling {
		if li.Type != html.ElementNode || li.Data != "li" {
			continue
		}
		box := string(unchecked)
		if strings.Contains(strings.ReplaceAll(attr(li, "style"), " ", ""), "--en-checked:true") {
			box = string(checked)
		}
		in := li
		for in.FirstChild != nil && in.FirstChild.Type == html.ElementNode && in.FirstChild.Data == "div" {
			in = in.FirstChild
		}
		in.InsertBefore(&html.Node{Type: html.TextNode, Data: box}, in.FirstChild)
	}
}

// span bounds how many cells one cell stands for.
func (c *conversion) span(n *html.Node) {
	n.Attr = slices.DeleteFunc(n.Attr, func(a html.Attribute) bool {
		if a.Key != "colspan" && a.Key != "rowspan" {
			return false
		}
		if a.Val == "1" || a.Val == "" {
			return true
		}
		c.spans++
		return c.spans > maxSpans || len(a.Val) > 2 || len(a.Val) == 2 && a.Val > fmt.Sprint(maxSpan)
	})
}

func tag(name string, attrs ...html.Attribute) *html.Node {
	return &html.Node{Type: html.ElementNode, Data: name, DataAtom: atom.Lookup([]byte(name)), Attr: attrs}
}

// become makes another element of a node, in its place.
func become(n, other *html.Node) {
	n.Type, n.Data, n.DataAtom, n.Attr = other.Type, other.Data, other.DataAtom, other.Attr
	for n.FirstChild != nil {
		n.RemoveChild(n.FirstChild)
	}
	for other.FirstChild != nil {
		k := other.FirstChild
		other.RemoveChild(k)
		n.AppendChild(k)
	}
}

func (c *conversion) media(n *html.Node) {
	hash := strings.ToLower(attr(n, "hash"))
	r := c.byHash[hash]
	if r == nil {
		if !c.used[hash] {
			c.used[hash] = true
			c.n.lost("CONTENT/EN-MEDIA", item.EffectDropped, "the attachment is not in the export", hash)
		}
		become(n, textIn("span", "[missing attachment "+hash+"]"))
		return
	}
	c.used[r.Hash] = true
	for _, key := range []string{"width", "height"} {
		if attr(n, key) != "" {
			c.styles["width and height of pictures"] = true
		}
	}
	to := strings.TrimSuffix(strings.TrimPrefix(note.Link("", c.paths[r.Hash], false), "[]("), ")")
	if r.IsImage() {
		alt := attr(n, "alt")
		if alt == "" {
			alt = r.Name()
		}
		become(n, tag("img", html.Attribute{Key: "src", Val: to}, html.Attribute{Key: "alt", Val: alt}))
		return
	}
	a := textIn("a", r.Name())
	a.Attr = []html.Attribute{{Key: "href", Val: to}}
	become(n, a)
}

func textIn(name, text string) *html.Node {
	e := tag(name)
	e.AppendChild(&html.Node{Type: html.TextNode, Data: text})
	return e
}

// crypt keeps what is encrypted as it is: nobody but Evernote, with the passphrase, can read it.
func (c *conversion) crypt(n *html.Node) {
	var keys []string
	for _, a := range n.Attr {
		keys = append(keys, a.Key+"="+a.Val)
	}
	c.n.lost("CONTENT/EN-CRYPT", item.EffectFlagged, "it is encrypted and kept so: decrypt it in Evernote, and export it again", strings.Join(keys, " "))
	text := strings.Join(append(keys, strings.TrimSpace(inner(n))), lineBreak)
	pre := tag("pre")
	code := textIn("code", text)
	code.Attr = []html.Attribute{{Key: "class", Val: "language-evernote-encrypted"}}
	pre.AppendChild(code)
	become(n, pre)
}

var language = regexp.MustCompile(`--en-codeblockLanguage:([A-Za-z0-9+#-]{1,32})`)

// code makes a block of code of Evernote's, whose lines are elements.
func (c *conversion) code(n *html.Node, style string) {
	var b strings.Builder
	lines(n, &b)
	text := strings.Trim(strings.ReplaceAll(b.String(), "\u00a0", " "), "\n")
	code := textIn("code", text)
	if m := language.FindStringSubmatch(style); m != nil && m[1] != "plaintext" {
		code.Attr = []html.Attribute{{Key: "class", Val: "language-" + m[1]}}
	}
	pre := tag("pre")
	pre.AppendChild(code)
	become(n, pre)
}

// lines writes the text of a block of code: a line for each element that is a block, and for each break.
func lines(n *html.Node, b *strings.Builder) {
	for k := n.FirstChild; k != nil; k = k.NextSibling {
		switch {
		case k.Type == html.TextNode:
			if k.PrevSibling == nil && k.NextSibling != nil || strings.TrimSpace(k.Data) != "" || k.Parent.FirstChild == k {
				b.WriteString(k.Data)
			} else if !strings.Contains(k.Data, "\n") {
				b.WriteString(k.Data)
			}
		case k.Data == "br":
			if k.NextSibling != nil || k.PrevSibling == nil {
				b.WriteString(lineBreak)
			}
		case k.Data == "div" || k.Data == "p":
			if s := b.String(); s != "" && !strings.HasSuffix(s, lineBreak) {
				b.WriteString(lineBreak)
			}
			empty := k.FirstChild != nil && k.FirstChild == k.LastChild && k.FirstChild.Data == "br"
			if !empty {
				lines(k, b)
			}
			b.WriteString(lineBreak)
		default:
			lines(k, b)
		}
	}
}

func inner(n *html.Node) string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		if n.Type == html.TextNode {
			b.WriteString(n.Data)
		}
		for k := n.FirstChild; k != nil; k = k.NextSibling {
			walk(k)
		}
	}
	walk(n)
	return b.String()
}

// meaning is formatting that Markdown has, by style.
var meaning = []struct{ property, value, element string }{
	{"font-weight", "bold", "strong"}, {"font-weight", "700", "strong"}, {"font-weight", "600", "strong"}, {"font-style", "italic", "em"}, {"text-decoration", "line-through", "del"}, {"text-decoration-line", "line-through", "del"},
}

// style keeps formatting that Markdown has and notes what it has not.
func (c *conversion) style(n *html.Node) {
	if n.Data == "u" || n.Data == "font" || n.Data == "sub" || n.Data == "sup" {
		c.styles["<"+n.Data+">"] = true
	}
	for decl := range strings.SplitSeq(attr(n, "style"), ";") {
		property, value, ok := strings.Cut(decl, ":")
		property, value = strings.ToLower(strings.TrimSpace(property)), strings.ToLower(strings.TrimSpace(value))
		if !ok || len(c.styles) > 64 || strings.HasPrefix(property, "--en-") || strings.HasPrefix(property, "-en-") && property != "-en-highlight" {
			continue
		}
		i := slices.IndexFunc(meaning, func(m struct{ property, value, element string }) bool {
			return m.property == property && strings.Contains(value, m.value)
		})
		if i < 0 || n.Data != "span" || n.FirstChild == nil || strings.TrimSpace(inner(n)) == "" {
			c.styles[property] = true
			continue
		}
		in := tag(meaning[i].element)
		for n.FirstChild != nil {
			k := n.FirstChild
			n.RemoveChild(k)
			in.AppendChild(k)
		}
		n.AppendChild(in)
	}
}
