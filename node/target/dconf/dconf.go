// Package dconf writes a desktop's settings: into dconf's database, through the dconf
// program, or into a file as `dconf dump /` prints it. A new value takes the place of
// the old one, and a key that was not set is reset when it is taken back. Only what
// node/kind/setting lists is read or written.
package dconf

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os/exec"

	"github.com/decant-dev/decant/node/format/dconfdump"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/kind/setting"
	source "github.com/decant-dev/decant/node/source/dconf"
	"github.com/decant-dev/decant/node/target"
)

// Open opens the dump in a file, which need not be there yet, or the database for "".
func Open(path string) (target.Books, error) {
	if path != "" {
		return openFile(path)
	}
	if _, err := exec.LookPath("dconf"); err != nil {
		return nil, source.ErrNoProgram
	}
	return database{}, nil
}

// database is the person's own. A record's ID is its path.
type database struct{}

var _ target.Books = database{}

func (database) Kinds() []item.Kind { return []item.Kind{item.Setting} }

func (database) Profile(context.Context, item.Kind) (rule.Profile, error) { return rule.Profile{}, nil }

func (database) Close() error { return nil }

func (database) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	if k != item.Setting {
		return nil
	}
	dump, err := source.Dump(ctx)
	if err != nil {
		return err
	}
	entries, _ := dconfdump.Parse(dump)
	return readEach(ctx, entries, each)
}

func readEach(ctx context.Context, entries []dconfdump.Entry, each func(target.Existing) error) error {
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if setting.Why(e) == "" {
			if err := each(existing(e)); err != nil {
				return err
			}
		}
	}
	return nil
}

func existing(e dconfdump.Entry) target.Existing {
	return target.Existing{Record: setting.Record(e, ""), ID: e.Path(), Version: version(e.Value)}
}

func version(value string) string {
	sum := sha256.Sum256([]byte(dconfdump.Normal(value)))
	return hex.EncodeToString(sum[:16])
}

// now returns what the database has, by path.
func now(ctx context.Context) (map[string]dconfdump.Entry, error) {
	dump, err := source.Dump(ctx)
	if err != nil {
		return nil, err
	}
	return byPath(dump), nil
}

func byPath(dump []byte) map[string]dconfdump.Entry {
	entries, _ := dconfdump.Parse(dump)
	out := make(map[string]dconfdump.Entry, len(entries))
	for _, e := range entries {
		out[e.Path()] = e
	}
	return out
}

// step is a change that was looked at: what is to be set, or why it can't be.
type step struct {
	entry dconfdump.Entry
	reset bool
	err   error
}

// check looks at one change. A setting that is there with another value can be set only by who has seen it.
func check(w target.Write, has map[string]dconfdump.Entry) (s step) {
	if w.Record.Data == nil {
		s.reset = true
		was, there := has[w.ID]
		if s.entry = was; !there || version(was.Value) != w.Version {
			s.err = target.ErrEdited
		}
		return s
	}
	e, ok := setting.Entry(w.Record.Data)
	s.entry = e
	was, there := has[e.Path()]
	switch why := setting.Why(e); {
	case !ok || !e.Proper() || w.ID != "" && w.ID != e.Path():
		s.err = &target.RefusedError{Why: "it is not one setting"}
	case why != "":
		s.err = &target.RefusedError{Why: why}
	case w.ID == "" && there && version(was.Value) != version(e.Value):
		s.err = &target.RefusedError{Why: "it has another value here"}
	case w.ID != "" && (!there || version(was.Value) != w.Version):
		s.err = target.ErrEdited
	}
	return s
}

// Write implements target.Books. Values are set in one transaction of dconf, or, if it refuses that, one by one.
func (d database) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	has, err := now(ctx)
	if err != nil {
		return err
	}
	steps := make([]step, len(changes))
	var all []dconfdump.Entry
	for i, w := range changes {
		if steps[i] = check(w, has); steps[i].err == nil && !steps[i].reset {
			all = append(all, steps[i].entry)
		}
	}
	if len(all) > 0 {
		if _, err := source.Run(ctx, dconfdump.Format(all), "load", "/"); err != nil {
			d.oneByOne(ctx, steps)
		}
	}
	for i, s := range steps {
		if s.reset && s.err == nil {
			_, steps[i].err = source.Run(ctx, nil, "reset", s.entry.Path())
		}
	}
	if has, err = now(ctx); err != nil {
		return err
	}
	for i, s := range steps {
		is, err := s.outcome(has)
		if err := done(i, is, err); err != nil {
			return err
		}
	}
	return nil
}

func (database) oneByOne(ctx context.Context, steps []step) {
	for i, s := range steps {
		if s.err != nil || s.reset {
			continue
		}
		if _, err := source.Run(ctx, dconfdump.Format([]dconfdump.Entry{s.entry}), "load", "/"); err != nil {
			steps[i].err = &target.RefusedError{Why: err.Error()}
		}
	}
}

// outcome tells what became of a step by what the database has now.
func (s step) outcome(has map[string]dconfdump.Entry) (target.Existing, error) {
	is, there := has[s.entry.Path()]
	switch {
	case s.err != nil:
		return target.Existing{}, s.err
	case s.reset && there, !s.reset && (!there || version(is.Value) != version(s.entry.Value)):
		return target.Existing{}, &target.RefusedError{Why: "the desktop did not take it: it may be locked by the administrator"}
	case s.reset:
		return target.Existing{}, nil
	}
	return existing(is), nil
}

func tooLarge(path string) error { return fmt.Errorf("%s is no dump of settings", path) }
