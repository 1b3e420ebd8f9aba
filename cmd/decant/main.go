// Command decant moves a person's whole collection from an old device to a new
// one through a server that can read none of it. README.md shows the two
// commands; `decant help` lists the rest. docs/SPEC.md section 10 gives the form
// of --json and the exit codes.
//
// There is one file per command. They parse, ask and show; package node does the
// work on a device and package server the work in the middle.
package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/spf13/cobra"
)

func main() {
	limitMemory()
	quietLog()
	os.Exit(int(profiled(func() ui.Code { return run(os.Args[1:], ui.Standard()) })))
}

// run is the program without its process.
func run(args []string, o ui.Options) ui.Code {
	a := &app{screen: ui.New(o)}
	defer a.screen.Close()
	ctx, stop := a.signals(context.Background())
	defer stop()
	root := a.rootCmd()
	root.SetArgs(args)
	root.SetIn(o.Stdin)
	root.SetOut(o.Stdout)
	root.SetErr(o.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return a.code
	}
	var p *ui.Problem
	if !a.started && !errors.As(err, &p) { // cobra did not like the command line
		err = unknownCommand(root, args, err)
	}
	a.screen.Configure(a.json, a.verbose)
	return a.screen.Fail(explain(ctx, err))
}

// unknownCommand is cobra's complaint about a command that does not exist, with the nearest ones.
func unknownCommand(root *cobra.Command, args []string, err error) error {
	first, _, _ := strings.Cut(err.Error(), "\n")
	for _, arg := range args {
		if near := root.SuggestionsFor(arg); len(near) > 0 && !strings.HasPrefix(arg, "-") {
			return usage("did you mean `decant "+near[0]+"`?", "%s", first)
		}
	}
	return usage("see `decant --help`", "%s", first)
}
