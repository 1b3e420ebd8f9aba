package network

import (
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/decant-dev/decant/node/format/keyfile"
	"github.com/decant-dev/decant/node/format/wpasupplicant"
	"github.com/decant-dev/decant/node/item"
)

// formSupplicant is the name under which fields that NetworkManager does not know are kept.
const formSupplicant = "wpa_supplicant"

// field is how one field of a block stands in a keyfile.
type field struct {
	name, group, key string
	code             coding
}

type coding uint8

const (
	text     coding = iota // a string, in quotes
	bare                   // as it is
	word                   // a word in capitals ↔ one in small letters
	words                  // a list of words in capitals ↔ a list in small letters
	number                 // digits
	wep                    // a string in quotes or hexadecimal digits, which stay digits
	password               // like text; "hash:" and "ext:" are no strings
)

var fields = []field{
	{"bssid", "wifi", "bssid", bare},
	{"priority", "connection", "autoconnect-priority", number},
	{"proto", "wifi-security", "proto", words},
	{"pairwise", "wifi-security", "pairwise", words},
	{"group", "wifi-security", "group", words},
	{"auth_alg", "wifi-security", "auth-alg", word},
	{"wep_key0", "wifi-security", "wep-key0", wep},
	{"wep_key1", "wifi-security", "wep-key1", wep},
	{"wep_key2", "wifi-security", "wep-key2", wep},
	{"wep_key3", "wifi-security", "wep-key3", wep},
	{"wep_tx_keyidx", "wifi-security", "wep-tx-keyidx", number},
	{"eap", "802-1x", "eap", words},
	{"identity", "802-1x", "identity", text},
	{"anonymous_identity", "802-1x", "anonymous-identity", text},
	{"password", "802-1x", "password", password},
	{"ca_cert", "802-1x", "ca-cert", text},
	{"ca_path", "802-1x", "ca-path", text},
	{"client_cert", "802-1x", "client-cert", text},
	{"private_key", "802-1x", "private-key", text},
	{"private_key_passwd", "802-1x", "private-key-password", text},
	{"pac_file", "802-1x", "pac-file", text},
	{"subject_match", "802-1x", "subject-match", text},
	{"domain_match", "802-1x", "domain-match", text},
	{"domain_suffix_match", "802-1x", "domain-suffix-match", text},
}

// keyMgmts are NetworkManager's words for one value of key_mgmt. The first of a word is the one written for it.
var keyMgmts = []struct{ theirs, ours string }{
	{"WPA-PSK", "wpa-psk"}, {"SAE", "sae"}, {"WPA-EAP", "wpa-eap"}, {"OWE", "owe"}, {"IEEE8021X", "ieee8021x"},
	{"WPA-EAP-SUITE-B-192", "wpa-eap-suite-b-192"}, {"NONE", ""},
	{"WPA-PSK-SHA256", "wpa-psk"}, {"FT-PSK", "wpa-psk"}, {"FT-SAE", "sae"}, {"WPA-EAP-SHA256", "wpa-eap"}, {"FT-EAP", "wpa-eap"},
}

// inner are what phase2 and phase1 say in one word of theirs.
var inner = []struct{ field, word, key string }{
	{"phase2", "auth=", "phase2-auth"}, {"phase2", "autheap=", "phase2-autheap"},
	{"phase1", "peapver=", "phase1-peapver"}, {"phase1", "peaplabel=", "phase1-peaplabel"}, {"phase1", "fast_provisioning=", "phase1-fast-provisioning"},
}

// maxFields bounds the work on one block; wpa_supplicant knows fewer than 200.
const maxFields = 500

// FromBlock makes a record of a network block. ok is false for one without an SSID.
func FromBlock(b wpasupplicant.Block, from string) (r item.Record, changes []item.Change, ok bool) {
	if len(b.Fields) > maxFields {
		changes = append(changes, item.Change{Kind: item.Network, From: from, Effect: item.EffectDropped, Why: "a block of " + strconv.Itoa(len(b.Fields)) + " fields is cut off"})
		b.Fields = b.Fields[:maxFields]
	}
	raw, _ := b.Get("ssid")
	ssid, known := wpasupplicant.Unquote(raw)
	if !known || len(ssid) == 0 || len(ssid) > 32 {
		return r, append(changes, item.Change{Kind: item.Network, From: from, Effect: item.EffectDropped, Why: "it has no SSID of 1 to 32 bytes"}), false
	}
	c := readBlock(b, ssid, func(c *Connection, name, value string, kept bool) {
		changes = append(changes, moved(c, formSupplicant, name, value, from, kept))
	})
	for _, odd := range b.Odd {
		changes = append(changes, item.Change{Kind: item.Network, Record: c.Label(), From: from, Effect: item.EffectDropped, Why: "a line of " + strconv.Itoa(len(odd)) + " bytes is no field"})
	}
	if b.Unclosed {
		changes = append(changes, item.Change{Kind: item.Network, Record: c.Label(), From: from, Effect: item.EffectRepaired, Why: "the block is not closed"})
	}
	r = Record("", c.Bytes())
	r.From = from
	if _, said := b.Get("phase2"); !said && c.has("802-1x", "phase2-auth") {
		changes = append(changes, item.Change{Kind: item.Network, Record: c.Label(), From: from, Property: "802-1X/PHASE2-AUTH", Effect: item.EffectAdded, Why: "NetworkManager demands an inner method, and wpa_supplicant tries all", After: "mschapv2"})
	}
	return r, changes, true
}

