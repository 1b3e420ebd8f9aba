package network

import (
	"strings"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/format/keyfile"
	"github.com/decant-dev/decant/node/format/wifiqr"
	"github.com/decant-dev/decant/node/item"
)

const formCode = "qr"

// ToCode makes a QR code's text of a keyfile. why is not empty if it can't be one.
func ToCode(data []byte) (wifiqr.Code, string) { return writeCode(Parse(data)) }

func writeCode(c *Connection) (wifiqr.Code, string) {
	ssid := c.SSID()
	if !c.WiFi() || len(ssid) == 0 {
		return nil, "it is no wireless network, and a QR code holds no other"
	}
	if !utf8.Valid(ssid) || strings.ContainsFunc(string(ssid), func(r rune) bool { return r < 0x20 }) {
		return nil, "its name is not UTF-8, which a QR code demands"
	}
	var code wifiqr.Code
	add := func(name, value string) { code = append(code, wifiqr.Field{Name: name, Value: value}) }
	secret := c.Get("wifi-security", "psk")
	switch mgmt := c.KeyMgmt(); mgmt {
	case "":
		add("T", "nopass")
	case "none":
		add("T", "WEP")
		secret = c.wepKey()
	case "wpa-psk", "sae": // phones take WPA for WPA2 and WPA3; not all know SAE
		add("T", "WPA")
	case "wpa-eap":
		add("T", "WPA2-EAP")
		secret = c.Get("802-1x", "password")
	default:
		return nil, "a QR code has no security of the kind " + mgmt
	}
	if c.KeyMgmt() != "" && secret == "" {
		return nil, "its secret is not in the file, and a QR code without it is useless"
	}
	add("S", string(ssid))
	add("P", secret)
	if normal("wifi", "hidden", c.Get("wifi", "hidden")) == "true" {
		add("H", "true")
	}
	if c.KeyMgmt() == "wpa-eap" {
		raw, _ := c.raw("802-1x", "eap")
		if list := keyfile.List(raw); len(list) > 0 {
			add("E", strings.ToUpper(list[0]))
		}
		add("I", c.Get("802-1x", "identity"))
		add("A", c.Get("802-1x", "anonymous-identity"))
		add("PH2", strings.ToUpper(c.Get("802-1x", "phase2-auth")))
	}
	names, values := c.keptUnder(formCode)
	for i, name := range names {
		add(name, values[i])
	}
	text := code.String()
	if !utf8.ValidString(text) || len(text) > wifiqr.MaxText {
		return nil, "it is too long for a QR code, or its secret is not UTF-8"
	}
	return code, ""
}

// FromCode makes a record of a QR code's text. ok is false for a name that is too long.
func FromCode(code wifiqr.Code, from string) (r item.Record, changes []item.Change, ok bool) {
	if len(code.Get("S")) > 32 {
		return r, []item.Change{{Kind: item.Network, From: from, Effect: item.EffectDropped, Why: "it has no SSID of 1 to 32 bytes"}}, false
	}
	c := readCode(code, func(c *Connection, name, value string, kept bool) {
		changes = append(changes, moved(c, formCode, name, value, from, kept))
	})
	r = Record("", c.Bytes())
	r.From = from
	return r, changes, true
}

func readCode(code wifiqr.Code, left func(*Connection, string, string, bool)) *Connection {
	c := newWiFi("", []byte(code.Get("S")))
	secret := code.Get("P")
	switch t := strings.ToUpper(code.Get("T")); {
	case t == "WEP":
		c.set("wifi-security", "key-mgmt", "none")
		c.set("wifi-security", "wep-key0", secret)
	case t == "WPA2-EAP":
		c.set("wifi-security", "key-mgmt", "wpa-eap")
		if e := code.Get("E"); e != "" {
			c.setRaw("802-1x", "eap", keyfile.JoinList([]string{strings.ToLower(e)}))
		}
		c.set("802-1x", "identity", code.Get("I"))
		c.set("802-1x", "anonymous-identity", code.Get("A"))
		c.set("802-1x", "phase2-auth", strings.ToLower(code.Get("PH2")))
		c.set("802-1x", "password", secret)
		c.needsInner()
	case t == "SAE":
		c.set("wifi-security", "key-mgmt", "sae")
		c.set("wifi-security", "psk", secret)
	case t == "NOPASS" || secret == "":
	default:
		c.set("wifi-security", "key-mgmt", "wpa-psk")
		c.set("wifi-security", "psk", secret)
	}
	if h := strings.ToLower(code.Get("H")); h == "true" || h == "1" {
		c.set("wifi", "hidden", "true")
	}
	for _, f := range code {
		switch f.Name {
		case "T", "S", "P", "H", "E", "I", "A", "PH2":
		default:
			left(c, f.Name, f.Value, c.keep(formCode, f.Name, f.Value))
		}
	}
	c.identify()
	return c
}

// throughCode returns what is left of a connection behind a QR code.
func throughCode(c *Connection) (*Connection, string) {
	code, why := writeCode(c)
	if why != "" {
		return nil, why
	}
	return readCode(code, func(*Connection, string, string, bool) {}), ""
}
