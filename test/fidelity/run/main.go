// Run compares files, or directories of files of the same names, as they were and as they came out:
//
//	go run ./test/fidelity/run [-report FILE] [-losses N] [-merged] BEFORE AFTER
//
// With -decant it makes them itself: every address book and calendar below a directory goes through the command into a new
// file, twice, and is compared with what came out and with what the command's report says.
//
//	go run ./test/fidelity/run -decant [-losses N] [DIRECTORY]
//
// DIRECTORY is ../shared/fixtures if it is not given. The exit code is 1 if anything was lost silently, or if the second
// time changed anything.
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/decant-dev/decant/test/fidelity"
)

func main() {
	report := flag.String("report", "", "`file` with the program's own report: JSON lines, or JSON with a list of changes in it")
	losses := flag.Int("losses", 50, "show at most `n` losses of each file; 0 is all")
	merged := flag.Bool("merged", false, "AFTER had records of its own")
	through := flag.Bool("decant", false, "bring what is in a directory through the command")
	flag.Parse()
	if !*through && flag.NArg() != 2 || *through && flag.NArg() > 1 {
		flag.Usage()
		os.Exit(2)
	}
	silent, err := 0, error(nil)
	if *through {
		dir := flag.Arg(0)
		if dir == "" {
			dir = filepath.Join("..", "shared", "fixtures")
		}
		silent, err = throughDecant(context.Background(), dir, *losses)
	} else {
		silent, err = run(flag.Arg(0), flag.Arg(1), *report, *losses, *merged)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	if silent > 0 {
		os.Exit(1)
	}
}

func run(before, after, report string, losses int, merged bool) (silent int, err error) {
	o := fidelity.Options{Merged: merged}
	if report != "" {
		f, err := os.Open(report)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		if o.Report, err = fidelity.ReadReport(f); err != nil {
			return 0, err
		}
	}
	var table fidelity.Table
	err = filepath.WalkDir(before, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		other := after
		if path != before {
			rel, err := filepath.Rel(before, path)
			if err != nil {
				return err
			}
			other = filepath.Join(after, rel)
		}
		r, err := compare(path, other, o)
		if err != nil {
			fmt.Fprintln(os.Stderr, "left out:", err)
			return nil
		}
		table = append(table, r)
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, r := range table {
		r.WriteLosses(os.Stdout, losses)
		silent += len(r.Silent())
	}
	return silent, table.Write(os.Stdout)
}

// compare compares one file. One that did not come out has lost everything.
func compare(before, after string, o fidelity.Options) (*fidelity.Result, error) {
	a, err := os.ReadFile(before)
	if err != nil {
		return nil, err
	}
	da, err := fidelity.Parse(before, a)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(after)
	if os.IsNotExist(err) {
		return fidelity.Compare(da, &fidelity.Document{Format: da.Format}, o), nil
	}
	if err != nil {
		return nil, err
	}
	db, err := fidelity.Parse(after, b)
	if err != nil {
		return nil, err
	}
	return fidelity.Compare(da, db, o), nil
}
