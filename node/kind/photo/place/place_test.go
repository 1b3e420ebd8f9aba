package place

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/kind/photo"
	"github.com/decant-dev/decant/test/env"
)

// silent returns a file without its places.
func silent(name string, b []byte) ([]byte, Result) {
	r := Find(name, bytes.NewReader(b), int64(len(b)))
	out := bytes.Clone(b)
	Apply(r.Patches, out, 0)
	return out, r
}

// pictures are the public collection's, by path, and some of our own.
func pictures(t *testing.T) map[string][]byte {
	t.Helper()
	out := samples()
	root := filepath.Join("..", "..", "..", "..", "..", "shared", "fixtures", "exif")
	filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && filepath.Ext(p) != ".txt" {
			b, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(root, p)
			out[strings.ReplaceAll(rel, "/", "_")] = b
		}
		return nil
	})
	return out
}

// gone are the tags that are to go, as exiftool calls them; changed is what it makes of the file as a whole.
var (
	gone    = regexp.MustCompile(`(?i):(GPS.*|Location(Created|Shown).*|Location|City|Sub-?location|Province-State|State|Country.*|ContentLocation.*|LocationInformation|Landmark|City2|(Drone)?(Latitude|Long(i|t)+tude)|AbsoluteAltitude)$`)
	changed = regexp.MustCompile(`^(ExifTool|File|System|SourceFile|Composite:GPS)|CurrentIPTCDigest$|(?i:unknown\w*free|:free)$`)
)

// tags asks exiftool for all that it knows of files, by their base names.
func tags(t *testing.T, dir string) map[string]map[string]any {
	t.Helper()
	cmd := exec.Command(env.Program(t, "exiftool"), "-q", "-q", "-r", "-json", "-a", "-u", "-G0:1", "-n", dir)
	raw, err := cmd.Output()
	if err != nil && len(raw) == 0 {
		t.Fatal(err)
	}
	var all []map[string]any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for _, m := range all {
		out[filepath.Base(m["SourceFile"].(string))] = m
	}
	return out
}

// TestExiftool is the judge: no place is left, every other tag says what it said, and so does the picture itself.
func TestExiftool(t *testing.T) {
	env.Program(t, "exiftool")
	before, after := t.TempDir(), t.TempDir()
	results := map[string]Result{}
	for name, b := range pictures(t) {
		out, r := silent(name, b)
		results[name] = r
		for dir, b := range map[string][]byte{before: b, after: out} {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	was, is := tags(t, before), tags(t, after)
	located, left := 0, 0
	for _, name := range slices.Sorted(maps.Keys(was)) {
		had := false
		for tag, v := range was[name] {
			now, there := is[name][tag]
			switch {
			case changed.MatchString(tag):
			case gone.MatchString(tag):
				had = true
				if there && strings.TrimSpace(fmt.Sprint(now)) != "" && results[name].Unknown == "" {
					t.Errorf("%s: %s is %v still", name, tag, now)
				}
			case fmt.Sprint(now) != fmt.Sprint(v):
				t.Errorf("%s: %s was %.200v and is %.200v", name, tag, v, now)
			}
		}
		for tag := range is[name] {
			if _, there := was[name][tag]; !there && !changed.MatchString(tag) {
				t.Errorf("%s: %s is new", name, tag)
			}
		}
		if had {
			located++
		}
		if r := results[name]; r.Unknown != "" {
			left++
			t.Logf("%s: %s", name, r.Unknown)
		}
	}
	t.Logf("%d files, %d with a place, %d not all looked into", len(was), located, left)
	if located < 10 {
		t.Errorf("%d files had a place", located)
	}
}

// TestAgain: what is silent has nothing to say, and only the parts that may change do.
func TestAgain(t *testing.T) {
	for name, b := range pictures(t) {
		out, r := silent(name, b)
		if len(out) != len(b) {
			t.Errorf("%s: %d bytes became %d", name, len(b), len(out))
		}
		if (len(r.Patches) > 0) != (len(r.Found) > 0) {
			t.Errorf("%s: %d patches, found in %q", name, len(r.Patches), r.Found)
		}
		if again := Find(name, bytes.NewReader(out), int64(len(out))); len(again.Patches) > 0 {
			t.Errorf("%s: %q once more", name, again.Found)
		}
		if was, is := photo.TakenAt(b), photo.TakenAt(out); was != is {
			t.Errorf("%s: taken at %q, and then %q", name, was, is)
		}
		parts := bytes.Clone(b) // as a transfer reads it
		for at := 0; at < len(parts); at += 777 {
			Apply(r.Patches, parts[at:min(at+777, len(parts))], int64(at))
		}
		if !bytes.Equal(parts, out) {
			t.Errorf("%s: read in parts it is another file", name)
		}
		if at := bytes.Index(b, []byte("\xff\xda")); bytes.HasPrefix(b, []byte("\xff\xd8")) && at > 0 && !strings.HasPrefix(name, "own-m") {
			if end := scan(b); end > 0 && !bytes.Equal(b[end:], out[end:]) {
				t.Errorf("%s: the picture has changed", name)
			}
		}
	}
}

// scan returns where the picture of a JPEG begins.
func scan(b []byte) int {
	for at := 2; at+4 <= len(b) && b[at] == 0xff; {
		if b[at+1] == 0xda {
			return at
		}
		at += 2 + (int(b[at+2])<<8 | int(b[at+3]))
	}
	return 0
}
