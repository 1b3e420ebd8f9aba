package network

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/format/keyfile"
)

// aliases are the names that groups and types had, and still have in old files, for those of today.
var aliases = map[string]string{
	"802-11-wireless": "wifi", "802-11-wireless-security": "wifi-security", "802-3-ethernet": "ethernet",
}

func canonicalName(name string) string {
	if now, ok := aliases[name]; ok {
		return now
	}
	return name
}

// Connection is a NetworkManager keyfile, seen without regard to which of its names a group goes by.
type Connection struct {
	file   *keyfile.File
	groups map[string][]string // today's name to those in the file
}

// Parse reads a keyfile. It does not fail: what is not one has no type.
func Parse(data []byte) *Connection {
	c := &Connection{file: keyfile.Parse(data)}
	c.index()
	return c
}

func (c *Connection) index() {
	c.groups = map[string][]string{}
	for _, g := range c.file.Groups() {
		c.groups[canonicalName(g)] = append(c.groups[canonicalName(g)], g)
	}
}

// Bytes returns the keyfile.
func (c *Connection) Bytes() []byte { return c.file.Bytes() }

func (c *Connection) raw(group, key string) (string, bool) {
	for _, g := range slices.Backward(c.groups[group]) {
		if v, ok := c.file.Raw(g, key); ok {
			return v, true
		}
	}
	return "", false
}

// Get returns a value as a string, "" if it is not there. The group goes by today's name.
func (c *Connection) Get(group, key string) string {
	v, _ := c.raw(group, key)
	return keyfile.Unescape(v)
}

func (c *Connection) has(group, key string) bool { _, ok := c.raw(group, key); return ok }

func (c *Connection) setRaw(group, key, value string) {
	name := group
	for _, g := range c.groups[group] {
		name = g
		if _, ok := c.file.Raw(g, key); ok {
			break
		}
	}
	c.file.SetRaw(name, key, value)
	c.index()
}

func (c *Connection) set(group, key, value string) {
	if value != "" {
		c.setRaw(group, key, keyfile.Escape(value))
	}
}

// Type is the connection's type in today's words: "wifi", "vpn", "wireguard", "ethernet". "" is unknown.
func (c *Connection) Type() string { return canonicalName(c.Get("connection", "type")) }

// WiFi reports whether it is a wireless network.
func (c *Connection) WiFi() bool {
	return c.Type() == "wifi" || c.Type() == "" && len(c.groups["wifi"]) > 0
}

// SSID returns the bytes of a wireless network's name.
func (c *Connection) SSID() []byte {
	raw, _ := c.raw("wifi", "ssid")
	return parseSSID(raw)
}

// KeyMgmt is how a wireless network is secured, in NetworkManager's words; "" is not at all.
func (c *Connection) KeyMgmt() string { return c.Get("wifi-security", "key-mgmt") }

// Label is what a person knows it by.
func (c *Connection) Label() string {
	if id := c.Get("connection", "id"); id != "" {
		return id
	}
	return string(c.SSID())
}

// Identity is what makes two connections the same: for a wireless network its name and how it is
// secured, for others their UUID, or type and name.
func (c *Connection) Identity() string {
	switch {
	case c.WiFi():
		return "wifi\x00" + string(c.SSID()) + "\x00" + c.KeyMgmt()
	case c.Get("connection", "uuid") != "":
		return "uuid\x00" + strings.ToLower(c.Get("connection", "uuid"))
	}
	return "name\x00" + c.Type() + "\x00" + c.Get("connection", "id")
}

// parseSSID reads an SSID as NetworkManager does: a list of bytes in decimal, or a string.
func parseSSID(raw string) []byte {
	if list, ok := byteList(raw); ok {
		return list
	}
	return []byte(strings.ReplaceAll(keyfile.Unescape(raw), `\;`, ";")) // it escapes a semicolon twice
}

func byteList(raw string) ([]byte, bool) {
	if !strings.Contains(raw, ";") {
		return nil, false
	}
	var out []byte
	for e := range strings.SplitSeq(strings.TrimSuffix(strings.TrimSpace(raw), ";"), ";") {
		n, err := strconv.ParseUint(strings.TrimSpace(e), 10, 8)
		if err != nil {
			return nil, false
		}
		out = append(out, byte(n))
	}
	return out, true
}

// formatSSID is the inverse of parseSSID.
func formatSSID(ssid []byte) string {
	plain := len(ssid) > 0 && ssid[0] != ' ' && ssid[len(ssid)-1] != ' '
	for _, c := range ssid {
		plain = plain && c >= 0x20 && c < 0x7f && c != ';' && c != '\\'
	}
	if plain {
		return string(ssid)
	}
	var b strings.Builder
	for _, c := range ssid {
		fmt.Fprintf(&b, "%d;", c)
	}
	return b.String()
}

