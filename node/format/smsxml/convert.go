package smsxml

import (
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/message"
)

// Kind is what a record is.
func (r *Record) Kind() item.Kind {
	if r.Name == "call" {
		return item.Call
	}
	return item.Message
}

// Canonical returns the canonical form of a record, what a person knows it by, and what
// of it is odd.
func (r *Record) Canonical() (data []byte, label string, changes []item.Change) {
	if r.Kind() == item.Call {
		c := call.FromSBR(r.Attrs)
		data, label = c.Bytes(), c.Label()
	} else {
		m := message.FromSBR(&r.Element)
		for i := range m.Parts {
			if v, ok := message.Get(m.Parts[i].X, "data"); ok && m.Parts[i].Base64 == nil {
				r.Flags = append(r.Flags, Flag{"PART/DATA", item.EffectFlagged, "it is no base64: kept as text", v[:min(len(v), item.MaxShown)]})
			}
		}
		data, label = m.Bytes(), m.Label()
	}
	for _, name := range []string{"date"} {
		for _, a := range r.Attrs {
			if a.Name == name && !isNumber(a.Value) {
				r.Flags = append(r.Flags, Flag{strings.ToUpper(name), item.EffectFlagged, "it is no number: kept as text", a.Value[:min(len(a.Value), item.MaxShown)]})
			}
		}
	}
	for _, f := range r.Flags {
		changes = append(changes, item.Change{Kind: r.Kind(), Record: label, Property: f.Property, Effect: f.Effect, Why: f.Why, Before: f.Before})
	}
	return data, label, changes
}

func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && len(s) < 19 && strings.Trim(s, "0123456789") == ""
}
