// Package placeless is a source of which pictures and films don't say where they were
// taken: a person asked for that. Everything else of them, and every other file, is as in
// the source around which it is put, whose files stay as they are. Because a file keeps its
// length and what is read does not depend on the run, a second run finds nothing new.
package placeless

import (
	"bytes"
	"context"
	"path"
	"strings"

	"github.com/decant-dev/decant/node/format/takeout"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/photo/place"
	"github.com/decant-dev/decant/node/source"
)

// Source is a source.Source without places.
type Source struct {
	source.Source
	tell func([]item.Change) error
}

var _ source.Source = (*Source)(nil)

// New puts a Source around another, which it closes. tell is called at the end of each scan that was not
// broken off, before Scan returns: with an EffectDropped for each file that loses places, and an EffectFlagged for each
// that may keep some. Its error is Scan's.
func New(around source.Source, tell func([]item.Change) error) *Source {
	return &Source{around, tell}
}

// concerns reports whether a file is one that may name a place.
func concerns(name string) bool {
	return kind.Of(name) == item.Photo || takeout.IsSidecarName(name) || strings.EqualFold(path.Ext(name), ".xmp")
}

// Scan implements source.Source. It looks into pictures and films to tell what they lose.
func (s *Source) Scan(ctx context.Context, emit func(*item.Item, source.Stat) error, loss func(item.Loss)) error {
	var changes []item.Change
	err := s.Source.Scan(ctx, func(it *item.Item, st source.Stat) error {
		if it.Form == item.FormFile && concerns(it.Path) {
			changes = append(changes, s.look(it.Path)...)
		}
		return emit(it, st)
	}, loss)
	if err != nil {
		return err
	}
	return s.tell(changes)
}

// look tells what a file loses. One that can't be opened is told by whoever reads it.
func (s *Source) look(name string) (changes []item.Change) {
	f, err := s.Source.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil
	}
	r := place.Find(path.Base(name), f, st.Size)
	change := item.Change{Kind: item.Photo, Record: name, From: name}
	if len(r.Found) > 0 {
		change.Property, change.Effect, change.Why = "location ("+strings.Join(r.Found, ", ")+")", item.EffectDropped, "you asked for photos that don't say where they were taken"
		changes = append(changes, change)
	}
	if r.Unknown != "" {
		change.Property, change.Effect, change.Why = "", item.EffectFlagged, "it may say where it was taken: "+r.Unknown
		changes = append(changes, change)
	}
	return changes
}

// ReadSmall implements source.Reader.
func (s *Source) ReadSmall(name string, buf []byte) (int, source.Stat, error) {
	n, st, err := s.Source.ReadSmall(name, buf)
	if err == nil && concerns(name) {
		place.Apply(place.Find(path.Base(name), bytes.NewReader(buf[:n]), int64(n)).Patches, buf[:n], 0)
	}
	return n, st, err
}

// Open implements source.Source. The places are found once; what changes the file afterwards is seen by Stat, as ever.
func (s *Source) Open(name string) (source.File, error) {
	f, err := s.Source.Open(name)
	if err != nil || !concerns(name) {
		return f, err
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &file{f, place.Find(path.Base(name), f, st.Size).Patches}, nil
}

// file is one open file. Its patches are not changed, so that ReadAt may be called concurrently.
type file struct {
	source.File
	patches []place.Patch
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.File.ReadAt(p, off)
	place.Apply(f.patches, p[:n], off)
	return n, err
}
