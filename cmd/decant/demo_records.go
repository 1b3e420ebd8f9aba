package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/decant-dev/decant/cmd/decant/internal/handset"
	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
)

// records is the part of the demonstration in which data arrives as data: what the old
// device's apps have exported comes into the apps of a new device that has been used.
type records struct {
	exports handset.Exports
	apps    handset.Settled
	sources []string
	into    []string
	before  map[string][]byte // the new device's apps as they were, by file
	shown   *node.Delivery
}

// makeRecords makes up the exports of the old device and the apps of the new one.
func (d *demo) makeRecords() (err error) {
	r := &records{before: map[string][]byte{}}
	if r.exports, err = handset.Export(filepath.Join(d.dir, "old", "exports"), handset.Options{}); err != nil {
		return err
	}
	apps := filepath.Join(d.dir, "apps")
	if r.apps, err = handset.Settle(apps, handset.Options{}); err != nil {
		return err
	}
	x := &r.exports
	r.sources = []string{"vcf:" + x.Contacts, "ics:" + x.Calendar, "smsxml:" + x.Messages, "smsxml:" + x.Calls, "bookmarks:" + x.Bookmarks, "notes:" + x.Notes, "wifi:" + x.Networks}
	r.into = []string{"vcf:" + r.apps.Contacts, "ics:" + r.apps.Calendar, "bookmarks:" + r.apps.Bookmarks, "smsxml:" + filepath.Join(apps, "sms.xml"), "smsxml:" + filepath.Join(apps, "calls.xml"),
		"notes:" + filepath.Join(apps, "Notes"), "wifi:" + filepath.Join(apps, "networks.mobileconfig")}
	if err := os.Mkdir(filepath.Join(apps, "Notes"), 0o700); err != nil {
		return err
	}
	for _, f := range []string{r.apps.Contacts, r.apps.Calendar, r.apps.Bookmarks} {
		if r.before[f], err = os.ReadFile(f); err != nil {
			return err
		}
	}
	d.records = r
	d.step("old device", "apps have exported contacts, events, messages, calls, bookmarks, notes and networks")
	d.step("new device", "its own apps hold a few contacts, events and bookmarks already")
	return nil
}

// confirmRecords shows what would become of the records, and says yes; of what contradicts each other both is kept.
func (d *demo) confirmRecords(_ context.Context, delivery *node.Delivery) (node.DeliveryChoice, error) {
	d.screen.Flush()
	d.screen.Emit(ui.Event{Type: "delivery", Delivery: delivery})
	d.step("new device", "looks at what would come into its apps, and says yes; where two contradict each other both are kept")
	d.screen.Lines(indent(ui.DeliveryLines(delivery, false))...)
	d.screen.Lines("")
	d.records.shown = delivery
	return node.DeliveryChoice{Apply: true}, nil
}

// checkRecords looks at what has come of the records.
func (d *demo) checkRecords(ctx context.Context, res *node.ReceiveResult) error {
	r := d.records
	if r.shown == nil || res.Delivered == nil {
		d.check(false, "records came into the apps")
		return nil
	}
	var merged, conflicts, refused, lost int64
	for _, p := range r.shown.Parts {
		merged, conflicts, refused, lost = merged+p.Merge, conflicts+p.Conflict, refused+p.Refused, lost+p.Changes[item.EffectDropped.String()]
	}
	d.check(res.Delivered.Written > 0 && res.Delivered.Failed == refused, "%s came into the apps: %d merged, %d in conflict and kept beside each other; %d are of a sort that the apps don't have",
		ui.Plural(res.Delivered.Written, "record"), merged, conflicts, refused)
	book, err := os.ReadFile(r.apps.Contacts)
	if err != nil {
		return err
	}
	has := func(texts ...string) bool {
		return !slices.ContainsFunc(texts, func(t string) bool { return !bytes.Contains(book, []byte(t)) })
	}
	d.check(merged > 0 && has("rosa@example.org", "r.quinn@example.com", "Choir", "Friends"), "Rosa Quinn has what both devices knew of her")
	d.check(has("1979-07-15", "1979-07-16"), "Tomás Eriksson keeps his birthday, and the other one beside it")
	agenda, err := os.ReadFile(r.apps.Calendar)
	if err != nil {
		return err
	}
	d.check(conflicts > 0 && bytes.Contains(agenda, []byte("20260605T091500")) && bytes.Contains(agenda, []byte("20260606T091500")), "both versions of the flight are in the calendar")
	report := filepath.Join(d.dir, "report.html")
	rep, err := d.fresh.Report(ctx, res.Session)
	if err != nil {
		return err
	}
	defer rep.Close()
	if err := writeReport(report, rep.WriteHTML); err != nil {
		return err
	}
	d.check(lost > 0, "%s that the apps can't keep, each listed in report.html", ui.Plural(lost, "detail"))
	if err := d.again(ctx); err != nil {
		return err
	}
	return d.takeBack(ctx)
}

// again imports the same once more: nothing may be added.
func (d *demo) again(ctx context.Context) error {
	res, err := d.fresh.Import(ctx, node.ImportOptions{Sources: d.records.sources, Into: d.records.into, Confirm: yes})
	if err != nil {
		return err
	}
	d.check(res.Delivered.Written == 0 && res.Delivered.Same > 0, "the same once more adds nothing: %s were there already", ui.Plural(res.Delivered.Same, "record"))
	return nil
}

func yes(context.Context, *node.Delivery) (node.DeliveryChoice, error) {
	return node.DeliveryChoice{Apply: true}, nil
}

// takeBack brings the contacts into another copy of the new device's address book and takes them out again.
func (d *demo) takeBack(ctx context.Context) error {
	r := d.records
	before := r.before[r.apps.Contacts]
	other := filepath.Join(d.dir, "apps", "undone.vcf")
	if err := os.WriteFile(other, before, 0o600); err != nil {
		return err
	}
	res, err := d.fresh.Import(ctx, node.ImportOptions{Sources: r.sources[:1], Into: []string{"vcf:" + other}, Confirm: yes})
	if err != nil {
		return err
	}
	between, err := os.ReadFile(other)
	if err != nil {
		return err
	}
	undone, err := d.fresh.Undo(ctx, res.Session)
	if err != nil {
		return err
	}
	after, err := os.ReadFile(other)
	if err != nil {
		return err
	}
	d.check(!bytes.Equal(between, before) && bytes.Equal(after, before) && undone.Records.Refused == 0,
		"undo: %s brought into a copy of the address book and taken back, which is byte for byte what it was", ui.Plural(res.Delivered.Written, "contact"))
	return nil
}
