// Package takeout knows the files of Google Takeout that describe others: the JSON file
// that lies beside each photo, and by which of its many names it belongs to which. It
// reads what is needed to bring them together; the files themselves travel as they are.
//
// Google has never written the names down. The rules are those that programs found which
// put such exports together: a name is the photo's with ".json" or
// ".supplemental-metadata.json", cut to 46 characters before ".json"; the number of a
// second photo of one name stands before the extension of the photo, and before ".json"
// in its sidecar; an edited photo has none of its own.
package takeout

import (
	"encoding/json"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxSidecar is the largest file that may be a sidecar, in bytes.
const MaxSidecar = 1 << 20

// Sidecar is what the file beside a photo says of it, as far as it is needed.
type Sidecar struct {
	Title string    // the photo's name before Google changed it
	Taken time.Time // UTC; the zero time is unknown
}

// Parse reads a sidecar. ok is false for JSON that is none, such as that of an album.
func Parse(data []byte) (s Sidecar, ok bool) {
	var j struct {
		Title          string `json:"title"`
		PhotoTakenTime *struct {
			Timestamp json.RawMessage `json:"timestamp"` // a string of digits, or digits
		} `json:"photoTakenTime"`
	}
	if len(data) > MaxSidecar || json.Unmarshal(data, &j) != nil || j.PhotoTakenTime == nil {
		return s, false
	}
	s.Title = j.Title
	seconds, err := strconv.ParseInt(strings.Trim(string(j.PhotoTakenTime.Timestamp), `"`), 10, 64)
	if t := time.Unix(seconds, 0).UTC(); err == nil && seconds != 0 && t.Year() >= 1826 && t.Year() < 2200 {
		s.Taken = t
	}
	return s, true
}

// IsSidecarName reports whether a file may be a sidecar by its name.
func IsSidecarName(name string) bool { return strings.EqualFold(path.Ext(name), ".json") }

const (
	suffix   = ".supplemental-metadata"
	cut      = 46 // characters before ".json"
	shortest = 40 // a name that is cut inside the photo's own is not shorter than that: some versions cut earlier
)

// edited are the endings of edited photos' names, in Google's languages.
var edited = []string{"-edited", "-bearbeitet", "-modifié", "-editado", "-editada", "-bewerkt", "-modificato", "-edytowane", "-redigerad", "-redigert", "-redigeret", "-muokattu", "-upravené", "-düzenlendi", "-編集済み", "-已修改", "-изменено", "-effects", "-smile", "-mix"}

// maxAlike bounds how many photos of one beginning are looked at for each sidecar.
const maxAlike = 500

var number = regexp.MustCompile(`^(.*)\((\d{1,4})\)$`)

// numbered cuts the number of a second photo of one name off: "x(1)" is x and 1.
func numbered(s string) (string, string) {
	if m := number.FindStringSubmatch(s); m != nil {
		return m[1], m[2]
	}
	return s, ""
}

// Match tells for the names in one folder which photo has which sidecar. titles are the sidecars' titles,
// by name; without one a cut name that fits several photos fits none.
func Match(photos, sidecars []string, titles map[string]string) map[string]string {
	byKey := map[[2]string][]string{}   // what a photo is called, and its number
	byStart := map[[2]string][]string{} // likewise, the first shortest characters only
	for _, p := range photos {
		name, n := key(p)
		byKey[[2]string{name, n}] = append(byKey[[2]string{name, n}], p)
		start := [2]string{first(name, shortest), n}
		byStart[start] = append(byStart[start], p)
	}
	out := map[string]string{}
	for _, s := range sidecars {
		base, n := numbered(s[:len(s)-len(path.Ext(s))])
		for _, p := range candidates(base, n, titles[s], byKey, byStart) {
			if old, taken := out[p]; !taken || len(old) < len(s) {
				out[p] = s
			}
		}
	}
	followers(photos, out)
	return out
}

// key is a photo's name without its number, and the number.
func key(photo string) (name, n string) {
	ext := path.Ext(photo)
	stem, n := numbered(strings.TrimSuffix(photo, ext))
	return stem + ext, n
}

func first(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

// candidates returns the photos that a sidecar's name without number and ".json" means.
func candidates(base, n, title string, byKey, byStart map[[2]string][]string) []string {
	if found := byKey[[2]string{base, n}]; found != nil {
		return found
	}
	for i := len(base) - 1; i >= 0 && i >= len(base)-len(suffix); i-- { // ".supplemental-metadata", or the beginning of it
		if base[i] == '.' && strings.HasPrefix(suffix, base[i:]) {
			if found := byKey[[2]string{base[:i], n}]; found != nil {
				return found
			}
		}
	}
	if utf8.RuneCountInString(base) < shortest {
		return nil
	}
	alike := byStart[[2]string{first(base, shortest), n}]
	if len(alike) > maxAlike {
		return nil
	}
	var found []string
	for _, p := range alike {
		name, _ := key(p)
		if strings.HasPrefix(name+suffix, base) {
			found = append(found, p)
		}
	}
	if len(found) < 2 {
		return found
	}
	for _, p := range found {
		if name, _ := key(p); title != "" && (name == title || strings.HasPrefix(title, strings.TrimSuffix(name, path.Ext(name)))) && path.Ext(name) == path.Ext(title) {
			return []string{p}
		}
	}
	return nil
}

// followers gives the sidecar of a photo to what came of it and has none: the edited one, the film of a
// live photo.
func followers(photos []string, out map[string]string) {
	byStem := map[string]string{} // sidecar by the photo's name without extension
	for _, p := range photos {
		if s, ok := out[p]; ok {
			byStem[strings.TrimSuffix(p, path.Ext(p))] = s
		}
	}
	for _, p := range photos {
		if _, ok := out[p]; ok {
			continue
		}
		stem := strings.TrimSuffix(p, path.Ext(p))
		whole, n := numbered(stem)
		if n != "" {
			n = "(" + n + ")"
		}
		if s, ok := byStem[stem]; ok {
			out[p] = s
			continue
		}
		for _, e := range edited {
			if original, ok := strings.CutSuffix(whole, e); ok && byStem[original+n] != "" {
				out[p] = byStem[original+n]
			}
		}
	}
}

// IsKeep reports whether JSON is a note of Google Keep.
func IsKeep(data []byte) bool {
	var j struct {
		Trashed *bool  `json:"isTrashed"`
		Edited  *int64 `json:"userEditedTimestampUsec"`
	}
	return len(data) <= MaxSidecar && json.Unmarshal(data, &j) == nil && j.Trashed != nil && j.Edited != nil
}
