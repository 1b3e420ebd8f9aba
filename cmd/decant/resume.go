package main

import (
	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/spf13/cobra"
)

func (a *app) resumeCmd() *cobra.Command {
	s, r := sendFlags{qr: ui.QRAuto}, receiveFlags{qr: ui.QRAuto}
	cmd := &cobra.Command{
		Use:   "resume [SESSION]",
		Short: "Continue a transfer that was paused, interrupted or declined",
		Long: `Continues a transfer where it stopped, on either device. What has
arrived is not sent again, what has not changed is not read again. The server is the one that the transfer began with;
with --to (old device) and --from (new device) it goes on through a folder.`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeSession(isUnfinished),
		RunE: func(cmd *cobra.Command, argv []string) error {
			kinds, err := parseKinds(r.kinds)
			if err != nil {
				return err
			}
			a.interrupted = "pausing; press again to stop at once"
			return a.withEngine(func(eng engine, cfg node.Config) error {
				t, err := pick(cmd.Context(), eng, first(argv), isUnfinished, "no transfer is waiting to be continued")
				if err != nil {
					return err
				}
				if t.Role == "import" {
					return a.runImport(cmd.Context(), eng, node.ImportOptions{Sources: t.Sources, Into: t.Into, Kinds: kinds, Region: r.delivery.region(),
						Confirm: a.deliveryConfirmer(&r.yes, &r.delivery)})
				}
				if s.via != "" && t.Role != "sender" || r.via != "" && t.Role != "receiver" {
					return usage("--to is for the old device, --from for the new one", "this device is the %s", t.Role)
				}
				if t.Role == "receiver" {
					opts, err := a.receiveOptions(r, cfg, kinds, t.To)
					if err != nil {
						return err
					}
					opts.Session = t.Session
					if len(t.Into) > 0 {
						moreMemory()
					}
					return a.runReceive(cmd.Context(), eng, opts)
				}
				s.qr = r.qr
				opts, err := a.sendOptions(s)
				if err != nil {
					return err
				}
				opts.Session = t.Session
				return a.runSend(cmd.Context(), eng, opts)
			})
		},
	}
	addReceiveFlags(cmd, &r)
	addSendFlags(cmd, &s)
	addToFlag(cmd, &s)
	addFromFlag(cmd, &r)
	return cmd
}
