package main

import (
	"context"
	"errors"
	"strings"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/report"
	"github.com/decant-dev/decant/proto/id"
	"github.com/spf13/cobra"
)

// engine is what the commands need of *node.Node.
type engine interface {
	Close() error
	Send(context.Context, node.SendOptions) (*node.SendResult, error)
	Receive(context.Context, node.ReceiveOptions) (*node.ReceiveResult, error)
	List(context.Context) ([]node.TransferStatus, error)
	Pause(context.Context, id.Session) error
	Verify(context.Context, id.Session) (*node.VerifyResult, error)
	Receipt(context.Context, id.Session) (*node.Receipt, error)
	Undo(context.Context, id.Session) (*node.UndoResult, error)
	Report(context.Context, id.Session) (*report.Report, error)
	Import(context.Context, node.ImportOptions) (*node.ImportResult, error)
	Doctor(context.Context, node.DoctorOptions) (*node.Diagnosis, error)
}

// withEngine opens the engine with the global flags for the time of do.
func (a *app) withEngine(do func(engine, node.Config) error) (err error) {
	cfg, err := a.config()
	if err != nil {
		return err
	}
	eng, err := openEngine(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close()) }()
	return do(eng, cfg)
}

// Which transfers a command can work on.
func anyTransfer(node.TransferStatus) bool { return true }
func isRunning(t node.TransferStatus) bool { return t.Running }
func isApplied(t node.TransferStatus) bool {
	return t.Role != "sender" && over(t) && t.State != "over"
}
func wasReceived(t node.TransferStatus) bool  { return t.Role == "receiver" && isApplied(t) }
func hasReceipt(t node.TransferStatus) bool   { return t.Role == "sender" || wasReceived(t) }
func isUnfinished(t node.TransferStatus) bool { return !over(t) && !t.Running }

// over reports whether nothing more will happen to a transfer by itself.
func over(t node.TransferStatus) bool {
	return t.State == "applied" || t.State == "done" || t.State == "over"
}

// pick finds the transfer that a command is about: the one whose ID begins with
// arg, or the only one that fits.
func pick(ctx context.Context, eng engine, arg string, fits func(node.TransferStatus) bool, none string) (node.TransferStatus, error) {
	all, err := eng.List(ctx)
	if err != nil {
		return node.TransferStatus{}, err
	}
	if arg != "" && (len(arg) < 4 || strings.Trim(arg, "0123456789abcdef") != "") {
		return node.TransferStatus{}, usage("`decant status` lists them", "%q is no transfer: want at least four digits of its ID", arg)
	}
	var found []node.TransferStatus
	for _, t := range all {
		if arg != "" && strings.HasPrefix(t.Session.String(), arg) || arg == "" && fits(t) {
			found = append(found, t)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0 && arg == "":
		return node.TransferStatus{}, &ui.Problem{Name: "no-transfer", Text: none, Hint: "`decant status` lists the transfers of this device",
			Code: ui.Failed, Err: node.ErrNoTransfer}
	case len(found) == 0:
		return node.TransferStatus{}, node.ErrNoTransfer
	}
	var ids []string
	for _, t := range found {
		ids = append(ids, t.Session.Short())
	}
	return node.TransferStatus{}, usage("name one: "+strings.Join(ids, ", "), "there are %d transfers that this could be about", len(found))
}

// completeSession offers the transfers that fit.
func (a *app) completeSession(fits func(node.TransferStatus) bool) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) (out []string, _ cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		a.withEngine(func(eng engine, _ node.Config) error {
			all, err := eng.List(cmd.Context())
			for _, t := range all {
				if fits(t) {
					out = append(out, t.Session.Short()+"\t"+t.Role+", "+t.State)
				}
			}
			return err
		})
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}
