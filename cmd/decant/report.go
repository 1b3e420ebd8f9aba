package main

import (
	"io"
	"os"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/decant-dev/decant/node/report"
	"github.com/spf13/cobra"
)

func (a *app) reportCmd() *cobra.Command {
	var html string
	cmd := &cobra.Command{
		Use:   "report [SESSION]",
		Short: "List everything that was lost or changed on the way",
		Long: `Lists every property and every file that is not on the new device as it was on
the old one, with the reason, and what became of each record that was merged,
contradicted another or was refused. --html writes a page that needs nothing
else, to be opened in any browser.`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeSession(anyTransfer),
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.withEngine(func(eng engine, _ node.Config) error {
				t, err := pick(cmd.Context(), eng, first(argv), anyTransfer, "this device has no transfers")
				if err != nil {
					return err
				}
				r, err := eng.Report(cmd.Context(), t.Session)
				if err != nil {
					return err
				}
				defer r.Close()
				if html != "" {
					if err := writeReport(html, r.WriteHTML); err != nil {
						return err
					}
					a.screen.Say("the report is in %s", show.Name(html))
					if !a.screen.JSON() {
						return nil
					}
				}
				return a.printReport(r)
			})
		},
	}
	cmd.Flags().StringVar(&html, "html", "", "write a page into this `file` instead")
	return cmd
}

// printReport writes the report to stdout: text, or the object of --json.
func (a *app) printReport(r *report.Report) error {
	if a.screen.JSON() {
		return a.screen.StreamResult(r.WriteJSON)
	}
	return r.WriteText(a.screen.Out()) // it can be long
}

// writeReport writes a file that only its owner can read: a report is full of names.
func writeReport(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
