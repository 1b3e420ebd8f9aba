package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/apply"
	routefolder "github.com/decant-dev/decant/node/folder"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/manifest"
	"github.com/decant-dev/decant/node/pack"
	"github.com/decant-dev/decant/node/preview"
	"github.com/decant-dev/decant/node/remote"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/node/transfer"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/link"
	"github.com/decant-dev/decant/proto/wire"
)

// maxListed bounds the items that a result names; all are counted.
const maxListed = 1000

// shortPatience is how long a server is waited for that a transfer can do without.
const shortPatience = 8 * time.Second

// dial prepares the way to the server. It does no I/O. without says that the transfer can
// go on without the server if that does not answer.
func (n *Node) dial(who *identity, server id.Server, without bool) (*remote.Remote, error) {
	patience := time.Duration(0)
	if without {
		patience = shortPatience
	}
	return n.dialWithin(who, server, patience)
}

// dialWithin is dial with how long a server is waited for that has not answered yet.
func (n *Node) dialWithin(who *identity, server id.Server, patience time.Duration) (*remote.Remote, error) {
	carrier := link.Auto
	switch n.cfg.Carrier {
	case CarrierFast:
		carrier = link.Fast
	case CarrierLibp2p:
		carrier = link.Libp2p
	}
	return remote.New(remote.Config{Device: who.device, Server: server, Carrier: carrier, Conns: n.cfg.Streams + 4, FirstContact: patience, Notice: func(x remote.Notice) {
		code := "connection-restored"
		if x.Retrying {
			code = "retrying"
			n.cfg.Log.Info("retrying", "status", wire.StatusOf(x.Err).String())
		}
		n.notice(code, "")
	}})
}

// explain turns an error from below into one of this package's where there is one.
func (n *Node) explain(err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []struct{ from, to error }{
		{remote.ErrUnreachable, ErrUnreachable}, {remote.ErrOlder, ErrRollback}, {remote.ErrAnswer, ErrServerMisbehave}, {link.ErrWrongServer, ErrWrongServer},
		{manifest.ErrRollback, ErrRollback}, {transfer.ErrIntegrity, ErrIntegrity}, {folder.ErrNoSpace, ErrNoSpace},
		{routefolder.ErrAway, ErrFolder}, {routefolder.ErrDenied, ErrFolder}, {folder.ErrPath, ErrIntegrity}, {folder.ErrPieces, ErrIntegrity}, {apply.ErrMismatch, ErrIntegrity}, {seal.ErrOpen, ErrIntegrity},
	} {
		if errors.Is(err, known.from) && !errors.Is(err, known.to) {
			return fmt.Errorf("%w: %w", known.to, err)
		}
	}
	var refusal *wire.Error
	if !errors.As(err, &refusal) {
		return err
	}
	if to := meaning(refusal.Status); to != nil {
		return fmt.Errorf("%w: %w", to, err)
	}
	return err
}

// meaning says what a refusal of the server means for a session.
func meaning(s wire.Status) error {
	switch s {
	case wire.NotFound, wire.Expired, wire.Revoked, wire.Done:
		return ErrSessionOver
	case wire.AlreadyClaimed, wire.Forbidden:
		return ErrAlreadyClaimed
	case wire.QuotaSpace, wire.NoSpace, wire.QuotaCount:
		return ErrServerFull
	case wire.Version1:
		return ErrOlderVersion
	case wire.Busy, wire.Draining, wire.Internal:
		return ErrUnreachable
	}
	return nil
}

func receiptHash(signed []byte) [32]byte { return sha256.Sum256(signed) }

