package contact

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Shape gives a card the version and the properties that the target takes. A card without
// an end gets one for every target, since it would take what follows for a part of it. See the
// methods of shaper for what a strict target needs.
func (Rules) Shape(r item.Record, p rule.Profile) (item.Record, []item.Change, bool) {
	if p.Version == "" && !p.Strict && len(p.Drops) == 0 && p.MaxSize == 0 {
		if all := Records(r.Data); len(all) == 1 && all[0].Problem == "" {
			return r, nil, true
		}
	}
	file, card := open(r.Data)
	s := shaper{profile: p, file: file, card: card, notes: notes{record: r}}
	if card == nil {
		return r, s.noCard(), false
	}
	s.notes.uid = card.Text("UID")
	if s.notes.record.Label == "" {
		s.notes.record.Label = s.notes.uid
	}
	s.run()
	out := s.bytes()
	if p.MaxSize > 0 && int64(len(out)) > p.MaxSize {
		if out = s.shrink(); int64(len(out)) > p.MaxSize {
			s.notes.add("", item.EffectDropped, fmt.Sprintf("the target takes no card of more than %d bytes", p.MaxSize), "", "")
			return r, s.notes.list, false
		}
	}
	if !bytes.Equal(out, r.Data) {
		r.Data = out
	}
	return r, s.notes.list, true
}

// noCard tells what is lost of a record that is none, line by line.
func (s *shaper) noCard() []item.Change {
	for p := range s.file.Root.Properties() {
		if !p.Blank() {
			s.notes.add(p.Name(), item.EffectDropped, "it is outside of cards", value(p), "")
		}
	}
	if len(s.file.Root.Nodes) == 0 {
		s.notes.add("", item.EffectDropped, "it is empty", "", "")
	}
	for c := range s.file.Root.Components() {
		s.notes.add(c.Name, item.EffectDropped, "it is outside of cards", string(c.Bytes()), "")
	}
	return s.notes.list
}

type shaper struct {
	profile rule.Profile
	file    *cl.File
	card    *cl.Component
	notes   notes
}

func (s *shaper) run() {
	strict := s.profile.Strict
	original := s.card.Bytes()
	s.close()
	if strict {
		s.outside()
		s.lines()
	}
	if to, ok := s.version(); ok {
		if strict {
			s.charsets()
		}
		convert(s.card, to, &s.notes)
	}
	if strict {
		s.mend()
		s.require(original)
	}
	s.drop()
}

// bytes is the result. A strict target gets the card alone, without a break that has a CR too many or no LF.
func (s *shaper) bytes() []byte {
	if !s.profile.Strict {
		return s.file.Root.Bytes()
	}
	out := bytes.TrimPrefix(s.card.Bytes(), []byte("\ufeff"))
	switch s.file.Break() {
	case "\r\n", "\n":
		return out
	}
	return cl.AppendLines(nil, out, "\r\n")
}

// version returns what the card is to be converted to. A strict target gets no 2.1: RFC
// 6352 5.1 has only 3.0 and 4.0.
func (s *shaper) version() (cl.Dialect, bool) {
	to, ok := cl.VCard(s.profile.Version)
	switch {
	case ok && (to != s.card.Dialect || s.card.Get("VERSION") == nil):
	case s.profile.Version == "" && s.profile.Strict && s.card.Dialect == cl.VCard21:
		to = cl.VCard30
	default:
		return 0, false
	}
	return to, true
}

func (s *shaper) outside() {
	for p := range s.file.Root.Properties() {
		if !p.Blank() {
			s.notes.add("", item.EffectDropped, "it is text outside of the card", p.Value(), "")
		}
	}
	first := true
	for c := range s.file.Root.Components() {
		if c.Name == "VCARD" && first {
			first = false
			continue
		}
		s.notes.add("", item.EffectDropped, "it is a component outside of the card", string(c.Bytes()), "")
	}
}

func (s *shaper) close() {
	if s.card.End == nil {
		s.card.Close()
		s.notes.add("", item.EffectRepaired, "it had no end", "", "END:VCARD")
	}
}