func readBlock(b wpasupplicant.Block, ssid []byte, left func(*Connection, string, string, bool)) *Connection {
	id, _ := b.Get("id_str")
	name, _ := wpasupplicant.Unquote(id)
	c := newWiFi(string(name), ssid)
	mgmt := readKeyMgmt(&b)
	c.set("wifi-security", "key-mgmt", mgmt)
	for i, f := range b.Fields {
		if last, _ := b.Get(f.Name); last != f.Value || slices.ContainsFunc(b.Fields[i+1:], func(g wpasupplicant.Field) bool { return g == f }) {
			continue // a later line says it again
		}
		if !c.readField(f, mgmt) {
			left(c, f.Name, f.Value, c.keep(formSupplicant, f.Name, f.Value))
		}
	}
	c.needsInner()
	c.identify()
	return c
}

// readKeyMgmt returns NetworkManager's word for the security of a block.
func readKeyMgmt(b *wpasupplicant.Block) string {
	value, _ := b.Get("key_mgmt")
	has := strings.Fields(value)
	if len(has) == 0 {
		has = []string{"WPA-PSK"} // the default is WPA-PSK WPA-EAP: what is there decides
		if _, ok := b.Get("eap"); ok {
			has = []string{"WPA-EAP"}
		}
	}
	_, psk := b.Get("psk")
	if _, sae := b.Get("sae_password"); sae && !psk && slices.Contains(has, "SAE") {
		return "sae"
	}
	for _, m := range keyMgmts {
		if !slices.Contains(has, m.theirs) {
			continue
		}
		if _, wep := b.Get("wep_key0"); m.theirs == "NONE" && wep {
			return "none"
		}
		return m.ours
	}
	return ""
}

func writeKeyMgmt(ours string) string {
	if ours == "none" {
		return "NONE"
	}
	for _, m := range keyMgmts {
		if m.ours == ours {
			return m.theirs
		}
	}
	return ""
}

// readField puts one field into the keyfile, or returns false if it has no place there.
func (c *Connection) readField(f wpasupplicant.Field, mgmt string) bool {
	switch f.Name {
	case "ssid", "id_str":
		return true
	case "key_mgmt":
		return f.Value == writeKeyMgmt(mgmt)
	case "scan_ssid":
		return c.setChoice(f.Value, "wifi", "hidden", map[string]string{"0": "", "1": "true"})
	case "disabled":
		return c.setChoice(f.Value, "connection", "autoconnect", map[string]string{"0": "", "1": "false"})
	case "mode":
		return c.setChoice(f.Value, "wifi", "mode", map[string]string{"0": "", "1": "adhoc", "2": "ap"})
	case "ieee80211w":
		return c.setChoice(f.Value, "wifi-security", "pmf", map[string]string{"0": "1", "1": "2", "2": "3"})
	case "psk", "sae_password":
		return c.readPSK(f)
	case "phase1", "phase2":
		return c.readPhase(f)
	}
	for _, known := range fields {
		if known.name == f.Name {
			return c.readCoded(known, f.Value)
		}
	}
	return false
}

func (c *Connection) setChoice(value, group, key string, choices map[string]string) bool {
	choice, ok := choices[value]
	c.set(group, key, choice)
	return ok
}

func (c *Connection) readPSK(f wpasupplicant.Field) bool {
	b, ok := wpasupplicant.Unquote(f.Value)
	quoted := strings.HasSuffix(f.Value, `"`)
	switch {
	case !ok || len(b) == 0 || c.has("wifi-security", "psk"):
		return false
	case !quoted && f.Name == "psk" && len(f.Value) == 64:
		b = []byte(f.Value)
	case !quoted:
		return false
	}
	c.set("wifi-security", "psk", string(b))
	return true
}

func (c *Connection) readPhase(f wpasupplicant.Field) bool {
	b, ok := wpasupplicant.Unquote(f.Value)
	if !ok {
		return false
	}
	type setting struct{ key, value string }
	var all []setting
	for _, word := range strings.Fields(string(b)) {
		found := false
		for _, in := range inner {
			if value, ok := strings.CutPrefix(word, in.word); ok && in.field == f.Name && value != "" && !c.has("802-1x", in.key) {
				all, found = append(all, setting{in.key, strings.ToLower(value)}), true
			}
		}
		if !found {
			return false
		}
	}
	for _, s := range all {
		c.set("802-1x", s.key, s.value)
	}
	return len(all) > 0
}

