package contact

import (
	"encoding/base64"
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
	if f != formBinary && p.Encoding() == "BASE64" {
		c.opaque(p)
		return
	}
	switch f {
	case formComponents:
		v := p.Components()
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
		case q.Name == "VALUE" && c.to == cl.VCard40 && strings.EqualFold(q.Values[0], "URL"):
			out = append(out, cl.Param{Name: "VALUE", Values: []string{"uri"}})
		default:
			out = append(out, q)
		}
	}
	if pref {
		out = append(out, cl.Param{Name: "PREF", Values: []string{"1"}})
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

// mediaTypes is what TYPE says of a binary value in 2.1 and 3.0, and what a data: URI does.
var mediaTypes = map[string]string{
	"JPEG": "image/jpeg", "JPG": "image/jpeg", "GIF": "image/gif", "PNG": "image/png", "BMP": "image/bmp", "TIFF": "image/tiff", "WEBP": "image/webp", "HEIC": "image/heic",
	"WAVE": "audio/wav", "PCM": "audio/basic", "AIFF": "audio/aiff", "BASIC": "audio/basic", "OGG": "audio/ogg", "MP3": "audio/mpeg",
	"PGP": "application/pgp-keys", "X509": "application/pkix-cert", "PDF": "application/pdf", "PS": "application/postscript",
}

var typeOfMedia = map[string]string{
	"image/jpeg": "JPEG", "image/jpg": "JPEG", "image/gif": "GIF", "image/png": "PNG", "image/bmp": "BMP", "image/tiff": "TIFF", "image/webp": "WEBP", "image/heic": "HEIC",
	"audio/wav": "WAVE", "audio/basic": "BASIC", "audio/aiff": "AIFF", "audio/ogg": "OGG", "audio/mpeg": "MP3",
	"application/pgp-keys": "PGP", "application/pkix-cert": "X509", "application/pdf": "PDF", "application/postscript": "PS",
}

// sniff returns the media type of a picture by its first bytes.
func sniff(b []byte) string {
	switch {
	case len(b) > 2 && b[0] == 0xff && b[1] == 0xd8:
		return "image/jpeg"
	case strings.HasPrefix(string(b[:min(len(b), 8)]), "\x89PNG"):
		return "image/png"
	case strings.HasPrefix(string(b[:min(len(b), 4)]), "GIF8"):
		return "image/gif"
	case strings.HasPrefix(string(b[:min(len(b), 2)]), "BM"):
		return "image/bmp"
	}
	return ""
}

// takeMedia removes the types that say what a binary value is, and returns its media type.
func takeMedia(p *cl.Property) string {
	media := ""
	var out []cl.Param
	for _, q := range p.Params() {
		if q.Name == "TYPE" || q.Name == "" && bareKind(q) == "TYPE" {
			q.Values = slices.DeleteFunc(slices.Clone(q.Values), func(v string) bool {
				t, ok := mediaTypes[strings.ToUpper(v)]
				if !ok && strings.Contains(v, "/") {
					t, ok = strings.ToLower(v), true
				}
				if ok {
					media = t
				}
				return ok
			})
			if len(q.Values) == 0 {
				continue
			}
		}
		if q.Name == "MEDIATYPE" && len(q.Values) == 1 {
			media = q.Values[0]
			continue
		}
		out = append(out, q)
	}
	p.SetParams(out)
	return media
}

// giveMedia is the reverse of takeMedia for the versions without data: URIs.
func (c *converter) giveMedia(p *cl.Property, media string) {
	if media == "" {
		return
	}
	t, ok := typeOfMedia[strings.ToLower(media)]
	if !ok {
		_, t, _ = strings.Cut(media, "/")
		t = strings.ToUpper(t)
		if !isToken(t) {
			p.SetParam("MEDIATYPE", media)
			return
		}
	}
	p.SetParams(c.types(p.Params(), []string{t}))
}

// binary converts a picture, a sound or a key: inline bytes or a URI.
func (c *converter) binary(p *cl.Property) {
	data, media, ok := p.Binary()
	inline := p.Encoding() != "" || isData(p.Value())
	text := p.Text()
	if inline && !ok { // broken: what it says stays, however it is encoded
		c.notes.add(p.Name(), item.EffectFlagged, "it is no base64", value(p), "")
		if p.Encoding() == "BASE64" {
			c.opaque(p)
		} else {
			c.params(p)
		}
		return
	}
	c.params(p)
	if t := takeMedia(p); t != "" {
		media = t
	}
	switch {
	case inline:
		if media == "" && c.to == cl.VCard40 {
			if media = sniff(data); media != "" {
				c.notes.add(p.Name(), item.EffectAltered, "vCard 4.0 wants to know what it is", "", media)
			}
		}
		p.SetBinary(data, media)
		if c.to != cl.VCard40 {
			c.giveMedia(p, media)
		}
	default:
		c.binaryURI(p, text, media)
	}
}

func (c *converter) binaryURI(p *cl.Property, text, media string) {
	uri := isURI(text)
	kind, said := p.Param("VALUE")
	defer func() {
		if now, _ := p.Param("VALUE"); now != kind {
			c.notes.add(p.Name(), item.EffectAltered, "vCard "+c.to.String()+" wants to know whether it is a URI", kind, now)
		}
	}()
	switch {
	case !uri:
	case said && c.to != cl.VCard21 && !strings.EqualFold(kind, "text"), !said && c.to == cl.VCard30:
		p.SetParam("VALUE", "uri")
	case c.to == cl.VCard21:
		p.SetParam("VALUE", "URL")
	}
	switch {
	case media != "" && c.to == cl.VCard40:
		p.SetParam("MEDIATYPE", media)
	default:
		c.giveMedia(p, media)
	}
	if uri {
		c.raw(p, text)
	} else {
		p.SetText(text)
		if c.to == cl.VCard40 {
			p.SetParam("VALUE", "text")
		}
	}
}

func isData(v string) bool { return len(v) >= 5 && strings.EqualFold(v[:5], "data:") }

// isURI reports whether a value begins with a scheme.
func isURI(v string) bool {
	scheme, rest, ok := strings.Cut(v, ":")
	return ok && rest != "" && len(scheme) > 1 && len(scheme) < 32 && isToken(strings.NewReplacer("+", "", ".", "").Replace(scheme))
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
		c.phoneticToIRMC()
	} else if c.from == cl.VCard21 {
		c.irmcToPhonetic()
		c.androidLabels()
	}
	if c.to == cl.VCard40 {
		for p := range c.card.Properties() {
			if name, ok := newNames[p.Name()]; ok {
				p.SetName(name)
			}
		}
		c.labelsToParams()
		return
	}
	if c.from == cl.VCard40 {
		for p := range c.card.Properties() {
			for old, name := range newNames {
				if p.Name() == name {
					p.SetName(old)
				}
			}
		}
		c.relatedAgents()
	}
}

