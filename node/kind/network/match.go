package network

import (
	"bytes"
	"context"
	"slices"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// own are the properties in which two connections may differ and still be the same: what belongs
// to the device or to the file, not to the network.
var own = []property{
	{"connection", "uuid", ""}, {"connection", "id", ""}, {"connection", "timestamp", ""}, {"connection", "interface-name", ""},
	{"connection", "permissions", ""}, {"wifi", "seen-bssids", ""}, {"wifi", "mac-address", ""}, {"wifi", "ssid", ""},
	{"ethernet", "mac-address", ""},
}

// securing are the groups in which a contradiction is for a person to decide.
var securing = []string{"wifi-security", "802-1x", "vpn", "vpn-secrets", "wireguard"}

// matcher keeps what the target will hold while the incoming records are decided one after the other.
type matcher struct {
	now        []*Connection
	byIdentity map[string][]int
	bySSID     map[string]int
	uuids      map[string]bool
}

// Match implements rule.Rules.
func (Rules) Match(ctx context.Context, existing, incoming []item.Record, opts rule.Options) ([]rule.Decision, error) {
	m := &matcher{byIdentity: map[string][]int{}, bySSID: map[string]int{}, uuids: map[string]bool{}}
	m.now = make([]*Connection, len(existing)+len(incoming))
	for i, r := range existing {
		m.add(i, Parse(r.Data))
	}
	out := make([]rule.Decision, 0, len(incoming))
	for i, r := range incoming {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out = append(out, m.decide(len(existing)+i, r, opts))
	}
	return out, nil
}

func (m *matcher) add(i int, c *Connection) {
	m.now[i] = c
	id := c.Identity()
	m.byIdentity[id] = append(m.byIdentity[id], i)
	m.uuids[c.uuid()] = true
	if c.WiFi() {
		if _, ok := m.bySSID[string(c.SSID())]; !ok {
			m.bySSID[string(c.SSID())] = i
		}
	}
}

func (c *Connection) uuid() string { return normal("connection", "uuid", c.Get("connection", "uuid")) }

// decide settles record r, whose place is i.
func (m *matcher) decide(i int, r item.Record, opts rule.Options) rule.Decision {
	c := Parse(r.Data)
	candidates := m.byIdentity[c.Identity()]
	for _, with := range candidates {
		if d := compare(m.now[with], c, r); d.verdict == rule.Same {
			return rule.Decision{Verdict: rule.Same, With: with, Why: sameness(c), Changes: d.changes}
		}
	}
	if len(candidates) == 0 {
		return m.fresh(i, c, r, opts)
	}
	with := candidates[0]
	for _, w := range candidates {
		if m.now[w].uuid() == c.uuid() { // of several, the one that was made of the same
			with = w
		}
	}
	d := compare(m.now[with], c, r)
	if d.verdict == rule.Merge {
		m.now[with] = d.result
		return rule.Decision{Verdict: rule.Merge, With: with, Result: d.result.Bytes(), Why: sameness(c), Changes: d.changes}
	}
	beside := Parse(r.Data)
	if m.uuids[beside.uuid()] || beside.uuid() == "" {
		beside.set("connection", "uuid", derivedUUID(string(r.Data)))
	}
	m.add(i, beside)
	return rule.Decision{Verdict: rule.Conflict, With: with, Result: beside.Bytes(), Replace: d.result.Bytes(), Why: sameness(c) + ", but another key or other security", Changes: d.changes}
}

// fresh settles a record whose identity the target has not.
func (m *matcher) fresh(i int, c *Connection, r item.Record, opts rule.Options) rule.Decision {
	d := rule.Decision{Verdict: rule.New, With: -1, Result: r.Data}
	if with, ok := m.bySSID[string(c.SSID())]; ok && c.WiFi() && !opts.NoFuzzy {
		d.Verdict, d.With, d.Why = rule.Suggest, with, "same name, secured in another way"
	}
	if c.uuid() != "" && m.uuids[c.uuid()] {
		before := c.Get("connection", "uuid")
		c.set("connection", "uuid", derivedUUID(c.Identity()))
		d.Result = c.Bytes()
		d.Changes = append(d.Changes, change(r, property{"connection", "uuid", before}, item.EffectAltered, "another network of the target has this UUID"))
		d.Changes[0].After = c.Get("connection", "uuid")
	}
	m.add(i, c)
	return d
}

func sameness(c *Connection) string {
	if c.WiFi() {
		return "same name and security"
	}
	return "same connection"
}

// comparison is what became of comparing an incoming connection with the target's.
type comparison struct {
	verdict rule.Verdict
	result  *Connection // for Merge the target's with what it lacked; for Conflict the target's with all the incoming one's values
	changes []item.Change
}

// maxMerge is the size in bytes up to which a keyfile is merged: NetworkManager's own stay far below.
const maxMerge = 16 << 10

func compare(ours, theirs *Connection, r item.Record) comparison {
	if now := ours.Bytes(); max(len(now), len(r.Data)) > maxMerge {
		if bytes.Equal(now, r.Data) {
			return comparison{verdict: rule.Same}
		}
		return comparison{verdict: rule.Conflict, result: theirs}
	}
	has := map[property]string{}
	for _, p := range ours.properties() {
		has[property{p.group, p.key, ""}] = p.value
	}
	d := comparison{verdict: rule.Same, result: Parse(ours.Bytes())}
	for _, p := range theirs.properties() {
		k := property{p.group, p.key, ""}
		value, there := has[k]
		if there && value == p.value {
			continue
		}
		raw, _ := theirs.raw(p.group, p.key)
		switch {
		case slices.Contains(own, k):
			if p.key == "id" {
				d.changes = append(d.changes, kept(r, p, value))
			}
		case !there && !ours.has(p.group, p.key):
			d.verdict = max(d.verdict, rule.Merge)
			d.result.setRaw(p.group, p.key, raw)
		case slices.Contains(securing, p.group):
			d.verdict = rule.Conflict
			d.result.setRaw(p.group, p.key, raw)
		default:
			d.changes = append(d.changes, kept(r, p, value))
		}
	}
	return d
}

// kept says that the target's value of a property stays.
func kept(r item.Record, p property, now string) item.Change {
	c := change(r, p, item.EffectDropped, "the target has another value, which stays")
	c.After = property{p.group, p.key, now}.shown()
	return c
}

func change(r item.Record, p property, e item.Effect, why string) item.Change {
	return item.Change{Kind: item.Network, Record: r.Label, UID: Parse(r.Data).Get("connection", "uuid"), From: r.From, Property: p.name(), Effect: e, Why: why, Before: shorten(p.shown())}
}

func shorten(s string) string {
	return s[:min(len(s), item.MaxShown)]
}
