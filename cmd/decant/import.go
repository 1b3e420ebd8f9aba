package main

import (
	"context"
	"os"
	"strings"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/spf13/cobra"
)

// deliveryFlags are those of every command that brings records into targets.
type deliveryFlags struct {
	country   string
	conflicts string
}

func addIntoFlag(cmd *cobra.Command, into *[]string) {
	cmd.Flags().StringArrayVar(into, "into", nil, "bring the records into this `target` too, for example vcf:friends.vcf or dav:https://dav.example.org; may be repeated")
}

func addDeliveryFlags(cmd *cobra.Command, o *deliveryFlags) {
	f := cmd.Flags()
	f.StringVar(&o.country, "region", "", "`country` whose telephone numbers have no prefix, as DE or US (default from the locale)")
	f.StringVar(&o.conflicts, "conflicts", "ask", "what becomes of records that contradict each other: ask, both, old or new")
	cmd.RegisterFlagCompletionFunc("conflicts", cobra.FixedCompletions([]string{"ask", "both", "old", "new"}, cobra.ShellCompDirectiveNoFileComp))
}

// region is the country of the flag, or of the locale.
func (o *deliveryFlags) region() string {
	if o.country != "" {
		return strings.ToUpper(o.country)
	}
	for _, name := range []string{"LC_ALL", "LC_TELEPHONE", "LANG"} {
		v, _, _ := strings.Cut(os.Getenv(name), ".")
		if _, country, ok := strings.Cut(v, "_"); ok && len(country) == 2 {
			return strings.ToUpper(country)
		}
	}
	return ""
}

// checkPlaces refuses names that are no sources or targets before anything else is done.
func checkPlaces(names []string, source bool) error {
	for _, name := range names {
		if err := node.CheckPlace(name, source); err != nil {
			what := "target"
			if source {
				what = "source"
			}
			return usage("see `decant import --help`", "%s is no %s: %v", show.Name(name), what, err)
		}
	}
	return nil
}

func (a *app) importCmd() *cobra.Command {
	var into []string
	var kinds string
	var yes bool
	o := deliveryFlags{}
	cmd := &cobra.Command{
		Use:   "import SOURCE... --into TARGET",
		Short: "Bring contacts, calendars, messages, bookmarks and more from one place into another",
		Long: `Reads records from sources and brings them into targets on this device: an
address book into a server, a browser's bookmarks into another browser. What is
there already is not added again, what is meant to be the same is merged, and
what a target can't keep is told before anything is written. ` + "`decant undo`" + `
takes it back, ` + "`decant report`" + ` lists every change.

Sources and targets:

` + placesHelp(),
		Example: `  decant import vcf:old-phone.vcf --into dav:https://ann@dav.example.org
  decant import bookmarks:~/.mozilla/firefox/x.default --into bookmarks:saved.html`,
		Args: args(cobra.MinimumNArgs(1), "name a source"),
		RunE: func(cmd *cobra.Command, argv []string) error {
			if len(into) == 0 {
				return usage("for example: decant import vcf:old.vcf --into vcf:new.vcf", "--into is missing: say where the records shall go")
			}
			argv, into = expand(argv), expand(into)
			if err := checkPlaces(argv, true); err != nil {
				return err
			}
			if err := checkPlaces(into, false); err != nil {
				return err
			}
			chosen, err := parseKinds(kinds)
			if err != nil {
				return err
			}
			a.interrupted = "stopping; the same command continues"
			return a.withEngine(func(eng engine, _ node.Config) error {
				return a.runImport(cmd.Context(), eng, node.ImportOptions{Sources: argv, Into: into, Kinds: chosen, Region: o.region(), Confirm: a.deliveryConfirmer(&yes, &o)})
			})
		},
	}
	addIntoFlag(cmd, &into)
	addDeliveryFlags(cmd, &o)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "apply without asking")
	cmd.Flags().StringVar(&kinds, "kinds", "", "only these `kinds`, separated by commas")
	cmd.RegisterFlagCompletionFunc("kinds", completeKinds)
	return cmd
}

// expand replaces the tilde that the shell leaves alone behind a colon.
func expand(names []string) []string {
	home, err := os.UserHomeDir()
	if err != nil {
		return names
	}
	out := make([]string, len(names))
	for i, name := range names {
		if scheme, arg, ok := strings.Cut(name, ":"); ok && strings.HasPrefix(arg, "~/") {
			name = scheme + ":" + home + arg[1:]
		}
		out[i] = name
	}
	return out
}

// placesHelp lists the schemes.
func placesHelp() string {
	var b strings.Builder
	for _, p := range node.Places() {
		use := "source"
		switch {
		case p.Source && p.Target:
			use = "source, target"
		case p.Target:
			use = "target"
		}
		b.WriteString("    " + p.Name + strings.Repeat(" ", max(1, 24-len(p.Name))) + p.What + " (" + use + ")\n")
	}
	return strings.TrimRight(b.String(), "\n")
}

