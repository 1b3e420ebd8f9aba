package main

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/fidelity"
)

// schemes are the forms that go through the command, by the ending of a file's name.
var schemes = map[string]string{".vcf": "vcf", ".ics": "ics"}

// each is how long one run of the command may take.
const each = 2 * time.Minute

// throughDecant brings every address book and calendar below dir through the command into a new file, and the sums of each form to
// stdout. failures counts the silent losses, and the files that a second run changes.
func throughDecant(ctx context.Context, dir string, losses int) (failures int, err error) {
	binary, err := env.Binary(env.Build{})
	if err != nil {
		return 0, err
	}
	tables := map[string]fidelity.Table{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		scheme := schemes[strings.ToLower(filepath.Ext(path))]
		if err != nil || d.IsDir() || scheme == "" {
			return err
		}
		r, changed, err := throughFile(ctx, binary, scheme, path)
		if err != nil {
			fmt.Fprintln(os.Stderr, "left out:", err)
			return nil
		}
		r.Name, _ = filepath.Rel(dir, path)
		tables[scheme] = append(tables[scheme], r)
		if changed {
			fmt.Printf("%q is changed by a second run\n", r.Name)
			failures++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, scheme := range []string{"vcf", "ics"} {
		for _, r := range tables[scheme] {
			r.WriteLosses(os.Stdout, losses)
			failures += len(r.Silent())
		}
		fmt.Printf("\n%s:\n", scheme)
		if err := tables[scheme].Write(os.Stdout); err != nil {
			return 0, err
		}
	}
	return failures, nil
}

// throughFile brings one file through the command twice. changed is whether the second run changed what the first has written.
func throughFile(ctx context.Context, binary, scheme, path string) (r *fidelity.Result, changed bool, err error) {
	home, err := os.MkdirTemp("", "decant-fidelity-")
	if err != nil {
		return nil, false, err
	}
	defer os.RemoveAll(home)
	out := filepath.Join(home, "out."+scheme)
	decant := func(args ...string) ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, each)
		defer cancel()
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_STATE_HOME="+home, "XDG_CONFIG_HOME="+home)
		var said bytes.Buffer
		cmd.Stderr = &said
		b, err := cmd.Output()
		if err != nil && cmd.ProcessState.ExitCode() != 3 { // 3: something was left behind, and told
			err = fmt.Errorf("%s: decant %s: %w: %.300s", path, args[0], err, said.Bytes())
		} else {
			err = nil
		}
		return b, err
	}
	into := func() ([]byte, error) {
		if _, err := decant("import", scheme+":"+path, "--into", scheme+":"+out, "--yes"); err != nil {
			return nil, err
		}
		b, err := os.ReadFile(out)
		if os.IsNotExist(err) { // nothing of it could be kept
			return nil, nil
		}
		return b, err
	}
	first, err := into()
	if err != nil {
		return nil, false, err
	}
	said, err := decant("report", "--json")
	if err != nil {
		return nil, false, err
	}
	second, err := into()
	if err != nil {
		return nil, false, err
	}
	changes, err := fidelity.ReadReport(bytes.NewReader(said))
	if err != nil {
		return nil, false, err
	}
	before, err := os.ReadFile(path)
	if err != nil {
		return nil, false, err
	}
	was, err := fidelity.Parse(path, before)
	if err != nil {
		return nil, false, err
	}
	is := &fidelity.Document{Format: was.Format}
	if len(first) > 0 {
		if is, err = fidelity.Parse(out, first); err != nil {
			return nil, false, err
		}
	}
	return fidelity.Compare(was, is, fidelity.Options{Report: changes}), !bytes.Equal(first, second), nil
}
