package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/spf13/cobra"
)

// maxExpiry is the longest that a server keeps a ticket's transfer.
const maxExpiry = 30 * 24 * time.Hour

type sendFlags struct {
	via    string
	ticket bool
	expiry days
	fresh  bool
	noWait bool
	whole  bool
	all    bool
	strip  bool
	codeFD int
	qr     ui.QRMode
}

func (a *app) sendCmd() *cobra.Command {
	o := sendFlags{expiry: days(14 * 24 * time.Hour), qr: ui.QRAuto}
	cmd := &cobra.Command{
		Use:   "send [PATH|SOURCE]...",
		Short: "Send a collection to the new device",
		Long: `Sends the files and directories that are named, whole, and the records of the
sources that are named (vcf:FILE, dav:URL, bookmarks:PROFILE; ` + "`decant import --help`" + `
lists them; folder:DIR is the directory DIR). Without any it looks what can be moved from this device, shows it
and asks. The new device shows a code (decant receive): type it here, or paste
its link. With --ticket the new
device need not exist yet: twelve words are shown that it will ask for, and
this device may be switched off as soon as everything is sent.

Photos and films go as they are, byte for byte. With --strip-location they don't
say any more where they were taken; all else of them stays as it is. decant
report lists what each loses, and those that can't be looked through.

With --to folder:DIR it goes through a directory instead. A transfer that was
begun with a server or directly goes on there: what the new device and the
server don't have yet is put into the folder.

Run again after an interruption, it continues; only what is new is read. What
could not be read is listed, and the exit code is 3.

The code is asked for on the terminal, or read from --code-fd, or from stdin if
that is no terminal. It is never an argument, because arguments can be seen by
others on this machine.`,
		Example: `  decant send ~/Pictures ~/Documents contacts.vcf
  decant send --ticket --expiry 30d ~/Pictures`,
		Args: args(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, argv []string) error { return a.send(cmd.Context(), argv, o) },
	}
	f := cmd.Flags()
	f.BoolVar(&o.ticket, "ticket", false, "the new device does not exist yet: show a ticket of twelve words")
	f.Var(&o.expiry, "expiry", "how long the server keeps a ticket's transfer, at most 30d")
	addToFlag(cmd, &o)
	f.BoolVar(&o.fresh, "new", false, "start a new transfer even if one of these paths is unfinished")
	f.BoolVar(&o.all, "all", false, "without PATH or SOURCE: send all that is found, without asking")
	f.BoolVar(&o.strip, "strip-location", false, "photos and films don't say where they were taken; the files on this device stay as they are")
	addSendFlags(cmd, &o)
	return cmd
}

func addToFlag(cmd *cobra.Command, o *sendFlags) {
	cmd.Flags().StringVar(&o.via, "to", "", "carry it, or what is left of it, through `folder:DIR` (a stick, a share, a synced folder)")
}

// addSendFlags adds the flags that resume has too.
func addSendFlags(cmd *cobra.Command, o *sendFlags) {
	f := cmd.Flags()
	f.BoolVar(&o.noWait, "no-wait", false, "end once everything is sent; don't wait for the new device's receipt")
	f.BoolVar(&o.whole, "whole", false, "with --to: put into the folder what the server has too; without: send what only a folder has")
	f.IntVar(&o.codeFD, "code-fd", -1, "read the code or link from file descriptor `N`, a line per attempt")
	f.Lookup("code-fd").DefValue = "0" // not shown
	if f.Lookup("qr") == nil {
		f.Var(&o.qr, "qr", "draw QR codes")
		cmd.RegisterFlagCompletionFunc("qr", cobra.FixedCompletions([]string{"auto", "always", "never"}, cobra.ShellCompDirectiveNoFileComp))
	}
}

func (a *app) send(ctx context.Context, names []string, o sendFlags) error {
	var paths, sources []string
	for _, name := range names {
		_, err := os.Lstat(name)
		dir, isFolder := strings.CutPrefix(name, "folder:")
		switch {
		case err == nil:
			paths = append(paths, name)
		case isFolder && dir != "":
			paths = append(paths, dir) // what --to and --from mean by it is another matter
		case node.IsPlace(name):
			sources = append(sources, name)
		default:
			paths = append(paths, name)
		}
	}
	sources = expand(sources)
	if err := checkPlaces(sources, true); err != nil {
		return err
	}
	if len(names) == 0 {
		cfg, err := a.config()
		if err != nil {
			return err
		}
		if paths, sources, err = a.choose(ctx, cfg, o); err != nil {
			return err
		}
	}
	if err := checkPaths(paths, o.via); err != nil {
		return err
	}
	a.interrupted = "pausing; press again to stop at once"
	return a.withEngine(func(eng engine, cfg node.Config) error {
		opts, err := a.sendOptions(o)
		if err != nil {
			return err
		}
		if opts.Folder == "" && (o.ticket || cfg.Route == node.RouteStored) {
			if err := a.needServer(ctx, eng, cfg, "sender"); err != nil {
				return err
			}
		}
		opts.Paths, opts.Sources = paths, sources
		return a.runSend(ctx, eng, opts)
	})
}