func (a *app) runImport(ctx context.Context, eng engine, opts node.ImportOptions) error {
	moreMemory()
	res, err := eng.Import(ctx, opts)
	if err != nil {
		return err
	}
	a.screen.Flush()
	if res.Delivered.Failed > 0 {
		a.code = ui.LeftBehind
	}
	a.screen.Result(importResult{res.Session.String(), res.Delivered, res.Changes})
	if a.screen.JSON() {
		return nil
	}
	a.screen.Data(ui.DeliveredLine(res.Delivered))
	if res.Changes > 0 {
		a.screen.Say("%s could not be read as they are", ui.Plural(res.Changes, "detail"))
	}
	short := res.Session.Short()
	a.screen.Say("`decant report %s` lists every change, `decant undo %s` takes it back", short, short)
	return nil
}

type importResult struct {
	Session   string          `json:"session"`
	Delivered *deliver.Result `json:"delivered"`
	Changes   int64           `json:"source_changes"`
}

// askPassword gives the password of a source or target: from the environment, else the person types it, once.
func (a *app) askPassword(ctx context.Context, what string) (string, error) {
	if p := os.Getenv("DECANT_DAV_PASSWORD"); p != "" {
		return p, nil
	}
	a.asking.Lock()
	defer a.asking.Unlock()
	if p, ok := a.passwords[what]; ok {
		return p, nil
	}
	a.screen.Flush()
	a.screen.Emit(ui.Event{Type: "question", Question: &ui.Question{What: "password"}})
	p, err := a.screen.AskSecret(ctx, "Password of "+show.Name(what)+":")
	if err == nil {
		if a.passwords == nil {
			a.passwords = map[string]string{}
		}
		a.passwords[what] = p
	}
	return p, err
}

// deliveryConfirmer asks the person about a delivery as the flags want it.
func (a *app) deliveryConfirmer(yes *bool, o *deliveryFlags) func(context.Context, *node.Delivery) (node.DeliveryChoice, error) {
	return func(ctx context.Context, d *node.Delivery) (node.DeliveryChoice, error) {
		return a.confirmDelivery(ctx, d, *yes, o)
	}
}

// confirmDelivery shows what would become of the records and asks.
func (a *app) confirmDelivery(ctx context.Context, d *node.Delivery, yes bool, o *deliveryFlags) (node.DeliveryChoice, error) {
	a.screen.Flush()
	a.screen.Emit(ui.Event{Type: "delivery", Delivery: d})
	if !a.screen.JSON() {
		a.screen.Lines(ui.DeliveryLines(d, false)...)
	}
	resolve, err := a.resolver(ctx, o.conflicts, yes)
	if err != nil || yes {
		return node.DeliveryChoice{Apply: true, Resolve: resolve}, err
	}
	a.screen.Emit(ui.Event{Type: "question", Question: &ui.Question{What: "deliver"}})
	for {
		answer, err := a.screen.Ask(ctx, "Bring them in? [y]es, [n]o, [d]etails:")
		if err != nil {
			return node.DeliveryChoice{}, err
		}
		switch strings.ToLower(answer) {
		case "y", "yes":
			return node.DeliveryChoice{Apply: true, Resolve: resolve}, nil
		case "n", "no":
			return node.DeliveryChoice{}, nil
		case "d", "details":
			a.screen.Lines(ui.DeliveryLines(d, true)...)
		default:
			a.screen.Lines("Please answer y, n or d. Nothing has been written yet.")
		}
	}
}

// resolver answers conflicts by rule, or asks about each.
func (a *app) resolver(ctx context.Context, rule string, yes bool) (func(*deliver.Step) (deliver.Choice, error), error) {
	fixed := func(c deliver.Choice) func(*deliver.Step) (deliver.Choice, error) {
		return func(*deliver.Step) (deliver.Choice, error) { return c, nil }
	}
	switch {
	case rule == "both" || rule == "ask" && yes:
		return fixed(deliver.KeepBoth), nil
	case rule == "old":
		return fixed(deliver.KeepOld), nil
	case rule == "new":
		return fixed(deliver.TakeNew), nil
	case rule != "ask":
		return nil, usage("", "--conflicts wants ask, both, old or new")
	}
	return func(s *deliver.Step) (deliver.Choice, error) { return a.askConflict(ctx, s) }, nil
}

func (a *app) askConflict(ctx context.Context, s *deliver.Step) (deliver.Choice, error) {
	a.screen.Emit(ui.Event{Type: "question", Question: &ui.Question{What: "conflict"}})
	a.screen.Lines("", "Conflict: "+ui.RecordLine(deliver.Line{Record: s.Label, With: s.With, Why: s.Why}))
	for {
		answer, err := a.screen.Ask(ctx, "Keep [b]oth, the [o]ld one that is there, or the [n]ew one:")
		if err != nil {
			return 0, err
		}
		switch strings.ToLower(answer) {
		case "b", "both", "":
			return deliver.KeepBoth, nil
		case "o", "old":
			return deliver.KeepOld, nil
		case "n", "new":
			return deliver.TakeNew, nil
		}
	}
}
