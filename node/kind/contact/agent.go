package contact

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
)

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
