package dav

import (
	"bytes"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// maxLabel is how many bytes of a name are shown.
const maxLabel = 200

// Holds reports whether data begins like a card or a calendar object.
func Holds(k item.Kind, data []byte) bool {
	want := "VCARD"
	if k == item.Calendar {
		want = "VCALENDAR"
	}
	s := contentline.NewScanner(data)
	for s.Next() {
		if len(bytes.TrimSpace(s.Name())) > 0 {
			v, _ := s.Value(64)
			return s.Is("BEGIN") && contentline.EqualFold(v, want)
		}
	}
	return false
}

// Label returns what a person knows a card or calendar object by: the first FN or SUMMARY. It is untrusted.
func Label(k item.Kind, data []byte) string {
	property := "FN"
	if k == item.Calendar {
		property = "SUMMARY"
	}
	v := first(data, property)
	return string(bytes.ToValidUTF8(v[:min(len(v), maxLabel)], nil))
}

// UID returns the first UID in a card or calendar object, or "".
func UID(data []byte) string {
	v := first(data, "UID")
	return string(v[:min(len(v), contentline.MaxUID)])
}

// Components returns the names of the components in a calendar object but for its time zones, each once.
func Components(data []byte) (out []string) {
	seen := map[string]bool{"VCALENDAR": true, "VTIMEZONE": true}
	depth := 0
	s := contentline.NewScanner(data)
	for s.Next() {
		begin := s.Is("BEGIN")
		if !begin && !s.Is("END") {
			continue
		}
		v, _ := s.Value(64)
		name := string(bytes.ToUpper(v))
		if begin {
			depth++
		}
		if begin && depth == 2 && !seen[name] && len(out) < 8 {
			seen[name] = true
			out = append(out, name)
		}
		if !begin {
			depth--
		}
	}
	return out
}

func first(data []byte, property string) []byte {
	s := contentline.NewScanner(data)
	for s.Next() {
		if s.Is(property) {
			v, _ := s.Value(contentline.MaxUID)
			return v
		}
	}
	return nil
}
