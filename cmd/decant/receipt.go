package main

import (
	"os"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/spf13/cobra"
)

func (a *app) receiptCmd() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "receipt [SESSION]",
		Short: "Show the receipt, and whether the old device may be wiped",
		Long: `Shows the receipt that the new device signed when everything was applied. On the
old device it asks the server whether the receipt has arrived meanwhile. Only a
valid receipt says "safe to wipe"; Decant itself never deletes anything.`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeSession(hasReceipt),
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.withEngine(func(eng engine, _ node.Config) error {
				t, err := pick(cmd.Context(), eng, first(argv), hasReceipt, "no transfer of this device can have a receipt")
				if err != nil {
					return err
				}
				r, err := eng.Receipt(cmd.Context(), t.Session)
				if err == nil && r == nil {
					err = node.ErrNotComplete
				}
				if err != nil {
					return receiptProblem(err, t)
				}
				if out != "" {
					if err := os.WriteFile(out, r.Raw, 0o600); err != nil {
						return err
					}
				}
				a.screen.Flush()
				if leftBehind(r) {
					a.code = ui.LeftBehind
				}
				a.screen.Result(r)
				a.screen.Data(ui.ReceiptLines(r)...)
				if t.Role == "sender" {
					a.screen.Data(ui.WipeLine(r))
				}
				return nil
			})
		},
	}
	cmd.Flags().StringVarP(&out, "out", "o", "", "write the signed bytes to this `file`")
	return cmd
}

// receiptProblem says what it means that there is no receipt.
func receiptProblem(err error, t node.TransferStatus) error {
	p := explainNode(err)
	if p == nil || p.Name != "not-complete" {
		return err
	}
	p.Text = "there is no receipt yet: the new device has not applied everything. NOT safe to wipe the old device"
	p.Hint = "ask again when the new device is done"
	if t.Role == "receiver" {
		p.Text, p.Hint = "there is no receipt yet: not everything is applied", "`decant resume "+t.Session.Short()+"` continues"
	}
	return p
}
