package main

import (
	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/spf13/cobra"
)

func (a *app) verifyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "verify [SESSION]",
		Short: "Compare what was applied with what was sent",
		Long: `Reads everything that a transfer applied and compares it with what the old
device sent. What was edited, moved or removed since is listed, and the exit
code is 3. Nothing is changed.`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeSession(wasReceived),
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.withEngine(func(eng engine, _ node.Config) error {
				t, err := pick(cmd.Context(), eng, first(argv), wasReceived, "nothing was applied on this device")
				if err != nil {
					return err
				}
				res, err := eng.Verify(cmd.Context(), t.Session)
				if err != nil {
					return err
				}
				a.screen.Flush()
				a.screen.Result(verifyResult{t.Session.String(), res.Items, res.Bytes, ui.NewLosses(res.Different), res.Count})
				if res.Count > 0 {
					a.code = ui.LeftBehind
					a.screen.Data(ui.LossList(ui.Plural(res.Count, "item")+" of "+ui.Count(res.Items)+" not as they were sent:", res.Different, res.Count, true)...)
					return nil
				}
				a.screen.Data("All " + ui.Plural(res.Items, "item") + " (" + ui.Bytes(res.Bytes) + ") are as they were sent.")
				return nil
			})
		},
	}
}

type verifyResult struct {
	Session   string    `json:"session"`
	Items     int64     `json:"items"`
	Bytes     int64     `json:"bytes"`
	Different []ui.Loss `json:"different"`
	Count     int64     `json:"different_count"`
}
