// Package wlanprofile reads the wireless networks of two systems that keep them as XML:
// the profiles that Windows exports (`netsh wlan export profile key=clear`) and Android's
// WifiConfigStore.xml. It reads only. What is not in it, and all of Windows' profiles
// for companies, is told by Network.Left.
package wlanprofile

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"io"
	"strings"
)

// Limits on a file.
const (
	MaxSize  = 4 << 20 // bytes
	maxDepth = 64
	maxPath  = 1 << 10  // bytes of the names of elements inside one another
	maxText  = 64 << 10 // bytes of one element
)

// Errors of Parse. None repeats what the file says.
var (
	ErrForm  = errors.New("wlanprofile: neither a profile of Windows nor networks of Android")
	ErrLimit = errors.New("wlanprofile: larger or deeper than such a file may be")
)

// Network is one network.
type Network struct {
	Name     string
	SSID     []byte
	Hidden   bool
	Manual   bool     // it is not joined by itself
	Security string   // NetworkManager's key-mgmt: "", "none" (WEP), "wpa-psk", "sae", "owe", "wpa-eap"
	Key      string   // "" if it is not in the file
	Left     []string // elements that have no place here, by their paths
}

// element is one element that has text, with where it stands.
type element struct {
	path  string // names joined by "/", from the root
	name  string // its attribute "name", as Android has it
	value string // its attribute "value", likewise, or its text
}

// Parse reads a file.
func Parse(data []byte) ([]Network, error) {
	if len(data) > MaxSize {
		return nil, ErrLimit
	}
	all, err := elements(data)
	if err != nil {
		return nil, err
	}
	switch root, _, _ := strings.Cut(all[0].path, "/"); root {
	case "WLANProfile":
		n, err := windows(all)
		return []Network{n}, err
	case "WifiConfigStoreData":
		return android(all), nil
	}
	return nil, ErrForm
}

// elements reads what has a value. A document type is refused: such files have none.
func elements(data []byte) (all []element, err error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	var open []element
	for {
		t, err := d.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, ErrForm
		}
		switch t := t.(type) {
		case xml.Directive:
			return nil, ErrForm
		case xml.StartElement:
			if len(open) >= maxDepth {
				return nil, ErrLimit
			}
			e := element{path: t.Name.Local}
			if len(open) > 0 {
				e.path = open[len(open)-1].path + "/" + t.Name.Local
			}
			if len(e.path) > maxPath {
				return nil, ErrLimit
			}
			for _, a := range t.Attr {
				switch a.Name.Local {
				case "name":
					e.name = a.Value
				case "value":
					e.value = a.Value
				}
			}
			open = append(open, e)
			all = append(all, element{path: e.path, name: "\x00begin"})
		case xml.CharData:
			if n := len(open); n > 0 && len(open[n-1].value)+len(t) <= maxText {
				open[n-1].value += string(t)
			}
		case xml.EndElement:
			if len(open) == 0 {
				return nil, ErrForm
			}
			e := open[len(open)-1]
			open = open[:len(open)-1]
			if v := strings.TrimSpace(e.value); v == "" || e.name == "" && strings.Contains(e.path, "WLANProfile") {
				e.value = v
			}
			if e.value != "" {
				all = append(all, e)
			}
		}
	}
	if len(all) == 0 || len(open) > 0 {
		return nil, ErrForm
	}
	return all, nil
}

// windowsSecurity are NetworkManager's words for Windows' authentication.
var windowsSecurity = map[string]string{"open": "", "shared": "none", "WPAPSK": "wpa-psk", "WPA2PSK": "wpa-psk", "WPA3SAE": "sae", "OWE": "owe", "WPA": "wpa-eap", "WPA2": "wpa-eap", "WPA3ENT": "wpa-eap", "WPA3": "wpa-eap"}

func windows(all []element) (n Network, err error) {
	protected, encryption := false, ""
	for _, e := range all {
		path, _ := strings.CutPrefix(e.path, "WLANProfile/")
		switch {
		case e.name == "\x00begin":
		case path == "name":
			n.Name = e.value
		case path == "SSIDConfig/SSID/hex":
			if b, err := hex.DecodeString(e.value); err == nil {
				n.SSID = b
			}
		case path == "SSIDConfig/SSID/name":
			if n.SSID == nil {
				n.SSID = []byte(e.value)
			}
		case path == "SSIDConfig/nonBroadcast":
			n.Hidden = e.value == "true"
		case path == "connectionMode":
			n.Manual = e.value == "manual"
		case path == "MSM/security/authEncryption/authentication":
			s, ok := windowsSecurity[e.value]
			if !ok {
				return n, ErrForm
			}
			n.Security = s
		case path == "MSM/security/authEncryption/encryption":
			encryption = e.value
		case path == "MSM/security/sharedKey/protected":
			protected = e.value == "true"
		case path == "MSM/security/sharedKey/keyMaterial":
			n.Key = e.value
		case path == "connectionType", path == "MSM/security/sharedKey/keyType", path == "MSM/security/authEncryption/useOneX":
		default:
			n.Left = append(n.Left, path)
		}
	}
	if encryption == "WEP" {
		n.Security = "none"
	}
	if protected { // by the other device, with a key that it keeps
		n.Key = ""
	}
	if len(n.SSID) == 0 {
		return n, ErrForm
	}
	return n, nil
}

// androidSecurity are NetworkManager's words for what stands behind the SSID in Android's ConfigKey.
var androidSecurity = []struct{ key, ours string }{{"WPA_PSK", "wpa-psk"}, {"SAE", "sae"}, {"OWE", "owe"}, {"WEP", "none"}, {"WPA_EAP", "wpa-eap"}, {"NONE", ""}}

func android(all []element) (found []Network) {
	var now *Network
	for _, e := range all {
		const one = "NetworkList/Network"
		if e.name == "\x00begin" && strings.HasSuffix(e.path, one) {
			found = append(found, Network{})
			now = &found[len(found)-1]
		}
		if now == nil || e.name == "\x00begin" || !strings.Contains(e.path, one) {
			continue
		}
		switch {
		case !strings.HasSuffix(e.path[:strings.LastIndexByte(e.path, '/')], one+"/WifiConfiguration"):
			// what the device keeps beside each network: addresses, how it went last time
		case e.name == "SSID":
			now.SSID = unquote(e.value)
		case e.name == "PreSharedKey":
			now.Key = string(unquote(e.value))
		case e.name == "WEPKeys", strings.HasSuffix(e.path, "/item"):
			now.Left = append(now.Left, e.name)
		case e.name == "HiddenSSID":
			now.Hidden = e.value == "true"
		case e.name == "AutoJoinEnabled":
			now.Manual = e.value == "false"
		case e.name == "ConfigKey":
			for _, s := range androidSecurity {
				if strings.HasSuffix(e.value, s.key) {
					now.Security = s.ours
				}
			}
		}
	}
	for i := range found {
		found[i].Name = string(found[i].SSID)
	}
	return found
}

// unquote reads Android's way of writing a string: in quotes, or hexadecimal digits, or a key as it is.
func unquote(s string) []byte {
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		return []byte(s[1 : len(s)-1])
	}
	if len(s) == 64 {
		return []byte(s)
	}
	if b, err := hex.DecodeString(s); err == nil {
		return b
	}
	return []byte(s)
}
