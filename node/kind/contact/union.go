package contact

import (
	"bytes"
	"fmt"
	"image"
	_ "image/gif"  // to know the size of pictures
	_ "image/jpeg" // likewise
	_ "image/png"  // likewise
	"slices"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
)

// singles are the properties of which the target's stays if both have one: a person has
// one name and one birthday. The other is kept as an extension.
var singles = map[string]bool{
	"FN": true, "N": true, "BDAY": true, "ANNIVERSARY": true, "DEATHDATE": true, "GENDER": true, "KIND": true, "X-ADDRESSBOOKSERVER-KIND": true, "SORT-STRING": true,
	"CLASS": true, "MAILER": true, "TZ": true, "GEO": true, "X-PHONETIC-FIRST-NAME": true, "X-PHONETIC-LAST-NAME": true, "X-PHONETIC-MIDDLE-NAME": true, "X-EVOLUTION-FILE-AS": true,
	"SOURCE": true, "NAME": true, "PROFILE": true,
}

// merge gives the card in old what the one in r has and it lacks. What old has stays byte
// for byte, but for a name that becomes more complete, a note and a list of categories that become longer, a
// label that becomes more specific and a picture that becomes larger. nil is that nothing
// is lacking. ok is false if they can't be merged: one is no card, or has too many lines.
func merge(old []byte, r item.Record, tel *phones) (out []byte, changes []item.Change, ok bool) {
	file, target := open(old)
	_, source := open(r.Data)
	if target == nil || source == nil || len(target.Nodes) > maxProperties || len(source.Nodes) > maxProperties {
		return nil, nil, false
	}
	u := union{target: target, tel: tel, notes: notes{record: r, uid: target.Text("UID")}}
	converted := u.notes
	if source.Dialect != target.Dialect {
		source.Close()
		convert(source, target.Dialect, &converted)
	}
	u.source = source
	u.learn()
	for _, p := range slices.Collect(source.Properties()) {
		switch {
		case p.Problem() != "":
			u.line(p)
		case !ignored(p.Name()):
			u.take(p)
		}
	}
	u.components()
	if !u.changed {
		return nil, u.notes.list, true
	}
	return file.Root.Bytes(), append(converted.list, u.notes.list...), true
}

type union struct {
	target, source *cl.Component
	tel            *phones
	notes          notes
	changed        bool

	have                  map[string]*cl.Property   // by key, the first
	twins                 map[string][]*cl.Property // by key, all
	groups                map[string]bool
	myLabels, theirLabels map[string]*cl.Property // by group
	mapped                map[string]string       // a group of the source: its name in the target
	next                  int                     // the next group to try
}

// line keeps a line that is no property as an extension, if the target has neither.
func (u *union) line(p *cl.Property) {
	text := lineText(p)
	for q := range u.target.Properties() {
		if q.Problem() != "" && lineText(q) == text {
			return
		}
	}
	q := cl.NewProperty(u.target.Dialect, u.target.Begin.Break(), lineName)
	q.SetText(text)
	if u.known(q) == nil {
		u.notes.add("", item.EffectMoved, "the line is no property", text, lineName)
		u.add(q)
	}
}

// lineText is a whole line that is no property.
func lineText(p *cl.Property) string { return strings.TrimSpace(string(p.Raw())) }

func (u *union) learn() {
	u.myLabels, u.theirLabels = labelsOf(u.target), labelsOf(u.source)
	u.have, u.twins, u.groups, u.mapped = map[string]*cl.Property{}, map[string][]*cl.Property{}, map[string]bool{}, map[string]string{}
	for p := range u.target.Properties() {
		if g := p.Group(); g != "" {
			u.groups[strings.ToLower(g)] = true
		}
		if ignored(p.Name()) {
			continue
		}
		u.know(p)
	}
}

// know makes a property of the target one that is found by its keys.
func (u *union) know(p *cl.Property) {
	for _, k := range keys(p, u.tel) {
		if u.have[k] == nil {
			u.have[k] = p
		}
		u.twins[k] = append(u.twins[k], p)
	}
}

// take brings one property of the source into the target.
func (u *union) take(p *cl.Property) {
	name := p.Name()
	switch {
	case name == "CATEGORIES":
		u.categories(p)
	case name == "NOTE":
		u.note(p)
	case name == "PHOTO" || name == "LOGO":
		u.picture(p)
	case singles[name]:
		u.one(p)
	default:
		u.many(p)
	}
}

// known returns the property of the target that says all that p says.
func (u *union) known(p *cl.Property) *cl.Property {
	var found *cl.Property
	for _, k := range keys(p, u.tel) {
		if found = u.have[k]; found == nil {
			return nil
		}
	}
	return found
}

func (u *union) many(p *cl.Property) {
	if len(keys(p, u.tel)) == 0 || strings.Trim(p.Value(), ";, ") == "" {
		return
	}
	if q := u.known(p); q != nil {
		u.labels(q, p)
		return
	}
	u.add(p)
}