// checkPaths refuses paths that aren't there, and a folder for the blobs that lies in one of them.
func checkPaths(paths []string, via string) error {
	for _, p := range paths {
		if _, err := os.Stat(p); err != nil {
			return usage("", "%s can't be sent: %v", show.Name(p), cause(err))
		}
		if dir := strings.TrimPrefix(via, "folder:"); via != "" && inside(dir, p) {
			return usage("name another folder", "%s lies inside what is to be sent", show.Name(dir))
		}
	}
	return nil
}

// sendOptions turns flags into options; paths and session are the caller's.
func (a *app) sendOptions(o sendFlags) (node.SendOptions, error) {
	opts := node.SendOptions{New: o.fresh, Ticket: o.ticket, NoWait: o.noWait, Whole: o.whole, Placeless: o.strip}
	var err error
	if opts.Folder, err = parseVia(o.via); err != nil {
		return opts, err
	}
	if o.ticket || opts.Folder != "" {
		opts.Expiry = time.Duration(o.expiry)
	}
	var fd *ui.FD
	if o.codeFD >= 0 {
		var err error
		if fd, err = ui.OpenFD(o.codeFD); err != nil {
			return opts, usage("", "--code-fd: %v", err)
		}
	}
	opts.AskCode = func(ctx context.Context, attempt int) (string, error) {
		return a.askCode(ctx, attempt, fd)
	}
	opts.ShowTicket = func(words, uri string) { a.showTicket(words, uri, o.qr, time.Duration(o.expiry)) }
	return opts, nil
}

// askCode asks until something is typed. Behind a wrong code the end of the input means that the code was wrong.
func (a *app) askCode(ctx context.Context, attempt int, fd *ui.FD) (code string, err error) {
	a.screen.Flush() // behind a failed attempt its notice says why it is asked again
	a.screen.Emit(ui.Event{Type: "question", Question: &ui.Question{What: "code", Attempt: attempt}})
	for code == "" && err == nil {
		if fd != nil {
			code, err = fd.Next()
		} else {
			code, err = a.screen.Ask(ctx, "Code from the new device:")
		}
	}
	if errors.Is(err, ui.ErrNobody) && attempt > 0 {
		p := explainNode(a.screen.LastAttempt())
		p.Err = nil // the engine would ask again
		err = p
	}
	return code, err
}

func (a *app) showTicket(words, uri string, qr ui.QRMode, expiry time.Duration) {
	a.screen.Flush()
	a.screen.Emit(ui.Event{Type: "pairing", Pairing: &ui.Pairing{Ticket: words, URI: uri}})
	if a.screen.JSON() {
		return
	}
	a.screen.Lines("", "This is the ticket. The new device asks for it (decant receive --ticket).",
		"Whoever has it owns what you send: write it down and keep it as you would keep that.", "")
	a.screen.Strong(words)
	a.screen.Lines("")
	if uri == "" {
		a.screen.Lines("It opens what is in the folder, and nothing else does: don't keep the two together.", "")
		return
	}
	if a.screen.QR(uri, qr) {
		a.screen.Lines("")
	}
	a.screen.Lines("The same as a link, with the server's address in it:", "")
	a.screen.Data(uri)
	a.screen.Lines("")
	a.screen.Verbose("the server keeps it for %s at most", ui.Span(expiry))
}

func (a *app) runSend(ctx context.Context, eng engine, opts node.SendOptions) error {
	a.screen.WhenWaiting("everything is sent. Waiting for the receipt; ^C is safe, `decant receipt` asks for it later")
	res, err := eng.Send(ctx, opts)
	if err != nil {
		return err
	}
	a.screen.Flush()
	if res.Losses > 0 || leftBehind(res.Receipt) {
		a.code = ui.LeftBehind
	}
	a.screen.Result(sendResult{res.Session.String(), res.Sent, res.Losses, res.Packs, res.WireBytes, res.Read, res.Epoch, res.Unchanged, res.Elsewhere, res.Cached, res.Receipt})
	a.sendSummary(res, opts)
	return nil
}

type sendResult struct {
	Session   string                `json:"session"`
	Sent      map[string]item.Tally `json:"sent"`
	Losses    int64                 `json:"losses"`
	Packs     int64                 `json:"packs"`
	WireBytes int64                 `json:"wire_bytes"`
	Read      int64                 `json:"read_bytes"`
	Epoch     uint64                `json:"epoch"`
	Unchanged bool                  `json:"unchanged"`
	Elsewhere int64                 `json:"elsewhere,omitempty"`
	Cached    bool                  `json:"cached,omitempty"`
	Receipt   *node.Receipt         `json:"receipt"`
}

