package contact

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
)

// mend brings each property into the form that parsers which know no other take, and
// that they give back without loss: python3-vobject, which Radicale and khard use, cuts
// text off at a comma without a backslash, and sabre/vobject before 3.0 refuses a card with
// a circumflex in a parameter without quotes.
func (s *shaper) mend() {
	s.agents()
	s.android()
	seen := map[string]bool{}
	for _, p := range slices.Collect(s.card.Properties()) {
		if p.Name() == "" {
			continue
		}
		s.mendParams(p)
		s.mendValue(p)
		s.mendParts(p)
		s.single(p, seen)
	}
	s.nicknames()
	for p := range s.card.Properties() {
		p.QuoteCarets()
	}
}

func (s *shaper) agents() {
	for c := range s.card.Components() {
		if c.Name == "VCARD" {
			n := converter{card: s.card, from: s.card.Dialect, to: s.card.Dialect, notes: &s.notes, done: map[*cl.Property]bool{}}
			n.agents()
			return
		}
	}
}

func (s *shaper) mendParams(p *cl.Property) {
	var out []cl.Param
	odd := false
	for _, q := range p.Params() {
		q.Values = slices.Clone(q.Values)
		for i, v := range q.Values {
			if strings.ContainsRune(v, '"') && s.card.Dialect != cl.VCard40 || strings.ContainsFunc(v, isControl) {
				q.Values[i] = strings.Map(noControl, strings.ReplaceAll(v, `"`, "'"))
				odd = true
			}
		}
		switch name := mendName(q.Name); {
		case q.Name == "" && q.Values[0] == "":
			continue
		case q.Name == "" && bareKind(q) != "TYPE":
			q.Name = bareKind(q)
			out = append(out, q)
		case q.Name == "":
			out = appendTypes(out, q.Values)
		case strings.Join(q.Values, "") == "":
			s.notes.add(p.Name(), item.EffectDropped, "an empty parameter", q.Name, "")
		default:
			q.Name = name
			out = append(out, q)
		}
	}
	before := strings.TrimSpace(string(p.Raw()[:min(len(p.Raw()), 256)]))
	p.SetParams(out)
	if odd {
		s.notes.add(p.Name(), item.EffectAltered, "a parameter has characters that it can't have", before, "")
	}
	if oddHead(p) {
		p.Rewrite()
	}
}

func appendTypes(out []cl.Param, types []string) []cl.Param {
	for i, q := range out {
		if q.Name == "TYPE" {
			out[i].Values = append(q.Values, types...)
			return out
		}
	}
	return append(out, cl.Param{Name: "TYPE", Values: types})
}

func noControl(r rune) rune {
	if isControl(r) {
		return -1
	}
	return r
}

func isControl(r rune) bool { return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0x7f }

// oddHead reports whether blanks or quotes stand where a strict parser does not expect them.
func oddHead(p *cl.Property) bool {
	if p.Touched() {
		return true
	}
	head, _, _ := strings.Cut(string(p.Raw()[:min(len(p.Raw()), 1<<10)]), ":")
	name, params, _ := strings.Cut(head, ";")
	return strings.ContainsAny(name, " \t") || strings.ContainsAny(strings.NewReplacer("\r\n ", "", "\n ", "").Replace(params), " \t\"\\")
}

func (s *shaper) mendValue(p *cl.Property) {
	if v := p.Encoding(); v == "BASE64" || formOf(p.Name()) == formBinary && isData(p.Value()) {
		s.mendBinary(p)
		return
	}
	before := p.Value()
	problem := p.Check()
	f := formOf(p.Name())
	if isIRMC(p) {
		f = formFields
	}
	old := p.Encoding() != "" || hasParam(p, "CHARSET")
	if problem == "" && !old && !oddEscapes(before, f) {
		if _, has := p.Param("ENCODING"); has {
			p.SetParam("ENCODING")
		}
		return
	}
	text := p.Text()
	s.notes.reading(p)
	s.rewriteValue(p, f)
	switch {
	case problem == cl.ProblemCharset:
		s.notes.add(p.Name(), item.EffectRepaired, "it was not in its character set", fmt.Sprintf("%q", shown(before)), p.Text())
	case problem == cl.ProblemControl:
		s.notes.add(p.Name(), item.EffectRepaired, "it had control characters", fmt.Sprintf("%q", shown(before)), p.Text())
	case p.Text() != text:
		s.notes.add(p.Name(), item.EffectAltered, "the target takes no such escapes", before, p.Value())
	}
}

