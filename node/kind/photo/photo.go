// Package photo tells pictures and films by their first bytes and reads when one was
// taken, and which still and film belong together. It decodes no picture and changes
// none. It says nothing rather than something doubtful. docs/SPEC.md section 4.1 says
// what an item keeps of it.
package photo

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/bep/imagemeta"

	"github.com/decant-dev/decant/node/format/mp4"
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

// Origin is where a time was found.
type Origin string

// The origins, the most trustworthy first.
const (
	EXIF      Origin = "EXIF"      // DateTimeOriginal, with OffsetTimeOriginal if that is there
	QuickTime Origin = "QuickTime" // a film's creationdate with its zone, or the UTC of its header
	XMP       Origin = "XMP"       // exif:DateTimeOriginal of an XMP packet
	IPTC      Origin = "IPTC"      // DateCreated and TimeCreated, with its zone
)

// Info is what a picture or film says of itself.
type Info struct {
	TakenAt string // RFC 3339 with a zone if the camera wrote one, else without; "" is unknown
	Origin  Origin // of TakenAt
	Pair    string // what the still and the film of one Live Photo have in common; "" is none
	Motion  bool   // an Android Motion Photo: the film is part of the file
	Lies    bool   // its name says that it is a picture or film, and its first bytes that it is none
}

// TakenAt returns when a picture or film was taken, as the camera wrote it: RFC 3339 with
// a zone if the camera wrote that too, else without one. It returns "" if the first HeadSize
// bytes do not say so beyond doubt. It may be called concurrently, and returns in bounded
// time whatever the bytes are.
func TakenAt(head []byte) string {
	head = head[:min(len(head), HeadSize)]
	at, _ := takenAt(bytes.NewReader(head), int64(len(head)), head)
	return at
}

// MaxRead is how many bytes of a file Read looks at, at most.
const MaxRead = 1 << 20

// Read is TakenAt for a file, of which it may look at more than the beginning: films keep what
// they say at their end. name is used for Info.Lies only.
func Read(name string, r io.ReaderAt, size int64) Info {
	b := &sparing{r: r, left: MaxRead}
	head := make([]byte, min(size, HeadSize))
	n, _ := b.ReadAt(head, 0)
	head = head[:n]
	i := Info{Lies: kind.Of(name) == item.Photo && n > 0 && format(head) == formatNone}
	if i.Lies {
		return i
	}
	i.TakenAt, i.Origin = takenAt(b, size, head)
	i.Pair = applePair(head)
	i.Motion = bytes.Contains(head, []byte("GCamera:MicroVideo=\"1\"")) || bytes.Contains(head, []byte("GCamera:MotionPhoto=\"1\"")) || bytes.Contains(head, []byte("Camera:MotionPhoto=\"1\""))
	if i.Pair == "" && isFilm(head) {
		f, _ := mp4.ReadFilm(b, size)
		i.Pair = f.Pair
	}
	return i
}

// takenAt asks in the order of Origin. head is the file's beginning.
func takenAt(r io.ReaderAt, size int64, head []byte) (string, Origin) {
	f := format(head)
	switch {
	case f == formatNone:
		return "", ""
	case f != opaque:
		if at, told := exif(r, size, f); at != "" || !told {
			return at, EXIF
		}
	case isFilm(head):
		if at := filmed(r, size); at != "" {
			return at, QuickTime
		}
	default:
		if at := raw(r, size, head); at != "" {
			return at, EXIF
		}
	}
	if at := fromXMP(head); at != "" {
		return at, XMP
	}
	if at := fromXMP(inflated(head)); at != "" {
		return at, XMP
	}
	if f == imagemeta.JPEG && bytes.Contains(head, []byte("Photoshop 3.0\x00")) {
		if at := fromIPTC(r, size); at != "" {
			return at, IPTC
		}
	}
	return "", ""
}

// exif reads what a format's EXIF data say. ok is false if they contradict themselves.
func exif(r io.ReaderAt, size int64, f imagemeta.ImageFormat) (at string, ok bool) {
	var original, offset string
	conflict := false
	note := func(to *string, v any) {
		s, ok := v.(string)
		conflict = conflict || !ok || *to != "" && *to != s
		*to = s
	}
	_, err := imagemeta.Decode(imagemeta.Options{
		R:            &budget{r: io.NewSectionReader(r, 0, size), left: maxReads},
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
	if conflict || errors.Is(err, errBudget) {
		return "", false
	}
	if original == "" {
		return "", true
	}
	at = rfc3339(original, offset)
	return at, true
}

// fromIPTC reads the day and the time of what a news agency's record says. Both have to be there, and the zone.
func fromIPTC(r io.ReaderAt, size int64) string {
	var date, clock string
	_, err := imagemeta.Decode(imagemeta.Options{
		R:               &budget{r: io.NewSectionReader(r, 0, size), left: maxReads},
		ImageFormat:     imagemeta.JPEG,
		Sources:         imagemeta.IPTC,
		LimitNumTags:    maxTags,
		LimitTagSize:    maxTagSize,
		ShouldHandleTag: func(t imagemeta.TagInfo) bool { return t.Tag == "DateCreated" || t.Tag == "TimeCreated" },
		HandleTag: func(t imagemeta.TagInfo) error {
			s, _ := t.Value.(string)
			if t.Tag == "DateCreated" {
				date = s
			} else {
				clock = s
			}
			return nil
		},
	})
	at, failed := time.Parse("20060102 150405-0700", strings.NewReplacer(":", "", "-", "").Replace(date)+" "+strings.ReplaceAll(clock, ":", ""))
	if err != nil || failed != nil || at.Year() < 1826 {
		return ""
	}
	return at.Format("2006-01-02T15:04:05-07:00")
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
	r    io.ReadSeeker
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

// sparing ends reading after so many bytes.
type sparing struct {
	r    io.ReaderAt
	left int
}

func (s *sparing) ReadAt(p []byte, at int64) (int, error) {
	if s.left -= len(p); s.left < 0 {
		return 0, errBudget
	}
	return s.r.ReadAt(p, at)
}
