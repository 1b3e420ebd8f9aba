package contact

import (
	"slices"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
)

// convert brings a card into another version of vCard. What means the same in both keeps
// its bytes. Extensions keep their names: a version that does not know them has to leave
// them alone. What is told to n is what is not there under its name with its value.
func convert(card *cl.Component, to cl.Dialect, n *notes) {
	from := card.Dialect
	if from == to {
		return
	}
	c := converter{card: card, from: from, to: to, notes: n, done: map[*cl.Property]bool{}}
	c.lift()
	for _, p := range slices.Collect(card.Properties()) {
		if p.Name() != "" && !c.done[p] {
			c.property(p)
		}
	}
	for _, p := range [...]*cl.Property{card.Begin, card.End} {
		if p != nil {
			p.SetDialect(to)
		}
	}
	card.Dialect = to
	c.version()
	c.lower()
}

type converter struct {
	card     *cl.Component
	from, to cl.Dialect
	notes    *notes
	done     map[*cl.Property]bool // they are in the new version already
}

// version sets VERSION, and puts it where 4.0 wants it: first.
func (c *converter) version() {
	v := c.card.Get("VERSION")
	if v == nil {
		v = cl.NewProperty(c.to, c.card.Begin.Break(), "VERSION")
		c.card.Insert(0, cl.Node{Property: v})
	}
	v.SetValue(c.to.String())
	if c.to != cl.VCard21 {
		c.card.Remove(v)
		c.card.Insert(0, cl.Node{Property: v})
	}
}

// How the values of properties are made up. What is not listed is text, an extension
// (X-) is what it is.
type form uint8

const (
	formText       form = iota
	formComponents      // N, ADR
	formFields          // ORG
	formList
	formBinary // or a URI
	formURI
	formDate
	formGeo
	formRaw // not to be converted at all
	formTel
	formExtension
)

var forms = map[string]form{
	"N": formComponents, "ADR": formComponents, "ORG": formFields, "CATEGORIES": formList, "NICKNAME": formList,
	"PHOTO": formBinary, "LOGO": formBinary, "SOUND": formBinary, "KEY": formBinary,
	"URL": formURI, "IMPP": formURI, "SOURCE": formURI, "FBURL": formURI, "CALURI": formURI, "CALADRURI": formURI,
	"MEMBER": formURI, "RELATED": formURI, "BDAY": formDate, "ANNIVERSARY": formDate, "DEATHDATE": formDate, "GEO": formGeo,
	"VERSION": formRaw, "REV": formRaw, "TZ": formRaw, "CLIENTPIDMAP": formRaw, "GENDER": formFields, "TEL": formTel,
}

func formOf(name string) form {
	if f, ok := forms[name]; ok {
		return f
	}
	if strings.HasPrefix(name, "X-") {
		return formExtension
	}
	return formText
}

