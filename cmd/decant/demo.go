package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/decant-dev/decant/cmd/decant/internal/handset"
	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/gather"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/decant-dev/decant/proto/id"
	"github.com/spf13/cobra"
)

func (a *app) demoCmd() *cobra.Command {
	var out string
	var alone bool
	cmd := &cobra.Command{
		Use:   "demo [PATH...]",
		Short: "Show all of it on this machine",
		Long: `Plays old device, server and new device on this machine: makes up a handset (or
takes the PATHs), starts a server on loopback, pairs by code, sends, lets the
old device leave, looks at what the server has, previews, applies, fetches the
receipt, and compares every byte and time. Everything stays in DIR for you to
look at. The exit code is 0 only if every check holds.

With --no-server the two devices find each other on the network and the
collection goes directly.`,
		Example: `  decant demo
  decant demo --no-server
  decant demo ~/Pictures --out /tmp/demo`,
		RunE: func(cmd *cobra.Command, argv []string) error { return a.demo(cmd.Context(), argv, out, alone) },
	}
	cmd.Flags().BoolVar(&alone, "no-server", false, "let the devices find each other on the network instead")
	cmd.Flags().StringVar(&out, "out", "", "`directory` for everything; it must be empty or absent (default: a new temporary one)")
	cmd.MarkFlagDirname("out")
	return cmd
}

// demo is one run of the demonstration.
type demo struct {
	*app
	dir     string
	paths   []string // what is sent
	made    bool     // the handset is made up
	records *records // nil unless made
	alone   bool     // no server
	server  *running // nil if alone
	pinned  id.Server
	log     lockedBuffer
	metrics string
	old     engine
	fresh   engine // the new device

	applying chan struct{} // closed when the new device has fetched everything

	mu     sync.Mutex // guards what follows: events come from both devices
	stage  int        // whose progress is on the screen: 0 the old device's, 1 the new one's
	losses map[string]item.Loss
	checks []check
}

// check is one thing that must hold at the end.
type check struct {
	OK   bool   `json:"ok"`
	Text string `json:"text"`
}

func (a *app) demo(ctx context.Context, paths []string, out string, alone bool) (err error) {
	began := time.Now()
	d := &demo{app: a, alone: alone, paths: paths, losses: map[string]item.Loss{}, applying: make(chan struct{})}
	if d.dir, err = demoDir(out); err != nil {
		return err
	}
	a.screen.Lines("This is Decant with all its parts on this machine. Everything stays in", d.dir, "")
	if err := d.source(); err != nil {
		return err
	}
	if err := d.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.play(ctx); err != nil {
		if context.Cause(ctx) == errInterrupted {
			return &ui.Problem{Name: "interrupted", Text: "interrupted; what there is stays in " + d.dir, Code: ui.Paused, Err: err}
		}
		return err
	}
	return d.finish(time.Since(began))
}

// demoDir makes the place for everything.
func demoDir(out string) (string, error) {
	if out == "" {
		return os.MkdirTemp("", "decant-demo-")
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return "", err
	}
	if there, err := os.ReadDir(out); err != nil || len(there) > 0 {
		return "", usage("name a directory that is empty or does not exist yet", "--out %s is not empty", show.Name(out))
	}
	return filepath.Abs(out)
}

// source makes up the handset, or looks at what was named.
func (d *demo) source() error {
	d.made = len(d.paths) == 0
	if d.made {
		dir := filepath.Join(d.dir, "old", "handset")
		d.paths = []string{dir}
		if err := handset.Generate(dir, handset.Options{}); err != nil {
			return err
		}
	}
	for _, p := range d.paths {
		if _, err := os.Stat(p); err != nil {
			return usage("", "%s can't be sent: %v", show.Name(p), cause(err))
		}
	}
	sum, err := measure(d.paths)
	if err != nil {
		return err
	}
	what := strings.Join(d.paths, ", ")
	if d.made {
		what = "a made-up handset"
	}
	d.step("old device", "%s, %s (%s)", ui.Plural(sum.Items, "file"), ui.Bytes(sum.Bytes), show.Name(what))
	if d.made {
		return d.makeRecords()
	}
	return nil
}

// step shows one line of the story.
func (d *demo) step(who, format string, args ...any) {
	d.screen.Lines(fmt.Sprintf("  %-11s %s", who, fmt.Sprintf(format, args...)))
}

// open starts the server and the two devices, which share nothing but its address.
func (d *demo) open() (err error) {
	if !d.alone {
		if err := d.serve(); err != nil {
			return err
		}
	}
	for i, name := range []string{"old", "new"} {
		cfg := node.Config{StateDir: filepath.Join(d.dir, "state", name), Server: d.pinned, Carrier: node.Carrier(d.carrier), Route: node.RouteStored,
			Label: name + " device", Events: func(e item.Event) { d.event(i, e) }}
		if d.alone {
			cfg.Route, cfg.Loopback = node.RouteDirect, true
		}
		eng, err := openEngine(cfg)
		if err != nil {
			return errors.Join(err, d.close())
		}
		if i == 0 {
			d.old = eng
		} else {
			d.fresh = eng
		}
	}
	return nil
}

