package fidelity

import (
	"strconv"
	"strings"
)

// groups are names of sections as NetworkManager used to write them.
var groups = map[string]string{"802-11-wireless": "wifi", "802-11-wireless-security": "wifi-security", "802-3-ethernet": "ethernet"}

// keyfile reads a network of NetworkManager.
func keyfile(data []byte) []*Record {
	r := &Record{Kind: "network", Line: 1}
	section := ""
	for i, s := range strings.Split(string(data), "\n") {
		s = strings.Trim(s, " \t\r")
		if s == "" || s[0] == '#' || s[0] == ';' {
			continue
		}
		if s[0] == '[' && s[len(s)-1] == ']' {
			section = s[1 : len(s)-1]
			if n := groups[section]; n != "" {
				section = n
			}
			continue
		}
		key, value, ok := strings.Cut(s, "=")
		key, value = strings.TrimSpace(key), strings.TrimSpace(value)
		p := Property{Path: section, Name: key, Value: keyValue(key, value), Raw: value, Line: i + 1}
		if !ok {
			p.Name, p.Value, p.Raw = "", s, s
		}
		switch key {
		case "uuid":
			r.ID = value
		case "id", "ssid":
			r.Labels = append(r.Labels, p.Value, value)
		}
		r.Properties = append(r.Properties, p)
	}
	return []*Record{r}
}

// keyValue undoes escapes, writes an SSID that is a list of bytes as text, and leaves off the end of a list.
func keyValue(key, v string) string {
	if key == "ssid" {
		if b, ok := byteList(v); ok {
			return b
		}
	}
	v = strings.NewReplacer(`\s`, " ", `\t`, "\t", `\n`, "\n", `\r`, "\r", `\\`, `\`, `\;`, ";").Replace(v)
	if key == "ssid" {
		return v
	}
	return strings.TrimSuffix(v, ";")
}

func byteList(v string) (string, bool) {
	if !strings.HasSuffix(v, ";") {
		return "", false
	}
	var b []byte
	for s := range strings.SplitSeq(strings.TrimSuffix(v, ";"), ";") {
		n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 8)
		if err != nil {
			return "", false
		}
		b = append(b, byte(n))
	}
	return string(b), true
}
