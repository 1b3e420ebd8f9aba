package photo

import (
	"regexp"
	"time"
)

// names are the forms of file names that cameras and programs make of the time. Those with utc count in UTC.
// Forms that have only the day (WhatsApp's) are not among them: they say no time.
var names = []struct {
	pattern *regexp.Regexp
	utc     bool
}{
	{regexp.MustCompile(`^PXL_(\d{8})_(\d{6})\d{0,3}(?:[._~(].*)?$`), true},                                                                                 // Google's cameras
	{regexp.MustCompile(`^(?:IMG|VID|MVIMG|PANO|BURST|Screenshot|Screen_Recording|Photo|Video|P|V)?[_-]?(\d{8})[_-](\d{6})\d{0,3}(?:[._~( -].*)?$`), false}, // Android
	{regexp.MustCompile(`^(\d{4}-\d{2}-\d{2})[ _](\d{2}[.-]\d{2}[.-]\d{2})(?:[._~( -].*)?$`), false},                                                        // Dropbox, desktops
	{regexp.MustCompile(`^(?:Screenshot from|Bildschirmfoto vom|Screenshot) (\d{4}-\d{2}-\d{2}) (\d{2}-\d{2}-\d{2})(?:\..*)?$`), false},
}

var separators = regexp.MustCompile(`[.-]`)

// FromName returns the time that a file's name says it was taken, in RFC 3339: the last resort, where
// the file itself and its sidecar say nothing. It has a zone only where names of its form count in one.
func FromName(base string) string {
	for _, n := range names {
		m := n.pattern.FindStringSubmatch(base)
		if m == nil {
			continue
		}
		t, err := time.Parse("20060102150405", separators.ReplaceAllString(m[1]+m[2], ""))
		if err != nil || t.Year() < 1990 || t.Year() > 2100 {
			return ""
		}
		if n.utc {
			return t.Format("2006-01-02T15:04:05") + "Z"
		}
		return t.Format("2006-01-02T15:04:05")
	}
	return ""
}
