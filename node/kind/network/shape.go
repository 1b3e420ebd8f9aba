package network

import (
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// The forms that a target's Profile.Version names. None, or Keyfile, keeps all.
const (
	Keyfile    = "keyfile"
	Supplicant = "wpa_supplicant.conf"
	Apple      = "mobileconfig"
	QR         = "QR code"
)

// Shape implements rule.Rules. A form that is not the keyfile holds wireless networks only; the
// record then is what reading it back would give, and every difference is a Change.
func (Rules) Shape(r item.Record, p rule.Profile) (item.Record, []item.Change, bool) {
	c := Parse(r.Data)
	var back *Connection
	var why string
	switch p.Version {
	case Supplicant:
		back, why = throughBlock(c)
	case Apple:
		back, why = throughPayload(c)
	case QR:
		back, why = throughCode(c)
	default:
		return r, flags(c, r), true
	}
	if why != "" {
		return r, []item.Change{{Kind: item.Network, Record: r.Label, From: r.From, Effect: item.EffectDropped, Why: why}}, false
	}
	out := r
	out.Data = back.Bytes()
	return out, differences(c, back, r, p.Version), true
}

// flags tells what keeps a keyfile from working elsewhere.
func flags(c *Connection, r item.Record) (out []item.Change) {
	if broken := c.file.Broken(); len(broken) > 0 || c.Type() == "" {
		out = append(out, item.Change{Kind: item.Network, Record: r.Label, From: r.From, Effect: item.EffectFlagged, Why: "NetworkManager reads no keyfile with such lines"})
	}
	for _, p := range c.properties() {
		switch {
		case p.group == "connection" && p.key == "interface-name", strings.HasSuffix(p.key, "mac-address") && p.key != "cloned-mac-address":
			out = append(out, change(r, p, item.EffectFlagged, "it is tied to a part of the other device, and is not used where there is none of that name"))
		case p.group == "connection" && p.key == "permissions":
			out = append(out, change(r, p, item.EffectFlagged, "only that user of the device may use it"))
		case strings.HasSuffix(p.key, "-cert") || p.key == "private-key" || p.key == "phase2-private-key":
			if !strings.HasPrefix(p.value, "data:") {
				out = append(out, change(r, p, item.EffectFlagged, "it names a file, which has to be moved too"))
			}
		case strings.HasSuffix(p.key, "-flags") && p.value == "1":
			out = append(out, change(r, p, item.EffectFlagged, "the secret is in the other device's keyring, not in this file"))
		}
	}
	return out
}

// differences tells what was not kept on the way from a to b.
func differences(a, b *Connection, r item.Record, form string) (out []item.Change) {
	now := map[property]string{}
	for _, p := range b.properties() {
		now[property{p.group, p.key, ""}] = p.value
	}
	for _, p := range a.properties() {
		k := property{p.group, p.key, ""}
		value, there := now[k]
		delete(now, k)
		if there && value == p.value {
			continue
		}
		c := change(r, p, item.EffectDropped, reason(p, form))
		if there {
			c.Effect, c.Why, c.After = item.EffectAltered, "a "+form+" knows no finer difference", shorten(property{p.group, p.key, value}.shown())
		}
		if p.group == "connection" && p.key == "uuid" && there {
			c.Why = "a " + form + " has no UUIDs"
		}
		out = append(out, c)
	}
	for _, p := range b.properties() {
		k := property{p.group, p.key, ""}
		if value, ok := now[k]; ok && k != (property{"connection", "uuid", ""}) {
			c := change(r, p, item.EffectAdded, "a "+form+" has to say it")
			c.Before, c.After = "", shorten(property{p.group, p.key, value}.shown())
			out = append(out, c)
		}
	}
	return out
}

func reason(p property, form string) string {
	switch {
	case slices.Contains([]string{"ipv4", "ipv6", "proxy"}, p.group):
		return "a " + form + " says nothing of addresses and proxies"
	case slices.Contains(own, property{p.group, p.key, ""}):
		return "it belongs to the other device"
	case strings.HasSuffix(p.key, "-cert") || strings.Contains(p.key, "private-key"):
		return "certificates and keys are files of the other device"
	}
	return "a " + form + " has no such setting"
}

// userKey is where a setting is kept that NetworkManager does not know.
func userKey(form, name string) string { return "org.decant." + form + "." + name }

// keptUnder returns what was kept of a form: names and values, in order.
func (c *Connection) keptUnder(form string) (names, values []string) {
	prefix := userKey(form, "")
	for _, p := range c.properties() {
		if name, ok := strings.CutPrefix(p.key, prefix); ok && p.group == "user" {
			names, values = append(names, name), append(values, p.value)
		}
	}
	return names, values
}

// keep keeps a setting that NetworkManager does not know. It returns false for a name that can't be kept.
func (c *Connection) keep(form, name, value string) bool {
	for _, r := range name {
		if !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' || r == '.') {
			return false
		}
	}
	if name == "" || len(name) > 200 || value == "" {
		return false
	}
	c.set("user", userKey(form, name), value)
	return true
}

// moved is the Change for what keep has kept, or could not.
func moved(c *Connection, form, name, value, from string, kept bool) item.Change {
	if Secret("", name) {
		value = "(secret)"
	}
	out := item.Change{Kind: item.Network, Record: c.Label(), From: from, Property: strings.ToUpper(name), Effect: item.EffectMoved, Why: "NetworkManager has no such setting", Before: shorten(value), After: "user/" + userKey(form, name)}
	if !kept {
		out.Effect, out.After = item.EffectDropped, ""
	}
	return out
}
