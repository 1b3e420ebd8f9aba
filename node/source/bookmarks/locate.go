package bookmarks

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/format/chromium"
	"github.com/decant-dev/decant/node/format/firefox"
)

// Form is how bookmarks are stored.
type Form uint8

// The forms.
const (
	HTML     Form = iota // what browsers export
	Chromium             // the file Bookmarks of Chromium and its like
	Backup               // Firefox's backup, JSON
	Packed               // the same, compressed
	Firefox              // Firefox's database
)

// Place is where bookmarks are.
type Place struct {
	Form    Form
	Path    string // of the file
	Profile string // the browser's directory that it is in, if it is in one
	Browser string // "Firefox", "Chrome"; "" if it is not known
}

// ErrPlace is returned, wrapped, for a directory without bookmarks.
var ErrPlace = errors.New("it is no profile of Firefox or Chromium")

// MaxFile is the largest file in bytes that is read whole.
const MaxFile = 64 << 20

// Locate finds out what an argument is: a file that browsers export or import, or a
// profile's directory, or that of a Chromium with its profile Default. A file that does
// not exist yet is what its name says.
func Locate(arg string) (*Place, error) {
	info, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &Place{Form: byName(arg), Path: arg}, nil
	case err != nil:
		return nil, err
	case info.IsDir():
		return profile(arg)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", arg)
	}
	p := &Place{Form: byName(arg), Path: arg}
	head, err := begin(arg)
	if err != nil {
		return nil, err
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\ufeff")), " \t\r\n")
	switch {
	case bytes.HasPrefix(head, []byte("SQLite format 3\x00")):
		p.Form = Firefox
	case bytes.HasPrefix(head, []byte("mozLz40\x00")):
		p.Form = Packed
	case bytes.HasPrefix(text, []byte("<")):
		p.Form = HTML
	case bytes.HasPrefix(text, []byte("{")) && bytes.Contains(head, []byte(`"roots"`)), bytes.Contains(head, []byte(`"checksum"`)):
		p.Form = Chromium
	case bytes.HasPrefix(text, []byte("{")):
		p.Form = Backup
	}
	dir := filepath.Dir(arg)
	switch base := filepath.Base(arg); {
	case p.Form == Firefox && base == firefox.Places:
		p.Profile, p.Browser = dir, "Firefox"
	case p.Form == Chromium && (base == chromium.File || base == chromium.Account) && isFile(filepath.Join(dir, "Preferences")):
		p.Profile, p.Browser = dir, brand(dir)
	}
	return p, nil
}

// begin reads the first bytes of a file.
func begin(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	head := make([]byte, 4096)
	n, err := io.ReadFull(f, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], err
}

func byName(path string) Form {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".json":
		return Backup
	case ".jsonlz4", ".baklz4":
		return Packed
	case ".sqlite":
		return Firefox
	}
	if filepath.Base(path) == chromium.File {
		return Chromium
	}
	return HTML
}

func profile(dir string) (*Place, error) {
	if path := filepath.Join(dir, firefox.Places); isFile(path) {
		return &Place{Form: Firefox, Path: path, Profile: dir, Browser: "Firefox"}, nil
	}
	for _, d := range []string{dir, filepath.Join(dir, "Default")} {
		path := filepath.Join(d, chromium.File)
		switch {
		case isFile(path), isFile(filepath.Join(d, "Preferences")) && !isFile(filepath.Join(d, chromium.Encrypted)):
			return &Place{Form: Chromium, Path: path, Profile: d, Browser: brand(d)}, nil
		case isFile(filepath.Join(d, chromium.Encrypted)):
			return nil, fmt.Errorf("%s: the browser keeps its bookmarks encrypted: export them to an HTML file in its bookmark manager", d)
		}
	}
	return nil, fmt.Errorf("%s: %w", dir, ErrPlace)
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// brands are the browsers on Chromium's base, by parts of the paths of their directories.
var brands = []struct{ part, name string }{{"brave", "Brave"}, {"edge", "Edge"}, {"vivaldi", "Vivaldi"}, {"opera", "Opera"}, {"chromium", "Chromium"}, {"chrome", "Chrome"}}

func brand(dir string) string {
	low := strings.ToLower(dir)
	for _, b := range brands {
		if strings.Contains(low, b.part) {
			return b.name
		}
	}
	return "Chromium"
}

// Below a home directory: where Firefox has its profiles, and where those on Chromium's base have theirs.
var (
	firefoxDirs = []string{".mozilla/firefox", ".config/mozilla/firefox", "snap/firefox/common/.mozilla/firefox", ".var/app/org.mozilla.firefox/.mozilla/firefox",
		".var/app/org.mozilla.firefox/config/mozilla/firefox", ".librewolf", ".var/app/io.gitlab.librewolf-community/.librewolf", ".waterfox",
		"Library/Application Support/Firefox/Profiles", "AppData/Roaming/Mozilla/Firefox/Profiles"}
	chromiumDirs = []string{".config/chromium", ".config/google-chrome", ".config/google-chrome-beta", ".config/google-chrome-unstable", ".config/BraveSoftware/Brave-Browser", ".config/microsoft-edge", ".config/vivaldi", ".config/opera",
		"snap/chromium/common/chromium", "snap/brave/current/.config/BraveSoftware/Brave-Browser", ".var/app/org.chromium.Chromium/config/chromium", ".var/app/com.google.Chrome/config/google-chrome", ".var/app/com.brave.Browser/config/BraveSoftware/Brave-Browser",
		".var/app/com.microsoft.Edge/config/microsoft-edge", ".var/app/io.github.ungoogled_software.ungoogled_chromium/config/chromium",
		"Library/Application Support/Chromium", "Library/Application Support/Google/Chrome", "Library/Application Support/BraveSoftware/Brave-Browser", "Library/Application Support/Microsoft Edge", "Library/Application Support/Vivaldi",
		"AppData/Local/Chromium/User Data", "AppData/Local/Google/Chrome/User Data", "AppData/Local/BraveSoftware/Brave-Browser/User Data", "AppData/Local/Microsoft/Edge/User Data", "AppData/Local/Vivaldi/User Data"}
)

// Find returns the profiles with bookmarks below a home directory: arguments for Open, which
// tells of a profile whose bookmarks are encrypted that it can't be read.
func Find(home string) (args []string) {
	for _, dir := range firefoxDirs {
		args = append(args, having(filepath.Join(home, filepath.FromSlash(dir)), firefox.Places, firefox.Places)...)
	}
	for _, dir := range chromiumDirs {
		dir = filepath.Join(home, filepath.FromSlash(dir))
		if isFile(filepath.Join(dir, chromium.File)) { // Opera has no directories for profiles
			args = append(args, dir)
		}
		args = append(args, having(dir, chromium.File, chromium.Encrypted)...)
	}
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		slices.Sort(args) // names that differ in case are one there
		args = slices.CompactFunc(args, strings.EqualFold)
	}
	return args
}

// having returns the directories in dir that have a file of one of two names.
func having(dir, name, other string) (out []string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); (isFile(filepath.Join(path, name)) || isFile(filepath.Join(path, other))) && e.Name() != "System Profile" && e.Name() != "Guest Profile" {
			out = append(out, path)
		}
	}
	return out
}