// mendParts keeps what has more components than its property has: RFC 2426 and RFC 6350
// know 5 of a name and 7 of an address. Of an extension whose parts are divided by
// semicolons it tells that these come back as text.
func (s *shaper) mendParts(p *cl.Property) {
	most := map[string]int{"N": 5, "ADR": 7}[p.Name()]
	switch v := p.Value(); {
	case most > 0:
		parts := p.Components()
		if len(parts) <= most || strings.Trim(v, ";") == "" {
			return
		}
		rest := strings.Trim(strings.Join(cl.SplitUnescaped(v, ';')[most:], ";"), ";")
		if rest != "" {
			name := keepName + p.Name()
			all := p.Clone()
			all.SetName(name)
			s.mendValue(all)
			at := slices.IndexFunc(s.card.Nodes, func(n cl.Node) bool { return n.Property == p })
			s.card.Insert(at+1, cl.Node{Property: all})
			s.notes.add(p.Name(), item.EffectMoved, fmt.Sprintf("the target keeps %d parts; %s has all", most, name), v, "")
		}
		p.SetValue(strings.Join(cl.SplitUnescaped(v, ';')[:most], ";"))
	case isIRMC(p) && strings.HasSuffix(v, ";"):
		parts := cl.SplitUnescaped(v, ';')
		for len(parts) > 1 && parts[len(parts)-1] == "" { // empty parts, which would become text
			parts = parts[:len(parts)-1]
		}
		p.SetValue(strings.Join(parts, ";"))
		s.notes.add("SOUND", item.EffectAltered, "its empty parts are left out", v, p.Value())
	case strings.HasPrefix(p.Name(), "X-") && !strings.HasPrefix(p.Name(), keepName) && len(cl.SplitUnescaped(v, ';')) > 1:
		s.notes.add(p.Name(), item.EffectAltered, "the target puts backslashes before its semicolons", v, "")
	}
}

func hasParam(p *cl.Property, name string) bool {
	_, ok := p.Param(name)
	return ok
}

// oddEscapes reports whether a value has a comma that has to be escaped, or an escape that
// does not have to be.
func oddEscapes(v string, f form) bool {
	list := f == formComponents || f == formList
	for i := 0; i < len(v); i++ {
		switch v[i] {
		case ',':
			if !list {
				return true
			}
		case '\\':
			i++
			if i == len(v) || strings.IndexByte(`\,;n`, v[i]) < 0 {
				return true
			}
		}
	}
	return false
}

// rewriteValue writes a value as text with no other escapes than there have to be.
func (s *shaper) rewriteValue(p *cl.Property, f form) {
	d := s.card.Dialect
	clean := func(v string) string { return strings.Map(noControl, v) }
	var v string
	switch f {
	case formComponents:
		var fields []string
		for _, parts := range p.Components() {
			for i, t := range parts {
				parts[i] = cl.Escape(clean(t), d)
			}
			fields = append(fields, strings.Join(parts, ","))
		}
		v = strings.Join(fields, ";")
	case formList:
		parts := p.List()
		for i, t := range parts {
			parts[i] = cl.Escape(clean(t), d)
		}
		v = strings.Join(parts, ",")
	case formFields, formExtension, formRaw, formGeo:
		parts := p.Fields()
		for i, t := range parts {
			parts[i] = cl.Escape(clean(t), d)
		}
		v = strings.Join(parts, ";")
	default:
		v = cl.Escape(clean(p.Text()), d)
	}
	p.SetParam("ENCODING")
	p.SetParam("CHARSET")
	p.SetValue(v)
}

// mendBinary writes base64 in the one form that is taken: ENCODING=b with the right
// padding. Radicale takes it in 4.0 too, and cuts data: URIs off at their comma.
func (s *shaper) mendBinary(p *cl.Property) {
	data, media, ok := p.Binary()
	if !ok {
		name := keepName + p.Name()
		s.notes.add(p.Name(), item.EffectMoved, "it is no base64", value(p), name)
		p.SetName(name)
		s.rewriteValue(p, formText)
		return
	}
	v := base64.StdEncoding.EncodeToString(data)
	if isData(p.Value()) {
		s.notes.add(p.Name(), item.EffectAltered, "the target takes no data: URI", "", "ENCODING=b")
		c := converter{card: s.card, from: s.card.Dialect, to: cl.VCard30, notes: &s.notes}
		p.SetParam("VALUE")
		c.giveMedia(p, media)
	}
	if e, _ := p.Param("ENCODING"); e != "b" && e != "B" {
		p.SetParam("ENCODING", "b")
	}
	if strings.Map(noBlanks, p.Value()) != v {
		p.SetValue(v)
	}
}

func noBlanks(r rune) rune {
	if r == ' ' || r == '\t' {
		return -1
	}
	return r
}

// once are the properties that a card may have one of, by RFC 2426 or RFC 6350.
var once = map[string]bool{"N": true, "UID": true, "PRODID": true, "REV": true, "BDAY": true, "ANNIVERSARY": true, "GENDER": true, "KIND": true, "VERSION": true}

// single moves the second of what may be there only once to an extension.
func (s *shaper) single(p *cl.Property, seen map[string]bool) {
	name := p.Name()
	if !once[name] {
		return
	}
	if !seen[name] {
		seen[name] = true
		return
	}
	if first := s.card.Get(name); first.Value() == p.Value() || name == "VERSION" || name == "PRODID" {
		s.card.Remove(p)
		s.notes.add(name, item.EffectDropped, "it is there twice", p.Text(), first.Text())
		return
	}
	p.SetName(keepName + name)
	s.notes.add(name, item.EffectMoved, "a card has one only", p.Text(), keepName+name)
}

// nicknames makes a property of each value, since a list is cut off.
func (s *shaper) nicknames() {
	for i := 0; i < len(s.card.Nodes); i++ {
		p := s.card.Nodes[i].Property
		if p == nil || p.Name() != "NICKNAME" {
			continue
		}
		list := p.List()
		if len(list) < 2 {
			continue
		}
		s.notes.add("NICKNAME", item.EffectAltered, "each value is a property of its own", p.Value(), "")
		p.SetList(list[:1])
		for _, v := range list[1:] {
			q := p.Clone()
			q.SetList([]string{v})
			i++
			s.card.Insert(i, cl.Node{Property: q})
		}
	}
}