func (c *Connection) readCoded(k field, value string) bool {
	switch k.code {
	case bare:
		c.set(k.group, k.key, value)
	case word:
		if len(strings.Fields(value)) != 1 {
			return false
		}
		c.set(k.group, k.key, strings.ToLower(value))
	case words:
		c.setRaw(k.group, k.key, keyfile.JoinList(strings.Fields(strings.ToLower(strings.ReplaceAll(value, "WPA2", "RSN")))))
	case number:
		if _, err := strconv.Atoi(value); err != nil {
			return false
		}
		c.set(k.group, k.key, value)
	default:
		b, ok := wpasupplicant.Unquote(value)
		quoted := strings.HasSuffix(value, `"`)
		if !ok || len(b) == 0 || !quoted && k.code == password {
			return false
		}
		if !quoted && k.code == wep {
			b = []byte(value)
		}
		c.set(k.group, k.key, string(b))
	}
	return true
}

// ToBlock makes a network block of a keyfile. why is not empty if it can't be one.
func ToBlock(data []byte) (b wpasupplicant.Block, why string) { return writeBlock(Parse(data)) }

func writeBlock(c *Connection) (b wpasupplicant.Block, why string) {
	b.Name = "network"
	if !c.WiFi() || len(c.SSID()) == 0 {
		return b, "it is no wireless network, and a wpa_supplicant.conf holds no other"
	}
	add := func(name, value string) {
		if value != "" {
			b.Fields = append(b.Fields, wpasupplicant.Field{Name: name, Value: value})
		}
	}
	quote := func(s string) string {
		if s == "" {
			return ""
		}
		return wpasupplicant.Quote([]byte(s))
	}
	add("ssid", wpasupplicant.QuoteSSID(c.SSID()))
	if id := c.Get("connection", "id"); id != showSSID(c.SSID()) {
		add("id_str", quote(id))
	}
	mgmt := writeKeyMgmt(c.KeyMgmt())
	if mgmt == "" {
		return b, "wpa_supplicant has no security of the kind " + c.KeyMgmt()
	}
	add("key_mgmt", mgmt)
	names, values := c.keptUnder(formSupplicant)
	choose := func(name, value string, choices map[string]string) { add(name, choices[value]) }
	choose("scan_ssid", normal("wifi", "hidden", c.Get("wifi", "hidden")), map[string]string{"true": "1"})
	choose("disabled", normal("connection", "autoconnect", c.Get("connection", "autoconnect")), map[string]string{"false": "1"})
	choose("mode", c.Get("wifi", "mode"), map[string]string{"adhoc": "1", "ap": "2"})
	choose("ieee80211w", c.Get("wifi-security", "pmf"), map[string]string{"1": "0", "2": "1", "3": "2"})
	if psk := c.Get("wifi-security", "psk"); c.KeyMgmt() == "sae" {
		add("sae_password", quote(psk))
	} else if _, err := hex.DecodeString(psk); err == nil && len(psk) == 64 {
		add("psk", psk)
	} else if psk != "" {
		add("psk", `"`+psk+`"`) // all between the first and the last quote, the only form that wpa_supplicant takes here
	}
	if strings.ContainsFunc(c.Get("wifi-security", "psk"), unicode.IsControl) {
		return b, "its passphrase has control characters"
	}
	for _, k := range fields {
		add(k.name, c.writeCoded(k))
	}
	for _, phase := range []string{"phase1", "phase2"} {
		var says []string
		for _, in := range inner {
			if v := c.Get("802-1x", in.key); in.field == phase && v != "" && !strings.ContainsAny(v, " \"") {
				says = append(says, in.word+phaseWord(phase, v))
			}
		}
		add(phase, quote(strings.Join(says, " ")))
	}
	for i, name := range names[:min(len(names), maxFields)] { // more are told as lost
		b.Fields = slices.DeleteFunc(b.Fields, func(f wpasupplicant.Field) bool { return f.Name == name })
		add(name, values[i])
	}
	return b, ""
}

func phaseWord(phase, value string) string {
	if phase == "phase2" {
		return strings.ToUpper(value)
	}
	return value
}

func (c *Connection) writeCoded(k field) string {
	raw, ok := c.raw(k.group, k.key)
	value := keyfile.Unescape(raw)
	if !ok || value == "" {
		return ""
	}
	switch k.code {
	case bare, number:
		if strings.ContainsAny(value, "\n\r#\"") {
			return ""
		}
		return value
	case word:
		return strings.ToUpper(value)
	case words:
		return strings.ToUpper(strings.Join(keyfile.List(raw), " "))
	case wep:
		if _, err := hex.DecodeString(value); err == nil && (len(value) == 10 || len(value) == 26) {
			return value
		}
	}
	if strings.HasPrefix(value, "data:") {
		return "" // a certificate inside the keyfile
	}
	return wpasupplicant.Quote([]byte(value))
}

// throughBlock returns what is left of a connection behind a block.
func throughBlock(c *Connection) (*Connection, string) {
	b, why := writeBlock(c)
	if why != "" {
		return nil, why
	}
	parsed := wpasupplicant.Parse(b.Bytes())
	if len(parsed.Blocks) != 1 {
		return nil, "it can't be written as a block"
	}
	return readBlock(parsed.Blocks[0], c.SSID(), func(*Connection, string, string, bool) {}), ""
}
