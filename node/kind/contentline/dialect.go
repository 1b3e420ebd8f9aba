package contentline

// Dialect is the language of a component. It decides how values are escaped and encoded.
type Dialect uint8

// The dialects.
const (
	VCard30 Dialect = iota // RFC 2426; also what has no VERSION and nothing that tells it apart
	VCard21                // the vCard specification of the Internet Mail Consortium, 1996
	VCard40                // RFC 6350
	ICal20                 // RFC 5545
	VCal10                 // vCalendar 1.0, of the same family as vCard 2.1
)

var dialectNames = [...]string{"3.0", "2.1", "4.0", "2.0", "1.0"}

// String returns what VERSION says in this dialect.
func (d Dialect) String() string {
	if int(d) < len(dialectNames) {
		return dialectNames[d]
	}
	return "unknown"
}

// VCard returns the dialect of a card of this version.
func VCard(version string) (Dialect, bool) {
	switch version {
	case "2.1":
		return VCard21, true
	case "3.0", "3":
		return VCard30, true
	case "4.0", "4":
		return VCard40, true
	}
	return VCard30, false
}

// Old reports whether the dialect is from before there were backslash escapes for text:
// line breaks and what is not ASCII are written as quoted-printable.
func (d Dialect) Old() bool { return d == VCard21 || d == VCal10 }

// carets reports whether parameters have the escapes of RFC 6868.
func (d Dialect) carets() bool { return d == VCard40 || d == ICal20 }

// dialect finds a component's dialect. Where VERSION is missing or says nothing known,
// what only the old dialects have decides.
func (c *Component) dialect(outer Dialect) Dialect {
	version := ""
	if p := c.Get("VERSION"); p != nil && p.Size() < 1<<10 {
		version = trimBlanks(p.Value())
	}
	switch c.Name {
	case "VCARD":
		if d, ok := VCard(version); ok {
			return d
		}
		if c.looksOld() {
			return VCard21
		}
		return VCard30
	case "VCALENDAR":
		if version == "1.0" || version != "2.0" && c.looksOld() {
			return VCal10
		}
		return ICal20
	}
	if c.Parent == nil || c.Parent.Name == "" {
		return ICal20
	}
	return outer
}

// looksOld reports whether one of the first properties has a parameter without a name or
// is quoted-printable.
func (c *Component) looksOld() bool {
	const enough = 100
	n := 0
	for p := range c.Properties() {
		for _, q := range p.Params() {
			if q.Name == "" || q.Name == "ENCODING" && EqualFold([]byte(q.first()), "QUOTED-PRINTABLE") {
				return true
			}
		}
		if n++; n == enough {
			break
		}
	}
	return false
}
