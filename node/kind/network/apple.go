package network

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/format/keyfile"
	"github.com/decant-dev/decant/node/format/mobileconfig"
	"github.com/decant-dev/decant/node/item"
)

const formApple = "apple"

// appleEAP are the numbers of EAP's methods (IANA, "Method Types").
var appleEAP = []struct {
	number uint64
	name   string
}{{13, "tls"}, {17, "leap"}, {18, "sim"}, {21, "ttls"}, {23, "aka"}, {25, "peap"}, {43, "fast"}}

var appleStrings = []struct{ name, key string }{{"UserName", "identity"}, {"UserPassword", "password"}, {"OuterIdentity", "anonymous-identity"}}

var appleInner = map[string]string{"pap": "PAP", "chap": "CHAP", "mschap": "MSCHAP", "mschapv2": "MSCHAPv2"}

// ToPayload makes an Apple payload of a keyfile. why is not empty if it can't be one.
func ToPayload(data []byte) (mobileconfig.Payload, string) { return writePayload(Parse(data)) }

func writePayload(c *Connection) (mobileconfig.Payload, string) {
	ssid := c.SSID()
	if !c.WiFi() || len(ssid) == 0 {
		return nil, "it is no wireless network, and Decant writes no other into a mobileconfig"
	}
	if !utf8.Valid(ssid) || strings.ContainsFunc(string(ssid), func(r rune) bool { return r < 0x20 }) {
		return nil, "its name is not UTF-8, which a mobileconfig demands"
	}
	n := mobileconfig.Payload{"SSID_STR": string(ssid), "HIDDEN_NETWORK": normal("wifi", "hidden", c.Get("wifi", "hidden")) == "true",
		"AutoJoin": normal("connection", "autoconnect", c.Get("connection", "autoconnect")) != "false"}
	secret := c.Get("wifi-security", "psk")
	switch mgmt := c.KeyMgmt(); mgmt {
	case "":
		n["EncryptionType"] = "None"
	case "none":
		n["EncryptionType"] = "WEP"
		secret = c.wepKey()
	case "wpa-psk":
		n["EncryptionType"] = "WPA2"
		if p := normal("wifi-security", "proto", c.Get("wifi-security", "proto")); p == "wpa" {
			n["EncryptionType"] = "WPA"
		}
	case "sae":
		n["EncryptionType"] = "WPA3"
	case "wpa-eap", "wpa-eap-suite-b-192":
		n["EncryptionType"] = map[string]string{"wpa-eap": "WPA2", "wpa-eap-suite-b-192": "WPA3"}[mgmt]
		n["EAPClientConfiguration"] = c.writeAppleEAP()
		secret = ""
	default:
		return nil, "Apple has no security of the kind " + mgmt
	}
	if secret != "" {
		n["Password"] = secret
	}
	c.writeAppleKept(n)
	uuid := c.Get("connection", "uuid")
	if uuid == "" {
		uuid = derivedUUID(c.Identity())
	}
	n["PayloadType"], n["PayloadVersion"], n["PayloadUUID"], n["PayloadDisplayName"] = mobileconfig.TypeWiFi, 1, strings.ToUpper(uuid), c.Label()
	if n["PayloadIdentifier"] == nil {
		n["PayloadIdentifier"] = "org.decant.wifi." + strings.ToUpper(uuid)
	}
	return n, ""
}

// wepKey returns the key that a WEP network uses.
func (c *Connection) wepKey() string {
	i := c.Get("wifi-security", "wep-tx-keyidx")
	if len(i) != 1 || i[0] < '0' || i[0] > '3' {
		i = "0"
	}
	return c.Get("wifi-security", "wep-key"+i)
}

func (c *Connection) writeAppleEAP() map[string]any {
	eap := map[string]any{}
	raw, _ := c.raw("802-1x", "eap")
	var numbers []any
	for _, name := range keyfile.List(raw) {
		for _, m := range appleEAP {
			if m.name == strings.ToLower(name) {
				numbers = append(numbers, m.number)
			}
		}
	}
	eap["AcceptEAPTypes"] = numbers
	for _, s := range appleStrings {
		if v := c.Get("802-1x", s.key); v != "" {
			eap[s.name] = v
		}
	}
	if v := appleInner[c.Get("802-1x", "phase2-auth")]; v != "" && slices.Contains(keyfile.List(raw), "ttls") {
		eap["TTLSInnerAuthentication"] = v
	}
	return eap
}

// writeAppleKept restores what came of a payload and has no place in a keyfile.
func (c *Connection) writeAppleKept(n mobileconfig.Payload) {
	eap, _ := n["EAPClientConfiguration"].(map[string]any)
	names, values := c.keptUnder(formApple)
	for i, name := range names {
		var v any
		d := json.NewDecoder(strings.NewReader(values[i]))
		d.UseNumber()
		if d.Decode(&v) != nil {
			continue
		}
		v = numbers(v)
		if inside, ok := strings.CutPrefix(name, "EAPClientConfiguration."); ok && eap != nil {
			eap[inside] = v
		} else if !ok {
			n[name] = v
		}
	}
}

