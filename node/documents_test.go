package node

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/decant-dev/decant/node/item"
)

// TestDocuments: the directories in which people keep their files are offered with what they hold and what of it stays behind, each once.
func TestDocuments(t *testing.T) {
	home := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		full := filepath.Join(home, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(".config/user-dirs.dirs", "XDG_DOCUMENTS_DIR=\"$HOME/Dokumente\"\nXDG_MUSIC_DIR=\"$HOME/\"\nXDG_DESKTOP_DIR=\"$HOME/Dokumente\"\n")
	write("Dokumente/letter.txt", "dear")
	write("Dokumente/deep/er/tax.pdf", "money")
	write("Dokumente/scan.jpg", "not looked at")
	write("Videos/film.mp4", "")
	write("Elsewhere/x", "x")
	if err := os.Mkdir(filepath.Join(home, "Downloads"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("letter.txt", filepath.Join(home, "Dokumente", "link")); err != nil {
		t.Skip("no symbolic links here")
	}
	docs, films, none := filepath.Join(home, "Dokumente"), filepath.Join(home, "Videos"), filepath.Join(home, "Downloads")
	if got := documents(home); !slices.Equal(got, []string{docs, films, none}) {
		t.Fatalf("found %q", got)
	}

	got := map[string]Offer{}
	for _, o := range Discover(t.Context(), Config{}, home) {
		got[o.Name] = o
	}
	want := []item.Found{{Kind: item.Photo, Where: docs, Items: 1, Bytes: 13, Can: true},
		{Kind: item.File, Where: docs, Items: 2, Bytes: 9, Can: true, Why: "1 more can't be moved: links, what may not be read, what is no file"}}
	if o := got[docs]; o.Err != nil || !slices.Equal(o.Found, want) {
		t.Errorf("documents: %+v", o)
	}
	if o := got[films]; o.Err != nil || len(o.Found) != 1 || o.Found[0].Items != 1 || o.Found[0].Kind != item.Photo {
		t.Errorf("films: %+v", o)
	}
	if o, ok := got[none]; !ok || o.Err != nil || len(o.Found) != 0 {
		t.Errorf("an empty directory: %+v", o)
	}
}
