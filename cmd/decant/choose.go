package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
)

// offer is one line of what can be moved from this device.
type offer struct {
	node.Offer
	chosen bool
}

// choose looks for what can be moved from this device and lets the person say what of it
// is wanted.
func (a *app) choose(ctx context.Context, cfg node.Config, o sendFlags) (paths, sources []string, err error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, nil, err
	}
	var offers []offer
	some := false
	for _, o := range node.Discover(ctx, cfg, home) {
		if can := movable(&o); can || worthSaying(&o) {
			offers = append(offers, offer{o, can})
			some = some || can
		}
	}
	if !some {
		if !a.screen.JSON() && len(offers) > 0 {
			a.screen.Lines(offerLines(offers)...)
		}
		return nil, nil, usage("for example: decant send ~/Pictures vcf:contacts.vcf", "nothing was found on this device that could be moved by itself: name it")
	}
	if !o.all {
		if err := a.askOffers(ctx, offers, o.strip); err != nil {
			return nil, nil, err
		}
	}
	for i := range offers {
		o := &offers[i]
		switch {
		case !o.chosen:
		case node.IsPlace(o.Name):
			sources = append(sources, o.Name)
		default:
			paths = append(paths, o.Name)
		}
	}
	if len(paths)+len(sources) == 0 {
		return nil, nil, usage("", "nothing was chosen")
	}
	return paths, sources, nil
}

// movable reports whether something of an offer can be moved.
func movable(o *node.Offer) bool {
	if o.Err != nil {
		return false
	}
	for _, f := range o.Found {
		if f.Can && f.Items != 0 {
			return true
		}
	}
	return false
}

// worthSaying reports whether something is there that can't be moved, for a reason.
func worthSaying(o *node.Offer) bool {
	return o.Err != nil || slices.ContainsFunc(o.Found, func(f item.Found) bool { return f.Why != "" })
}

func (a *app) askOffers(ctx context.Context, offers []offer, strip bool) error {
	if a.screen.JSON() {
		a.screen.Emit(ui.Event{Type: "offers", Offers: jsonOffers(offers)})
	}
	a.screen.Lines("", "This can be moved from this device:", "")
	a.screen.Lines(offerLines(offers)...)
	if strip {
		a.screen.Lines("", "Photos and films will not say where they were taken.")
	}
	a.screen.Emit(ui.Event{Type: "question", Question: &ui.Question{What: "choose"}})
	for {
		answer, err := a.screen.Ask(ctx, "Send what is marked? [y]es, [n]o, or numbers to change the marks:")
		if err != nil {
			return err
		}
		switch low := strings.ToLower(strings.TrimSpace(answer)); low {
		case "y", "yes":
			return nil
		case "n", "no":
			return &ui.Problem{Name: "declined", Text: "declined; nothing was sent", Code: ui.Paused, Err: node.ErrDeclined}
		default:
			if err := toggle(offers, low); err != nil {
				a.screen.Lines(err.Error())
				continue
			}
			a.screen.Lines(offerLines(offers)...)
		}
	}
}

// toggle changes the marks of the numbers in a list.
func toggle(offers []offer, list string) error {
	var numbers []int
	for _, word := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' }) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > len(offers) {
			return fmt.Errorf("please answer y, n, or numbers from 1 to %d", len(offers))
		}
		numbers = append(numbers, n-1)
	}
	if len(numbers) == 0 {
		return errors.New("please answer y, n, or numbers")
	}
	for _, n := range numbers {
		offers[n].chosen = !offers[n].chosen && movable(&offers[n].Offer)
	}
	return nil
}

func offerLines(offers []offer) (lines []string) {
	for i := range offers {
		o := &offers[i]
		mark := " "
		if o.chosen {
			mark = "x"
		}
		lines = append(lines, fmt.Sprintf("%3d [%s] %s", i+1, mark, show.Name(o.Name)))
		if o.Err != nil {
			lines = append(lines, "        can't be read: "+show.Name(o.Err.Error()))
		}
		for _, f := range o.Found {
			lines = append(lines, "        "+foundLine(&f))
		}
	}
	return lines
}

func foundLine(f *item.Found) string {
	count := "some " + ui.KindName(f.Kind)
	if f.Items >= 0 {
		count = ui.Plural(f.Items, f.Kind.String())
	}
	if f.Bytes >= 0 {
		count += ", " + ui.Bytes(f.Bytes)
	}
	if f.Book != "" {
		count += " in " + show.Name(f.Book)
	}
	switch {
	case !f.Can:
		count += ": can't be moved, " + show.Name(f.Why)
	case f.Why != "":
		count += " (" + show.Name(f.Why) + ")"
	}
	return count
}

func jsonOffers(offers []offer) []ui.Offer {
	out := make([]ui.Offer, 0, len(offers))
	for i := range offers {
		o := &offers[i]
		j := ui.Offer{Name: o.Name, Chosen: o.chosen, Found: []ui.Found{}}
		if o.Err != nil {
			j.Error = o.Err.Error()
		}
		for _, f := range o.Found {
			j.Found = append(j.Found, ui.Found{Kind: f.Kind.String(), Book: f.Book, Where: f.Where, Items: f.Items, Bytes: f.Bytes, Can: f.Can, Why: f.Why})
		}
		out = append(out, j)
	}
	return out
}
