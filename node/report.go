package node

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/decant-dev/decant/node/apply"
	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/report"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/proto/id"
)

// Report tells everything that was lost or changed by a transfer or an import on this
// device: what could not be read as it is, what became of each record in the targets, and
// of the files those that did not arrive whole. Close it after writing: a long one is read
// from the transfer's journal again as it is written, and ends with ctx.
func (n *Node) Report(ctx context.Context, sid id.Session) (*report.Report, error) {
	t, err := n.openSession("", sid)
	if err != nil {
		return nil, err
	}
	m, err1 := t.meta()
	st, err2 := t.state()
	if err := errors.Join(err1, err2); err != nil {
		t.close()
		return nil, err
	}
	r := &report.Report{What: "import", When: n.cfg.Now(), Source: append(m.Sources, m.Paths...), Target: m.Into}
	switch m.Role {
	case roleSender:
		r.What, r.Target = "send", nil
	case roleReceiver:
		r.What = "receive"
		r.Target = append([]string{m.To}, m.Into...)
	}
	if st.State == session.Undone {
		r.Notes = append(r.Notes, "It was taken back afterwards.")
	}
	return r, r.Read(func(add func(report.Entry) error) error {
		for _, part := range []func(context.Context, *transferDir, func(report.Entry) error) error{addGathered, addPlaceless, addDelivered, addFiles} {
			if err := part(ctx, t, add); err != nil {
				return err
			}
		}
		return nil
	}, t.close)
}

// addGathered tells what could not be read as it is.
func addGathered(ctx context.Context, t *transferDir, add func(report.Entry) error) error {
	return addChanges(ctx, t, tagChange, add)
}

// addPlaceless tells which photos don't say any more where they were taken.
func addPlaceless(ctx context.Context, t *transferDir, add func(report.Entry) error) error {
	return addChanges(ctx, t, tagPlaceless, add)
}

func addChanges(ctx context.Context, t *transferDir, tag byte, add func(report.Entry) error) error {
	return t.j.EachSecret([]byte{tag}, func(k, v []byte) error {
		var c item.Change
		if err := json.Unmarshal(v, &c); err != nil {
			return err
		}
		c.Kind = item.Kind(k[1])
		return errors.Join(ctx.Err(), add(report.Of(c)))
	})
}

// addDelivered tells what became of each record.
func addDelivered(ctx context.Context, t *transferDir, add func(report.Entry) error) error {
	d, err := deliver.Load(deliveryLog{t.j}, nil, "")
	if errors.Is(err, deliver.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.Each(func(goal string, s *deliver.Step, o *deliver.Outcome) error {
		e := report.Entry{Kind: s.Kind, Book: s.Book, Record: s.Label, From: s.From, Verdict: s.Verdict, With: s.With, Why: s.Why, Changes: slices.Concat(s.Changes, o.Changes)}
		switch {
		case s.Refused:
			e.Refused = "the target can't take it"
			if n := len(s.Changes); n > 0 {
				e.Refused = s.Changes[n-1].Why
			}
		case o.State == deliver.Failed, o.State == deliver.Kept:
			e.Refused = o.Why
		}
		e.Decided = s.Decided()
		return errors.Join(ctx.Err(), add(e))
	})
}

// addFiles tells of the files of a receiver's collection that are not there, or not as they were.
func addFiles(ctx context.Context, t *transferDir, add func(report.Entry) error) error {
	plan, err := preview.Load(nil, &numbered{j: t.j, tag: tagPlan}, preview.Options{})
	if errors.Is(err, preview.ErrNoPlan) {
		return nil
	}
	if err != nil {
		return err
	}
	return apply.EachOutcome(plan, newUndoLog(t.j), func(e *preview.Entry, o item.Outcome, why item.Reason) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if why == item.ReasonNone && o != item.Failed && o != item.LostAtSource {
			return nil
		}
		c := item.Change{Kind: e.Kind, Record: e.SourcePath(), Effect: item.EffectAltered, Why: why.String()}
		if o == item.Failed || o == item.LostAtSource {
			c.Effect = item.EffectDropped
		}
		return add(report.Of(c))
	})
}
