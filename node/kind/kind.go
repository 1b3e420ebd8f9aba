// Package kind tells what an item is to a person by its name. The packages below it
// know one kind each. docs/SPEC.md section 9.1 says which files hold records.
package kind

import (
	"strings"

	"github.com/decant-dev/decant/node/item"
)

// byExtension is the list of kinds in one place; what is not in it is a plain file.
// Moving pictures count as photos: a person keeps them together.
var byExtension = map[string]item.Kind{
	"vcf": item.Contact, "vcard": item.Contact,
	"ics": item.Calendar, "ical": item.Calendar, "ifb": item.Calendar, "vcs": item.Calendar,

	"jpg": item.Photo, "jpeg": item.Photo, "jpe": item.Photo, "jfif": item.Photo, "png": item.Photo, "gif": item.Photo,
	"webp": item.Photo, "heic": item.Photo, "heif": item.Photo, "hif": item.Photo, "avif": item.Photo, "jxl": item.Photo,
	"tif": item.Photo, "tiff": item.Photo, "bmp": item.Photo,
	"dng": item.Photo, "cr2": item.Photo, "cr3": item.Photo, "nef": item.Photo, "arw": item.Photo, "pef": item.Photo,
	"orf": item.Photo, "rw2": item.Photo, "raf": item.Photo, "srw": item.Photo,
	"mp4": item.Photo, "m4v": item.Photo, "mov": item.Photo, "3gp": item.Photo, "3g2": item.Photo, "mkv": item.Photo,
	"webm": item.Photo, "avi": item.Photo, "mts": item.Photo, "m2ts": item.Photo,
}

// bySuffix are the containers whose last extension says too little. docs/SPEC.md section 9.3.
var bySuffix = []struct {
	suffix string
	kind   item.Kind
}{
	{".messages.ndjson", item.Message}, {".calls.ndjson", item.Call}, {".bookmarks.ndjson", item.Bookmark},
	{".nmconnection", item.Network}, {".dconf", item.Setting},
}

// notes is the top-level directory whose files are notes and what is attached to them.
const notes = "Notes/"

// Of returns the kind of a file by its name: by its extension, or because it lies in the
// directory of notes.
func Of(path string) item.Kind {
	if len(path) > len(notes) && path[:len(notes)] == notes {
		return item.Note
	}
	for i := range bySuffix {
		if s := &bySuffix[i]; strings.HasSuffix(path, s.suffix) {
			return s.kind
		}
	}
	const longest = 5
	var low [longest]byte
	for i := 0; i <= longest && i < len(path); i++ {
		c := path[len(path)-1-i]
		if c == '/' {
			break
		}
		if c == '.' {
			if k, ok := byExtension[string(low[longest-i:])]; ok && i+1 < len(path) && path[len(path)-2-i] != '/' {
				return k
			}
			break
		}
		if i == longest {
			break
		}
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		low[longest-1-i] = c
	}
	return item.File
}