// add appends a copy of p, in a group of its own if p is in one, with the group's label.
func (u *union) add(p *cl.Property) *cl.Property {
	u.changed = true
	q := u.copy(p)
	u.target.Append(q)
	if g := p.Group(); g != "" {
		name, known := u.mapped[g]
		if !known {
			name = u.freeGroup(g)
			u.mapped[g] = name
		}
		q.SetGroup(name)
		if !known {
			u.copyLabels(g, name)
		}
	}
	u.know(q)
	return q
}

// copy makes p a property with the target's line breaks.
func (u *union) copy(p *cl.Property) *cl.Property {
	brk := u.target.Begin.Break()
	if p.Break() == brk && len(p.Raw()) > 0 && bytes.HasSuffix(p.Raw(), []byte(brk)) {
		return p.Clone()
	}
	q := cl.NewProperty(u.target.Dialect, brk, p.Name())
	q.SetGroup(p.Group())
	q.SetParams(p.Params())
	q.SetValue(p.Value())
	return q
}

// copyLabels brings the labels of a group of the source along.
func (u *union) copyLabels(group, name string) {
	for l := range u.source.Properties() {
		if l.Name() == labelProperty && l.Group() == group {
			c := u.copy(l)
			c.SetGroup(name)
			u.target.Append(c)
			u.myLabels[name] = c
		}
	}
}

func (u *union) freeGroup(want string) string {
	for u.groups[strings.ToLower(want)] {
		u.next++
		want = "item" + strconv.Itoa(u.next)
	}
	u.groups[strings.ToLower(want)] = true
	return want
}

// vague are the types that say next to nothing of a number or an address.
var vague = map[string]bool{"voice": true, "internet": true, "pref": true, "other": true, "x-other": true, "postal": true, "parcel": true, "intl": true, "dom": true, "msg": true}

func specific(p *cl.Property) []string {
	var out []string
	for _, v := range p.Values("TYPE") {
		for _, t := range strings.Split(v, ",") {
			if t = strings.ToLower(strings.TrimSpace(t)); t != "" && !vague[t] {
				out = append(out, t)
			}
		}
	}
	return out
}

// labelsOf returns the labels of a card's groups.
func labelsOf(c *cl.Component) map[string]*cl.Property {
	out := map[string]*cl.Property{}
	for l := range c.Properties() {
		if g := l.Group(); l.Name() == labelProperty && g != "" && out[g] == nil {
			out[g] = l
		}
	}
	return out
}

// labels keeps the more specific label of a value that both have: the target's, unless
// it says nothing.
func (u *union) labels(q, p *cl.Property) {
	theirs, theirLabel := specific(p), u.theirLabels[p.Group()]
	var mine, myLabels []string
	for _, k := range keys(p, u.tel)[:1] {
		for _, twin := range u.twins[k] {
			mine = append(mine, specific(twin)...)
			if l := u.myLabels[twin.Group()]; l != nil {
				myLabels = append(myLabels, l.Text())
			}
		}
	}
	missing := slices.DeleteFunc(slices.Clone(theirs), func(t string) bool { return slices.Contains(mine, t) })
	switch {
	case len(mine) == 0 && len(myLabels) == 0 && theirLabel != nil && q.Group() == "":
		g := u.freeGroup(p.Group())
		q.SetGroup(g)
		u.copyLabels(p.Group(), g)
		u.changed = true
		u.notes.add(q.Name(), item.EffectAltered, "the label was added", "", theirLabel.Text())
	case len(mine) == 0 && len(myLabels) == 0 && len(missing) > 0:
		u.addTypes(q, missing)
	case len(missing) > 0:
		u.notes.add(p.Name(), item.EffectDropped, "the target's label of "+shown(p.Text())+" is kept", strings.Join(missing, ","), strings.Join(mine, ","))
	case theirLabel != nil && !slices.Contains(myLabels, theirLabel.Text()):
		u.notes.add(labelProperty, item.EffectDropped, "the target's label of "+shown(p.Text())+" is kept", theirLabel.Text(), strings.Join(mine, ","))
	}
}

func (u *union) addTypes(q *cl.Property, types []string) {
	params := q.Params()
	if u.target.Dialect == cl.VCard21 {
		for _, t := range types {
			params = append(params, cl.Param{Values: []string{strings.ToUpper(t)}})
		}
	} else {
		params = appendTypes(params, types)
	}
	q.SetParams(params)
	u.changed = true
	u.notes.add(q.Name(), item.EffectAltered, "the label was added", "", strings.Join(types, ","))
}

