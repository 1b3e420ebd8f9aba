package contact

import (
	"slices"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
)

// Android exports what vCard 2.1 has no property for as X-ANDROID-CUSTOM: the media type
// of a row of its database, and the row's columns. Only Android reads it, and servers
// that put backslashes before its semicolons hide it from Android too.
const (
	androidCustom = "X-ANDROID-CUSTOM"
	androidType   = "vnd.android.cursor.item/"
)

// Apple's labels, which Android's programs for servers write as well, by Android's numbers.
var (
	eventLabels    = map[string]string{"1": "_$!<Anniversary>!$_", "2": "_$!<Other>!$_"}
	relationLabels = map[string]string{"1": "_$!<Assistant>!$_", "2": "_$!<Brother>!$_", "3": "_$!<Child>!$_", "4": "_$!<Partner>!$_", "5": "_$!<Father>!$_", "6": "_$!<Friend>!$_",
		"7": "_$!<Manager>!$_", "8": "_$!<Mother>!$_", "9": "_$!<Parent>!$_", "10": "_$!<Partner>!$_", "13": "_$!<Sister>!$_", "14": "_$!<Spouse>!$_"}
)

// android makes nicknames, events and relations of Android the properties that others
// have for them. Anything else of X-ANDROID-CUSTOM stays.
func (s *shaper) android() {
	for i := 0; i < len(s.card.Nodes); i++ {
		p := s.card.Nodes[i].Property
		if p == nil || p.Name() != androidCustom {
			continue
		}
		columns := p.Fields()
		kind, ok := strings.CutPrefix(columns[0], androidType)
		columns = append(columns[1:], "", "", "") // data1, data2, data3
		if !ok || columns[0] == "" || slices.ContainsFunc(columns[3:], func(v string) bool { return v != "" }) {
			continue
		}
		nodes := s.androidRow(p, kind, columns[0], columns[1], columns[2])
		if nodes == nil {
			continue
		}
		s.notes.add(androidCustom, item.EffectMoved, "others read it there", p.Value(), nodes[0].Property.Name())
		s.card.Nodes = slices.Replace(s.card.Nodes, i, i+1, nodes...)
		i += len(nodes) - 1
	}
}

func (s *shaper) androidRow(p *cl.Property, kind, value, number, label string) []cl.Node {
	property := func(name string) *cl.Property {
		q := cl.NewProperty(s.card.Dialect, p.Break(), name)
		q.SetText(value)
		return q
	}
	labelled := func(name, label string) []cl.Node {
		if label == "" {
			return nil
		}
		q, l := property(name), cl.NewProperty(s.card.Dialect, p.Break(), "X-ABLabel")
		q.SetGroup(s.freeGroup())
		l.SetGroup(q.Group())
		l.SetText(label)
		return []cl.Node{{Property: q}, {Property: l}}
	}
	switch {
	case kind == "nickname":
		return []cl.Node{{Property: property("NICKNAME")}}
	case kind == "contact_event" && number == "3" && s.card.Get("BDAY") == nil:
		return []cl.Node{{Property: property("BDAY")}}
	case kind == "contact_event" && (number == "0" || number == ""):
		return labelled("X-ABDATE", label)
	case kind == "contact_event":
		return labelled("X-ABDATE", eventLabels[number])
	case kind == "relation" && (number == "0" || number == ""):
		return labelled("X-ABRELATEDNAMES", label)
	case kind == "relation":
		return labelled("X-ABRELATEDNAMES", relationLabels[number])
	}
	return nil
}

// freeGroup returns a group that no property is in.
func (s *shaper) freeGroup() string {
	if s.groups == nil {
		s.groups = map[string]bool{}
		for p := range s.card.Properties() {
			s.groups[strings.ToLower(p.Group())] = true
		}
	}
	for n := 1; ; n++ {
		if g := "item" + strconv.Itoa(n); !s.groups[g] {
			s.groups[g] = true
			return g
		}
	}
}
