package node

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/decant-dev/decant/node/target/folder"
	"github.com/decant-dev/decant/proto/id"
)

// Space below which a disk is reported.
const (
	leastState  = 64 << 20 // journals, and packs of manifests that wait
	lowTarget   = 4 << 30  // a small collection of photos
	leastTarget = 64 << 20
)

// examineState looks at the state directory: it holds keys, and everything that makes a transfer resumable.
func (n *Node) examineState(context.Context) []Check {
	dir := n.cfg.StateDir
	fi, err := os.Stat(dir)
	if err == nil {
		err = mayWrite(filepath.Join(dir, "transfers"))
	}
	if err != nil {
		return []Check{{Name: "state", Level: LevelBad, Finding: StateDenied, Detail: dir}}
	}
	private := Check{Name: "state", Level: LevelOK, Finding: StatePrivate, Detail: dir}
	if runtime.GOOS != "windows" && fi.Mode().Perm()&0o077 != 0 {
		private.Level, private.Finding = LevelBad, StateOpen
	}
	out := []Check{private}
	if free, err := folder.Free(dir); err == nil && free >= 0 {
		c := Check{Name: "state-space", Level: LevelOK, Finding: StateFree, Bytes: free}
		if free < leastState {
			c.Level, c.Finding = LevelBad, StateFull
		}
		out = append(out, c)
	}
	return out
}

// mayWrite makes a file in dir, syncs it, and takes it away again.
func mayWrite(dir string) error {
	f, err := os.CreateTemp(dir, ".probe-*")
	if err != nil {
		return err
	}
	_, err = f.Write([]byte{0})
	return errors.Join(err, f.Sync(), f.Close(), os.Remove(f.Name()))
}

// examineTransfers looks for transfers that wait to be continued.
func (n *Node) examineTransfers(ctx context.Context) []Check {
	all, err := n.List(ctx)
	if err != nil {
		return []Check{{Name: "transfers", Level: LevelBad, Finding: TransfersBroken, Detail: err.Error()}}
	}
	c := Check{Name: "transfers", Level: LevelOK, Finding: TransfersNone}
	for _, t := range all {
		switch t.State {
		case "applied", "done", "over":
			continue
		}
		state := t.State
		if t.Running {
			state = "running"
		}
		c.Level, c.Finding = LevelNote, TransfersUnfinished
		c.List = append(c.List, t.Session.Short()+" ("+state+")")
	}
	return []Check{c}
}

// What a target may lose, in the words of --json.
const (
	LostCase      = "case"
	LostNames     = "names"
	LostLongNames = "long-names"
	LostXAttrs    = "xattrs"
	LostPerms     = "permissions"
	LostTimes     = "times"
)

// examineTarget looks at the directory that a collection would be received into. If it does not exist, the directory that
// it would be made in is tried in its place.
func examineTarget(to string) []Check {
	c := Check{Name: "target", Level: LevelBad, Detail: to}
	dir, exists := to, true
	for {
		fi, err := os.Stat(dir)
		if err == nil && !fi.IsDir() || errors.Is(err, syscall.ENOTDIR) {
			c.Finding = TargetNoDir
			return []Check{c}
		}
		if err == nil || !errors.Is(err, fs.ErrNotExist) || filepath.Dir(dir) == dir {
			break
		}
		dir, exists = filepath.Dir(dir), false
	}
	free, lost, err := tryTarget(dir)
	switch {
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		c.Finding = TargetDenied
		return []Check{c}
	case errors.Is(err, folder.ErrNoSpace):
		free = 0
	case err != nil:
		c.Finding, c.Detail = TargetFails, err.Error()
		return []Check{c}
	}
	c.Bytes = free
	switch {
	case free >= 0 && free < leastTarget:
		c.Finding = TargetFull
		return []Check{c}
	case free >= 0 && free < lowTarget:
		c.Level, c.Finding = LevelNote, TargetLow
	case exists:
		c.Level, c.Finding = LevelOK, TargetFree
	default:
		c.Level, c.Finding = LevelOK, TargetNew
	}
	keeps := Check{Name: "target-keeps", Level: LevelOK, Finding: TargetKeepsAll}
	if len(lost) > 0 {
		keeps.Level, keeps.Finding, keeps.List = LevelNote, TargetLoses, lost
	}
	return []Check{c, keeps}
}

// tryTarget opens dir as a transfer would, and removes what that makes.
func tryTarget(dir string) (free int64, lost []string, err error) {
	t, err := folder.Open(dir, id.NewSession(), folder.Options{})
	if err != nil {
		return 0, nil, err
	}
	defer func() { err = errors.Join(err, t.RemoveStaging(), t.Close()) }()
	if free, err = t.Free(); err != nil {
		return 0, nil, err
	}
	return free, lostIn(t.Caps(), keepsLongNames(filepath.Join(dir, t.Staging()))), nil
}

// lostIn lists what a file system can't keep.
func lostIn(c *folder.Caps, longNames bool) (lost []string) {
	for _, l := range []struct {
		name  string
		keeps bool
	}{
		{LostCase, c.CaseSensitive}, {LostNames, !c.WindowsNames && !c.Normalizes}, {LostLongNames, longNames}, {LostXAttrs, c.XAttrs},
		{LostPerms, c.Perms}, {LostTimes, c.TimeStep <= 100},
	} {
		if !l.keeps {
			lost = append(lost, l.name)
		}
	}
	return lost
}

// keepsLongNames tries the longest name that the usual file systems have: 255 bytes.
func keepsLongNames(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, strings.Repeat("n", 255)), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return false
	}
	f.Close()
	return true
}
