package layering

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// builds are the views of the code that the go command is asked for: what one system or tag leaves out, another shows.
var builds = []struct{ os, tags string }{
	{"linux", ""},
	{"linux", "killpoints,nonceoracle"},
	{"windows", ""},
	{"darwin", ""},
}

// list asks the go command for the packages of the module in dir.
func list(t *testing.T, dir, goos, tags string) []Package {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-tags", tags, "-json=ImportPath,Name,Doc,GoFiles,CgoFiles,Imports,Deps", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0", "GOFLAGS=-mod=readonly", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v\n%s", dir, err, stderr.Bytes())
	}
	var packages []Package
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func TestImportsFollowTheThreatModel(t *testing.T) {
	for _, b := range builds {
		t.Run(b.os+"/"+b.tags, func(t *testing.T) {
			packages := list(t, root(t), b.os, b.tags)
			if len(packages) < 10 {
				t.Fatalf("the go command lists only %d packages", len(packages))
			}
			for _, line := range Check(packages) {
				t.Error(line)
			}
		})
	}
}

// TestRulesFindViolations runs the rules over a small module of the same name in which every kind of rule is broken once.
func TestRulesFindViolations(t *testing.T) {
	want, err := os.ReadFile("testdata/violations.txt")
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(Check(list(t, "testdata/violating", "linux", "")), "\n") + "\n"
	if got != string(want) {
		t.Errorf("violations found:\n%s\nwant:\n%s", got, want)
	}
}

// unsynced lists the files that may commit to Pebble without a sync, with the reason.
var unsynced = map[string]string{
	"node/journal/journal.go": "Note: losing the record costs only doing the same work again",
}

// TestR4NoUnsyncedCommits allows pebble.NoSync nowhere but where a reason is given, in code and not in tests.
func TestR4NoUnsyncedCommits(t *testing.T) {
	for path, found := range noSync(t, root(t)) {
		if unsynced[path] == "" {
			t.Errorf("%s: commits without a sync at lines %v", path, found)
		}
	}
	if found := noSync(t, "testdata/violating"); len(found) != 1 {
		t.Errorf("found %v in the violating module, want one file", found)
	}
}

// noSync returns the lines, by file, at which code below dir names NoSync.
func noSync(t *testing.T, dir string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != dir && (d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil // not this test's business: the compiler says it better
		}
		rel, _ := filepath.Rel(dir, path)
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "NoSync" {
				out[filepath.ToSlash(rel)] = append(out[filepath.ToSlash(rel)], strconv.Itoa(set.Position(s.Pos()).Line))
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// root is the module's directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestThreatModelNamesRealTests keeps docs/THREATMODEL.md from claiming what nothing proves: each test that it names exists,
// in the folder that stands before it.
func TestThreatModelNamesRealTests(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "THREATMODEL.md"))
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	named, end := 0, 0 // end of the quotation before
	listing := false   // it was a folder
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllSubmatchIndex(text, -1) {
		name, gap := string(text[m[2]:m[3]]), string(text[end:m[0]])
		end = m[1]
		if strings.HasPrefix(name, "Test") && name != "Test…" {
			named++
			listing = false
			for _, folder := range folders {
				if !declares(t, filepath.Join(root(t), folder), name) {
					t.Errorf("%s has no %s", folder, name)
				}
			}
			continue
		}
		if st, err := os.Stat(filepath.Join(root(t), name)); err == nil && st.IsDir() {
			if !listing || strings.Trim(gap, ", \n") != "" { // else one list of folders
				folders = nil
			}
			folders, listing = append(folders, name), true
		}
	}
	if named < 30 {
		t.Errorf("only %d tests are named", named)
	}
}

// declares reports whether a test file in dir declares the test.
func declares(t *testing.T, dir, test string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, []byte("\nfunc "+test+"(")) {
			return true
		}
	}
	return false
}
