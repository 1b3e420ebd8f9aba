package photo

import (
	"io"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/format/mp4"
)

// isFilm reports whether the boxes are those of a film and not of a picture.
func isFilm(head []byte) bool {
	if has(head, 4, "ftyp") {
		return format(head) == opaque && !has(head, 8, "crx ")
	}
	for _, first := range []string{"moov", "mdat", "wide", "free"} {
		if has(head, 4, first) {
			return true
		}
	}
	return false
}

// filmed returns when a film was taken: with its zone if the camera wrote that, else in UTC.
func filmed(r io.ReaderAt, size int64) string {
	f, _ := mp4.ReadFilm(r, size)
	for _, form := range []string{"2006-01-02T15:04:05-0700", "2006-01-02T15:04:05-07:00", "2006-01-02T15:04:05Z"} {
		if t, err := time.Parse(form, strings.TrimSpace(f.Creation)); err == nil && t.Year() >= 1970 {
			return t.Format("2006-01-02T15:04:05-07:00")
		}
	}
	if f.Created.IsZero() {
		return ""
	}
	return f.Created.Format("2006-01-02T15:04:05") + "Z"
}
