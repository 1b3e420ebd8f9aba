package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/spf13/cobra"
)

func (a *app) doctorCmd() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "doctor [--to DIR]",
		Short: "Find out what stands in the way of a transfer",
		Long: `Looks at the server and every way to it, at the network nearby, at the clock,
the state directory and, with --to, at the directory that a collection would be
received into. Each line says ok, note (a transfer works all the same) or bad,
with a hint. It takes at most 20 seconds, and nothing is changed. The exit code
is 0 if nothing is bad, else 5.`,
		Args:              args(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var count doctorResult
			found := func(c node.Check) {
				count.add(c.Level)
				a.showCheck(c)
			}
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if err := examine(cmd.Context(), cfg, node.DoctorOptions{To: to, Found: found}); err != nil {
				return err
			}
			a.screen.Result(count)
			if count.Bad > 0 {
				a.code = ui.TryAgain
			}
			a.screen.Data(count.sentence())
			return nil
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "look at this target `directory` too; it need not exist")
	cmd.MarkFlagDirname("to")
	return cmd
}

// examine runs the engine's doctor. A state directory that no engine can work with is a finding too, and the only one.
func examine(ctx context.Context, cfg node.Config, o node.DoctorOptions) error {
	eng, err := openEngine(cfg)
	var path *fs.PathError
	if errors.As(err, &path) {
		o.Found(node.Check{Name: "state", Level: node.LevelBad, Finding: node.StateDenied, Detail: cfg.StateDir})
		return nil
	}
	if err != nil {
		return err
	}
	_, err = eng.Doctor(ctx, o)
	if errors.Is(err, errInterrupted) {
		err = &ui.Problem{Name: "interrupted", Text: "interrupted before everything was looked at", Code: ui.Paused, Err: err}
	}
	return errors.Join(err, eng.Close())
}

type doctorResult struct {
	OK   int `json:"ok"`
	Note int `json:"note"`
	Bad  int `json:"bad"`
}

func (r *doctorResult) add(l node.Level) {
	switch l {
	case node.LevelOK:
		r.OK++
	case node.LevelNote:
		r.Note++
	default:
		r.Bad++
	}
}

func (r *doctorResult) sentence() string {
	switch {
	case r.Bad == 1:
		return "One thing is bad; the hint says what to do."
	case r.Bad > 1:
		return ui.Count(int64(r.Bad)) + " things are bad; the hints say what to do."
	}
	return "Nothing stands in the way of a transfer."
}

// showCheck says what was found: one line, and a hint where something is bad.
func (a *app) showCheck(c node.Check) {
	text, hint := checkText(c)
	e := ui.Check{Name: c.Name, Level: string(c.Level), Finding: string(c.Finding), Text: ui.Clean(text), Hint: hint, Detail: c.Detail, List: c.List}
	if c.Bytes != 0 {
		e.Bytes = &c.Bytes
	}
	if c.Span != 0 {
		s := c.Span.Seconds()
		e.Seconds = &s
	}
	a.screen.Emit(ui.Event{Type: "check", Check: &e})
	a.screen.Data(string(c.Level) + strings.Repeat(" ", 6-len(c.Level)) + text)
	if hint != "" {
		a.screen.Data("      hint: " + hint)
	}
}

// checkText puts a finding into words.
func checkText(c node.Check) (text, hint string) {
	w, ok := doctorWords[c.Finding]
	if !ok {
		w.text = string(c.Finding)
	}
	list := make([]string, len(c.List))
	for i, s := range c.List {
		list[i] = show.Name(s)
		if s == "" { // an interface on a system that names none
			list[i] = "the default one"
		}
		if word, ok := lostWords[s]; ok && c.Finding == node.TargetLoses {
			list[i] = word
		}
	}
	text = strings.NewReplacer("{detail}", show.Name(c.Detail), "{list}", strings.Join(list, ", "), "{bytes}", ui.Bytes(c.Bytes),
		"{span}", ui.Span(c.Span), "{ms}", roundTrip(c.Span)).Replace(w.text)
	if c.Bytes < 0 {
		text = strings.Replace(text, ui.Bytes(c.Bytes), "an unknown number of bytes", 1)
	}
	if c.Level == node.LevelBad {
		hint = w.hint
	}
	return text, hint
}

func roundTrip(d time.Duration) string { return ui.Count(max(d.Milliseconds(), 1)) + " ms" }

// lostWords say what a file system does not keep.
var lostWords = map[string]string{
	node.LostCase:      "names that differ in upper and lower case only (one is renamed)",
	node.LostNames:     "some names as they are (they are renamed)",
	node.LostLongNames: "names of 255 bytes (they are shortened)",
	node.LostXAttrs:    "extended attributes",
	node.LostPerms:     "permissions",
	node.LostTimes:     "times to the fraction of a second",
}

