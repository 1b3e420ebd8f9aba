package contact

import (
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
)

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
	kind, _ := p.Param("VALUE")
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
		if p.Name() == "KEY" && c.to == cl.VCard40 {
			c.notes.add("KEY", item.EffectAltered, "vCard 4.0 says what it is by its media type", value(p), media)
		}
		p.SetBinary(data, media)
		if c.to != cl.VCard40 {
			c.giveMedia(p, media)
		}
	default:
		c.binaryURI(p, text, media, kind)
	}
}

func (c *converter) binaryURI(p *cl.Property, text, media, kind string) {
	uri := isURI(text)
	said := kind != ""
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
