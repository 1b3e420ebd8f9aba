package node

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/gather"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/source"
	"github.com/decant-dev/decant/node/target"
)

// place is one scheme of the names that people give to sources and targets: "vcf" of
// "vcf:friends.vcf".
type place struct {
	scheme   string
	argument string // what stands behind the colon, for help
	what     string // what it is, for help
	file     bool   // the argument is a path
	optional bool   // it may be empty
	source   func(ctx context.Context, cfg *Config, arg string) (source.Books, error)
	target   func(ctx context.Context, cfg *Config, arg string) (target.Books, error)
	find     func(home string) []string // arguments for what is on this device
}

// ErrPlace is returned, wrapped, for a name that is no source or no target.
var ErrPlace = errors.New("no such source or target")

// IsPlace reports whether a name begins with a scheme that is known: otherwise it is a path.
func IsPlace(name string) bool {
	_, _, ok := cutPlace(name)
	return ok
}

func cutPlace(name string) (*place, string, bool) {
	scheme, arg, ok := strings.Cut(name, ":")
	i := slices.IndexFunc(places, func(p place) bool { return p.scheme == scheme })
	if !ok || i < 0 {
		return nil, "", false
	}
	return &places[i], arg, true
}

// absolutePlace makes the path in a name absolute, so that it means the same at the next run.
func absolutePlace(name string) (string, error) {
	p, arg, ok := cutPlace(name)
	switch {
	case !ok:
		return "", fmt.Errorf("%s: %w", name, ErrPlace)
	case arg == "" && !p.optional:
		return "", fmt.Errorf("%s: %w: %s is missing", name, ErrPlace, p.argument)
	case arg == "" || !p.file:
		return name, nil
	}
	abs, err := filepath.Abs(arg)
	return p.scheme + ":" + abs, err
}

func absolutePlaces(names []string) (out []string, err error) {
	for _, name := range names {
		abs, err := absolutePlace(name)
		if err != nil {
			return nil, err
		}
		out = append(out, abs)
	}
	return out, nil
}

// openSource opens a source by its name.
func (cfg *Config) openSource(ctx context.Context, name string) (source.Books, error) {
	p, arg, ok := cutPlace(name)
	if !ok || p.source == nil {
		return nil, fmt.Errorf("%s: %w", name, ErrPlace)
	}
	s, err := p.source(ctx, cfg, arg)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTarget, name, err)
	}
	return s, nil
}

// openTarget opens a target by its name.
func (cfg *Config) openTarget(ctx context.Context, name string) (target.Books, error) {
	p, arg, ok := cutPlace(name)
	if !ok || p.target == nil {
		return nil, fmt.Errorf("%s: %w", name, ErrPlace)
	}
	t, err := p.target(ctx, cfg, arg)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTarget, name, err)
	}
	return t, nil
}

// label is what the records of a place are called that has no books of its own.
func placeLabel(name string) string {
	p, arg, ok := cutPlace(name)
	if !ok || !p.file || arg == "" {
		return ""
	}
	base := filepath.Base(arg)
	if ext := filepath.Ext(base); len(ext) > 1 && len(ext) < len(base) {
		base = strings.TrimSuffix(base, ext)
	}
	return base
}

// openSources opens all of them, or none.
func (cfg *Config) openSources(ctx context.Context, names []string) (all []gather.Source, close func(), err error) {
	close = func() {
		for i := range all {
			all[i].Books.Close()
		}
	}
	for _, name := range names {
		s, err := cfg.openSource(ctx, name)
		if err != nil {
			close()
			return nil, nil, err
		}
		all = append(all, gather.Source{Name: name, Label: placeLabel(name), Books: s})
	}
	return all, close, nil
}

// openGoals opens all targets, or none.
func (cfg *Config) openGoals(ctx context.Context, names []string) (all []deliver.Goal, close func(), err error) {
	close = func() {
		for i := range all {
			all[i].Target.Close()
		}
	}
	for _, name := range names {
		t, err := cfg.openTarget(ctx, name)
		if err != nil {
			close()
			return nil, nil, err
		}
		all = append(all, deliver.Goal{Name: name, Target: t})
	}
	return all, close, nil
}

// Offer is one thing on this device that could be sent.
type Offer struct {
	Name  string // of the source: "bookmarks:/home/ann/.mozilla/firefox/x.default"; a directory's path for documents
	Found []item.Found
	Err   error // it is there and can't be read
}

// Discover looks for what can be moved from this device below home. It only reads, and
// only what it takes to say what is there and how many.
func Discover(ctx context.Context, cfg Config, home string) (offers []Offer) {
	for i := range places {
		p := &places[i]
		if p.find == nil || p.source == nil {
			continue
		}
		for _, arg := range p.find(home) {
			o := Offer{Name: p.scheme + ":" + arg}
			s, err := p.source(ctx, &cfg, arg)
			if err == nil {
				o.Found, err = s.Survey(ctx)
				s.Close()
			}
			o.Err = err
			if offers = append(offers, o); ctx.Err() != nil {
				return offers
			}
		}
	}
	for _, dir := range documents(home) {
		o := Offer{Name: dir}
		o.Found, o.Err = surveyFiles(ctx, dir)
		if offers = append(offers, o); ctx.Err() != nil {
			return offers
		}
	}
	return offers
}

// Scheme describes one kind of source or target for help.
type Scheme struct {
	Name   string // "vcf:FILE|DIR"
	What   string
	Source bool
	Target bool
}

// Places lists the sources and targets that can be named.
func Places() (all []Scheme) {
	for i := range places {
		p := &places[i]
		all = append(all, Scheme{Name: p.scheme + ":" + p.argument, What: p.what, Source: p.source != nil, Target: p.target != nil})
	}
	return all
}

// CheckPlace reports what is wrong with a name, without opening anything.
func CheckPlace(name string, source bool) error {
	p, arg, ok := cutPlace(name)
	switch {
	case !ok:
		return ErrPlace
	case arg == "" && !p.optional:
		return fmt.Errorf("%w: %s is missing", ErrPlace, p.argument)
	case source && p.source == nil, !source && p.target == nil:
		return ErrPlace
	}
	return nil
}
