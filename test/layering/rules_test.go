package layering

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestRulesSpeakOfRealPackages keeps a rule from outliving a renamed directory. Directories of later work are listed.
func TestRulesSpeakOfRealPackages(t *testing.T) {
	later := []string{"node/direct", "node/folder"}
	var names []string
	for _, s := range separations {
		names = append(names, s.From...)
		for _, n := range slices.Concat(s.To, s.Except) {
			names = append(names, string(n))
		}
	}
	for _, o := range ownerships {
		names = append(names, o.Owners...)
	}
	for _, name := range names {
		if slices.Contains(later, name) || strings.HasPrefix(name, "std:") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root(t), filepath.FromSlash(name))); err != nil {
			t.Errorf("a rule names %s, which does not exist", name)
		}
	}
}
