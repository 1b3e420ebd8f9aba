// Package photo tells pictures and films by their first bytes and reads when a picture
// was taken. It decodes no picture and changes none. docs/SPEC.md section 4.1 says what
// an item keeps of it.
package photo

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/bep/imagemeta"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
)

// HeadSize is how many bytes of a file's beginning TakenAt looks at, at most.
const HeadSize = 128 << 10

// Is reports whether a file is a photo or a film by its name and, if head is not empty,
// by its first bytes too (64 of them are enough).
func Is(path string, head []byte) bool {
	return kind.Of(path) == item.Photo && (len(head) == 0 || format(head) != formatNone)
}

const formatNone imagemeta.ImageFormat = -1

// opaque stands for formats that are told by their magic but never looked into.
const opaque = imagemeta.ImageFormatAuto

var magics = []struct {
	offset int
	magic  string
	format imagemeta.ImageFormat
}{
	{0, "\xff\xd8\xff", imagemeta.JPEG},
	{0, "\x89PNG\r\n\x1a\n", imagemeta.PNG},
	{8, "WEBP", imagemeta.WebP},
	{8, "CR\x02\x00", imagemeta.CR2},
	{0, "II*\x00", imagemeta.TIFF},
	{0, "MM\x00*", imagemeta.TIFF},
	{8, "AVI ", opaque},
	{0, "GIF8", opaque},
	{0, "BM", opaque},
	{0, "\xff\x0a", opaque},                  // JPEG XL
	{0, "\x00\x00\x00\x0cJXL ", opaque},      // JPEG XL in a box
	{0, "\x1a\x45\xdf\xa3", opaque},          // Matroska, WebM
	{0, "IIU\x00", opaque},                   // RW2
	{0, "IIRO", opaque}, {0, "IIRS", opaque}, // ORF
	{0, "FUJIFILM", opaque}, // RAF
	{4, "moov", opaque}, {4, "mdat", opaque}, {4, "wide", opaque}, {4, "free", opaque},
	{0, "\x47", opaque}, {4, "\x47", opaque}, // MPEG transport stream
}

// format tells what a file is by its first bytes.
func format(head []byte) imagemeta.ImageFormat {
	if has(head, 4, "ftyp") {
		switch string(head[8:min(len(head), 12)]) {
		case "heic", "heix", "heim", "heis", "mif1", "msf1", "hevc":
			return imagemeta.HEIF
		case "avif", "avis":
			return imagemeta.AVIF
		}
		return opaque
	}
	for _, m := range magics {
		if has(head, m.offset, m.magic) {
			return m.format
		}
	}
	return formatNone
}

func has(head []byte, offset int, magic string) bool {
	return len(head) >= offset+len(magic) && string(head[offset:offset+len(magic)]) == magic
}

// TakenAt returns when a picture was taken, as the camera wrote it (EXIF
// DateTimeOriginal): RFC 3339 with a zone if the camera wrote that too
// (OffsetTimeOriginal), else without one. It returns "" if the first HeadSize bytes do not
// say so beyond doubt. It may be called concurrently, and returns in bounded time
// whatever the bytes are.
func TakenAt(head []byte) string {
	head = head[:min(len(head), HeadSize)]
	f := format(head)
	if f == formatNone || f == opaque {
		return ""
	}
	var original, offset string
	conflict := false
	note := func(to *string, v any) {
		s, ok := v.(string)
		conflict = conflict || !ok || *to != "" && *to != s
		*to = s
	}
	_, err := imagemeta.Decode(imagemeta.Options{
		R:            &budget{r: bytes.NewReader(head), left: maxReads},
		ImageFormat:  f,
		Sources:      imagemeta.EXIF,
		LimitNumTags: maxTags,
		LimitTagSize: maxTagSize,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool {
			return t.Tag == "DateTimeOriginal" || t.Tag == "OffsetTimeOriginal"
		},
		HandleTag: func(t imagemeta.TagInfo) error {
			if t.Namespace != "IFD0/ExifIFD" && t.Namespace != "IFD0/ExifIFDP" && t.Namespace != "IFD0" {
				return nil // a thumbnail's or a maker's own
			}
			if t.Tag == "DateTimeOriginal" {
				note(&original, t.Value)
			} else {
				note(&offset, t.Value)
			}
			return nil
		},
	})
	if conflict || original == "" || errors.Is(err, errBudget) {
		return ""
	}
	return rfc3339(original, offset)
}

// rfc3339 turns EXIF's way of writing a time into the usual one. An offset that is no
// offset is as good as none.
func rfc3339(original, offset string) string {
	t, err := time.Parse("2006:01:02 15:04:05", original)
	if err != nil || t.Year() < 1826 { // the year of the first photograph
		return ""
	}
	const local = "2006-01-02T15:04:05"
	if offset == "Z" {
		offset = "+00:00"
	}
	if _, err := time.Parse("-07:00", offset); err != nil {
		return t.Format(local)
	}
	return t.Format(local) + offset
}

// Bounds on the walk through the tags of one picture.
const (
	maxTags    = 5000
	maxTagSize = 10_000 // bytes
	maxReads   = 20_000
)

var errBudget = errors.New("photo: too many reads")

// budget ends a walk that goes in circles.
type budget struct {
	r    *bytes.Reader
	left int
}

func (b *budget) spend() error {
	if b.left--; b.left < 0 {
		return errBudget
	}
	return nil
}

func (b *budget) Read(p []byte) (int, error) {
	if err := b.spend(); err != nil {
		return 0, err
	}
	return b.r.Read(p)
}

func (b *budget) Seek(offset int64, whence int) (int64, error) {
	if err := b.spend(); err != nil {
		return 0, err
	}
	return b.r.Seek(offset, whence)
}

var _ io.ReadSeeker = (*budget)(nil)