// androidLabel is how Android writes a label that a person has made up, in 2.1: as a
// parameter that is none. It returns the label.
func androidLabel(q cl.Param) (string, bool) {
	const prefix = "X-CUSTOM("
	if !strings.HasPrefix(q.Name, prefix) {
		return "", false
	}
	text, ok := strings.CutSuffix(q.Name[len(prefix):]+"="+strings.Join(q.Values, ","), ")")
	if !ok {
		return "", false
	}
	parts := strings.Split(text, ",")
	p := cl.NewProperty(cl.VCard21, "", "X")
	var params []cl.Param
	for _, t := range parts[:len(parts)-1] {
		name, v, _ := strings.Cut(t, "=")
		params = append(params, cl.Param{Name: strings.ToUpper(name), Values: []string{v}})
	}
	p.SetParams(params)
	p.SetValue(parts[len(parts)-1])
	return p.Text(), true
}

// androidLabels makes them labels of groups, which more programs know.
func (c *converter) androidLabels() {
	used := map[string]bool{}
	for p := range c.card.Properties() {
		used[p.Group()] = true
	}
	next := 1
	for i := 0; i < len(c.card.Nodes); i++ {
		p := c.card.Nodes[i].Property
		if p == nil || p.Name() == "" {
			continue
		}
		params := p.Params()
		at := slices.IndexFunc(params, func(q cl.Param) bool { _, ok := androidLabel(q); return ok })
		if at < 0 {
			continue
		}
		label, _ := androidLabel(params[at])
		p.SetParams(slices.Delete(params, at, at+1))
		if p.Group() == "" {
			for used["item"+strconv.Itoa(next)] {
				next++
			}
			p.SetGroup("item" + strconv.Itoa(next))
			used[p.Group()] = true
		}
		l := cl.NewProperty(c.to, p.Break(), "X-ABLabel")
		l.SetGroup(p.Group())
		l.SetText(label)
		c.done[l] = true
		i++
		c.card.Insert(i, cl.Node{Property: l})
		c.notes.add(p.Name(), item.EffectMoved, "its label has a property of its own", label, labelProperty)
	}
}