// newWiFi begins a keyfile for a wireless network.
func newWiFi(name string, ssid []byte) *Connection {
	c := Parse(nil)
	if name == "" {
		name = showSSID(ssid)
	}
	c.set("connection", "id", name)
	c.set("connection", "type", "wifi")
	c.setRaw("wifi", "ssid", formatSSID(ssid))
	return c
}

// needsInner gives a connection the inner method that PEAP and TTLS have where none is said;
// NetworkManager refuses one without. It reports whether it did.
func (c *Connection) needsInner() bool {
	raw, _ := c.raw("802-1x", "eap")
	for _, method := range keyfile.List(raw) {
		if (method == "peap" || method == "ttls") && !c.has("802-1x", "phase2-auth") && !c.has("802-1x", "phase2-autheap") {
			c.set("802-1x", "phase2-auth", "mschapv2")
			return true
		}
	}
	return false
}

// identify gives the connection a UUID, if it has none, that depends on its identity only.
func (c *Connection) identify() {
	if c.has("connection", "uuid") {
		return
	}
	c.set("connection", "uuid", derivedUUID(c.Identity()))
}

// derivedUUID makes a UUID (RFC 9562, version 8) of a text.
func derivedUUID(of string) string {
	sum := sha256.Sum256([]byte("decant network\x00" + of))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func showSSID(ssid []byte) string {
	if utf8.Valid(ssid) && !strings.ContainsFunc(string(ssid), func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return string(ssid)
	}
	return hex.EncodeToString(ssid)
}

// property is one value of a connection, in a form in which two that mean the same are equal.
type property struct{ group, key, value string }

func (p property) name() string { return strings.ToUpper(p.group + "/" + p.key) }

func (p property) shown() string {
	if Secret(p.group, p.key) {
		return "(secret)"
	}
	return p.value
}

// defaults are values that mean the same as none at all.
var defaults = map[property]bool{
	{"connection", "type", "wifi"}: true, {"connection", "autoconnect", "true"}: true, {"connection", "autoconnect-priority", "0"}: true,
	{"wifi", "mode", "infrastructure"}: true, {"wifi", "hidden", "false"}: true, {"wifi", "security", "802-11-wireless-security"}: true,
	{"wifi", "security", "wifi-security"}: true, {"wifi-security", "auth-alg", "open"}: true, {"wifi-security", "wep-tx-keyidx", "0"}: true,
	{"wifi-security", "psk-flags", "0"}: true, {"ipv4", "method", "auto"}: true, {"ipv6", "method", "auto"}: true,
	{"ipv6", "addr-gen-mode", "default"}: true, {"802-1x", "password-flags", "0"}: true,
}

// properties returns what the connection says, without defaults, in the file's order.
func (c *Connection) properties() (out []property) {
	seen := map[property]bool{}
	for _, g := range c.file.Groups() {
		for _, k := range c.file.Keys(g) {
			p := property{group: canonicalName(g), key: k}
			if seen[p] {
				continue
			}
			seen[p] = true
			raw, _ := c.raw(p.group, p.key)
			if p.value = normal(p.group, k, raw); !defaults[p] {
				out = append(out, p)
			}
		}
	}
	return out
}

// lists are the keys whose values are lists; the semicolon at their end means nothing.
var lists = []string{"eap", "proto", "pairwise", "group", "dns", "dns-search", "permissions", "seen-bssids", "pmf"}

func normal(group, key, raw string) string {
	switch {
	case group == "wifi" && key == "ssid":
		return hex.EncodeToString(parseSSID(raw))
	case group == "connection" && key == "type":
		return canonicalName(keyfile.Unescape(raw))
	case group == "connection" && key == "uuid", strings.HasSuffix(key, "bssid"), strings.HasSuffix(key, "mac-address"):
		return strings.ToLower(keyfile.Unescape(raw))
	case slices.Contains(lists, key):
		return strings.Join(keyfile.List(strings.TrimSuffix(raw, ";")), ";")
	case key == "autoconnect" || key == "hidden" || key == "metered":
		switch strings.ToLower(strings.TrimSpace(raw)) {
		case "1", "yes", "on", "true":
			return "true"
		case "0", "no", "off", "false":
			return "false"
		}
	}
	return keyfile.Unescape(raw)
}

// Secret reports whether a property's value may not be shown. What is not known is a secret if its
// name or its group's suggests it.
func Secret(group, key string) bool {
	if strings.HasSuffix(key, "-flags") {
		return false
	}
	if group == "vpn-secrets" {
		return true
	}
	key = strings.ToLower(key)
	for _, word := range []string{"psk", "password", "passwd", "wep-key", "wep_key", "pin", "private-key", "private_key", "preshared", "secret", "token", "key-data", "leap-password", "mka-cak", "pac"} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return key == "key" || key == "cookie"
}