func (c *converter) property(p *cl.Property) {
	f := formOf(p.Name())
	c.notes.reading(p)
	if v := p.Value(); c.from.Old() && (f == formComponents || f == formFields) && strings.Contains(strings.ReplaceAll(v, `\;`, ""), `\`) {
		c.notes.add(p.Name(), item.EffectAltered, "its backslashes were read as escapes", v, p.Text())
	}
	if f != formBinary && p.Encoding() == "BASE64" {
		c.opaque(p)
		return
	}
	switch f {
	case formComponents:
		v := p.Components()
		if c.to.Old() && slices.ContainsFunc(v, func(parts []string) bool { return len(parts) > 1 }) {
			c.notes.add(p.Name(), item.EffectAltered, "vCard 2.1 has no lists in its parts", p.Value(), "")
		}
		c.params(p)
		c.clear(p)
		p.SetComponents(v)
	case formFields:
		v := p.Fields()
		c.params(p)
		c.clear(p)
		p.SetFields(v)
	case formList:
		v := p.List()
		c.params(p)
		c.clear(p)
		p.SetList(v)
	case formBinary:
		if isIRMC(p) {
			v := p.Fields()
			c.params(p)
			c.clear(p)
			p.SetFields(v)
			return
		}
		c.binary(p)
	case formDate:
		c.date(p)
	case formGeo:
		c.geo(p)
	case formTel:
		c.tel(p)
	case formURI:
		v := p.Text()
		c.params(p)
		if kind, _ := p.Param("VALUE"); strings.EqualFold(kind, "text") {
			p.SetText(v)
		} else {
			c.raw(p, v)
		}
	case formRaw:
		v := p.Text()
		c.params(p)
		c.raw(p, v)
	case formExtension:
		c.extension(p)
	default:
		v := p.Text()
		c.params(p)
		c.clear(p)
		p.SetText(v)
	}
}

// clear takes a value away that is to be set, for the old version: it could say the same
// there by escapes and letters that are read, but not of it.
func (c *converter) clear(p *cl.Property) {
	if v := p.Value(); c.to.Old() && strings.ContainsFunc(v, func(r rune) bool { return r == '\\' || r >= 0x80 }) {
		p.SetValue("")
	}
}

// opaque keeps a base64 value of a property that has none in any version.
func (c *converter) opaque(p *cl.Property) {
	v := p.Value()
	c.params(p)
	if c.to.Old() {
		p.SetParam("ENCODING", "BASE64")
	} else {
		p.SetParam("ENCODING", "b")
	}
	p.SetValue(v)
}

// raw sets a value that has no escapes in the newer versions.
func (c *converter) raw(p *cl.Property, v string) {
	if c.to.Old() {
		c.clear(p)
		p.SetText(v)
	} else {
		p.SetValue(v)
	}
}

// extension converts a property whose value has a structure that is not known: semicolons
// and commas stay what they are.
func (c *converter) extension(p *cl.Property) {
	switch {
	case c.from.Old():
		v := strings.ReplaceAll(p.Decoded(), "\r\n", "\n")
		c.params(p)
		p.SetValue(strings.ReplaceAll(loneBackslashes(v), "\n", `\n`))
	case c.to.Old():
		v := p.Value()
		c.params(p)
		c.clear(p)
		p.SetDecoded(newlineEscapes(v))
	default:
		c.params(p)
	}
}

// loneBackslashes doubles those that escape no separator, so that they are read as themselves.
func loneBackslashes(v string) string {
	if !strings.Contains(v, `\`) {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		b.WriteByte(v[i])
		if v[i] != '\\' {
			continue
		}
		if i+1 < len(v) && strings.IndexByte(`\;,`, v[i+1]) >= 0 {
			i++
			b.WriteByte(v[i])
		} else {
			b.WriteByte('\\')
		}
	}
	return b.String()
}

func newlineEscapes(v string) string {
	if !strings.Contains(v, `\`) {
		return v
	}
	var b strings.Builder
	for i := 0; i < len(v); i++ {
		if v[i] != '\\' || i+1 == len(v) {
			b.WriteByte(v[i])
			continue
		}
		switch i++; v[i] {
		case 'n', 'N':
			b.WriteByte('\n')
		case '\\':
			if i+1 < len(v) && strings.IndexByte(`\;,`, v[i+1]) >= 0 || i+1 == len(v) {
				b.WriteByte('\\')
			}
			b.WriteByte('\\')
		default:
			b.WriteString(v[i-1 : i+1])
		}
	}
	return b.String()
}

// params converts the parameters and leaves the value to be set. An encoding goes,
// since what sets the value knows whether it needs one.
func (c *converter) params(p *cl.Property) {
	old := p.Params()
	p.SetDialect(c.to)
	var out []cl.Param
	pref := false
	for _, q := range old {
		switch {
		case q.Name == "ENCODING" || q.Name == "CHARSET" || q.Name == "" && bareKind(q) == "ENCODING":
			if c.to.Old() && c.from.Old() {
				out = append(out, q)
			}
		case q.Name == "" && bareKind(q) == "VALUE":
			if !strings.EqualFold(q.Values[0], "INLINE") {
				out = append(out, cl.Param{Name: "VALUE", Values: []string{strings.ToLower(q.Values[0])}})
			}
		case q.Name == "" || q.Name == "TYPE":
			rest := slices.DeleteFunc(slices.Clone(q.Values), func(v string) bool {
				is := strings.EqualFold(v, "PREF") && c.to == cl.VCard40
				pref = pref || is
				return is
			})
			out = c.types(out, rest)
		case q.Name == "PREF" && len(q.Values) == 1 && q.Values[0] == "1" && c.to != cl.VCard40:
			out = c.types(out, []string{"pref"})
			c.notes.add(p.Name(), item.EffectAltered, "vCard "+c.to.String()+" calls the preferred one PREF", value(p), "TYPE=pref")
		case q.Name == "VALUE" && c.to == cl.VCard40 && strings.EqualFold(q.Values[0], "URL"):
			out = append(out, cl.Param{Name: "VALUE", Values: []string{"uri"}})
		default:
			out = append(out, q)
		}
	}
	if pref {
		out = append(out, cl.Param{Name: "PREF", Values: []string{"1"}})
		c.notes.add(p.Name(), item.EffectAltered, "vCard 4.0 numbers the preferred ones", value(p), "PREF=1")
	}
	p.SetParams(out)
}

func bareKind(q cl.Param) string {
	switch strings.ToUpper(q.Values[0]) {
	case "QUOTED-PRINTABLE", "BASE64", "8BIT", "7BIT":
		return "ENCODING"
	case "INLINE", "URL", "CID", "CONTENT-ID":
		return "VALUE"
	}
	return "TYPE"
}

// types appends types: as one parameter in the newer versions, as bare ones in 2.1.
func (c *converter) types(out []cl.Param, types []string) []cl.Param {
	if len(types) == 0 {
		return out
	}
	if c.to == cl.VCard21 {
		for _, t := range types {
			for _, v := range strings.Split(t, ",") {
				if isToken(v) {
					out = append(out, cl.Param{Values: []string{strings.ToUpper(v)}})
				} else if v != "" {
					out = append(out, cl.Param{Name: "TYPE", Values: []string{v}})
				}
			}
		}
		return out
	}
	if c.from == cl.VCard40 {
		types = strings.Split(strings.Join(types, ","), ",") // TYPE="work,voice" of RFC 6350 is two
	}
	for i, q := range out {
		if q.Name == "TYPE" && c.from.Old() {
			out[i].Values = append(slices.Clone(q.Values), types...)
			return out
		}
	}
	return append(out, cl.Param{Name: "TYPE", Values: types})
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return s != ""
}

const omitYear = "X-APPLE-OMIT-YEAR"

// date converts between 1980-03-22, which 3.0 has, and 19800322, which 4.0 has, and
// between the two ways to leave the year out.
func (c *converter) date(p *cl.Property) {
	v := p.Text()
	omit, _ := p.Param(omitYear)
	before := v
	c.params(p)
	switch {
	case c.to == cl.VCard40 && omit != "" && len(v) >= 10 && v[:4] == omit && v[4] == '-' && v[7] == '-':
		p.SetParam(omitYear)
		v = "--" + v[5:7] + v[8:]
		c.notes.add(p.Name(), item.EffectAltered, "it has no year", before, v)
	case c.to == cl.VCard40 && isDigits(strings.Replace(v, "-", "", 2)) && len(v) == 10 && v[4] == '-' && v[7] == '-':
		v = strings.ReplaceAll(v, "-", "")
	case c.to == cl.VCard40 && len(v) == 7 && v[:2] == "--" && v[4] == '-' && isDigits(v[2:4]+v[5:]):
		v = "--" + v[2:4] + v[5:]
	case c.to == cl.VCard21 && omit != "" && len(v) >= 10 && v[:4] == omit:
		p.SetParam(omitYear)
		v = "--" + v[5:]
		c.notes.add(p.Name(), item.EffectAltered, "it has no year", before, v)
	case c.to == cl.VCard30 && (len(v) == 6 || len(v) == 7 && v[4] == '-') && v[:2] == "--" && isDigits(strings.ReplaceAll(v, "-", "")):
		p.SetParam(omitYear, "1604")
		v = strings.ReplaceAll(v, "-", "")
		v = "1604-" + v[:2] + "-" + v[2:]
		c.notes.add(p.Name(), item.EffectAltered, "vCard 3.0 has no date without a year", before, v)
	case c.to == cl.VCard21 && len(v) == 6 && v[:2] == "--" && isDigits(v[2:]):
		v = "--" + v[2:4] + "-" + v[4:]
	case c.to == cl.VCard30 && len(v) == 8 && isDigits(v):
		v = v[:4] + "-" + v[4:6] + "-" + v[6:]
	case c.to == cl.VCard40 && !dateLike(v):
		p.SetParam("VALUE", "text")
		p.SetText(v)
		return
	}
	c.raw(p, v)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// dateLike reports whether a value could be a date and time in any of their forms.
func dateLike(v string) bool { return v != "" && strings.Trim(v, "0123456789-+:TZ.") == "" }

// geo converts between "1;2" (3.0), "geo:1,2" (4.0) and "1,2" (2.1).
func (c *converter) geo(p *cl.Property) {
	v := p.Text()
	bare, isGeo := cutPrefixFold(v, "geo:")
	a, b, ok := strings.Cut(bare, ";")
	if isGeo || !ok {
		a, b, ok = strings.Cut(bare, ",")
	}
	c.params(p)
	if !ok || !isNumber(a) || !isNumber(b) {
		c.raw(p, v)
		if isGeo && c.to != cl.VCard40 {
			c.notes.add("GEO", item.EffectFlagged, "only latitude and longitude have a form in vCard "+c.to.String(), v, v)
		}
		return
	}
	p.SetParam("VALUE")
	switch c.to {
	case cl.VCard40:
		p.SetValue("geo:" + a + "," + b)
	case cl.VCard30:
		p.SetValue(a + ";" + b)
	default:
		p.SetValue(a + "," + b)
	}
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && strings.Trim(s, "0123456789.-+") == ""
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// tel takes the number out of a tel: URI for the versions that have only text.
func (c *converter) tel(p *cl.Property) {
	v := p.Text()
	before := v
	c.params(p)
	rest, isTel := cutPrefixFold(v, "tel:")
	if c.to == cl.VCard40 || !isTel {
		if kind, _ := p.Param("VALUE"); strings.EqualFold(kind, "uri") {
			c.raw(p, v)
		} else {
			p.SetText(v)
		}
		return
	}
	p.SetParam("VALUE")
	number, ext, hasExt := strings.Cut(rest, ";ext=")
	if !hasExt || strings.Contains(ext, ";") {
		number = rest
	} else {
		number += " ext. " + ext
		c.notes.add("TEL", item.EffectAltered, "vCard "+c.to.String()+" has no URIs of numbers", before, number)
	}
	p.SetText(number)
}

// names that differ between 4.0 and the older versions. Apple's are the ones in use.
var newNames = map[string]string{"X-ADDRESSBOOKSERVER-KIND": "KIND", "X-ADDRESSBOOKSERVER-MEMBER": "MEMBER"}

// lift makes 2.1 and 3.0 more like 4.0 before the values are converted: what has another
// name or place there.
func (c *converter) lift() {
	c.agents()
	if c.to == cl.VCard21 {
		c.dropPhonetic()
	} else if c.from == cl.VCard21 {
		c.addPhonetic()
		c.androidLabels()
	}
	if c.to == cl.VCard40 {
		for p := range c.card.Properties() {
			if name, ok := newNames[p.Name()]; ok {
				c.rename(p, name)
			}
		}
		c.labelsToParams()
		return
	}
	if c.from == cl.VCard40 {
		for p := range c.card.Properties() {
			for old, name := range newNames {
				if p.Name() == name {
					c.rename(p, old)
				}
			}
		}
		c.relatedAgents()
	}
}

func (c *converter) rename(p *cl.Property, name string) {
	c.notes.add(p.Name(), item.EffectMoved, "it has another name in vCard "+c.to.String(), p.Text(), name)
	p.SetName(name)
}

// lower does what has to wait until the values are converted.
func (c *converter) lower() {
	if c.from == cl.VCard40 {
		c.paramsToLabels()
	}
}
