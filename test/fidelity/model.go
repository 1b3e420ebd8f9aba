package fidelity

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
)

// Property is one property, attribute or key of a record.
type Property struct {
	Path  string // the components around it within the record: "VEVENT/VALARM"; "" is the record itself
	Name  string // in capitals as far as the format ignores case; "" is a line that is no property
	Value string // as it compares
	Raw   string // as the file has it, for showing
	Line  int    // of the file, from 1; 0 is unknown

	others []string // further readings of the value, for programs that translate
	form   string   // what beside params and group must be equal for Strict
	params string   // in one order
	group  string
	weak   bool // counts for Strict only
}

// FullName is the name with the components before it.
func (p Property) FullName() string {
	if p.Path == "" {
		return p.Name
	}
	return p.Path + "/" + p.Name
}

// String shows it on one line.
func (p Property) String() string {
	return fmt.Sprintf("line %d: %s: %.80q", p.Line, p.FullName(), p.Raw)
}

func (p Property) key() string { return p.Path + "\x00" + p.Name + "\x00" + p.Value }

func (p Property) strictKey() string {
	return p.key() + "\x00" + p.form + "\x00" + p.params + "\x00" + p.group
}

// Record is what has a partner in another file.
type Record struct {
	Kind       string   // "contact", "calendar", "timezone", "message", "call", "bookmark", "network", "" what belongs to the file
	ID         string   // what identifies it; "" is nothing
	Labels     []string // what a report may call it
	Properties []Property
	Line       int

	version string // of the format; another one allows other readings
	folder  string // of bookmarks, with the position in it
	order   int
}

// Document is a file that was read.
type Document struct {
	Name    string
	Format  string // "vcard", "icalendar", "sms", "bookmarks", "keyfile"
	Records []*Record
}

// Count returns the number of properties, at the value and at the strict level.
func (d *Document) Count() (value, strict int) {
	for _, r := range d.Records {
		v, s := r.count()
		value, strict = value+v, strict+s
	}
	return value, strict
}

func (r *Record) count() (value, strict int) {
	for _, p := range r.Properties {
		if !p.weak {
			value++
		}
	}
	return value, len(r.Properties)
}

// Parse reads a file; the format follows from the content, and where that says nothing from the name. It never fails on
// content that is broken inside: what can't be understood is compared as it stands.
func Parse(name string, data []byte) (*Document, error) {
	text := utf8Text(data)
	d := &Document{Name: name}
	head := bytes.ToUpper(bytes.TrimLeft(text[:min(len(text), 4096)], " \t\r\n"))
	ext := strings.ToLower(filepath.Ext(name))
	switch {
	case bytes.Contains(head, []byte("<!DOCTYPE NETSCAPE-BOOKMARK")) || ext == ".html" || ext == ".htm":
		d.Format, d.Records = "bookmarks", bookmarksHTML(text)
	case bytes.Contains(head, []byte("<SMSES")) || bytes.Contains(head, []byte("<CALLS")) || bytes.Contains(head, []byte("<ALLSMS")):
		d.Format, d.Records = "sms", smsXML(text)
	case bytes.HasPrefix(head, []byte("{")) || ext == ".json":
		records, err := bookmarksJSON(text)
		if err != nil {
			return nil, fmt.Errorf("fidelity: %s: %w", name, err)
		}
		d.Format, d.Records = "bookmarks", records
	case ext == ".nmconnection" || bytes.HasPrefix(head, []byte("[")):
		d.Format, d.Records = "keyfile", keyfile(text)
	case bytes.Contains(head, []byte("BEGIN:VCALENDAR")) || ext == ".ics" || ext == ".vcs" || ext == ".ical" || ext == ".ifb":
		d.Format, d.Records = "icalendar", contentRecords(text)
	case bytes.Contains(head, []byte("BEGIN:VCARD")) || ext == ".vcf" || ext == ".vcard":
		d.Format, d.Records = "vcard", contentRecords(text)
	default:
		return nil, fmt.Errorf("fidelity: %s: of no format that is compared here", name)
	}
	return d, nil
}

// Join makes one document of several, such as the objects of a calendar that a server keeps one by one.
func Join(name string, documents ...*Document) *Document {
	out := &Document{Name: name}
	for _, d := range documents {
		out.Format = d.Format
		out.Records = append(out.Records, d.Records...)
	}
	out.Records = gather(out.Records)
	return out
}
