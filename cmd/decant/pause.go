package main

import (
	"github.com/decant-dev/decant/node"
	"github.com/spf13/cobra"
)

func (a *app) pauseCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "pause [SESSION]",
		Short: "Pause a running transfer",
		Long: `Asks the process that works on a transfer to stop at the next safe point. Nothing
is lost; ` + "`decant resume`" + ` continues, here or after a restart.`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeSession(isRunning),
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.withEngine(func(eng engine, _ node.Config) error {
				t, err := pick(cmd.Context(), eng, first(argv), isRunning, "no transfer is running")
				if err != nil {
					return err
				}
				if err := eng.Pause(cmd.Context(), t.Session); err != nil {
					return err
				}
				a.screen.Result(sessionResult{t.Session.String()})
				a.screen.Say("paused; `decant resume %s` continues", t.Session.Short())
				return nil
			})
		},
	}
}

// sessionResult is the result of a command that only names its transfer.
type sessionResult struct {
	Session string `json:"session"`
}

// first is the only argument, or "".
func first(argv []string) string {
	if len(argv) == 0 {
		return ""
	}
	return argv[0]
}