// parseReceipt verifies a stored receipt and turns it into the command's form; nil for none.
func parseReceipt(raw []byte, receiver id.Peer) (*Receipt, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	r, err := apply.ParseReceipt(raw, receiver)
	if err != nil {
		return nil, fmt.Errorf("%w: receipt", ErrIntegrity)
	}
	out := &Receipt{Session: r.Session, Epoch: r.Epoch, Commit: r.Commit.String(), Receiver: receiver.String(), At: r.At, Level: r.Level.String(),
		Kinds: map[string]map[string]item.Tally{}, SafeWipe: r.Complete(), Raw: raw}
	for i := range r.Kinds {
		k := map[string]item.Tally{}
		for o := item.Moved; o <= item.Failed; o++ {
			if t := r.Kinds[i].Of(o); t.Items > 0 {
				k[o.String()] = t
			}
		}
		out.Kinds[r.Kinds[i].Kind.String()] = k
	}
	return out, nil
}

// receipt returns the transfer's receipt for showing, nil if there is none. One that is not for
// the last epoch says nothing about what was sent since.
func (s *state) receipt(receiver id.Peer) (*Receipt, error) {
	r, err := parseReceipt(s.Receipt, receiver)
	if r != nil && r.Epoch != s.Epoch {
		r.SafeWipe = false
	}
	return r, err
}

// lossOf turns a line of a summary back into codes.
func lossOf(kind, path, reason, detail string) item.Loss {
	l := item.Loss{Path: path, Detail: detail}
	l.Kind, _ = item.ParseKind(kind)
	for r := item.Reason(1); r.Valid(); r++ {
		if r.String() == reason {
			l.Reason = r
		}
	}
	return l
}

func previewLoss(l preview.Loss) item.Loss { return lossOf(l.Kind, l.Path, l.Reason, l.Detail) }
func summaryLoss(l apply.Line) item.Loss   { return lossOf(l.Kind, l.Path, l.Reason, l.Detail) }

// openSession opens the transfer of a session in a role ("" is any).
func (n *Node) openSession(role string, sid id.Session) (*transferDir, error) {
	dirs, err := n.dirs()
	if err != nil {
		return nil, err
	}
	busy := false
	for _, dir := range dirs {
		if role != "" && filepath.Base(dir)[0] != role[0] {
			continue
		}
		t, err := n.open(dir)
		if errors.Is(err, ErrBusy) {
			busy = true
			continue
		}
		if err != nil {
			return nil, err
		}
		if st, err := t.state(); err == nil && st.Session == sid {
			return t, nil
		}
		t.close()
	}
	if busy {
		return nil, ErrBusy
	}
	return nil, ErrNoTransfer
}

// List tells of every transfer in the state directory, the newest first. Of one that
// another process is working on only what that process said last is known.
func (n *Node) List(ctx context.Context) ([]TransferStatus, error) {
	dirs, err := n.dirs()
	if err != nil {
		return nil, err
	}
	var out []TransferStatus
	for _, dir := range dirs {
		st, err := n.status(ctx, dir)
		if errors.Is(err, journal.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
			continue // died before its first record
		}
		if err != nil {
			return nil, err
		}
		out = append(out, *st)
	}
	return out, nil
}

func (n *Node) status(ctx context.Context, dir string) (*TransferStatus, error) {
	t, err := n.open(dir)
	if errors.Is(err, ErrBusy) {
		return askStatus(ctx, dir)
	}
	if err != nil {
		return nil, err
	}
	defer t.close()
	return t.status()
}

func (t *transferDir) status() (*TransferStatus, error) {
	m, err := t.meta()
	if err != nil {
		return nil, err
	}
	st, err := t.state()
	if err != nil {
		return nil, err
	}
	out := &TransferStatus{Session: st.Session, Role: m.Role, State: stateName(m.Role, &st), Paths: m.Paths, Sources: m.Sources, Into: m.Into, To: m.To, Server: m.Server, Folder: m.Folder, Direct: st.Home == homeDirect,
		Created: m.Created, Expires: st.Expires}
	out.Progress.ItemsTotal, out.Progress.BytesTotal = st.Items.Items, st.Items.Bytes
	if st.State == session.Stored || st.State == session.Applied || st.State == session.Done {
		out.Progress.ItemsDone, out.Progress.BytesDone = st.Items.Items, st.Items.Bytes
	}
	if !st.Peer.IsZero() {
		out.Peer = st.Peer.Short()
	}
	if r, err := st.receipt(t.receiver(&m, &st)); err == nil && r != nil {
		out.SafeWipe = r.SafeWipe
	}
	return out, nil
}

