package main

import (
	"slices"
	"strings"
	"time"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/spf13/cobra"
)

func (a *app) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "status [SESSION]",
		Short: "Show the transfers of this device",
		Long: `Shows every transfer that this device knows, or the one whose ID begins with
SESSION: what it is, how far it is, and what can be done next.`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.completeSession(anyTransfer),
		RunE: func(cmd *cobra.Command, argv []string) error {
			return a.withEngine(func(eng engine, _ node.Config) error {
				all, err := eng.List(cmd.Context())
				if err != nil {
					return err
				}
				if len(argv) > 0 {
					t, err := pick(cmd.Context(), eng, argv[0], anyTransfer, "")
					if err != nil {
						return err
					}
					all = []node.TransferStatus{t}
				}
				if all == nil {
					all = []node.TransferStatus{}
				}
				a.screen.Result(statusResult{all})
				if len(all) == 0 {
					a.screen.Say("this device has no transfers")
					return nil
				}
				for i, t := range all {
					if i > 0 {
						a.screen.Data("")
					}
					a.screen.Data(statusLines(t, time.Now())...)
				}
				return nil
			})
		},
	}
}

type statusResult struct {
	Transfers []node.TransferStatus `json:"transfers"`
}

// stateText says what a state means to a person, by role.
var stateText = map[string][2]string{ // sender, receiver
	"planning":  {"", "nothing is written yet"},
	"pairing":   {"waiting for the new device to pair", "waiting for the old device to pair"},
	"sending":   {"sending", "sending"},
	"stored":    {"stored on the server; the new device has not applied it yet", "stored on the server"},
	"waiting":   {"waiting for the new device", "waiting for the old device"},
	"receiving": {"receiving", "receiving"},
	"applying":  {"the new device is applying it", "applying"},
	"applied":   {"applied on the new device", "applied; the old device has not confirmed the receipt yet"},
	"done":      {"done", "done"},
	"paused":    {"paused", "paused"},
	"over":      {"expired or revoked", "expired or revoked"},
}

func statusLines(t node.TransferStatus, now time.Time) []string {
	i := 0
	head := "sending"
	switch t.Role {
	case "receiver":
		i, head = 1, "receiving"
	case "import":
		i, head = 1, "import"
	}
	state, ok := stateText[t.State]
	switch {
	case t.Role == "import" && t.State == "applied":
		state[1] = "done"
	case t.Role == "import" && t.State == "applying":
		state[1] = "writing"
	}
	if !ok {
		state = [2]string{show.Name(t.State), show.Name(t.State)}
	}
	if t.State == "stored" && (t.Folder != "" || t.Direct) {
		state = [2]string{"sent; the new device has not applied it yet", "sent"}
	}
	lines := []string{t.Session.Short() + "  " + head + ": " + state[i] + isBusy(t)}
	add := func(label, text string) {
		if text != "" {
			lines = append(lines, "  "+label+strings.Repeat(" ", 10-len(label))+text)
		}
	}
	var names []string
	for _, p := range slices.Concat(t.Sources, t.Paths) {
		names = append(names, show.Name(p))
	}
	add("what", strings.Join(names, ", "))
	add("into", places(t))
	if t.Peer != "" {
		add("with", "…"+show.Name(t.Peer))
	}
	switch {
	case t.Folder != "":
		add("folder", show.Name(t.Folder))
	case t.Direct:
		add("route", "directly, without a server")
	case t.Server != "":
		add("server", show.Name(t.Server))
	}
	switch p := t.Progress; {
	case p.ItemsDone > 0 && !over(t) && t.State != "stored":
		add("progress", ui.ProgressText(p))
	case p.ItemsTotal > 0:
		add("size", ui.Plural(p.ItemsTotal, "item")+", "+ui.Bytes(p.BytesTotal))
	}
	if !t.Created.IsZero() {
		add("since", t.Created.Local().Format("2006-01-02 15:04"))
	}
	if !t.Expires.IsZero() && !over(t) {
		add("expires", t.Expires.Local().Format("2006-01-02 15:04")+" (in "+ui.Span(t.Expires.Sub(now))+")")
	}
	if t.SafeWipe {
		add("receipt", "there; safe to wipe the old device (`decant receipt "+t.Session.Short()+"` shows it)")
	}
	add("next", next(t))
	return lines
}

func isBusy(t node.TransferStatus) string {
	if t.Running {
		return " (a process is working on it)"
	}
	return ""
}

// next is the command that takes a transfer on.
func next(t node.TransferStatus) string {
	short := t.Session.Short()
	switch {
	case t.Running:
		return "decant pause " + short
	case t.State == "over":
		return ""
	case t.Role == "import" && over(t):
		return "decant report " + short + ", or decant undo " + short
	case isApplied(t):
		return "decant verify " + short + ", or decant undo " + short
	case over(t):
		return ""
	case t.Role == "sender" && t.State == "stored":
		return "decant receipt " + short + " asks whether the new device has it all"
	}
	return "decant resume " + short
}
