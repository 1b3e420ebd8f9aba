package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node"
)

// findings reads what the engine may find from its source: there is no list of it at run time.
func findings(t *testing.T) (out []node.Finding) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", "..", "node", "doctor.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == "Finding" {
			s, err := strconv.Unquote(v.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, node.Finding(s))
		}
		return true
	})
	return out
}

// TestDoctorWords: every finding has its sentence, with nothing left to fill in, and no two have the same.
func TestDoctorWords(t *testing.T) {
	all := findings(t)
	if len(all) < 40 || len(all) != len(doctorWords) {
		t.Errorf("%d findings, %d sentences", len(all), len(doctorWords))
	}
	seen := map[string]node.Finding{}
	for _, f := range all {
		text, hint := checkText(node.Check{Finding: f, Level: node.LevelBad, Detail: "D", List: []string{"L", "M"}, Bytes: 5e9, Span: 3000e6})
		if _, ok := doctorWords[f]; !ok || regexp.MustCompile(`[{}\n]|\.$`).MatchString(text+hint) {
			t.Errorf("%s: %q, %q", f, text, hint)
		}
		if seen[text] != "" {
			t.Errorf("%s and %s: %q", f, seen[text], text)
		}
		seen[text] = f
	}
}

// TestDoctorHostileDetail: what comes from outside does not reach the terminal raw.
func TestDoctorHostileDetail(t *testing.T) {
	text, _ := checkText(node.Check{Finding: node.TargetDenied, Detail: "a\x1b[2J{list}\n", List: []string{"x"}})
	if strings.ContainsAny(text, "\x1b\n") || !strings.Contains(text, "{list}") {
		t.Errorf("%q", text)
	}
}
