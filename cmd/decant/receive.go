package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/spf13/cobra"
)

type receiveFlags struct {
	via      string
	to       string
	ticket   bool
	ticketFD int
	kinds    string
	yes      bool
	into     []string
	delivery deliveryFlags
	fresh    bool
	readBack bool
	qr       ui.QRMode
}

func (a *app) receiveCmd() *cobra.Command {
	o := receiveFlags{qr: ui.QRAuto}
	cmd := &cobra.Command{
		Use:   "receive --to DIR",
		Short: "Receive a collection on the new device",
		Long: `Shows a code and a QR code for the old device, or with --ticket asks for the
ticket that the old device showed. Then shows what would happen to DIR, and
does it when you say yes. Nothing that is there is ever overwritten: what is the
same is left alone, what differs is kept beside it, address books and calendars
of the same name are merged. ` + "`decant undo`" + ` takes it all back.

The ticket is asked for on the terminal, or read from --ticket-fd, or from stdin
if that is no terminal. It is never an argument. What is typed can be seen and
is wiped from the screen when it is complete.`,
		Example: `  decant receive --to ~/
  decant receive --ticket --to ~/ --kinds photo,contact`,
		Args:              args(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return a.receive(cmd.Context(), o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "`directory` that the collection is put into; created if it is not there (required)")
	f.BoolVar(&o.ticket, "ticket", false, "ask for a ticket instead of showing a code")
	addFromFlag(cmd, &o)
	f.BoolVar(&o.fresh, "new", false, "start a new transfer even if one into DIR is unfinished")
	addIntoFlag(cmd, &o.into)
	cmd.MarkFlagDirname("to")
	addReceiveFlags(cmd, &o)
	return cmd
}

func addFromFlag(cmd *cobra.Command, o *receiveFlags) {
	cmd.Flags().StringVar(&o.via, "from", "", "take it, or what is left of it, from `folder:DIR`, where the old device has put it; a new transfer asks for the ticket")
}

// addReceiveFlags adds the flags that resume has too.
func addReceiveFlags(cmd *cobra.Command, o *receiveFlags) {
	f := cmd.Flags()
	f.IntVar(&o.ticketFD, "ticket-fd", -1, "read the ticket's words or link from file descriptor `N`")
	f.Lookup("ticket-fd").DefValue = "0" // not shown
	f.StringVar(&o.kinds, "kinds", "", "apply only these `kinds`, separated by commas: contact, calendar, message, call, bookmark, note, network, photo, file, setting")
	f.BoolVarP(&o.yes, "yes", "y", false, "apply without asking")
	f.BoolVar(&o.readBack, "read-back", false, "read everything back from storage before the receipt is signed")
	addDeliveryFlags(cmd, &o.delivery)
	f.Var(&o.qr, "qr", "draw QR codes")
	cmd.RegisterFlagCompletionFunc("qr", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RegisterFlagCompletionFunc("kinds", completeKinds)
}

func completeKinds(_ *cobra.Command, _ []string, typed string) (out []string, _ cobra.ShellCompDirective) {
	head := ""
	if i := strings.LastIndexByte(typed, ','); i >= 0 {
		head = typed[:i+1]
	}
	for _, k := range item.Kinds {
		out = append(out, head+k.String())
	}
	return out, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

func (a *app) receive(ctx context.Context, o receiveFlags) error {
	if o.to == "" {
		return usage("for example: decant receive --to ~/", "--to is missing: say where the collection shall go")
	}
	if st, err := os.Stat(o.to); err == nil && !st.IsDir() {
		return usage("", "--to %s is not a directory", show.Name(o.to))
	}
	kinds, err := parseKinds(o.kinds)
	if err != nil {
		return err
	}
	a.interrupted = "pausing; press again to stop at once"
	return a.withEngine(func(eng engine, cfg node.Config) error {
		if !o.ticket && o.ticketFD < 0 && o.via == "" && cfg.Route == node.RouteStored { // a ticket's link names the server
			if err := a.needServer(ctx, eng, cfg, "receiver"); err != nil {
				return err
			}
		}
		opts, err := a.receiveOptions(o, cfg, kinds, o.to)
		if err != nil {
			return err
		}
		return a.runReceive(ctx, eng, opts)
	})
}

// parseKinds takes names with commas or spaces between them; none at all means all kinds.
func parseKinds(names string) (kinds []item.Kind, err error) {
	for _, name := range strings.FieldsFunc(names, func(r rune) bool { return r == ',' || r == ' ' }) {
		k, ok := item.ParseKind(strings.ToLower(name))
		if !ok {
			return nil, usage("the kinds are contact, calendar, message, call, bookmark, note, network, photo, file and setting", "%q is no kind", name)
		}
		if !slices.Contains(kinds, k) {
			kinds = append(kinds, k)
		}
	}
	return kinds, nil
}

// receiveOptions turns flags into options; the session is the caller's.
func (a *app) receiveOptions(o receiveFlags, cfg node.Config, kinds []item.Kind, to string) (node.ReceiveOptions, error) {
	opts := node.ReceiveOptions{To: to, New: o.fresh, ReadBack: o.readBack, Into: o.into, Region: o.delivery.region()}
	if err := checkPlaces(o.into, false); err != nil {
		return opts, err
	}
	opts.ConfirmDelivery = a.deliveryConfirmer(&o.yes, &o.delivery)
	var err error
	if opts.Folder, err = parseVia(o.via); err != nil {
		return opts, err
	}
	if o.ticket || o.ticketFD >= 0 || opts.Folder != "" {
		var fd *ui.FD
		if o.ticketFD >= 0 {
			var err error
			if fd, err = ui.OpenFD(o.ticketFD); err != nil {
				return opts, usage("", "--ticket-fd: %v", err)
			}
		}
		opts.AskTicket = func(ctx context.Context) (string, error) {
			t, err := a.askTicket(ctx, fd)
			if err == nil && cfg.Server.IsZero() && opts.Folder == "" && !strings.HasPrefix(t, "decant-ticket:") {
				return "", noServer()
			}
			return t, err
		}
	}
	shown := codeShown{}
	opts.ShowCode = func(code, link string, left int) { a.showCode(&shown, code, link, left, o.qr) }
	opts.Confirm = func(ctx context.Context, p *node.Preview) (node.Choice, error) {
		return a.confirm(ctx, p, to, kinds, o.yes)
	}
	return opts, nil
}

func (a *app) askTicket(ctx context.Context, fd *ui.FD) (ticket string, err error) {
	a.screen.Emit(ui.Event{Type: "question", Question: &ui.Question{What: "ticket"}})
	for ticket == "" && err == nil {
		if fd != nil {
			ticket, err = fd.Next()
		} else {
			ticket, err = a.screen.AskSecret(ctx, "Ticket (the twelve words, or the link):")
		}
	}
	return ticket, err
}

// codeShown is the code that is on the screen.
type codeShown struct {
	code string
	left int
}

func (a *app) showCode(shown *codeShown, code, link string, left int, qr ui.QRMode) {
	a.screen.Flush()
	a.screen.Emit(ui.Event{Type: "pairing", Pairing: &ui.Pairing{Code: code, Link: link, AttemptsLeft: left}})
	if a.screen.JSON() {
		return
	}
	again := shown.code == code
	fewer := left < shown.left
	*shown = codeShown{code, left}
	if again {
		if fewer {
			a.screen.Say("a wrong code was typed on the other device; the code stands %s more", ui.Plural(int64(left), "attempt"))
		}
		return
	}
	a.screen.Lines("", "On the old device run `decant send PATH…` and type this code there:", "")
	a.screen.Strong(code)
	a.screen.Lines("")
	if a.screen.QR(link, qr) {
		a.screen.Lines("", "or scan this, or paste the link, which is as secret as the code:", "")
	} else {
		a.screen.Lines("or paste this link there, which is as secret as the code:", "")
	}
	a.screen.Data(link)
	a.screen.Lines("")
}

// confirm shows the preview and asks what to apply.
func (a *app) confirm(ctx context.Context, p *node.Preview, to string, kinds []item.Kind, yes bool) (node.Choice, error) {
	a.screen.Flush()
	a.screen.Emit(ui.Event{Type: "preview", Preview: ui.NewPreview(p)})
	if !a.screen.JSON() {
		a.screen.Lines(ui.PreviewLines(p, to, kinds, false)...)
	}
	if yes {
		return node.Choice{Apply: true, Kinds: kinds}, nil
	}
	a.screen.Emit(ui.Event{Type: "question", Question: &ui.Question{What: "apply"}})
	for {
		q := "Apply?"
		if len(kinds) > 0 {
			q = "Apply only " + kindList(kinds) + "?"
		}
		answer, err := a.screen.Ask(ctx, q+" [y]es, [n]o, [k]inds, [d]etails:")
		if err != nil {
			return node.Choice{}, err
		}
		switch strings.ToLower(answer) {
		case "y", "yes":
			return node.Choice{Apply: true, Kinds: kinds}, nil
		case "n", "no":
			return node.Choice{}, nil
		case "d", "details":
			a.screen.Lines(ui.PreviewLines(p, to, kinds, true)...)
		case "k", "kinds":
			if kinds, err = a.askKinds(ctx, p, kinds); err != nil {
				return node.Choice{}, err
			}
			a.screen.Lines(ui.PreviewLines(p, to, kinds, false)...)
		default:
			a.screen.Lines("Please answer y, n, k or d. Nothing has been written yet.")
		}
	}
}

func (a *app) askKinds(ctx context.Context, p *node.Preview, old []item.Kind) ([]item.Kind, error) {
	var there []item.Kind
	for _, k := range item.Kinds {
		if _, ok := p.Kinds[k.String()]; ok {
			there = append(there, k)
		}
	}
	answer, err := a.screen.Ask(ctx, "Which kinds ("+kindList(there)+"; nothing typed means all)?")
	if err != nil {
		return nil, err
	}
	kinds, err := parseKinds(answer)
	if err != nil {
		a.screen.Lines("There is no such kind. Nothing is changed.")
		return old, nil
	}
	return kinds, nil
}

func kindList(kinds []item.Kind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, ui.KindName(k))
	}
	return strings.Join(names, ", ")
}

func (a *app) runReceive(ctx context.Context, eng engine, opts node.ReceiveOptions) error {
	if len(opts.Into) > 0 {
		moreMemory()
	}
	res, err := eng.Receive(ctx, opts)
	if errors.Is(err, node.ErrCodeExpired) {
		return &ui.Problem{Name: "code-expired", Text: "the code has expired: nobody typed it within ten minutes", Code: ui.Refused, Err: err,
			Hint: "run the command again for a new code"}
	}
	if err != nil {
		return err
	}
	a.screen.Flush()
	if res.Receipt == nil {
		return errors.New("the engine gave no receipt")
	}
	if leftBehind(res.Receipt) {
		a.code = ui.LeftBehind
	}
	if res.Delivered != nil && res.Delivered.Failed > 0 {
		a.code = ui.LeftBehind
	}
	a.screen.Result(receiveResult{res.Session.String(), res.To, res.Receipt, res.Delivered, res.WireBytes, res.Acked, res.Pending})
	if a.screen.JSON() {
		return nil
	}
	a.screen.Data(ui.ReceiptLines(res.Receipt)...)
	if res.Delivered != nil {
		a.screen.Data(ui.DeliveredLine(res.Delivered))
	}
	if !res.Acked && !res.Pending {
		a.screen.Say("the old device has not confirmed the receipt yet; it will when it asks for it")
	}
	to := res.To
	if abs, err := filepath.Abs(to); err == nil {
		to = abs
	}
	a.screen.Say("everything is in %s; `decant undo %s` takes it back", show.Name(to), res.Session.Short())
	return nil
}

type receiveResult struct {
	Session   string          `json:"session"`
	To        string          `json:"to"`
	Receipt   *node.Receipt   `json:"receipt"`
	Delivered *deliver.Result `json:"delivered,omitempty"`
	WireBytes int64           `json:"wire_bytes"`
	Acked     bool            `json:"acked"`
	Pending   bool            `json:"pending,omitempty"`
}
