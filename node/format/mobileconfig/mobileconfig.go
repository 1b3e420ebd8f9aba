// Package mobileconfig reads and edits Apple's configuration profiles, of which it knows
// the payloads for wireless networks (com.apple.wifi.managed). What else a profile holds
// stays in it. Profiles are XML property lists; those that are signed or binary are
// refused, since they can't be edited, or their size once expanded not be bounded.
package mobileconfig

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"

	"howett.net/plist"
)

// Limits on a profile.
const (
	MaxSize  = 4 << 20 // bytes
	MaxDepth = 64      // of nested elements
)

// TypeWiFi is the PayloadType of a wireless network.
const TypeWiFi = "com.apple.wifi.managed"

// Errors of Parse.
var (
	ErrSigned = errors.New("mobileconfig: the profile is signed and can't be edited")
	ErrForm   = errors.New("mobileconfig: not an XML property list")
	ErrLimit  = errors.New("mobileconfig: larger or deeper than a profile may be")
)

// Profile is a configuration profile.
type Profile struct{ root map[string]any }

// Payload is one payload of a profile, by Apple's names.
type Payload map[string]any

// New returns a profile without payloads.
func New(name, identifier, uuid string) *Profile {
	return &Profile{root: map[string]any{
		"PayloadType": "Configuration", "PayloadVersion": 1, "PayloadDisplayName": name, "PayloadIdentifier": identifier, "PayloadUUID": uuid,
		"PayloadContent": []any{},
	}}
}

// Parse reads a profile.
func Parse(data []byte) (*Profile, error) {
	if len(data) > MaxSize {
		return nil, ErrLimit
	}
	if len(data) > 0 && data[0] == 0x30 || bytes.HasPrefix(data, []byte("-----BEGIN")) {
		return nil, ErrSigned
	}
	if err := check(data); err != nil {
		return nil, err
	}
	p := &Profile{}
	if _, err := plist.Unmarshal(data, &p.root); err != nil || p.root == nil {
		return nil, ErrForm // the library's words may repeat a value
	}
	if _, ok := p.root["PayloadContent"].([]any); !ok && p.root["PayloadContent"] != nil {
		return nil, fmt.Errorf("%w: its payloads are encrypted or no list", ErrForm)
	}
	return p, nil
}

// check walks the elements, so that the library meets neither depth nor anything but XML.
func check(data []byte) error {
	data = bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	if !bytes.HasPrefix(data, []byte("<?xml")) && !bytes.HasPrefix(data, []byte("<plist")) && !bytes.HasPrefix(data, []byte("<!DOCTYPE plist")) {
		return ErrForm
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	for depth := 0; ; {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return ErrForm
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth++; depth > MaxDepth {
				return ErrLimit
			}
		case xml.EndElement:
			depth--
		case xml.Directive:
			if bytes.ContainsRune(t, '[') {
				return ErrForm // an internal subset, which no profile has
			}
		}
	}
}

// Bytes returns the profile as an XML property list.
func (p *Profile) Bytes() ([]byte, error) {
	b, err := plist.MarshalIndent(p.root, plist.XMLFormat, "\t")
	return append(b, '\n'), err
}

func (p *Profile) content() []any {
	list, _ := p.root["PayloadContent"].([]any)
	return list
}

// WiFi returns the payloads for wireless networks, and where each stands.
func (p *Profile) WiFi() (payloads []Payload, at []int) {
	for i, c := range p.content() {
		if m, ok := c.(map[string]any); ok && m["PayloadType"] == TypeWiFi {
			payloads, at = append(payloads, maps.Clone(m)), append(at, i)
		}
	}
	return payloads, at
}

// Others counts the payloads that are not for wireless networks.
func (p *Profile) Others() int {
	w, _ := p.WiFi()
	return len(p.content()) - len(w)
}

// Add adds a payload at the end.
func (p *Profile) Add(n Payload) { p.root["PayloadContent"] = append(p.content(), map[string]any(n)) }

// Put puts a payload in the place of the one at i.
func (p *Profile) Put(i int, n Payload) { p.content()[i] = map[string]any(n) }

// Remove removes the payloads that stand at the places given.
func (p *Profile) Remove(at ...int) {
	gone := map[int]bool{}
	for _, i := range at {
		gone[i] = true
	}
	var left []any
	for i, c := range p.content() {
		if !gone[i] {
			left = append(left, c)
		}
	}
	p.root["PayloadContent"] = append([]any{}, left...)
}

// String returns a payload's string, "" if it has none of that name.
func (n Payload) String(name string) string { s, _ := n[name].(string); return s }

// Bool returns a payload's truth value, and whether it has one.
func (n Payload) Bool(name string) (value, ok bool) { value, ok = n[name].(bool); return }