// receiver is the device whose receipt the state may hold.
func (t *transferDir) receiver(m *meta, st *state) id.Peer {
	if m.Role == roleSender {
		return st.Peer
	}
	if c, err := key.ParseCard(m.Card); err == nil {
		return c.Peer
	}
	return id.Peer{}
}

// stateName is the word that a person is shown.
func stateName(role string, st *state) string {
	if st.Paused && !st.State.Finished() {
		return "paused"
	}
	switch {
	case role == roleImport && st.State == session.New:
		return "planning"
	case role == roleImport && st.State == session.Planned:
		return "applying"
	}
	switch st.State {
	case session.New, session.Open:
		return "pairing"
	case session.Paired:
		if role == roleSender {
			return "sending"
		}
		return "waiting"
	case session.Planned:
		return "receiving"
	case session.Staged:
		return "applying"
	case session.Applied:
		if role == roleReceiver && !st.Posted {
			return "applying" // the old device does not know yet
		}
	}
	return string(st.State)
}

// Pause asks the process that works on a transfer to stop at the next safe point; one
// that nobody works on is paused already.
func (n *Node) Pause(ctx context.Context, sid id.Session) error {
	dirs, err := n.dirs()
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		st, err := n.status(ctx, dir)
		if err != nil || st.Session != sid {
			continue
		}
		if st.Running {
			return askPause(ctx, dir)
		}
		return nil
	}
	return ErrNoTransfer
}

// Receipt returns a transfer's receipt. On the sender it asks the server for one that
// has arrived meanwhile, verifies and confirms it. nil: there is none yet.
func (n *Node) Receipt(ctx context.Context, sid id.Session) (*Receipt, error) {
	t, err := n.openSession("", sid)
	if err != nil {
		return nil, err
	}
	m, err := t.meta()
	if err != nil {
		t.close()
		return nil, err
	}
	if m.Role == roleReceiver {
		defer t.close()
		st, err := t.state()
		if err != nil {
			return nil, err
		}
		return st.receipt(t.receiver(&m, &st))
	}
	s := &sending{n: n, t: t}
	if err := s.load(); err != nil {
		return nil, err
	}
	defer t.close()
	return s.checkReceipt(ctx)
}

// receiptPatience is how long asking for a receipt may take.
const receiptPatience = time.Minute

func (s *sending) checkReceipt(ctx context.Context) (_ *Receipt, err error) {
	if s.st.State == session.Done || !s.st.Committed || !s.st.Final {
		return s.st.receipt(s.st.Peer)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, receiptPatience, ErrUnreachable)
	defer cancel()
	defer s.disconnect()
	defer s.background.Wait()
	defer cancel()
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	if len(s.st.Receipt) == 0 {
		err := s.fetchReceipt(ctx, s.hub.inbox(s.st.Session.Scope()), 0)
		if err != nil && !errors.Is(err, errAgain) {
			return nil, s.n.explain(err)
		}
	}
	if len(s.st.Receipt) == 0 {
		return nil, nil
	}
	if err := s.finish(ctx); err != nil {
		return nil, s.n.explain(err)
	}
	return s.result.Receipt, nil
}

