package photos

import (
	"cmp"
	"context"
	"io"
	"path"
	"slices"
	"time"

	"github.com/decant-dev/decant/node/format/takeout"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/photo"
)

// Entry is one file, wherever it lies.
type Entry struct {
	Path     string // where it goes: relative, slash-separated; the folder is the album
	From     string // where it lies, for reports
	Size     int64
	Modified time.Time
	Made     bool // Modified is when an archive was made, not when the file was
	Open     func() (io.ReadCloser, error)
}

// Belongs reports whether a file is a photo, a film, or may describe one.
func Belongs(name string) bool { return kind.Of(name) == item.Photo || takeout.IsSidecarName(name) }

// Send gives photos, films and what describes them to a sink: their bytes as they are, each with the time
// at which it was taken if a sidecar says so, else the time that it has. Files that do not belong are left out.
func Send(ctx context.Context, entries []Entry, to item.Sink) error {
	entries = slices.DeleteFunc(slices.Clone(entries), func(e Entry) bool { return !Belongs(e.Path) })
	slices.SortStableFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(path.Dir(a.Path), path.Dir(b.Path)), cmp.Compare(a.Path, b.Path))
	})
	s := sender{ctx: ctx, to: to, pairs: map[string]*pair{}}
	for len(entries) > 0 {
		dir, n := path.Dir(entries[0].Path), 1
		for n < len(entries) && path.Dir(entries[n].Path) == dir {
			n++
		}
		if err := s.folder(entries[:n]); err != nil {
			return err
		}
		entries = entries[n:]
	}
	return s.halves()
}

type sender struct {
	ctx   context.Context
	to    item.Sink
	pairs map[string]*pair
}

// pair is what was seen of one Live Photo.
type pair struct {
	still, film bool
	path, from  string
}

// folder sends one album.
func (s *sender) folder(entries []Entry) error {
	var pictures, sidecars []string
	about, titles := map[string]takeout.Sidecar{}, map[string]string{}
	for _, e := range entries {
		name := path.Base(e.Path)
		if !takeout.IsSidecarName(name) {
			pictures = append(pictures, name)
			continue
		}
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if c, ok := readSidecar(e); ok {
			sidecars = append(sidecars, name)
			about[name], titles[name] = c, c.Title
		}
	}
	matched := takeout.Match(pictures, sidecars, titles)
	used := map[string]bool{}
	for _, sidecar := range matched {
		used[sidecar] = true
	}
	for _, e := range entries {
		name := path.Base(e.Path)
		if takeout.IsSidecarName(name) {
			if _, ok := about[name]; ok && !used[name] {
				if err := s.change(e, item.EffectFlagged, "it describes a photo that is not beside it"); err != nil {
					return err
				}
			}
			if err := s.to.File(e.Path, item.Photo, e.Modified, e.Open); err != nil {
				return err
			}
			continue
		}
		if err := s.picture(e, about[matched[name]].Taken); err != nil {
			return err
		}
	}
	return nil
}

func readSidecar(e Entry) (c takeout.Sidecar, ok bool) {
	if e.Size > takeout.MaxSidecar {
		return c, false
	}
	r, err := e.Open()
	if err != nil {
		return c, false
	}
	defer r.Close()
	b, err := io.ReadAll(io.LimitReader(r, takeout.MaxSidecar+1))
	if err != nil {
		return c, false
	}
	return takeout.Parse(b)
}

// picture sends a photo or a film. taken is what its sidecar says, if it has one.
func (s *sender) picture(e Entry, taken time.Time) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	info := look(e)
	if info.Lies {
		if err := s.change(e, item.EffectFlagged, "its name says that it is a picture or film, and its content is none"); err != nil {
			return err
		}
	}
	if info.Pair != "" {
		s.note(e, info.Pair)
	}
	modified := e.Modified
	switch {
	case !taken.IsZero():
		modified = taken
	case e.Made:
		if t, ok := instant(info.TakenAt); ok {
			modified = t
		} else if t, ok := instant(photo.FromName(path.Base(e.Path))); ok {
			modified = t
		}
	}
	return s.to.File(e.Path, item.Photo, modified, e.Open)
}

// look reads what a file says of itself; of one in an archive, what its beginning says.
func look(e Entry) photo.Info {
	r, err := e.Open()
	if err != nil {
		return photo.Info{}
	}
	defer r.Close()
	if at, ok := r.(io.ReaderAt); ok {
		return photo.Read(path.Base(e.Path), at, e.Size)
	}
	head := make([]byte, min(max(e.Size, 0), photo.HeadSize))
	n, _ := io.ReadFull(r, head)
	i := photo.Read(path.Base(e.Path), bytesAt(head[:n]), int64(n))
	i.Pair = "" // of a film it often stands at the end, so that its half would seem to be missing
	return i
}

type bytesAt []byte

func (b bytesAt) ReadAt(p []byte, at int64) (int, error) {
	if at < 0 || at >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[at:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// instant is the moment of a time in RFC 3339; one without a zone is taken for this device's.
func instant(s string) (time.Time, bool) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, true
	}
	t, err := time.ParseInLocation("2006-01-02T15:04:05", s, time.Local)
	return t, err == nil
}

func (s *sender) note(e Entry, id string) {
	p := s.pairs[id]
	if p == nil {
		p = &pair{path: e.Path, from: e.From}
		s.pairs[id] = p
	}
	switch path.Ext(e.Path) {
	case ".mov", ".MOV", ".mp4", ".MP4", ".m4v", ".M4V":
		p.film = true
	default:
		p.still = true
	}
}

// halves tells of Live Photos whose other half did not come.
func (s *sender) halves() error {
	var lone []*pair
	for _, p := range s.pairs {
		if p.film != p.still {
			lone = append(lone, p)
		}
	}
	slices.SortFunc(lone, func(a, b *pair) int { return cmp.Compare(a.path, b.path) })
	for _, p := range lone {
		half := "film"
		if p.film {
			half = "still"
		}
		if err := s.change(Entry{Path: p.path, From: p.from}, item.EffectFlagged, "it is half of a Live Photo whose "+half+" is not there"); err != nil {
			return err
		}
	}
	return nil
}

func (s *sender) change(e Entry, effect item.Effect, why string) error {
	return s.to.Change(item.Change{Kind: item.Photo, Record: e.Path, From: e.From, Effect: effect, Why: why})
}