// numbers gives JSON's numbers the types of property lists.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	}
	return v
}

// FromPayload makes a record of an Apple payload. ok is false for one without a name.
func FromPayload(n mobileconfig.Payload, from string) (r item.Record, changes []item.Change, ok bool) {
	ssid := n.String("SSID_STR")
	if ssid == "" || len(ssid) > 32 {
		return r, []item.Change{{Kind: item.Network, From: from, Effect: item.EffectDropped, Why: "it has no SSID of 1 to 32 bytes"}}, false
	}
	c := readPayload(n, func(c *Connection, name, value string, kept bool) {
		changes = append(changes, moved(c, formApple, name, value, from, kept))
	})
	r = Record("", c.Bytes())
	r.From = from
	return r, changes, true
}

func readPayload(n mobileconfig.Payload, left func(*Connection, string, string, bool)) *Connection {
	n = maps.Clone(n)
	c := newWiFi(n.String("PayloadDisplayName"), []byte(n.String("SSID_STR")))
	c.set("connection", "uuid", strings.ToLower(n.String("PayloadUUID")))
	if hidden, _ := n.Bool("HIDDEN_NETWORK"); hidden {
		c.set("wifi", "hidden", "true")
	}
	if auto, ok := n.Bool("AutoJoin"); ok && !auto {
		c.set("connection", "autoconnect", "false")
	}
	done := []string{"PayloadDisplayName", "SSID_STR", "PayloadUUID", "HIDDEN_NETWORK", "AutoJoin", "PayloadType", "PayloadVersion", "EncryptionType"}
	eap, isEAP := n["EAPClientConfiguration"].(map[string]any)
	psk := ""
	switch n.String("EncryptionType") {
	case "None":
	case "WEP":
		c.set("wifi-security", "key-mgmt", "none")
		psk = "wep-key0"
	case "WPA":
		c.set("wifi-security", "key-mgmt", "wpa-psk")
		c.setRaw("wifi-security", "proto", "wpa;")
		psk = "psk"
	case "WPA3":
		c.set("wifi-security", "key-mgmt", map[bool]string{false: "sae", true: "wpa-eap-suite-b-192"}[isEAP])
		psk = "psk"
	case "WPA2":
		c.set("wifi-security", "key-mgmt", "wpa-psk")
		psk = "psk"
	default: // Any, or nothing
		if n.String("Password") != "" {
			c.set("wifi-security", "key-mgmt", "wpa-psk")
			psk = "psk"
		}
		done = done[:len(done)-1]
	}
	if isEAP {
		if c.KeyMgmt() != "wpa-eap-suite-b-192" {
			c.set("wifi-security", "key-mgmt", "wpa-eap")
		}
		c.readAppleEAP(maps.Clone(eap), left)
		done = append(done, "EAPClientConfiguration")
	} else if psk != "" {
		c.set("wifi-security", psk, n.String("Password"))
		done = append(done, "Password")
	}
	if n.String("PayloadIdentifier") == "org.decant.wifi."+n.String("PayloadUUID") {
		done = append(done, "PayloadIdentifier")
	}
	c.keepApple("", n, done, left)
	c.identify()
	return c
}

func (c *Connection) readAppleEAP(eap map[string]any, left func(*Connection, string, string, bool)) {
	var names []string
	list, _ := eap["AcceptEAPTypes"].([]any)
	for _, v := range list {
		for _, m := range appleEAP {
			if v == m.number || v == int64(m.number) {
				names = append(names, m.name)
			}
		}
	}
	var done []string
	if len(names) == len(list) && len(names) > 0 {
		c.setRaw("802-1x", "eap", keyfile.JoinList(names))
		done = append(done, "AcceptEAPTypes")
	}
	for _, s := range appleStrings {
		if v, ok := eap[s.name].(string); ok && v != "" {
			c.set("802-1x", s.key, v)
			done = append(done, s.name)
		}
	}
	for ours, theirs := range appleInner {
		if eap["TTLSInnerAuthentication"] == theirs { // one of them at most
			c.set("802-1x", "phase2-auth", ours)
			done = append(done, "TTLSInnerAuthentication")
		}
	}
	c.needsInner() // it is what Apple takes too
	c.keepApple("EAPClientConfiguration.", eap, done, left)
}

// keepApple keeps what has no place in a keyfile, as JSON.
func (c *Connection) keepApple(prefix string, of map[string]any, done []string, left func(*Connection, string, string, bool)) {
	for _, name := range slices.Sorted(maps.Keys(of)) {
		if slices.Contains(done, name) {
			continue
		}
		b, err := json.Marshal(of[name])
		left(c, prefix+name, string(b), err == nil && c.keep(formApple, prefix+name, string(b)))
	}
}

// throughPayload returns what is left of a connection behind a payload.
func throughPayload(c *Connection) (*Connection, string) {
	n, why := writePayload(c)
	if why != "" {
		return nil, why
	}
	return readPayload(n, func(*Connection, string, string, bool) {}), ""
}