// one keeps the target's value of what there is one of. A name that lacks a part gets it.
func (u *union) one(p *cl.Property) {
	name := p.Name()
	mine := u.target.Get(name)
	kept := keepName + name
	switch {
	case strings.Trim(p.Value(), "; ") == "":
	case mine == nil || strings.Trim(mine.Value(), "; ") == "":
		if mine != nil {
			u.target.Remove(mine)
		}
		u.add(p)
	case u.known(p) != nil:
	case name == "N" && completes(p, mine):
		u.notes.add("N", item.EffectAltered, "it became more complete", mine.Text(), p.Text())
		mine.SetComponents(p.Components())
		u.changed = true
	case name == "N" && completes(mine, p):
	case name == "FN" && foldName(p.Text()) == foldName(mine.Text()):
	default:
		q := u.copy(p)
		q.SetName(kept)
		for _, k := range keys(q, u.tel) {
			if u.have[k] != nil {
				return
			}
		}
		u.notes.add(name, item.EffectMoved, "the target's "+shown(mine.Text())+" is kept", p.Text(), kept)
		q.SetGroup("")
		u.add(q)
	}
}

// completes reports whether a has all that b has, and more.
func completes(a, b *cl.Property) bool {
	x, y := a.Components(), b.Components()
	for i := range max(len(x), len(y)) {
		v, w := part(x, i), part(y, i)
		if w != "" && v != w {
			return false
		}
	}
	return true
}

func part(c [][]string, i int) string {
	if i >= len(c) {
		return ""
	}
	return foldText(strings.Join(c[i], ","))
}

// note adds a note to the one that is there: many programs show one only.
func (u *union) note(p *cl.Property) {
	text := strings.TrimSpace(p.Text())
	if text == "" || u.known(p) != nil {
		return
	}
	mine := u.target.Get("NOTE")
	if mine == nil || strings.TrimSpace(mine.Text()) == "" {
		if mine != nil {
			u.target.Remove(mine)
		}
		u.add(p)
		return
	}
	for q := range u.target.Properties() {
		if q.Name() == "NOTE" && strings.Contains(foldText(q.Text()), foldText(text)) {
			return
		}
	}
	before := mine.Text()
	mine.SetText(before + "\n\n" + text)
	u.changed = true
	u.notes.add("NOTE", item.EffectAltered, "both notes are kept in one", text, mine.Text())
}

// categories adds what is missing to the first list.
func (u *union) categories(p *cl.Property) {
	var missing []string
	for _, v := range p.List() {
		if v = strings.TrimSpace(v); v != "" && u.have["CATEGORIES\x00"+foldText(v)] == nil {
			missing = append(missing, v)
		}
	}
	if len(missing) == 0 {
		return
	}
	mine := u.target.Get("CATEGORIES")
	if mine == nil {
		u.add(p)
		return
	}
	mine.SetList(append(mine.List(), missing...))
	u.changed = true
	for _, v := range missing {
		u.have["CATEGORIES\x00"+foldText(v)] = mine
	}
}

// picture keeps the one with more pixels.
func (u *union) picture(p *cl.Property) {
	mine := u.target.Get(p.Name())
	if mine == nil {
		if strings.TrimSpace(p.Value()) != "" {
			u.add(p)
		}
		return
	}
	if u.known(p) != nil {
		return
	}
	theirs, ours := pixels(p), pixels(mine)
	if theirs > ours {
		u.notes.add(p.Name(), item.EffectAltered, "the larger picture is kept", pictureText(mine, ours), pictureText(p, theirs))
		i := slices.IndexFunc(u.target.Nodes, func(n cl.Node) bool { return n.Property == mine })
		u.target.Nodes[i].Property = u.copy(p)
		for _, k := range keys(p, u.tel) {
			u.have[k] = u.target.Nodes[i].Property
		}
		u.changed = true
		return
	}
	u.notes.add(p.Name(), item.EffectDropped, "the target's picture is kept", pictureText(p, theirs), pictureText(mine, ours))
}

// pixels is the number of a picture's pixels by its header, 0 if that is not understood.
func pixels(p *cl.Property) int64 {
	b, _, ok := p.Binary()
	if !ok {
		return 0
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(b[:min(len(b), 1<<20)]))
	if err != nil {
		return 0
	}
	return int64(c.Width) * int64(c.Height)
}

func pictureText(p *cl.Property, pixels int64) string {
	if p.Encoding() == "" && !isData(p.Value()) {
		return p.Text()
	}
	return fmt.Sprintf("%d pixels", pixels)
}

// components adds inner cards (agents) that the target has not.
func (u *union) components() {
	have := map[[32]byte]bool{}
	for c := range u.target.Components() {
		have[cl.Fingerprint(c.Bytes())] = true
	}
	for i, n := range u.source.Nodes {
		if c := n.Component; c != nil && !have[cl.Fingerprint(c.Bytes())] {
			if c.Begin.Name() == "BEGIN" {
				agent := cl.NewProperty(u.target.Dialect, u.target.Begin.Break(), "AGENT")
				u.target.Append(agent)
			}
			u.target.AppendComponent(c.Clone())
			u.changed = true
			_ = i
		}
	}
}
