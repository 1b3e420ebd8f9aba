package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/proto/id"
)

// ImportOptions say what is brought from where to where, on this device alone.
type ImportOptions struct {
	Sources []string // see Places
	Into    []string
	Kinds   []item.Kind // empty: all that Into takes
	Region  string      // country of numbers without a prefix (ISO 3166); "" is unknown
	// Confirm is shown what would become of the records before anything is written.
	Confirm func(ctx context.Context, d *Delivery) (DeliveryChoice, error)
}

// ImportResult is what became of an import.
type ImportResult struct {
	Session   id.Session // names it for Undo and Report
	Delivered *deliver.Result
	Changes   int64 // properties that could not be read as they are
}

// Import brings records from sources into targets without another device: the same plan,
// journal, undo and report as when a transfer brings them. One that was interrupted is
// continued by the same call.
func (n *Node) Import(ctx context.Context, opts ImportOptions) (*ImportResult, error) {
	sources, err := absolutePlaces(opts.Sources)
	if err != nil {
		return nil, err
	}
	into, err := absolutePlaces(opts.Into)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 || len(into) == 0 {
		return nil, ErrNothingToSend
	}
	t, err := n.unfinished(ctx, roleImport, func(m *meta, st *state) bool {
		return (st.State == session.New || st.State == session.Planned) && slices.Equal(m.Sources, sources) && slices.Equal(m.Into, into)
	}, func(*TransferStatus) bool { return false })
	if err == nil && t == nil {
		t, err = n.beginImport(&meta{Version: metaVersion, Role: roleImport, Created: n.cfg.Now(), Sources: sources, Into: into, Region: opts.Region})
	}
	if err != nil {
		return nil, err
	}
	ctx, cancel, err := n.pausable(ctx, t)
	if err != nil {
		t.close()
		return nil, err
	}
	defer cancel()
	res, planned, err := n.runImport(ctx, t, opts)
	cerr := t.close()
	if !planned { // nothing was written, and nothing is to be continued or undone
		cerr = errors.Join(cerr, os.RemoveAll(t.dir))
	}
	if cause := context.Cause(ctx); errors.Is(cause, ErrPaused) {
		return nil, errors.Join(ErrPaused, cerr)
	}
	return res, errors.Join(n.explain(err), cerr)
}

func (n *Node) beginImport(m *meta) (*transferDir, error) {
	st := state{State: session.New, Session: id.NewSession()}
	t, err := n.open(n.dirOf(roleImport, st.Session[:]))
	if err != nil {
		return nil, err
	}
	if err := t.j.Batch().PutJSON(keyMeta, m).PutJSON(keyState, &st).Commit(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (n *Node) runImport(ctx context.Context, t *transferDir, opts ImportOptions) (res *ImportResult, planned bool, err error) {
	m, err1 := t.meta()
	st, err2 := t.state()
	if err := errors.Join(err1, err2); err != nil {
		return nil, true, err
	}
	res = &ImportResult{Session: st.Session}
	n.event(item.Event{Type: "session", Session: &item.SessionNotice{ID: st.Session.String()}})
	if st.State != session.Planned {
		changes, err := n.planImport(ctx, t, &m, opts)
		if err != nil {
			return res, false, err
		}
		res.Changes = changes
		st.State = session.Planned
		if err := t.save(&st); err != nil {
			return res, true, err
		}
	} else {
		n.notice("resumed", "")
	}
	n.stage(item.StageApplying)
	if res.Delivered, err = n.deliver(ctx, t, m.Into); err != nil {
		return res, true, err
	}
	st.State = session.Applied
	if err := errors.Join(t.save(&st), t.forgetRecords()); err != nil {
		return res, true, err
	}
	n.stage(item.StageDone)
	return res, true, nil
}

func (n *Node) planImport(ctx context.Context, t *transferDir, m *meta, opts ImportOptions) (changes int64, err error) {
	n.stage(item.StageScanning)
	g, err := n.gather(ctx, t, m.Sources)
	if err != nil {
		return 0, err
	}
	goals, done, err := n.cfg.openGoals(ctx, m.Into)
	if err != nil {
		return 0, err
	}
	defer done()
	d, err := deliver.Prepare(ctx, deliveryLog{t.j}, goals, gatheredRecords(t.gatherDir()), deliver.Options{Region: m.Region, Kinds: opts.Kinds, Dir: t.dir})
	if err != nil {
		return 0, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	kill.Point(kill.ReceiverDeliverPlanned)
	untaken, dropped := missed(g.Records, d.Summary(), opts.Kinds)
	if err := putChanges(t.j, tagChange, append(g.Changes, dropped...)); err != nil {
		return 0, err
	}
	return int64(len(g.Changes)), askPerson(ctx, d, untaken, opts.Confirm)
}

// missed tells which records no target takes, though the person has not left them out.
func missed(records map[item.Kind]int64, parts []deliver.Part, chosen []item.Kind) (map[string]int64, []item.Change) {
	var changes []item.Change
	untaken := map[string]int64{}
	for _, k := range item.Kinds {
		n := records[k]
		taken := slices.ContainsFunc(parts, func(p deliver.Part) bool { return p.Kind == k.String() })
		if n == 0 || taken || len(chosen) > 0 && !slices.Contains(chosen, k) {
			continue
		}
		untaken[k.String()] = n
		changes = append(changes, item.Change{Kind: k, Record: fmt.Sprintf("all %d", n), Effect: item.EffectDropped, Why: "none of the targets takes records of this kind"})
	}
	return untaken, changes
}

// gatheredRecords yields the records of a directory that gather has made.
func gatheredRecords(dir string) deliver.Records {
	return func(ctx context.Context, k item.Kind, each func(item.Record) error) error {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return err
		}
		defer root.Close()
		return fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || kind.Of(path) != k {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			return splitFile(k, path, func() (io.ReadCloser, error) { return root.Open(path) }, each)
		})
	}
}

// undoImport takes back an import; ErrNoTransfer if the session is none.
func (n *Node) undoImport(ctx context.Context, sid id.Session) (*UndoResult, error) {
	t, err := n.openSession(roleImport, sid)
	if err != nil {
		return nil, err
	}
	defer t.close()
	m, err1 := t.meta()
	st, err2 := t.state()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	switch st.State {
	case session.Applied, session.Undone, session.Planned:
	default:
		return nil, ErrNotComplete
	}
	u, err := n.undoDelivery(ctx, t, m.Into)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	st.State = session.Undone
	return &UndoResult{Records: u}, t.save(&st)
}
