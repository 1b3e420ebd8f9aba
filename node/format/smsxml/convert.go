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

// Canonical is a record in canonical form.
type Canonical struct {
	Data     []byte
	Identity []byte
	Label    string        // what a person knows it by
	Changes  []item.Change // what of it is odd
}

// Canonical returns the canonical form of a record.
func (r *Record) Canonical() (out Canonical) {
	if r.Kind() == item.Call {
		c := call.FromSBR(r.Attrs)
		out = Canonical{Data: c.Bytes(), Identity: c.Identity(), Label: c.Label()}
	} else {
		m := message.FromSBR(&r.Element)
		for i := range m.Parts {
			if v, ok := message.Get(m.Parts[i].X, "data"); ok && m.Parts[i].Base64 == nil {
				r.Flags = append(r.Flags, Flag{"PART/DATA", item.EffectFlagged, "it is no base64: kept as text", v[:min(len(v), item.MaxShown)]})
			}
		}
		out = Canonical{Data: m.Bytes(), Identity: m.Identity(), Label: m.Label()}
	}
	for _, a := range r.Attrs {
		if a.Name == "date" {
			if !isNumber(a.Value) {
				r.Flags = append(r.Flags, Flag{"DATE", item.EffectFlagged, "it is no number: kept as text", a.Value[:min(len(a.Value), item.MaxShown)]})
			}
		}
	}
	for _, f := range r.Flags {
		out.Changes = append(out.Changes, item.Change{Kind: r.Kind(), Record: out.Label, Property: f.Property, Effect: f.Effect, Why: f.Why, Before: f.Before})
	}
	return out
}

func isNumber(s string) bool {
	s = strings.TrimPrefix(s, "-")
	return s != "" && len(s) < 19 && strings.Trim(s, "0123456789") == ""
}
