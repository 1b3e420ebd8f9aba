package dav

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Names of the XML that we read.
const (
	nsDAV  = "DAV:"
	nsCard = "urn:ietf:params:xml:ns:carddav"
	nsCal  = "urn:ietf:params:xml:ns:caldav"
)

const (
	maxDepth  = 32       // of elements
	maxValue  = 64 << 10 // bytes of a property's text, but for what a resource holds
	maxHref   = 8 << 10
	maxValues = 256 // of one property that is a list
)

// response is one entry of a multistatus answer.
type response struct {
	href   string // unescaped XML, otherwise as the server wrote it
	status int    // of the resource itself; 0 if only its properties have one
	words  string // why
	props  props
}

// props are the properties that the server has, those with status 200.
type props struct {
	types      []xml.Name // elements of resourcetype
	name       string
	etag       string
	length     int64 // -1 is unknown
	principal  []string
	bookHomes  []string
	calHomes   []string
	outbox     []string
	components []string // nil: no such property
	versions   []string
	reports    []xml.Name
	maxSize    int64
	privileges []string // nil: no such property
	data       []byte   // address-data or calendar-data
	exact      bool     // data has the line breaks that the server wrote; else it may have lost carriage returns
}

func (p *props) is(space, local string) bool {
	for _, t := range p.types {
		if t.Space == space && t.Local == local {
			return true
		}
	}
	return false
}

// reader takes a multistatus answer apart as it comes, so that no more than one entry is in memory.
type reader struct {
	d     *xml.Decoder
	raw   *tape
	depth int
	data  int64 // bytes that a resource may have
	token string
}

// eachResponse calls each for every entry of a multistatus answer and returns its sync-token.
func eachResponse(body io.Reader, largest int64, each func(*response) error) (token string, err error) {
	raw := &tape{r: body}
	r := &reader{d: xml.NewDecoder(raw), raw: raw, data: largest}
	start, err := r.open()
	if err != nil {
		return "", err
	}
	if start.Name != (xml.Name{Space: nsDAV, Local: "multistatus"}) {
		return "", fmt.Errorf("%w: no multistatus", ErrHostile)
	}
	err = r.children(func(name xml.Name, attr []xml.Attr) error {
		switch name {
		case xml.Name{Space: nsDAV, Local: "response"}:
			resp, err := r.response()
			if err != nil {
				return err
			}
			return each(resp)
		case xml.Name{Space: nsDAV, Local: "sync-token"}:
			r.token, err = r.text(maxValue)
			return err
		}
		return r.skip()
	})
	return r.token, err
}

// next returns the next start or end of an element, or text. A document type is refused: it is where entities are declared.
func (r *reader) next() (xml.Token, error) {
	for {
		t, err := r.d.Token()
		if err != nil {
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) || err == io.EOF {
				err = fmt.Errorf("%w: broken XML", ErrHostile)
			}
			return nil, err
		}
		switch t.(type) {
		case xml.StartElement:
			if r.depth++; r.depth > maxDepth {
				return nil, fmt.Errorf("%w: XML nested too deeply", ErrHostile)
			}
			return t, nil
		case xml.EndElement:
			r.depth--
			return t, nil
		case xml.CharData:
			return t, nil
		case xml.Directive:
			return nil, fmt.Errorf("%w: XML with a document type", ErrHostile)
		}
	}
}

// open returns the next element's start.
func (r *reader) open() (xml.StartElement, error) {
	for {
		t, err := r.next()
		if err != nil {
			return xml.StartElement{}, err
		}
		if s, ok := t.(xml.StartElement); ok {
			return s, nil
		}
	}
}

// children calls f at the start of every element inside the open one, whose end it reads. f reads to its element's end.
func (r *reader) children(f func(name xml.Name, attr []xml.Attr) error) error {
	for {
		t, err := r.next()
		if err != nil {
			return err
		}
		switch t := t.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			if err := f(t.Name, t.Attr); err != nil {
				return err
			}
		}
	}
}

// skip reads to the end of the open element.
func (r *reader) skip() error {
	for until := r.depth - 1; r.depth > until; {
		if _, err := r.next(); err != nil {
			return err
		}
	}
	return nil
}