// lower does what has to wait until the values are converted.
func (c *converter) lower() {
	if c.from == cl.VCard40 {
		c.paramsToLabels()
	}
}

// addressTypes are the types that tell which address a LABEL belongs to.
func addressTypes(p *cl.Property) string {
	var out []string
	for _, v := range p.Values("TYPE") {
		for _, t := range strings.Split(v, ",") {
			if t = strings.ToLower(strings.TrimSpace(t)); t != "" && t != "pref" {
				out = append(out, t)
			}
		}
	}
	slices.Sort(out)
	return p.Group() + "|" + strings.Join(slices.Compact(out), ",")
}

// labelsToParams puts each LABEL into the address that it is of: the one of its types and
// group that has none yet. One without an address gets an empty one.
func (c *converter) labelsToParams() {
	var labels []*cl.Property
	free := map[string][]*cl.Property{}
	for p := range c.card.Properties() {
		switch p.Name() {
		case "LABEL":
			labels = append(labels, p)
		case "ADR":
			if _, has := p.Param("LABEL"); !has {
				free[addressTypes(p)] = append(free[addressTypes(p)], p)
			}
		}
	}
	for _, l := range labels {
		text := l.Text()
		key := addressTypes(l)
		if adr := free[key]; len(adr) > 0 {
			free[key] = adr[1:]
			// A parameter of the old dialects can't hold a line break: it is set once the address is converted.
			c.after(adr[0], text)
			c.card.Remove(l)
			continue
		}
		l.SetName("ADR")
		v := l.Params()
		l.SetParams(nil)
		l.SetValue(";;;;;;")
		l.SetParams(slices.DeleteFunc(v, func(q cl.Param) bool {
			return q.Name == "CHARSET" || q.Name == "ENCODING" || q.Name == "" && bareKind(q) == "ENCODING"
		}))
		c.after(l, text)
	}
}

// after sets the LABEL of an address in the new dialect, which alone can hold it.
func (c *converter) after(adr *cl.Property, text string) {
	v := adr.Components()
	c.params(adr)
	adr.SetComponents(v)
	adr.SetParam("LABEL", text)
}

// paramsToLabels makes a LABEL of each such parameter.
func (c *converter) paramsToLabels() {
	for i := 0; i < len(c.card.Nodes); i++ {
		p := c.card.Nodes[i].Property
		if p == nil || p.Name() != "ADR" {
			continue
		}
		text, has := p.Param("LABEL")
		if !has {
			continue
		}
		l := cl.NewProperty(c.to, p.Break(), "LABEL")
		l.SetGroup(p.Group())
		l.SetParams(slices.DeleteFunc(p.Params(), func(q cl.Param) bool {
			return q.Name == "LABEL" || q.Name == "CHARSET" || q.Name == "ENCODING"
		}))
		l.SetText(text)
		p.SetParam("LABEL")
		if strings.Trim(p.Value(), ";") == "" {
			c.card.Nodes[i].Property = l
			continue
		}
		c.card.Insert(i+1, cl.Node{Property: l})
		i++
	}
}