// lines mends what is no property: a line that goes on without a blank before it becomes
// a part of the text before it, anything else an extension.
func (s *shaper) lines() {
	var last *cl.Property
	for _, n := range slices.Clone(s.card.Nodes) {
		p := n.Property
		switch {
		case p == nil:
			last = nil
		case p.Blank():
			s.card.Remove(p)
		case p.Name() != "" && cleanName(p) && p.Problem() == "":
			last = p
		case p.Name() == "" && last != nil && !strings.HasPrefix(p.Value(), "#") && formOf(last.Name()) != formBinary && last.Encoding() != "BASE64":
			if isStructured(last.Name()) { // its semicolons are to stay
				last.SetValue(last.Value() + `\n` + p.Value())
			} else {
				last.SetText(last.Text() + "\n" + p.Value())
			}
			s.notes.add(last.Name(), item.EffectRepaired, "a line of it had no blank before it", p.Value(), last.Text())
			s.card.Remove(p)
		default:
			s.extension(p)
		}
	}
}

func isStructured(name string) bool {
	f := formOf(name)
	return f == formComponents || f == formFields || f == formList
}

func cleanName(p *cl.Property) bool {
	return p.Name() != "BEGIN" && p.Name() != "END" && isToken(strings.ReplaceAll(p.Name(), "_", "-")) && !strings.Contains(p.Name(), "_") && (p.Group() == "" || isToken(p.Group()))
}

// The names under which a card keeps what has no place in it.
const (
	lineName = "X-DECANT-LINE"
	keepName = "X-DECANT-"
)

func (s *shaper) extension(p *cl.Property) {
	if p.Name() != "" && p.Name() != "BEGIN" && p.Name() != "END" && p.Problem() == "" {
		name, group := mendName(p.Name()), mendName(p.Group())
		s.notes.add(p.Name(), item.EffectMoved, "its name has characters that names can't have", p.Text(), name)
		p.SetName(name)
		p.SetGroup(group)
		return
	}
	text := p.Value()
	if p.Name() != "" {
		text = strings.TrimSpace(string(p.Raw()))
	}
	q := cl.NewProperty(s.card.Dialect, s.card.Begin.Break(), lineName)
	q.SetText(text)
	s.notes.add("", item.EffectMoved, "the line is no property", text, lineName)
	i := slices.IndexFunc(s.card.Nodes, func(n cl.Node) bool { return n.Property == p })
	s.card.Nodes[i].Property = q
}

func mendName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < 0x80 && (isToken(string(r)) && r != '_') {
			return r
		}
		return '-'
	}, name)
	return name
}

// charsets mends text that is in no character set, as far as a guess can, before it is converted.
func (s *shaper) charsets() {
	for p := range s.card.Properties() {
		if p.Check() == cl.ProblemCharset {
			s.notes.add(p.Name(), item.EffectRepaired, "it was not in its character set", fmt.Sprintf("%q", shown(p.Value())), p.Text())
		}
	}
}

// mend brings each property into the form that parsers which know no other take, and
// that they give back without loss: python3-vobject, which Radicale and khard use, cuts
// text off at a comma without a backslash.
func (s *shaper) mend() {
	s.agents()
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
				q.Values[i] = strings.Map(func(r rune) rune {
					if isControl(r) {
						return -1
					}
					return r
				}, strings.ReplaceAll(v, `"`, "'"))
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
			at := slices.IndexFunc(s.card.Nodes, func(n cl.Node) bool { return n.Property == p })
			s.card.Insert(at+1, cl.Node{Property: all})
			s.notes.add(p.Name(), item.EffectMoved, fmt.Sprintf("the target keeps %d parts; %s has all", most, name), v, "")
		}
		p.SetValue(strings.Join(cl.SplitUnescaped(v, ';')[:most], ";"))
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
	clean := func(v string) string {
		return strings.Map(func(r rune) rune {
			if isControl(r) {
				return -1
			}
			return r
		}, v)
	}
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
		v := p.Value()
		p.SetName(name)
		p.SetParam("ENCODING")
		p.SetValue(cl.Escape(v, s.card.Dialect))
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

