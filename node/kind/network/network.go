// Package network knows the networks that a device joins: Wi-Fi above all, and whatever
// else NetworkManager keeps in a keyfile. The canonical form is that keyfile, byte for
// byte as the source had it; docs/SPEC.md section 9.3 describes it. What comes from or
// goes to other formats (wpa_supplicant, Apple's profiles, Windows' and Android's files,
// QR codes) is converted here.
//
// Secrets never appear in a Change: a value that may be one is shown as "(secret)".
package network

import (
	"path"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Extension is that of a keyfile's name.
const Extension = ".nmconnection"

// Rules are the rule.Rules of networks.
type Rules struct{}

var _ rule.Rules = Rules{}

// Split returns the one record that a keyfile is.
func (Rules) Split(name string, data []byte) []item.Record {
	if len(data) == 0 {
		return nil
	}
	return []item.Record{Record(path.Base(name), data)}
}

// Record makes a record of a keyfile. An empty name is replaced by one made of what the network is called.
func Record(name string, data []byte) item.Record {
	c := Parse(data)
	if name == "" {
		name = FileName(c)
	}
	return item.Record{Kind: item.Network, Path: name, Label: c.Label(), Data: data}
}

// maxStem is the longest file name without its extension, in bytes.
const maxStem = 200

// FileName returns the file name that NetworkManager would give a connection, as far as every
// file system takes it.
func FileName(c *Connection) string {
	var b strings.Builder
	for _, r := range c.Label() {
		if r < 0x20 || r == 0x7f || r == 0xfffd || strings.ContainsRune(`/\:*?"<>|`, r) {
			r = '_'
		}
		if b.Len()+4 > maxStem {
			break
		}
		b.WriteRune(r)
	}
	stem := strings.Trim(b.String(), ". ")
	if stem == "" {
		stem = "network"
	}
	return stem + Extension
}