func (a *app) sendSummary(res *node.SendResult, opts node.SendOptions) {
	if a.screen.JSON() {
		return
	}
	if res.Unchanged {
		a.screen.Say("nothing has changed since the last run: %s", tallies(res.Sent))
	} else {
		a.screen.Say("sent %s", tallies(res.Sent))
		a.screen.Say("in this run %s were read, and %s sent, sealed and padded", ui.Bytes(res.Read), ui.Bytes(res.WireBytes))
	}
	if res.Losses > 0 {
		a.screen.Say("warning: %s did not go along (see above)", ui.Plural(res.Losses, "item"))
	}
	if res.Receipt != nil {
		a.screen.Data(ui.ReceiptLines(res.Receipt)...)
		a.screen.Data(ui.WipeLine(res.Receipt))
		return
	}
	switch {
	case res.Folder && res.Elsewhere > 0:
		a.screen.Say("the folder has all but %s, which the server has; if the new device can't reach the server, add --whole", ui.Plural(res.Elsewhere, "pack"))
	case res.Elsewhere > 0:
		a.screen.Say("%s are in the folder only: carry it to the new device, or add --whole to send them too", ui.Plural(res.Elsewhere, "pack"))
	case res.Folder:
		a.screen.Say("everything is in the folder; this device may be switched off, but not wiped yet")
	case res.Cached && !res.Delivered:
		a.screen.Say("the cache has everything and brings it to the server; this device may leave, but not be wiped yet")
	case res.Delivered:
		a.screen.Say("everything is sent, at least in part to the new device itself, which has not confirmed it yet: don't wipe this device")
	default:
		a.screen.Say("everything is stored on the server; this device may be switched off, but not wiped yet")
	}
	if opts.Ticket || res.Folder {
		a.screen.Say("`decant receipt %s` asks whether the new device has it all", res.Session.Short())
	} else {
		a.screen.Say("`decant resume %s` waits for the receipt, `decant receipt %s` asks for it", res.Session.Short(), res.Session.Short())
	}
}

// tallies sums up what was sent: "5,802 items, 1.41 GB: 600 photos, 5,202 files".
func tallies(by map[string]item.Tally) string {
	var all item.Tally
	var parts []string
	for _, k := range item.Kinds {
		if t := by[k.String()]; t.Items > 0 {
			all.Items += t.Items
			all.Bytes += t.Bytes
			parts = append(parts, ui.Plural(t.Items, k.String()))
		}
	}
	return ui.Plural(all.Items, "item") + ", " + ui.Bytes(all.Bytes) + ": " + strings.Join(parts, ", ")
}

// leftBehind reports whether a receipt counts something that did not arrive against the person's wish.
func leftBehind(r *node.Receipt) bool {
	return r != nil && ui.Outcomes(r, item.LostAtSource).Items+ui.Outcomes(r, item.Failed).Items > 0
}

// inside reports whether dir is path or lies below it.
func inside(dir, path string) bool {
	a, err1 := filepath.Abs(dir)
	b, err2 := filepath.Abs(path)
	rel, err3 := filepath.Rel(b, a)
	return errors.Join(err1, err2, err3) == nil && filepath.IsLocal(rel)
}

// parseVia takes "folder:DIR", or nothing.
func parseVia(via string) (dir string, err error) {
	if via == "" {
		return "", nil
	}
	dir, ok := strings.CutPrefix(via, "folder:")
	if !ok || dir == "" {
		return "", usage("for example: folder:/media/stick", "%q is not folder:DIR", via)
	}
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		return "", usage("", "%s is not a directory", show.Name(dir))
	}
	return dir, nil
}

func noServer() error {
	return usage(serverHint, "no server is set")
}

// needServer refuses a new transfer without a server before anything is asked.
// An unfinished transfer knows its own.
func (a *app) needServer(ctx context.Context, eng engine, cfg node.Config, role string) error {
	if !cfg.Server.IsZero() {
		return nil
	}
	all, err := eng.List(ctx)
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.Role == role && !over(t) {
			return nil
		}
	}
	return noServer()
}

// cause is an error without the path that the sentence has named already.
func cause(err error) error {
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// days is a duration flag that understands "14d".
type days time.Duration

// Set implements pflag.Value.
func (d *days) Set(s string) error {
	v, err := time.ParseDuration(s)
	if num, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(num)
		v = time.Duration(n) * 24 * time.Hour
	}
	if err != nil {
		return errors.New("want a duration like 14d or 36h")
	}
	if v <= 0 || v > maxExpiry {
		return errors.New("want more than nothing and at most 30d")
	}
	*d = days(v)
	return nil
}

// String implements pflag.Value.
func (d *days) String() string {
	v := time.Duration(*d)
	if v > 0 && v%(24*time.Hour) == 0 {
		return strconv.Itoa(int(v/(24*time.Hour))) + "d"
	}
	return v.String()
}

// Type implements pflag.Value.
func (d *days) Type() string { return "duration" }
