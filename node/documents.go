package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/source/folder"
	"github.com/decant-dev/decant/node/source/photos"
)

// userDirs are the directories in which people keep files of their own, by freedesktop.org's names (xdg-user-dirs) and the usual ones.
// Pictures are not among them: the scheme photos finds those.
var userDirs = []struct{ name, usual string }{
	{"DOCUMENTS", "Documents"}, {"DESKTOP", "Desktop"}, {"MUSIC", "Music"}, {"VIDEOS", "Videos"}, {"VIDEOS", "Movies"}, {"DOWNLOAD", "Downloads"},
	{"", "storage/music"}, {"", "storage/movies"}, {"", "storage/downloads"}, // Termux on Android
}

// documents returns the directories with a person's files below home, each once. A directory that a person has switched off is home itself,
// and left out.
func documents(home string) (dirs []string) {
	self, _ := os.Stat(home)
	seen := []os.FileInfo{self}
	for _, d := range userDirs {
		dir := filepath.Join(home, filepath.FromSlash(d.usual))
		if d.name != "" {
			dir = photos.UserDir(home, d.name, d.usual)
		}
		info, err := os.Stat(dir)
		if err != nil || !info.IsDir() || known(seen, info) {
			continue
		}
		seen = append(seen, info)
		dirs = append(dirs, dir)
	}
	return dirs
}

func known(seen []os.FileInfo, info os.FileInfo) bool {
	for _, s := range seen {
		if s != nil && os.SameFile(s, info) {
			return true
		}
	}
	return false
}

// surveyFiles counts what a scan of a directory would move, as files and photos. It looks at names and sizes only.
func surveyFiles(ctx context.Context, dir string) ([]item.Found, error) {
	f, err := folder.New([]string{dir})
	if err != nil {
		return nil, err
	}
	defer f.Close()
	files, films, left := item.Found{Kind: item.File, Where: dir}, item.Found{Kind: item.Photo, Where: dir}, 0
	err = f.Scan(ctx, func(it *item.Item, _ source.Stat) error {
		found := &files
		switch {
		case it.Form != item.FormFile:
			return nil
		case it.Kind == item.Photo:
			found = &films
		}
		found.Items++
		found.Bytes += it.Size
		found.Can = true
		return nil
	}, func(l item.Loss) {
		if l.Reason.LeftBehind() {
			left++
		}
	})
	return foundIn(&files, &films, left), err
}

// foundIn lists what there is, and says of the last how many others stay behind.
func foundIn(files, films *item.Found, left int) (out []item.Found) {
	for _, f := range []*item.Found{films, files} {
		if f.Items > 0 {
			out = append(out, *f)
		}
	}
	if left > 0 {
		if len(out) == 0 {
			out = append(out, *files)
		}
		out[len(out)-1].Why = fmt.Sprintf("%d more can't be moved: links, what may not be read, what is no file", left)
	}
	return out
}