const agentData = "data:text/vcard;charset=utf-8;base64,"

// agents converts AGENT: a card inside of the card in 2.1, its text in 3.0, and something
// related in 4.0.
func (c *converter) agents() {
	for i := 0; i < len(c.card.Nodes) && c.to != cl.VCard21; i++ {
		n := c.card.Nodes[i]
		if n.Component == nil || n.Component.Name != "VCARD" {
			continue
		}
		text := agentText(n.Component)
		p := cl.NewProperty(c.from, c.card.Begin.Break(), "AGENT")
		if before := c.agentBefore(i); before >= 0 { // the line AGENT: with nothing behind it
			p.SetGroup(c.card.Nodes[before].Property.Group())
			c.card.Nodes = slices.Delete(c.card.Nodes, before, i)
			i = before
		}
		c.card.Nodes[i] = cl.Node{Property: p}
		c.setAgent(p, text)
	}
	for _, p := range slices.Collect(c.card.Properties()) {
		if p.Name() == "AGENT" && !c.done[p] && strings.TrimSpace(p.Value()) != "" {
			c.setAgent(p, p.Text())
		}
	}
}

func (c *converter) agentBefore(i int) int {
	for j := i - 1; j >= 0; j-- {
		p := c.card.Nodes[j].Property
		if p == nil {
			return -1
		}
		if p.Name() == "AGENT" && strings.TrimSpace(p.Value()) == "" {
			return j
		}
		if !p.Blank() {
			return -1
		}
	}
	return -1
}

// agentText is a card as text with LF.
func agentText(card *cl.Component) string {
	card = card.Clone()
	card.Close()
	if v := card.Begin; v.Name() == "AGENT" {
		v.SetName("BEGIN")
		v.SetValue("VCARD")
	}
	return strings.TrimRight(string(cl.AppendLines(nil, card.Bytes(), "\n")), "\n")
}

// setAgent writes an agent in the version that the card is to have.
func (c *converter) setAgent(p *cl.Property, text string) {
	isCard := len(text) > 11 && strings.EqualFold(text[:11], "BEGIN:VCARD")
	switch {
	case c.to == cl.VCard40:
		kind := "text"
		if v, ok := p.Param("VALUE"); ok || isURI(text) && !isCard {
			kind = v
			if !ok {
				kind = "uri"
			}
		}
		p.SetName("RELATED")
		p.SetDialect(c.to)
		p.SetParams([]cl.Param{{Name: "TYPE", Values: []string{"agent"}}, {Name: "VALUE", Values: []string{strings.ToLower(kind)}}})
		if isCard {
			p.SetParam("VALUE", "uri")
			p.SetValue(agentData + base64.StdEncoding.EncodeToString([]byte(text)))
		} else if strings.EqualFold(kind, "text") {
			p.SetText(text)
		} else {
			p.SetValue(text)
		}
		c.done[p] = true
		c.notes.add("AGENT", item.EffectMoved, "vCard 4.0 has RELATED in its place", text, "")
	case c.to == cl.VCard21 && isCard:
		c.innerCard(p, text)
	case c.to == cl.VCard30:
		p.SetDialect(c.to)
		p.SetParams(nil)
		p.SetText(text)
		c.done[p] = true
	}
}

// innerCard replaces the text of a card by the card.
func (c *converter) innerCard(p *cl.Property, text string) {
	inner := cl.Parse(cl.AppendLines(nil, []byte(text), p.Break()))
	i := slices.IndexFunc(c.card.Nodes, func(n cl.Node) bool { return n.Property == p })
	if i < 0 || len(inner.Root.Nodes) != 1 || inner.Root.Nodes[0].Component == nil || inner.Root.Nodes[0].Component.End == nil {
		return
	}
	p.SetParams(nil)
	p.SetValue("")
	c.card.Insert(i+1, inner.Root.Nodes[0])
}