func (d *demo) serve() (err error) {
	log := slog.New(slog.NewTextHandler(&d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d.server, err = startServer(serveFlags{listen: "127.0.0.1:0", data: filepath.Join(d.dir, "server"), watermark: 1},
		log, func(message string) { panic("demo: the server's database can't go on: " + message) })
	if err != nil {
		return err
	}
	if d.metrics, err = d.server.serveMetrics("127.0.0.1:0"); err != nil {
		return errors.Join(err, d.server.Close())
	}
	d.pinned = d.server.link.Server()
	d.step("server", "…%s at %s, fresh, knows nothing", d.pinned.Peer.Short(), d.pinned.HostPort())
	return nil
}

func (d *demo) close() (err error) {
	for _, eng := range []engine{d.old, d.fresh} {
		if eng != nil {
			err = errors.Join(err, eng.Close())
		}
	}
	if d.server == nil {
		return err
	}
	return errors.Join(err, d.server.Close())
}

// event shows one device's events at a time and remembers every loss.
func (d *demo) event(device int, e item.Event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if e.Type == "loss" {
		d.losses[e.Loss.Path] = *e.Loss
	}
	if device == 1 && e.Stage == item.StageApplying {
		select {
		case <-d.applying:
		default:
			close(d.applying)
		}
	}
	quiet := !d.screen.Lively() && (e.Type == "stage" || e.Type == "progress") // the steps say enough
	if device == d.stage && e.Type != "loss" && !quiet {
		d.screen.Event(e)
	}
}

// play runs the transfer. The two devices meet for the pairing only: the new one
// looks at the preview when the old one has sent everything and left.
func (d *demo) play(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	codes := make(chan string, 1)
	gone := make(chan struct{}) // the old device has left
	var res *node.ReceiveResult
	var receiving sync.WaitGroup
	var receiveErr error
	receiving.Go(func() {
		res, receiveErr = d.fresh.Receive(ctx, d.receiving(codes, gone))
		if receiveErr != nil {
			cancel(receiveErr)
		}
	})
	if d.alone {
		close(gone) // it stays: there is nobody else
	}
	sent, err := d.send(ctx, codes)
	if err == nil && !d.alone {
		err = d.inspect()
	}
	if err != nil {
		cancel(err)
		receiving.Wait()
		if context.Cause(ctx) == receiveErr && receiveErr != nil {
			return receiveErr
		}
		return err
	}
	receipt := sent.Receipt
	if !d.alone {
		d.mu.Lock()
		d.stage = 1
		d.mu.Unlock()
		close(gone)
		receipt, err = d.comeBack(ctx, sent.Session)
	}
	receiving.Wait()
	if err = errors.Join(receiveErr, err); err != nil {
		return err
	}
	d.screen.Flush()
	if d.alone {
		d.step("new device", "%s taken in, applied, receipt signed", ui.Bytes(res.WireBytes))
		d.step("old device", "has the receipt and verified it")
	} else {
		d.step("new device", "%s fetched, applied, receipt signed", ui.Bytes(res.WireBytes))
		d.step("old device", "has come back for the receipt and verified it")
	}
	return d.settle(ctx, receipt, res)
}

// comeBack lets the old device wait for its receipt as soon as the new one has fetched everything.
func (d *demo) comeBack(ctx context.Context, sid id.Session) (*node.Receipt, error) {
	select {
	case <-d.applying:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	res, err := d.old.Send(ctx, node.SendOptions{Session: sid})
	if err != nil {
		return nil, err
	}
	if res.Receipt == nil {
		return nil, node.ErrNotComplete
	}
	return res.Receipt, nil
}

func (d *demo) send(ctx context.Context, codes <-chan string) (*node.SendResult, error) {
	began := time.Now()
	var sources []string
	if d.records != nil {
		sources = d.records.sources
	}
	sent, err := d.old.Send(ctx, node.SendOptions{Paths: d.paths, Sources: sources, NoWait: !d.alone,
		AskCode: func(ctx context.Context, attempt int) (string, error) {
			if attempt > 0 {
				return "", node.ErrWrongCode
			}
			select {
			case code := <-codes:
				return code, nil
			case <-ctx.Done():
				return "", context.Cause(ctx)
			}
		}})
	if err != nil {
		return nil, err
	}
	d.screen.Flush()
	if d.alone {
		d.step("old device", "found the new one nearby; %s sealed, sent directly and applied in %.1f s", ui.Bytes(sent.WireBytes), time.Since(began).Seconds())
	} else {
		d.step("old device", "%s sealed and sent in %.1f s; leaves", ui.Bytes(sent.WireBytes), time.Since(began).Seconds())
	}
	return sent, nil
}

// receiving says how the new device receives: it hands its code to the old one in memory, and says yes.
func (d *demo) receiving(codes chan<- string, gone <-chan struct{}) node.ReceiveOptions {
	to := filepath.Join(d.dir, "new")
	var once sync.Once
	var into []string
	if d.records != nil {
		into = d.records.into
	}
	return node.ReceiveOptions{To: to, Into: into, ConfirmDelivery: d.confirmRecords,
		ShowCode: func(code, _ string, _ int) {
			once.Do(func() {
				d.step("new device", "shows the code %s; the old one types it", show.Name(code))
				codes <- code
			})
		},
		Confirm: func(ctx context.Context, p *node.Preview) (node.Choice, error) {
			select {
			case <-gone:
			case <-ctx.Done():
				return node.Choice{}, context.Cause(ctx)
			}
			d.screen.Flush()
			d.screen.Emit(ui.Event{Type: "preview", Preview: ui.NewPreview(p)})
			d.step("new device", "looks at the preview and says yes")
			d.screen.Lines(indent(ui.PreviewLines(p, to, nil, false))...)
			d.screen.Lines("")
			return node.Choice{Apply: true}, nil
		}}
}

func indent(lines []string) (out []string) {
	for _, l := range lines {
		out = append(out, strings.TrimRight("      "+l, " "))
	}
	return out
}

// settle shows the receipt, and compares.
func (d *demo) settle(ctx context.Context, receipt *node.Receipt, res *node.ReceiveResult) error {
	if err := os.WriteFile(filepath.Join(d.dir, "receipt"), receipt.Raw, 0o600); err != nil {
		return err
	}
	d.screen.Emit(ui.Event{Type: "receipt", Receipt: receipt})
	d.screen.Lines("")
	d.screen.Data(ui.ReceiptLines(receipt)...)
	d.screen.Data(ui.WipeLine(receipt))
	same := res.Receipt != nil && bytes.Equal(receipt.Raw, res.Receipt.Raw)
	d.check(same && receipt.SafeWipe, "both devices hold the same signed receipt: safe to wipe")
	keep := []string{".decant-" + res.Session.Short()}
	if d.records != nil {
		keep = append(keep, gather.Directories()...)
	}
	if err := d.compare(res.To, keep...); err != nil || d.records == nil {
		return err
	}
	return d.checkRecords(ctx, res)
}

// check records whether something holds.
func (d *demo) check(ok bool, format string, args ...any) {
	d.checks = append(d.checks, check{ok, fmt.Sprintf(format, args...)})
}

// demoResult is the last event of --json.
type demoResult struct {
	Dir     string  `json:"dir"`
	Seconds float64 `json:"seconds"`
	Checks  []check `json:"checks"`
}

// finish shows the checks and where everything lies.
func (d *demo) finish(took time.Duration) error {
	failed := 0
	lines := []string{"", "Checks:"}
	for _, c := range d.checks {
		mark := "  ok      "
		if !c.OK {
			mark = "  FAILED  "
			failed++
		}
		lines = append(lines, mark+c.Text)
	}
	lines = append(lines, "", "Where everything lies, in "+d.dir+":")
	if d.made {
		lines = append(lines, "  old/handset     what the old device had", "  old/exports     what its apps had exported",
			"  apps            the new device's own apps, into which the records came", "  report.html     everything that was lost or changed on the way: open it in a browser")
	}
	lines = append(lines, "  new             what the new device has now")
	if !d.alone {
		lines = append(lines, "  server          what the server kept", "  server.log      what it wrote down")
	}
	lines = append(lines,
		"  receipt         the signed receipt",
		"  state/old, state/new   keys and journals of the two devices",
		"",
		"Go on playing, for example take it all back:",
		"  decant --state "+quote(filepath.Join(d.dir, "state", "new"))+" undo",
		fmt.Sprintf("It took %.1f s.", took.Seconds()))
	if !d.alone {
		if err := os.WriteFile(filepath.Join(d.dir, "server.log"), d.log.Bytes(), 0o600); err != nil {
			return err
		}
	}
	d.screen.Result(demoResult{d.dir, took.Seconds(), d.checks})
	d.screen.Data(lines...)
	if failed > 0 {
		return &ui.Problem{Name: "demo", Text: fmt.Sprintf("%d of %d checks failed", failed, len(d.checks)), Code: ui.Failed,
			Hint: "please report it with the output above"}
	}
	return nil
}

// quote writes a path so that a shell takes it as one word.
func quote(s string) string {
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// lockedBuffer collects the server's log.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// Bytes returns a copy of what was written.
func (b *lockedBuffer) Bytes() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return bytes.Clone(b.b.Bytes())
}
