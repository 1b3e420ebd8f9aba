package node

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/node/gather"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
)

// gatherDir is where a transfer keeps what its sources hold, until it is over.
func (t *transferDir) gatherDir() string { return filepath.Join(t.dir, "records") }

// gather reads the transfer's sources and returns the roots of the collection: what they
// hold, and the paths that the person named.
func (s *sending) gather(ctx context.Context) ([]string, error) {
	if len(s.meta.Sources) == 0 {
		return s.meta.Paths, nil
	}
	s.n.stage(item.StageScanning)
	g, err := s.n.gather(ctx, s.t, s.meta.Sources)
	if err != nil {
		return nil, err
	}
	kill.Point(kill.SenderGathered)
	roots := append(g.Roots, s.meta.Paths...)
	if len(roots) == 0 {
		return nil, ErrNothingToSend
	}
	return roots, nil
}

// gather brings the records of sources into the transfer's directory and notes what could
// not be read as it is.
func (n *Node) gather(ctx context.Context, t *transferDir, names []string) (*gather.Gathered, error) {
	sources, done, err := n.cfg.openSources(ctx, names)
	if err != nil {
		return nil, err
	}
	defer done()
	g, err := gather.Into(ctx, t.gatherDir(), sources)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTarget, err)
	}
	return g, putChanges(t.j, tagChange, g.Changes)
}

// What is told of a collection before it is sent: what could not be read as it is, and what photos lose.
const (
	tagChange    = 'C'
	tagPlaceless = 'W'
)

// putChanges keeps the changes of a gathering or a scan, in the place of those of an earlier one.
func putChanges(j *journal.Journal, tag byte, changes []item.Change) error {
	b := j.Batch().DeletePrefix([]byte{tag})
	for i := range changes {
		k := binary.BigEndian.AppendUint32([]byte{tag, byte(changes[i].Kind)}, uint32(i))
		if b.PutSecretJSON(k, &changes[i]); i%4096 == 4095 {
			if err := b.Commit(); err != nil {
				return err
			}
			b = j.Batch()
		}
	}
	return b.Commit()
}

// forgetRecords removes what was gathered: the transfer is over.
func (t *transferDir) forgetRecords() error { return os.RemoveAll(t.gatherDir()) }
