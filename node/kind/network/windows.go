package network

import (
	"strings"

	"github.com/decant-dev/decant/node/format/wlanprofile"
	"github.com/decant-dev/decant/node/item"
)

// FromProfile makes a record of a network of Windows or Android. ok is false for one without an SSID.
func FromProfile(n wlanprofile.Network, from string) (r item.Record, changes []item.Change, ok bool) {
	if len(n.SSID) == 0 || len(n.SSID) > 32 {
		return r, []item.Change{{Kind: item.Network, From: from, Effect: item.EffectDropped, Why: "it has no SSID of 1 to 32 bytes"}}, false
	}
	c := newWiFi(n.Name, n.SSID)
	c.set("wifi-security", "key-mgmt", n.Security)
	switch n.Security {
	case "none":
		c.set("wifi-security", "wep-key0", n.Key)
	case "wpa-psk", "sae":
		c.set("wifi-security", "psk", n.Key)
	}
	if n.Hidden {
		c.set("wifi", "hidden", "true")
	}
	if n.Manual {
		c.set("connection", "autoconnect", "false")
	}
	c.identify()
	say := func(property, why string) {
		changes = append(changes, item.Change{Kind: item.Network, Record: c.Label(), From: from, Property: strings.ToUpper(property), Effect: item.EffectDropped, Why: why})
	}
	for _, left := range n.Left {
		say(left, "NetworkManager has no such setting, or Decant does not know it")
	}
	switch n.Security {
	case "wpa-psk", "sae", "none":
		if n.Key == "" {
			say("psk", "the file does not hold the key, or only so that the other device can read it")
		}
	case "wpa-eap":
		say("802-1x", "how a company's network lets in is not read from this file: NetworkManager refuses the network until it is set up")
	}
	r = Record("", c.Bytes())
	r.From = from
	return r, changes, true
}
