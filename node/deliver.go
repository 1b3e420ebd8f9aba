package node

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/target/folder"
)

// Delivery is what would be done with records in the targets that a person has named.
type Delivery struct {
	Parts     []deliver.Part `json:"parts"`
	Conflicts int64          `json:"conflicts"`
	// Untaken counts by kind the records that no target takes. A transfer has them in its directory; an import brings them
	// nowhere.
	Untaken map[string]int64 `json:"untaken,omitempty"`

	d *deliver.Delivery
}

// Each tells of every record: what is to be done with it, and what was.
func (d *Delivery) Each(f func(goal string, s *deliver.Step, o *deliver.Outcome) error) error {
	return d.d.Each(f)
}

func newDelivery(d *deliver.Delivery, untaken map[string]int64) *Delivery {
	return &Delivery{Parts: d.Summary(), Conflicts: d.Conflicts(), Untaken: untaken, d: d}
}

// DeliveryChoice is a person's answer to a Delivery.
type DeliveryChoice struct {
	Apply bool
	// Resolve is asked about each conflict; nil keeps both.
	Resolve func(s *deliver.Step) (deliver.Choice, error)
}

// deliveryLog is deliver.Log in a transfer's journal. Records are personal, some are
// secrets: the values are sealed.
type deliveryLog struct{ j *journal.Journal }

const tagDelivery = 'D'

func (l deliveryLog) key(k string) []byte { return append([]byte{tagDelivery}, k...) }

func (l deliveryLog) Put(entries []deliver.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	b := l.j.Batch()
	for _, e := range entries {
		b.PutSecret(l.key(e.Key), e.Value)
	}
	return b.Commit()
}

func (l deliveryLog) Get(k string) ([]byte, error) {
	b, err := l.j.GetSecret(l.key(k))
	if errors.Is(err, journal.ErrNotFound) {
		return nil, nil
	}
	return b, err
}

func (l deliveryLog) Each(prefix string, f func(string, []byte) error) error {
	return l.j.EachSecret(l.key(prefix), func(k, v []byte) error { return f(string(k[1:]), v) })
}

// stagedRecords yields the records of the containers in staging.
func stagedRecords(t *folder.Target, plan *preview.Plan) deliver.Records {
	return func(ctx context.Context, k item.Kind, each func(item.Record) error) error {
		for n := 1; n <= plan.Pages(); n++ {
			page, err := plan.Page(n)
			if err != nil {
				return err
			}
			for i := range page.Entries {
				e := &page.Entries[i]
				if e.Kind != k || !e.Staged() || e.State != preview.Settled {
					continue
				}
				if err := splitFile(k, e.SourcePath(), func() (io.ReadCloser, error) { return t.Tree().OpenRead(e.Dest) }, each); err != nil {
					return err
				}
			}
		}
		return ctx.Err()
	}
}

// splitFile yields the records of one container.
func splitFile(k item.Kind, path string, open func() (io.ReadCloser, error), each func(item.Record) error) error {
	f, err := open()
	if err != nil {
		return err
	}
	data, err := io.ReadAll(io.LimitReader(f, kind.MaxRecordFile+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if len(data) > kind.MaxRecordFile || kind.TooMany(k, data) {
		return each(item.Record{Kind: k, Label: path, From: path})
	}
	for _, r := range kind.Rules(k).Split(path, data) {
		if err := each(r); err != nil {
			return err
		}
	}
	return nil
}

// prepareDelivery decides about the records for the targets, and asks the person, before
// anything is written anywhere.
func (r *receiving) prepareDelivery(ctx context.Context) error {
	if len(r.meta.Into) == 0 || r.st.Deliver != "" {
		return nil
	}
	goals, done, err := r.n.cfg.openGoals(ctx, r.meta.Into)
	if err != nil {
		return err
	}
	defer done()
	d, err := deliver.Prepare(ctx, deliveryLog{r.t.j}, goals, stagedRecords(r.target, r.plan), deliver.Options{Region: r.meta.Region, Kinds: r.st.Kinds, Dir: r.t.dir})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTarget, err)
	}
	kill.Point(kill.ReceiverDeliverPlanned)
	if err := askPerson(ctx, d, nil, r.opts.ConfirmDelivery); err != nil {
		return err
	}
	r.st.Deliver = deliverAccepted
	return r.t.save(&r.st)
}

// askPerson shows a delivery to the person and notes what they decide.
func askPerson(ctx context.Context, d *deliver.Delivery, untaken map[string]int64, confirm func(context.Context, *Delivery) (DeliveryChoice, error)) error {
	if confirm == nil {
		return ErrDeclined
	}
	c, err := confirm(ctx, newDelivery(d, untaken))
	if err != nil {
		return err
	}
	if !c.Apply {
		return ErrDeclined
	}
	if c.Resolve == nil {
		return nil
	}
	return d.Resolve(c.Resolve)
}

// States of a delivery in state.Deliver.
const (
	deliverAccepted = "accepted" // the person said yes
	deliverDone     = "done"
)

// deliver carries out the accepted delivery.
func (r *receiving) deliver(ctx context.Context) error {
	if r.st.Deliver != deliverAccepted {
		return nil
	}
	res, err := r.n.deliver(ctx, r.t, r.meta.Into)
	if err != nil {
		return err
	}
	r.result.Delivered = res
	r.st.Deliver = deliverDone
	return r.t.save(&r.st)
}

// deliver carries out the delivery in a transfer's journal.
func (n *Node) deliver(ctx context.Context, t *transferDir, into []string) (*deliver.Result, error) {
	goals, done, err := n.cfg.openGoals(ctx, into)
	if err != nil {
		return nil, err
	}
	defer done()
	d, err := deliver.Load(deliveryLog{t.j}, goals, t.dir)
	if err != nil {
		return nil, err
	}
	m := &meter{n: n, t: t, stage: item.StageApplying}
	res, err := d.Apply(ctx, func(records, total int64) {
		m.total.Items = total
		if records%64 == 0 || records == total {
			m.report(records, 0, 0)
		}
	})
	if err != nil {
		return res, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	return res, nil
}

// undoDelivery takes back what was brought into targets.
func (n *Node) undoDelivery(ctx context.Context, t *transferDir, into []string) (*deliver.Undone, error) {
	goals, done, err := n.cfg.openGoals(ctx, into)
	if err != nil {
		return nil, err
	}
	defer done()
	d, err := deliver.Load(deliveryLog{t.j}, goals, t.dir)
	if errors.Is(err, deliver.ErrNone) {
		return &deliver.Undone{}, nil
	}
	if err != nil {
		return nil, err
	}
	u, err := d.Undo(ctx)
	if err != nil {
		return u, fmt.Errorf("undoing: %w", err)
	}
	return u, nil
}
