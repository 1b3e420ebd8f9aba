package main

import (
	"strings"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/spf13/cobra"
)

func (a *app) undoCmd() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use:   "undo [SESSION]",
		Short: "Take back what a transfer applied",
		Long: `Takes back on the new device what a transfer put there: new files go, merged
address books and calendars are again what they were. What was edited since is
left alone and listed, and the exit code is 3. The old device is not touched, so
undo only while it, or another copy, still has everything.`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeSession(isApplied),
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.withEngine(func(eng engine, _ node.Config) error {
				t, err := pick(cmd.Context(), eng, first(argv), isApplied, "nothing was applied on this device")
				if err != nil {
					return err
				}
				if !yes {
					a.screen.Emit(ui.Event{Type: "question", Question: &ui.Question{What: "undo"}})
					ok, err := a.screen.Confirm(cmd.Context(), "Take back what transfer "+t.Session.Short()+" put into "+places(t)+"?")
					if err != nil {
						return err
					}
					if !ok {
						return &ui.Problem{Name: "declined", Text: "declined; nothing was changed", Code: ui.Paused, Err: node.ErrDeclined}
					}
				}
				res, err := eng.Undo(cmd.Context(), t.Session)
				if err != nil {
					return err
				}
				a.screen.Flush()
				a.screen.Result(undoResult{t.Session.String(), res.Restored, ui.NewLosses(res.Refused), res.Count, res.Records})
				if t.To != "" {
					a.screen.Data("Took back " + ui.Plural(res.Restored, "item") + ".")
				}
				a.undoneRecords(res.Records)
				if res.Count > 0 {
					a.code = ui.LeftBehind
					a.screen.Data(ui.LossList("Left alone, because edited since ("+ui.Count(res.Count)+"):", res.Refused, res.Count, true)...)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	return cmd
}

type undoResult struct {
	Session  string    `json:"session"`
	Restored int64     `json:"restored"`
	Refused  []ui.Loss `json:"refused"`
	Count    int64     `json:"refused_count"`

	Records *deliver.Undone `json:"records,omitempty"`
}

// undoneRecords tells what became of records in targets.
func (a *app) undoneRecords(u *deliver.Undone) {
	if u == nil || u.Restored+u.Refused == 0 {
		return
	}
	a.screen.Data("Took back " + ui.Plural(u.Restored, "record") + " in the targets.")
	if u.Refused == 0 {
		return
	}
	a.code = ui.LeftBehind
	a.screen.Data("Left alone (" + ui.Count(u.Refused) + "):")
	for _, l := range u.Lines {
		a.screen.Data("  " + ui.RecordLine(l))
	}
}

// places names where a transfer has put something.
func places(t node.TransferStatus) string {
	var names []string
	if t.To != "" {
		names = append(names, show.Name(t.To))
	}
	for _, name := range t.Into {
		names = append(names, show.Name(name))
	}
	return strings.Join(names, ", ")
}
