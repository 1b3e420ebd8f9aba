package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

// The records of -records: a person with many friends who has never thrown a message away.
const (
	manyContacts = 10_000
	manyMessages = 200_000
)

// records measures how data moves as data: contacts and messages are gathered from exports, sent through a server, and
// brought into an address book that has half of the contacts already and into an archive that has half of the messages.
func records(ctx context.Context, o options) error {
	work, err := os.MkdirTemp(o.dirs[0], "decant-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	contacts, messages := int(manyContacts*o.scale), int(manyMessages*o.scale)
	src := filepath.Join(work, "exports")
	if err := export(src, contacts, messages, o.seed); err != nil {
		return err
	}
	rs := map[string][]phase{}
	for run := range o.runs {
		fmt.Fprintf(os.Stderr, "run %d of %d\n", run+1, o.runs)
		at := filepath.Join(work, fmt.Sprint(run))
		if err := export(filepath.Join(at, "apps"), contacts/2, messages/2, o.seed); err != nil {
			return err
		}
		if err := o.fill.fill(); err != nil {
			return err
		}
		phases, err := runRecords(ctx, src, at)
		if err != nil {
			return err
		}
		for _, p := range phases {
			p.tool = "decant"
			rs["decant "+p.name] = append(rs["decant "+p.name], p)
		}
		if err := os.RemoveAll(at); err != nil {
			return err
		}
	}
	fmt.Printf("\n## %d contacts and %d messages, half of them there already, on %s\n\n", contacts, messages, fileSystem(work))
	printTable(rs, "decant")
	return nil
}

// export makes an address book and an archive of messages.
func export(dir string, contacts, messages int, seed uint64) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	file := func(name string, n int, make func(io.Writer, int, uint64) (corpus.Contents, error)) error {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		_, err = make(f, n, seed)
		return errors.Join(err, f.Close())
	}
	return errors.Join(file("contacts.vcf", contacts, corpus.Contacts), file("sms.xml", messages, corpus.Messages))
}

func runRecords(ctx context.Context, src, at string) ([]phase, error) {
	bin, err := env.Binary(env.Plain)
	if err != nil {
		return nil, err
	}
	srv, err := env.StartServer(ctx, bin, filepath.Join(at, "server"), env.ServerOptions{})
	if err != nil {
		return nil, err
	}
	defer srv.Close()
	device := func(name string, args ...string) env.Command {
		return env.Command{Path: bin, Args: append([]string{"--json", "--server", srv.Address, "--state", filepath.Join(at, name)}, args...)}
	}
	places := func(dir string) []string {
		return []string{"vcf:" + filepath.Join(dir, "contacts.vcf"), "smsxml:" + filepath.Join(dir, "sms.xml")}
	}
	sent, err := once(ctx, device("old", append([]string{"send", "--ticket"}, places(src)...)...))
	if err != nil {
		return nil, err
	}
	var into []string
	for _, p := range places(filepath.Join(at, "apps")) {
		into = append(into, "--into", p)
	}
	receive := device("new", slices.Concat([]string{"receive", "--ticket", "--ticket-fd", "3", "--yes", "--region", "DE", "--to", filepath.Join(at, "to")}, into)...)
	receive.Secret = sent.Ticket()
	received, err := once(ctx, receive)
	if err != nil {
		return nil, err
	}
	again, err := once(ctx, device("new", slices.Concat([]string{"import", "--yes", "--region", "DE"}, places(src), into)...))
	if err != nil {
		return nil, err
	}
	if d := again.Outcome().Delivered; d == nil || d.Written != 0 || d.Failed != 0 {
		return nil, fmt.Errorf("the same records once more: %+v", d)
	}
	undone, err := once(ctx, device("new", "undo", "--yes", received.Outcome().Session))
	if err != nil {
		return nil, err
	}
	served, err := srv.Stop()
	if err != nil {
		return nil, err
	}
	return []phase{phaseOf("1 send", true, sent), phaseOf("2 receive, merge", true, received), phaseOf("again, import", false, again), phaseOf("again, undo", false, undone),
		phaseOf("server", false, served)}, nil
}