// text returns the text of the open element, of at most limit bytes, and reads its end.
func (r *reader) text(limit int64) (string, error) {
	var b bytes.Buffer
	for until := r.depth - 1; r.depth > until; {
		t, err := r.next()
		if err != nil {
			return "", err
		}
		if c, ok := t.(xml.CharData); ok {
			if int64(b.Len()+len(c)) > limit {
				return "", ErrTooLarge
			}
			b.Write(c)
		}
	}
	return b.String(), nil
}

// content returns what a resource holds. XML makes line feeds of all line breaks; exact is true if there were none, or if
// carriage returns could be restored because the server wrote them, as they are or as references.
func (r *reader) content() (data []byte, exact bool, err error) {
	r.raw.keep = true
	from := r.d.InputOffset()
	text, err := r.text(r.data)
	r.raw.keep = false
	if err != nil {
		return nil, false, err
	}
	breaks := strings.Count(text, "\n")
	switch {
	case breaks == 0 || strings.Contains(text, "\r"):
		return []byte(text), true, nil
	case bytes.Count(r.raw.between(from, r.d.InputOffset()), []byte("\r\n")) == breaks:
		return []byte(strings.ReplaceAll(text, "\n", "\r\n")), true, nil
	}
	return []byte(text), false, nil
}

// tape remembers what was read of the last element, as it came.
type tape struct {
	r    io.Reader
	buf  []byte
	end  int64 // offset in the stream behind buf
	keep bool
}

func (t *tape) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if !t.keep { // the decoder reads ahead: what it took last may belong to what comes
		t.buf = t.buf[:0]
	}
	t.buf = append(t.buf, p[:n]...)
	t.end += int64(n)
	return n, err
}

// between returns what was read between two offsets, or nil if it is not there any more.
func (t *tape) between(from, to int64) []byte {
	start := t.end - int64(len(t.buf))
	if from < start || to > t.end || from > to {
		return nil
	}
	return t.buf[from-start : to-start]
}

func (r *reader) line(limit int64) (string, error) {
	t, err := r.text(limit)
	return strings.TrimSpace(t), err
}

func (r *reader) response() (*response, error) {
	resp := &response{props: props{length: -1}}
	err := r.children(func(name xml.Name, _ []xml.Attr) (err error) {
		switch name {
		case xml.Name{Space: nsDAV, Local: "href"}:
			resp.href, err = r.line(maxHref)
		case xml.Name{Space: nsDAV, Local: "status"}:
			resp.status, err = r.status()
		case xml.Name{Space: nsDAV, Local: "propstat"}:
			err = r.propstat(&resp.props)
		case xml.Name{Space: nsDAV, Local: "responsedescription"}:
			resp.words, err = r.line(maxValue)
		default:
			err = r.skip()
		}
		return err
	})
	return resp, err
}

// status reads "HTTP/1.1 200 OK".
func (r *reader) status() (int, error) {
	text, err := r.line(1 << 10)
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("%w: no status", ErrHostile)
	}
	n, err := strconv.Atoi(fields[1])
	if err != nil || n < 100 || n > 599 {
		return 0, fmt.Errorf("%w: no status", ErrHostile)
	}
	return n, nil
}

// propstat adds the properties of one status to p, if it is 200. The status may come first or last.
func (r *reader) propstat(p *props) error {
	found, status := props{length: -1}, 0
	err := r.children(func(name xml.Name, _ []xml.Attr) (err error) {
		switch name {
		case xml.Name{Space: nsDAV, Local: "prop"}:
			err = r.children(func(name xml.Name, _ []xml.Attr) error { return r.prop(&found, name) })
		case xml.Name{Space: nsDAV, Local: "status"}:
			status, err = r.status()
		default:
			err = r.skip()
		}
		return err
	})
	if err == nil && status == http.StatusOK {
		*p = found
	}
	return err
}