// applied opens the target and plan of a transfer that was applied here.
func (n *Node) applied(sid id.Session) (t *transferDir, target *folder.Target, plan *preview.Plan, err error) {
	if t, err = n.openSession(roleReceiver, sid); err != nil {
		return nil, nil, nil, err
	}
	defer func() {
		if err != nil {
			if target != nil {
				target.Close()
			}
			t.close()
		}
	}()
	m, err := t.meta()
	if err != nil {
		return nil, nil, nil, err
	}
	st, err := t.state()
	if err != nil {
		return nil, nil, nil, err
	}
	if len(st.Receipt) == 0 {
		return nil, nil, nil, ErrNotComplete
	}
	if target, err = folder.Open(m.To, st.Session, folder.Options{}); err != nil {
		return nil, nil, nil, err
	}
	plan, err = preview.Load(target, &numbered{j: t.j, tag: tagPlan}, preview.Options{})
	return t, target, plan, err
}

// Verify reads what was applied and compares it with the hashes that came with it. What
// a person has edited since differs, of course.
func (n *Node) Verify(ctx context.Context, sid id.Session) (*VerifyResult, error) {
	t, target, plan, err := n.applied(sid)
	if err != nil {
		return nil, err
	}
	defer t.close()
	defer target.Close()
	defer target.Tidy()
	return readBack(ctx, t.j, plan, newUndoLog(t.j))
}

// readBack verifies every chunk that was staged. A chunk of many small files that
// differs names all of them.
func readBack(ctx context.Context, j *journal.Journal, plan *preview.Plan, log apply.Log) (*VerifyResult, error) {
	r := apply.NewReader(plan, log)
	defer r.Close()
	res := &VerifyResult{}
	var pieces []apply.Piece
	err := transfer.Staged(j, func(_ uint32, table *pack.Table) error {
		for i := range table.Frames {
			if err := ctx.Err(); err != nil {
				return err
			}
			f := &table.Frames[i]
			pieces = pieces[:0]
			for _, e := range f.Extents {
				pieces = append(pieces, apply.Piece{Ordinal: e.Ordinal, Revision: e.Revision, Offset: e.Offset, Length: int64(e.Length)})
			}
			err := r.Verify(pieces, f.Hash)
			if errors.Is(err, apply.ErrNoCopy) {
				continue
			}
			if err != nil {
				res.differ(plan, pieces)
				continue
			}
			for _, e := range f.Extents {
				if e.Offset == 0 {
					res.Items++
				}
				res.Bytes += int64(e.Length)
			}
		}
		return nil
	})
	return res, err
}

func (v *VerifyResult) differ(plan *preview.Plan, pieces []apply.Piece) {
	for _, p := range pieces {
		v.Count++
		if len(v.Different) == maxListed {
			continue
		}
		l := item.Loss{Ordinal: p.Ordinal, Reason: item.ReasonIntegrity}
		if e, err := plan.Entry(p.Ordinal); err == nil {
			l.Path = e.Dest
		}
		v.Different = append(v.Different, l)
	}
}

// Undo takes back what a transfer has applied, item by item; what was edited since is left alone.
func (n *Node) Undo(ctx context.Context, sid id.Session) (*UndoResult, error) {
	if res, err := n.undoImport(ctx, sid); !errors.Is(err, ErrNoTransfer) {
		return res, err
	}
	t, target, plan, err := n.applied(sid)
	if err != nil {
		return nil, err
	}
	defer t.close()
	defer target.Close()
	m, err := t.meta()
	if err != nil {
		return nil, err
	}
	records, err := n.undoDelivery(ctx, t, m.Into)
	if err != nil {
		return nil, n.explain(err)
	}
	u, err := apply.Undo(ctx, plan, newUndoLog(t.j))
	if err != nil {
		return nil, n.explain(err)
	}
	st, err := t.state()
	if err != nil {
		return nil, err
	}
	res := &UndoResult{Restored: u.Files + u.Directories + u.Restored, Count: u.RefusedCount, Records: records}
	for _, l := range u.Refused {
		res.Refused = append(res.Refused, summaryLoss(l))
	}
	if u.RefusedCount == 0 {
		if err := target.RemoveStaging(); err != nil {
			return nil, err
		}
	}
	return res, t.move(&st, session.TakenBack)
}
