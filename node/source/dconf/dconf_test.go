package dconf

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/format/dconfdump"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/test/env"
)

func TestFindNothing(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "")
	if got := Find(t.TempDir()); len(got) != 0 {
		t.Errorf("found %q in an empty home", got)
	}
}

func TestSurvey(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.dconf")
	if err := os.WriteFile(name, []byte("[org/gnome/desktop/interface]\nclock-format='24h'\n[org/gnome/x]\ntoken='a'\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	found, err := b.Survey(context.Background())
	if err != nil || len(found) != 1 || found[0].Items != 1 || found[0].Kind != item.Setting || !found[0].Can || !strings.HasPrefix(found[0].Why, "1 more") {
		t.Errorf("%+v %v", found, err)
	}
}

func TestTooLarge(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.dconf")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, dconfdump.MaxSize+1); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(name); err == nil {
		t.Error("it was opened")
	}
}

// TestRun shows that what the program complains of is the error.
func TestRun(t *testing.T) {
	env.Program(t, "dconf")
	if _, err := Run(context.Background(), nil, "dump", "no path"); err == nil || !strings.Contains(err.Error(), "dump") {
		t.Errorf("%v", err)
	}
	l := &limited{left: 3}
	if n, err := io.Copy(l, strings.NewReader("abcdef")); n != 6 || err != nil || l.kept.String() != "abc" || l.left >= 0 {
		t.Errorf("%d %v %q %d", n, err, l.kept.String(), l.left)
	}
}