func (r *reader) prop(p *props, name xml.Name) (err error) {
	switch name {
	case xml.Name{Space: nsDAV, Local: "resourcetype"}:
		p.types, err = r.names()
	case xml.Name{Space: nsDAV, Local: "displayname"}:
		p.name, err = r.line(maxValue)
	case xml.Name{Space: nsDAV, Local: "getetag"}:
		p.etag, err = r.line(maxHref)
	case xml.Name{Space: nsDAV, Local: "getcontentlength"}:
		p.length, err = r.number(-1)
	case xml.Name{Space: nsDAV, Local: "current-user-principal"}:
		p.principal, err = r.hrefs()
	case xml.Name{Space: nsCard, Local: "addressbook-home-set"}:
		p.bookHomes, err = r.hrefs()
	case xml.Name{Space: nsCal, Local: "calendar-home-set"}:
		p.calHomes, err = r.hrefs()
	case xml.Name{Space: nsCal, Local: "schedule-outbox-URL"}:
		p.outbox, err = r.hrefs()
	case xml.Name{Space: nsCal, Local: "supported-calendar-component-set"}:
		p.components, err = r.attributes("comp", "name")
	case xml.Name{Space: nsCard, Local: "supported-address-data"}:
		p.versions, err = r.attributes("address-data-type", "version")
	case xml.Name{Space: nsDAV, Local: "supported-report-set"}:
		p.reports, err = r.names()
	case xml.Name{Space: nsCard, Local: "max-resource-size"}, xml.Name{Space: nsCal, Local: "max-resource-size"}:
		p.maxSize, err = r.number(0)
	case xml.Name{Space: nsDAV, Local: "current-user-privilege-set"}:
		p.privileges, err = r.privileges()
	case xml.Name{Space: nsCard, Local: "address-data"}, xml.Name{Space: nsCal, Local: "calendar-data"}:
		p.data, p.exact, err = r.content()
	default:
		err = r.skip()
	}
	return err
}

func (r *reader) number(unknown int64) (int64, error) {
	text, err := r.line(1 << 10)
	if n, bad := strconv.ParseInt(text, 10, 64); bad == nil && n >= 0 {
		return n, err
	}
	return unknown, err
}

// names returns the names of all elements inside the open one, at any depth.
func (r *reader) names() (out []xml.Name, err error) {
	for until := r.depth - 1; r.depth > until; {
		t, err := r.next()
		if err != nil {
			return nil, err
		}
		if s, ok := t.(xml.StartElement); ok && len(out) < maxValues {
			out = append(out, s.Name)
		}
	}
	return out, nil
}

func (r *reader) privileges() ([]string, error) {
	names, err := r.names()
	out := []string{}
	for _, n := range names {
		if n.Space == nsDAV && n.Local != "privilege" {
			out = append(out, n.Local)
		}
	}
	return out, err
}

// hrefs returns the addresses in the open element.
func (r *reader) hrefs() (out []string, err error) {
	err = r.children(func(name xml.Name, _ []xml.Attr) error {
		if name != (xml.Name{Space: nsDAV, Local: "href"}) {
			return r.skip()
		}
		h, err := r.line(maxHref)
		if h != "" && len(out) < maxValues {
			out = append(out, h)
		}
		return err
	})
	return out, err
}

// attributes returns an attribute of the elements of one name in the open element.
func (r *reader) attributes(element, attribute string) (out []string, err error) {
	out = []string{}
	err = r.children(func(name xml.Name, attr []xml.Attr) error {
		for _, a := range attr {
			if name.Local == element && a.Name.Local == attribute && len(out) < maxValues && len(a.Value) < 256 {
				out = append(out, a.Value)
			}
		}
		return r.skip()
	})
	return out, err
}

// conditions returns what an error answer (RFC 4918, section 16) says was not met: names of elements, and text.
func conditions(text []byte) string {
	r := &reader{d: xml.NewDecoder(bytes.NewReader(text))}
	var words []string
	for {
		t, err := r.next()
		if err != nil {
			return shortened(strings.Join(words, " "))
		}
		switch t := t.(type) {
		case xml.StartElement:
			if t.Name.Local != "error" {
				words = append(words, t.Name.Local)
			}
		case xml.CharData:
			words = append(words, string(t))
		}
	}
}
