package manifest

import (
	"fmt"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/pack"
)

// maxTakenAt is the longest TakenAt in bytes: "2006-01-02T15:04:05.999999999+07:00".
const maxTakenAt = 35

// xattrPrefix is the only namespace of extended attributes that an item can have.
const xattrPrefix = "user."

// checkItem validates what one item alone shows, but for its path. Extents may be missing altogether: a
// catalog has none, and the sender's journal has items that are still to be read.
func checkItem(it *item.Item) error {
	if !it.Kind.Valid() || !it.Lost.Valid() || it.Size < 0 || it.Size > item.MaxSize || len(it.Identity) > item.MaxIdentity {
		return ErrItem
	}
	if it.Form == item.FormRecord {
		return checkRecord(it)
	}
	if it.Form != item.FormFile && it.Form != item.FormDir || it.Perm > 0o777 || it.Container != 0 || len(it.Ranges) != 0 {
		return ErrItem
	}
	if it.Form == item.FormDir && (it.Size != 0 || it.TakenAt != "") || it.TakenAt != "" && !validTakenAt(it.TakenAt) {
		return ErrItem
	}
	if err := checkXAttrs(it.XAttrs); err != nil {
		return err
	}
	return checkExtents(it)
}

func checkRecord(it *item.Item) error {
	if it.Path != "" || it.ModTime != 0 || it.Perm != 0 || it.TakenAt != "" || len(it.XAttrs) != 0 || len(it.Extents) != 0 ||
		it.Container >= it.Ordinal || len(it.Ranges) == 0 || len(it.Ranges) > item.MaxRanges {
		return ErrItem
	}
	var end, sum int64
	for i, r := range it.Ranges {
		if r.Length < 1 || r.Length > item.MaxSize || r.Offset < end || i > 0 && r.Offset == end || r.Offset > item.MaxSize-r.Length {
			return ErrItem // empty, beyond the limit, not behind the range before it, or not apart from it
		}
		end = r.Offset + r.Length
		sum += r.Length
	}
	if sum != it.Size {
		return ErrItem
	}
	return nil
}

func checkXAttrs(xs []item.XAttr) error {
	if len(xs) > item.MaxXAttrs {
		return ErrItem
	}
	total := 0
	for i := range xs {
		name := xs[i].Name
		if len(name) <= len(xattrPrefix) || len(name) > item.MaxComponent || !strings.HasPrefix(name, xattrPrefix) ||
			strings.IndexByte(name, 0) >= 0 || i > 0 && xs[i-1].Name >= name {
			return ErrItem
		}
		total += len(name) + len(xs[i].Value)
	}
	if total > item.MaxXAttrSize {
		return ErrItem
	}
	return nil
}

func checkExtents(it *item.Item) error {
	if len(it.Extents) == 0 {
		return nil
	}
	if !it.HasContent() {
		return ErrExtent
	}
	var sum int64
	for i := range it.Extents {
		e := &it.Extents[i]
		if e.Pack >= MaxPacks || e.Frame >= pack.MaxFrames || e.Length == 0 || e.Length > pack.MaxChunk || e.Offset > pack.MaxChunk-e.Length {
			return ErrExtent
		}
		sum += int64(e.Length) // at most MaxPageExtents of MaxChunk
	}
	if sum != it.Size {
		return ErrExtent
	}
	return nil
}

// validTakenAt checks the shape of an RFC 3339 time with or without a zone; cameras
// write impossible dates, which are kept.
func validTakenAt(s string) bool {
	const shape = "0000-00-00T00:00:00"
	if len(s) < len(shape) || len(s) > maxTakenAt || !hasShape(s[:len(shape)], shape) {
		return false
	}
	s = s[len(shape):]
	if strings.HasPrefix(s, ".") {
		rest := strings.TrimLeft(s[1:], "0123456789")
		if digits := len(s) - 1 - len(rest); digits < 1 || digits > 9 {
			return false
		}
		s = rest
	}
	return s == "" || s == "Z" || hasShape(s, "+00:00") || hasShape(s, "-00:00")
}

// hasShape reports whether s is shape with any digits for its zeros.
func hasShape(s, shape string) bool {
	if len(s) != len(shape) {
		return false
	}
	for i := range len(s) {
		if shape[i] == '0' {
			if s[i] < '0' || s[i] > '9' {
				return false
			}
		} else if s[i] != shape[i] {
			return false
		}
	}
	return true
}

// at names the item that an error is about, by number: names are nobody's business in an error.
func at(o item.Ordinal, err error) error { return fmt.Errorf("item %d: %w", o, err) }