// doctorWords gives the sentence for each finding, and the hint where it is bad.
var doctorWords = map[node.Finding]struct{ text, hint string }{
	node.TookTooLong: {"looking took longer than {span} and was given up", "a disk or a network share that hangs does this; unmount it, or name another directory"},

	node.TargetFree:     {"the target {detail} may be written and has {bytes} free", ""},
	node.TargetNew:      {"the target {detail} does not exist and can be made; {bytes} are free there", ""},
	node.TargetLow:      {"the target {detail} may be written, but only {bytes} are free; the preview says whether that is enough", ""},
	node.TargetFull:     {"the target {detail} is full: {bytes} are free", "make room there, or choose another directory"},
	node.TargetNoDir:    {"the target {detail} is no directory, or below something that is none", "choose another directory with --to"},
	node.TargetDenied:   {"the target {detail} may not be written", "choose a directory of your own, or change who may write this one"},
	node.TargetFails:    {"the target can't be used: {detail}", "choose another directory with --to"},
	node.TargetKeepsAll: {"the target's file system keeps names, times, permissions and extended attributes", ""},
	node.TargetLoses:    {"the target's file system does not keep {list}", ""},

	node.StatePrivate: {"the state directory {detail} is private and may be written", ""},
	node.StateOpen:    {"others on this device may look into the state directory {detail}, which holds keys", "chmod 700 that directory"},
	node.StateDenied:  {"the state directory {detail} can't be written", "change who owns it, make room, or name another one with --state"},
	node.StateFree:    {"{bytes} are free where the state lies", ""},
	node.StateFull:    {"the disk with the state is full: {bytes} are free", "make room; without it no transfer can be continued after a crash"},

	node.TransfersNone:       {"no transfer is unfinished", ""},
	node.TransfersUnfinished: {"unfinished: {list}; `decant status` tells more", ""},
	node.TransfersBroken:     {"the transfers of this device can't be read: {detail}", "is the state directory on a disk that fails, or was it written by a newer version?"},

	node.Addresses:          {"this device is at {list}", ""},
	node.NoAddress:          {"this device has no address on any network", "connect it to a network; a stick works without: `decant send --to folder:DIR`"},
	node.SeenAs:             {"the relay sees this device at its own address {detail}: there is no NAT between them", ""},
	node.SeenByNAT:          {"this device is behind a NAT: the relay sees it at {detail}, with its own port, which makes direct connections easy", ""},
	node.SeenByRewritingNAT: {"this device is behind a NAT that changes ports: the relay sees it at {detail}; direct connections through it may not come about", ""},

	node.ServerSet:      {"the server is {detail} with the identity …{list}", ""},
	node.ServerUnset:    {"no server is set: only devices on one network, and sticks, can be used; `decant use` remembers a server", ""},
	node.ServerNeeded:   {"no server is set, and the stored route needs one", serverHint},
	node.ServerResolves: {"the server's name leads to {list}", ""},
	node.ServerUnknown:  {"the server's name {detail} leads nowhere", "is it spelled right, and is this device online?"},
	node.FastReached:    {"the server answers on the fast lane (TCP), in {ms}", ""},
	node.FastFails:      {"the server does not answer on the fast lane (TCP): {detail}", ""},
	node.QUICReached:    {"the server answers over libp2p's QUIC (UDP), in {ms}", ""},
	node.QUICFails:      {"the server does not answer over libp2p's QUIC (UDP): {detail}", ""},
	node.UDPBlocked:     {"UDP seems to be blocked on the way: QUIC gets {detail} where TCP gets through; direct connections through routers will be rare", ""},
	node.TCPReached:     {"the server answers over libp2p's TCP, in {ms}", ""},
	node.TCPFails:       {"the server does not answer over libp2p's TCP: {detail}", ""},
	node.ServerUnreachable: {"the server {detail} can't be reached on any carrier that may be used",
		"is this device online, is `decant serve` running there, and does a firewall let its port through?"},
	node.ServerOther: {"someone else answers at the server's address: …{detail}",
		"ask whoever runs it; if they did not change its key, somebody is in between: use another network"},
	node.ServerVersion:   {"the server has the pinned identity and speaks our version of the protocol", ""},
	node.VersionDiffers:  {"the server speaks another version of the protocol", "bring the older of the two up to date; `decant version` shows yours"},
	node.ServerRefuses:   {"the server is reached, but does not answer as it should: {detail}", "try again; if it stays so, tell whoever runs it"},
	node.ServerLimits:    {"the server takes at most {bytes} for one transfer and keeps it for at most {span}", ""},
	node.ServerRoom:      {"the server has room for at least {bytes}", ""},
	node.ServerHasNoRoom: {"the server has no room for a new transfer", "try again later, or ask whoever runs it for more"},
	node.ClockAgrees:     {"this device's clock agrees with the server's", ""},
	node.ClockAhead:      {"this device's clock is {span} ahead of the server's: set it right, since what expires, and when, depends on it", ""},
	node.ClockBehind:     {"this device's clock is {span} behind the server's: set it right, since what expires, and when, depends on it", ""},
	node.Relays:          {"the server at {detail} relays between devices that can't reach each other", ""},
	node.RelaysNot:       {"the server does not relay: devices that can't reach each other use its storage", ""},
	node.RelayUnknown:    {"whether the server relays could not be asked, since libp2p does not reach it", ""},

	node.NearbyOff:   {"devices nearby were not looked for: the direct route is switched off", ""},
	node.NearbyWorks: {"devices nearby can be found (multicast DNS) on {list}, unless the network keeps them apart", ""},
	node.NearbyPartly: {"multicast DNS does not work on {list}; it does elsewhere, so devices nearby can be found there",
		""},
	node.NearbyFails: {"multicast DNS works on no interface ({list}): devices nearby are found through the server only", ""},
	node.NearbyMissing: {"multicast DNS works on no interface ({list}), so that a code finds no device nearby",
		"let UDP port 5353 through the firewall, or use a server or a stick"},
}
