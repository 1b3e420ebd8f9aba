package contact

import (
	"slices"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
)

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
			c.notes.add("LABEL", item.EffectMoved, "vCard 4.0 has it as a parameter of the address", text, "ADR")
			c.notes.add("ADR", item.EffectAltered, "it got its label", adr[0].Value(), text)
			continue
		}
		c.notes.add("LABEL", item.EffectMoved, "vCard 4.0 has it as a parameter of an address", text, "ADR")
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
		c.notes.add("ADR", item.EffectMoved, "its label is a property of its own in vCard "+c.to.String(), text, "LABEL")
		if strings.Trim(p.Value(), ";") == "" {
			c.card.Nodes[i].Property = l
			continue
		}
		c.card.Insert(i+1, cl.Node{Property: l})
		i++
	}
}
