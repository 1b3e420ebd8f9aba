package fidelity

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// script prints, for each file that it is given and that vobject can read, name and value of every property as JSON. It does
// not look into broken lines: vobject refuses their files.
const script = `
import sys, json, vobject
from vobject.base import readComponents, ContentLine, Component
def walk(c, out, depth):
    for child in c.getChildren():
        if isinstance(child, Component):
            walk(child, out, depth + 1)
        else:
            out.append([child.name, child.value if isinstance(child.value, str) else ",".join(sorted(map(str, child.value)))])
for path in sys.stdin.read().split("\n"):
    if not path: continue
    try:
        text = open(path, encoding="utf-8").read()
        out = []
        for c in readComponents(text, validate=False, transform=False, allowQP=True):
            walk(c, out, 0)
        print(json.dumps({"path": path, "properties": out}))
    except Exception as e:
        print(json.dumps({"path": path, "error": repr(e)[:200]}))
`

// TestVobject asks python3-vobject, which knows nothing of this package, how many properties of each name and value a file has.
// Values are compared where they have neither escapes nor encodings, about which the two differ on purpose.
func TestVobject(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import vobject").Run(); err != nil {
		if os.Getenv("DECANT_TEST_PROGRAMS") == "required" {
			t.Fatal("python3-vobject is not installed")
		}
		t.Skip("python3-vobject is not installed")
	}
	var paths []string
	for _, p := range fixtures(t) {
		if ext := filepath.Ext(p); ext == ".vcf" || ext == ".ics" {
			paths = append(paths, p)
		}
	}
	cmd := exec.Command(python, "-c", script)
	cmd.Stdin = strings.NewReader(strings.Join(paths, "\n"))
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	agreed, total, files, refused := 0, 0, 0, 0
	dec := json.NewDecoder(bytes.NewReader(out))
	for dec.More() {
		var theirs struct {
			Path, Error string
			Properties  [][]*string
		}
		if err := dec.Decode(&theirs); err != nil {
			t.Fatal(err)
		}
		if theirs.Error != "" {
			refused++
			continue
		}
		files++
		want := map[string]int{}
		for _, p := range theirs.Properties {
			if name := strings.ToUpper(*p[0]); counts(name) && p[1] != nil {
				want[name+":"+comparable(*p[1])]++
			}
		}
		data, err := os.ReadFile(theirs.Path)
		if err != nil {
			t.Fatal(err)
		}
		d := parse(t, theirs.Path, string(data))
		var missing []string
		for _, r := range d.Records {
			for _, p := range r.Properties {
				if p.Name == "(EMPTY)" {
					continue
				}
				total++
				raw, value := p.Name+":"+comparable(p.Raw), p.Name+":"+comparable(p.Value)
				switch {
				case want[raw] > 0:
					want[raw]--
				case want[value] > 0:
					want[value]--
				default:
					missing = append(missing, p.String())
					agreed--
				}
				agreed++
			}
		}
		var rest []string
		for k, n := range want {
			if n > 0 {
				rest = append(rest, k)
			}
		}
		slices.Sort(rest)
		if len(rest)+len(missing) > 0 {
			t.Logf("%s\n only here: %.400q\n only there: %.400q", filepath.Base(theirs.Path), missing, rest)
		}
	}
	t.Logf("%d files were read by both, %d refused by vobject; of %d properties %d are the same (%.2f %%)", files, refused, total, agreed, 100*float64(agreed)/float64(total))
	if files < 100 || float64(agreed) < 0.998*float64(total) {
		t.Errorf("agreed about %d of %d properties in %d files", agreed, total, files)
	}
}

// comparable leaves the letters and digits of a value's beginning: blanks at folds, escapes and encodings are read differently.
func comparable(s string) string {
	var b strings.Builder
	for _, c := range s {
		if b.Len() >= 24 {
			break
		}
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' {
			b.WriteRune(c)
		}
	}
	return b.String()
}
