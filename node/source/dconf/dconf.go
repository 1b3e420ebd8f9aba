// Package dconf reads a desktop's settings: those of dconf's database, through the dconf
// program, or those of a file that `dconf dump /` printed. Only what node/kind/setting
// lists is read; all else is told with the reason.
package dconf

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/decant-dev/decant/node/format/dconfdump"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/setting"
	"github.com/decant-dev/decant/node/source"
)

// ErrNoProgram is returned where the dconf program is not installed.
var ErrNoProgram = errors.New("dconf: the dconf program is not installed (Debian: dconf-cli)")

// Books are the settings of a database or a dump.
type Books struct {
	path string // "" is the database
}

var _ source.Books = (*Books)(nil)

// Find returns what Open takes of this device: "" if there are settings of the person whose home it is.
func Find(home string) []string {
	config := os.Getenv("XDG_CONFIG_HOME")
	if config == "" {
		config = filepath.Join(home, ".config")
	}
	if info, err := os.Stat(filepath.Join(config, "dconf", "user")); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	if _, err := exec.LookPath("dconf"); err != nil {
		return nil
	}
	return []string{""}
}

// Open opens a dump, or the database for "".
func Open(path string) (*Books, error) {
	if path == "" {
		if _, err := exec.LookPath("dconf"); err != nil {
			return nil, ErrNoProgram
		}
		return &Books{}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > dconfdump.MaxSize {
		return nil, fmt.Errorf("%s is no dump of settings", path)
	}
	return &Books{path}, nil
}

// Dump returns what `dconf dump /` prints.
func Dump(ctx context.Context) ([]byte, error) { return Run(ctx, nil, "dump", "/") }

// Run runs the dconf program. Its complaints are the error's text.
func Run(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	program, err := exec.LookPath("dconf")
	if err != nil {
		return nil, ErrNoProgram
	}
	out, complaint := &limited{left: dconfdump.MaxSize}, &limited{left: 1 << 10}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), out, complaint
	if err := cmd.Run(); err != nil {
		if said := strings.TrimSpace(complaint.kept.String()); said != "" {
			err = errors.New(said)
		}
		return nil, fmt.Errorf("dconf %s: %w", args[0], err)
	}
	if out.left < 0 {
		return nil, errors.New("dconf: more settings than one reads")
	}
	return out.kept.Bytes(), nil
}

// limited keeps the beginning of what is written to it. The buffer is not embedded: its ReadFrom knows no limit.
type limited struct {
	kept bytes.Buffer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	if n := min(len(p), max(l.left, 0)); n > 0 {
		l.kept.Write(p[:n])
	}
	l.left -= len(p)
	return len(p), nil
}

func (b *Books) where() string {
	if b.path == "" {
		return "dconf"
	}
	return b.path
}

func (b *Books) dump(ctx context.Context) ([]byte, error) {
	if b.path == "" {
		return Dump(ctx)
	}
	f, err := os.Open(b.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, dconfdump.MaxSize))
}

// Survey implements source.Books.
func (b *Books) Survey(ctx context.Context) ([]item.Found, error) {
	data, err := b.dump(ctx)
	if err != nil {
		return nil, err
	}
	found := item.Found{Kind: item.Setting, Where: b.where()}
	entries, _ := dconfdump.Parse(data)
	left := 0
	for _, e := range entries {
		if setting.Why(e) != "" {
			left++
			continue
		}
		found.Items++
		found.Bytes += int64(len(e.Path()) + len(e.Value))
	}
	found.Can = found.Items > 0
	if left > 0 {
		found.Why = fmt.Sprintf("%d more are of this device, of the moment, or not known to be safe to move", left)
	}
	return []item.Found{found}, nil
}

// Read implements source.Books.
func (b *Books) Read(ctx context.Context, to item.Sink) error {
	data, err := b.dump(ctx)
	if err != nil {
		return err
	}
	entries, odd := dconfdump.Parse(data)
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		from := b.where()
		if b.path != "" {
			from = fmt.Sprintf("%s:%d", from, e.Line)
		}
		why := setting.Why(e)
		if why == "" && !e.Proper() {
			why = "its value is none that dconf has"
		}
		if why != "" {
			err = to.Change(setting.Left(e, from, why))
		} else {
			err = to.Record(setting.Record(e, from))
		}
		if err != nil {
			return err
		}
	}
	if len(odd) > 0 {
		return to.Change(item.Change{Kind: item.Setting, From: b.where(), Effect: item.EffectDropped, Why: fmt.Sprintf("%d of its lines are no settings", len(odd))})
	}
	return ctx.Err()
}

// Close implements source.Books.
func (b *Books) Close() error { return nil }
