package fidelity

import (
	"fmt"
	"strings"
)

// smsXML reads a file of SMS Backup & Restore. What its outermost element counts is left out: another file has another.
func smsXML(data []byte) (out []*Record) {
	for _, e := range parseXML(data).all("sms", "mms", "call") {
		r := &Record{Kind: "message", Line: e.line}
		if e.name == "call" {
			r.Kind = "call"
		}
		e.attributes(r, e.name)
		for _, list := range e.nodes {
			for i, inner := range list.nodes {
				inner.attributes(r, fmt.Sprintf("%s/%s[%d]/%s", e.name, list.name, i, inner.name))
			}
		}
		for _, a := range e.attrs {
			switch a.name {
			case "address", "contact_name", "number", "body", "date", "m_id", "tr_id":
				r.Labels = append(r.Labels, a.value)
			}
		}
		out = append(out, r)
	}
	return out
}

// all returns the elements of these names that are not inside one another, in order.
func (n *node) all(names ...string) (out []*node) {
	for _, e := range n.nodes {
		found := false
		for _, name := range names {
			found = found || e.name == name
		}
		if found {
			out = append(out, e)
		} else {
			out = append(out, e.all(names...)...)
		}
	}
	return out
}

// attributes adds an element's attributes. "null" stands for one that is not there, but in text that somebody wrote.
func (n *node) attributes(r *Record, path string) {
	for _, a := range n.attrs {
		p := Property{Path: path, Name: strings.ToUpper(a.name), Value: a.value, Raw: a.raw, Line: n.line}
		switch p.Name {
		case "DATA":
			if b, ok := lenientBase64(a.value); ok {
				p.Value = digest(b)
			}
		case "BODY", "TEXT":
		default:
			p.weak = a.value == "null"
		}
		r.Properties = append(r.Properties, p)
	}
	if t := strings.TrimSpace(n.text); t != "" {
		r.Properties = append(r.Properties, Property{Path: path, Name: "(TEXT)", Value: t, Raw: t, Line: n.line})
	}
}