// require adds what a card must have. The UID comes from the card's content, so that it
// is the same each time.
func (s *shaper) require(original []byte) {
	at := 0
	add := func(name, v string, set func(*cl.Property)) {
		q := cl.NewProperty(s.card.Dialect, s.card.Begin.Break(), name)
		set(q)
		s.card.Insert(at, cl.Node{Property: q})
		s.notes.add(name, item.EffectAdded, "the target wants it", "", v)
	}
	if v := s.card.Get("VERSION"); v == nil {
		add("VERSION", s.card.Dialect.String(), func(q *cl.Property) { q.SetValue(s.card.Dialect.String()) })
	} else if v.Value() != s.card.Dialect.String() {
		s.notes.add("VERSION", item.EffectRepaired, "there is no such version", v.Value(), s.card.Dialect.String())
		v.SetValue(s.card.Dialect.String())
	}
	at = 1 + slices.IndexFunc(s.card.Nodes, func(n cl.Node) bool { return n.Property != nil && n.Property.Name() == "VERSION" })
	if strings.TrimSpace(s.card.Text("UID")) == "" {
		s.card.DeleteFunc(func(n cl.Node) bool { return n.Property != nil && n.Property.Name() == "UID" })
		uid := derivedUID(original)
		add("UID", uid, func(q *cl.Property) { q.SetText(uid) })
		s.notes.uid = uid
		at++
	}
	if p := s.card.Get("FN"); p == nil || strings.TrimSpace(p.Text()) == "" {
		name := label(original)
		if name == "" {
			name = "(no name)"
		}
		if p != nil {
			p.SetText(name)
			s.notes.add("FN", item.EffectAdded, "the target wants it", "", name)
		} else {
			add("FN", name, func(q *cl.Property) { q.SetText(name) })
			at++
		}
	}
	if s.card.Get("N") == nil && s.card.Dialect != cl.VCard40 {
		name := s.card.Text("FN")
		add("N", name, func(q *cl.Property) { q.SetComponents([][]string{{""}, {name}, {""}, {""}, {""}}) })
	}
}

// derivedUID is a UUID (version 8, RFC 9562 5.8) made of a card's fingerprint.
func derivedUID(card []byte) string {
	f := cl.Fingerprint(bytes.Trim(bytes.TrimPrefix(card, []byte("\ufeff")), "\r\n"))
	h := sha256.Sum256(append([]byte("decant/contact/uid\x00"), f[:]...))
	h[6], h[8] = h[6]&0x0f|0x80, h[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}

// drop takes out what the target does not keep.
func (s *shaper) drop() {
	if len(s.profile.Drops) == 0 {
		return
	}
	s.card.DeleteFunc(func(n cl.Node) bool {
		if n.Property == nil || n.Property.Name() == "" || !dropped(n.Property.Name(), s.profile) {
			return false
		}
		s.notes.add(n.Property.Name(), item.EffectDropped, "the target does not keep it", value(n.Property), "")
		return true
	})
}

func dropped(name string, p rule.Profile) bool {
	if slices.Contains(p.Keeps, name) {
		return false
	}
	return slices.ContainsFunc(p.Drops, func(d string) bool {
		prefix, any := strings.CutSuffix(d, "*")
		return d == name || any && strings.HasPrefix(name, prefix)
	})
}

// shrink leaves out the largest inline values until the card is small enough.
func (s *shaper) shrink() []byte {
	for {
		var largest *cl.Property
		for p := range s.card.Properties() {
			if formOf(p.Name()) == formBinary && (largest == nil || p.Size() > largest.Size()) {
				largest = p
			}
		}
		out := s.bytes()
		if int64(len(out)) <= s.profile.MaxSize || largest == nil {
			return out
		}
		s.card.Remove(largest)
		s.notes.add(largest.Name(), item.EffectDropped, fmt.Sprintf("the target takes no card of more than %d bytes", s.profile.MaxSize), value(largest), "")
	}
}
