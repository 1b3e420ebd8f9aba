package contact

import (
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
)

// The phonetic name of Japanese phones, SOUND;X-IRMC-N, is no sound, and known to few. The
// properties that Android and Apple have for it are put beside it; a parameter marks
// them, so that 2.1 loses them again.
const irmc = "X-IRMC-N"

var phonetic = [...]string{"X-PHONETIC-LAST-NAME", "X-PHONETIC-FIRST-NAME", "X-PHONETIC-MIDDLE-NAME"}

func isIRMC(p *cl.Property) bool {
	return p.Name() == "SOUND" && slices.ContainsFunc(p.Values("TYPE"), func(t string) bool { return strings.EqualFold(t, irmc) })
}

// addPhonetic runs before the values are converted.
func (c *converter) addPhonetic() {
	for i := 0; i < len(c.card.Nodes); i++ {
		p := c.card.Nodes[i].Property
		if p == nil || !isIRMC(p) {
			continue
		}
		for j, v := range p.Fields() {
			if v == "" || j >= len(phonetic) || c.card.Get(phonetic[j]) != nil {
				continue
			}
			q := cl.NewProperty(c.to, p.Break(), phonetic[j])
			q.SetParam(irmc, "TRUE")
			q.SetText(v)
			c.done[q] = true
			i++
			c.card.Insert(i, cl.Node{Property: q})
			c.notes.add(phonetic[j], item.EffectAdded, "few programs find the phonetic name in SOUND", "", v)
		}
	}
}

// dropPhonetic is the reverse.
func (c *converter) dropPhonetic() {
	there := slices.ContainsFunc(c.card.Nodes, func(n cl.Node) bool { return n.Property != nil && isIRMC(n.Property) })
	c.card.DeleteFunc(func(n cl.Node) bool {
		return there && n.Property != nil && slices.Contains(phonetic[:], n.Property.Name()) && hasParam(n.Property, irmc)
	})
}