// relatedAgents is the reverse of what setAgent makes for 4.0.
func (c *converter) relatedAgents() {
	for _, p := range slices.Collect(c.card.Properties()) {
		if p.Name() != "RELATED" || !slices.ContainsFunc(p.Values("TYPE"), func(t string) bool { return strings.EqualFold(t, "agent") }) {
			continue
		}
		text := p.Text()
		if b, t, ok := p.Binary(); ok && strings.HasPrefix(strings.ToLower(t), "text/vcard") {
			text = string(b)
		}
		kind, _ := p.Param("VALUE")
		p.SetName("AGENT")
		p.SetParams(nil)
		p.SetDialect(c.to)
		if kind == "uri" && isURI(text) && !strings.HasPrefix(strings.ToUpper(text), "BEGIN:") {
			p.SetParam("VALUE", "uri")
		}
		p.SetText(text)
		if c.to == cl.VCard21 && strings.HasPrefix(strings.ToUpper(text), "BEGIN:VCARD") {
			c.innerCard(p, text)
		}
		c.done[p] = true
	}
}

// The phonetic name of Japanese phones, SOUND;X-IRMC-N, makes other programs take the
// name for a sound. It becomes the properties that Android and Apple have for it; a
// parameter tells how many parts it had, so that 2.1 gets it again.
const irmc = "X-IRMC-N"

var phonetic = [...]string{"X-PHONETIC-LAST-NAME", "X-PHONETIC-FIRST-NAME", "X-PHONETIC-MIDDLE-NAME"}

func isIRMC(p *cl.Property) bool {
	return p.Name() == "SOUND" && slices.ContainsFunc(p.Values("TYPE"), func(t string) bool { return strings.EqualFold(t, irmc) })
}

// irmcToPhonetic runs before the values are converted.
func (c *converter) irmcToPhonetic() {
	for i := 0; i < len(c.card.Nodes); i++ {
		p := c.card.Nodes[i].Property
		if p == nil || !isIRMC(p) {
			continue
		}
		fields := p.Fields()
		var nodes []cl.Node
		for j, v := range fields {
			if v == "" {
				continue
			}
			if j >= len(phonetic) || c.card.Get(phonetic[j]) != nil {
				nodes = nil
				break
			}
			q := cl.NewProperty(c.to, p.Break(), phonetic[j])
			q.SetParam(irmc, strconv.Itoa(len(fields)))
			q.SetText(v)
			c.done[q] = true
			nodes = append(nodes, cl.Node{Property: q})
		}
		if nodes == nil {
			p.SetName(irmc)
			c.notes.add("SOUND", item.EffectMoved, "it is the name in phonetic letters", p.Text(), irmc)
			continue
		}
		c.notes.add("SOUND", item.EffectMoved, "it is the name in phonetic letters", p.Text(), strings.Join(fields, " "))
		c.card.Nodes = slices.Replace(c.card.Nodes, i, i+1, nodes...)
		i += len(nodes) - 1
	}
}

// phoneticToIRMC is the reverse.
func (c *converter) phoneticToIRMC() {
	var sound *cl.Property
	var fields []string
	for _, p := range slices.Collect(c.card.Properties()) {
		count, marked := p.Param(irmc)
		j := slices.Index(phonetic[:], p.Name())
		n, err := strconv.Atoi(count)
		switch {
		case p.Name() == irmc:
			p.SetName("SOUND")
			continue
		case !marked || j < 0 || err != nil || n <= j || n > 16:
			continue
		case sound == nil:
			sound, fields = p, make([]string, n)
		default:
			c.card.Remove(p)
		}
		if j < len(fields) {
			fields[j] = p.Text()
		}
	}
	if sound != nil {
		sound.SetName("SOUND")
		sound.SetDialect(c.to)
		sound.SetParams([]cl.Param{{Values: []string{irmc}}})
		sound.SetFields(fields)
		c.done[sound] = true
	}
}
