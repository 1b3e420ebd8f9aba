package folder

import (
	"errors"
	"math"
	"runtime"
	"slices"
)

// Caps is what a file system can hold, found by trying it.
type Caps struct {
	CaseSensitive bool   `json:"case_sensitive"` // "A" and "a" are two names
	Normalizes    bool   `json:"normalizes"`     // composed and decomposed é are one name
	AnyBytes      bool   `json:"any_bytes"`      // names need not be valid UTF-8
	WindowsNames  bool   `json:"windows_names"`  // : * ? and trailing dots can't be held
	XAttrs        bool   `json:"xattrs"`         // user attributes are kept
	Perms         bool   `json:"perms"`          // permission bits are kept
	Holes         bool   `json:"holes"`          // unwritten runs take no space
	HardLinks     bool   `json:"hard_links"`
	TimeStep      int64  `json:"time_step"` // nanoseconds between two times that can be told apart
	MinTime       int64  `json:"min_time"`  // nanoseconds since 1970: the earliest time kept
	MaxTime       int64  `json:"max_time"`
	Umask         uint16 `json:"umask"` // permission bits that creating a file leaves out
}

// KeepsTime reports whether a modification time survives exactly.
func (c *Caps) KeepsTime(mtime int64) bool {
	return mtime >= c.MinTime && mtime <= c.MaxTime && mtime%c.TimeStep == 0
}

// SameTime reports whether two times are one as far as the target can tell.
func (c *Caps) SameTime(a, b int64) bool {
	return a == b || a/c.TimeStep == b/c.TimeStep && (a%c.TimeStep == 0 || b%c.TimeStep == 0)
}

// probeDir is where Open tries things out. It is removed before Open returns.
const probeDir = "probe"

func (t *Target) probe() (c Caps, err error) {
	if err := t.root.RemoveAll(Join(t.staging, probeDir)); err != nil {
		return c, err
	}
	d, err := ensure(t.stage, probeDir)
	if err != nil {
		return c, err
	}
	defer func() {
		d.Close()
		err = errors.Join(err, t.root.RemoveAll(Join(t.staging, probeDir)))
	}()
	return probe(d)
}

func probe(d *Dir) (c Caps, err error) {
	f, err := d.Create("probe-a", MetaPerm)
	if err != nil {
		return c, err
	}
	defer f.Close()
	in, err := d.Lstat("probe-a")
	if err != nil {
		return c, err
	}
	c.Umask = MetaPerm &^ in.Perm
	c.CaseSensitive = !there(d, "PROBE-A")
	c.Normalizes = accepts(d, "\u00e9") && there(d, "e\u0301")
	c.AnyBytes = accepts(d, "\xff\xfe") && listed(d, "\xff\xfe")
	c.WindowsNames = runtime.GOOS == "windows" || !accepts(d, "a:b?") || !accepts(d, "dot.") || !listed(d, "dot.")
	c.HardLinks = d.Link("probe-a", d, "probe-link") == nil
	c.Perms = keepsPerm(d, 0o604) && keepsPerm(d, 0o640)
	if err := setXAttr(f, "user.decant.probe", []byte("1")); err == nil {
		v, err := getXAttr(f, "user.decant.probe")
		c.XAttrs = err == nil && string(v) == "1"
	}
	if _, err := f.WriteAt([]byte{1}, 1<<20); err != nil {
		return c, mapWrite(err)
	}
	if in, err = d.Lstat("probe-a"); err == nil {
		c.Holes = in.Blocks >= 0 && in.Blocks < 1<<19
	}
	c.times(d)
	return c, nil
}

func there(d *Dir, name string) bool {
	in, err := d.Lstat(name)
	return err == nil && in.Exists()
}

func accepts(d *Dir, name string) bool {
	f, err := d.Create(name, 0o600)
	if err == nil {
		f.Close()
	}
	return err == nil || errors.Is(err, ErrExist)
}

func listed(d *Dir, name string) bool {
	names, err := d.Names(0)
	return err == nil && slices.Contains(names, name)
}

func keepsPerm(d *Dir, perm uint16) bool {
	if d.Chmod("probe-a", perm) != nil {
		return false
	}
	in, err := d.Lstat("probe-a")
	return err == nil && in.Perm == perm
}

// times finds the step and the range of modification times by reading back what was set.
func (c *Caps) times(d *Dir) {
	set := func(ns int64) (int64, bool) {
		if d.Chtimes("probe-a", ns) != nil {
			return 0, false
		}
		in, err := d.Lstat("probe-a")
		return in.ModTime, err == nil
	}
	const odd = 1_000_000_001_234_567_891 // an odd second with nine different digits behind it
	c.TimeStep = 2e9
	for _, step := range []int64{1, 100, 1000, 1e6, 1e7, 1e9} {
		if got, ok := set(odd); ok && got == odd-odd%step {
			c.TimeStep = step
			break
		}
	}
	c.MinTime, c.MaxTime = 0, math.MaxInt32*int64(1e9)
	for _, ns := range []int64{-1e9, math.MinInt32 * int64(1e9), math.MinInt64 + 1e9} {
		if got, ok := set(ns); ok && near(got, ns, c.TimeStep) {
			c.MinTime = ns
		}
	}
	for _, ns := range []int64{math.MaxUint32 * int64(1e9), math.MaxInt64 - 1e9} {
		if got, ok := set(ns); ok && near(got, ns, c.TimeStep) {
			c.MaxTime = ns
		}
	}
}

func near(a, b, step int64) bool { return a-b < step && b-a < step }
