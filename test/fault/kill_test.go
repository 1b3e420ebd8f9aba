package fault

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/decant-dev/decant/kill"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
)

var (
	pairs = flag.Int("kill.pairs", 0, "run this `number` of journeys in which processes die at two or three random points")
	seed  = flag.Uint64("kill.seed", 1, "of -kill.pairs")
)

var modes = []string{"code", "ticket", "direct", "lost", "cache", "nearby", "vanished"}

// bench is what all journeys of a test share: the collection, and for each mode the journey on which nobody dies.
type bench struct {
	src     string
	oracle  string // file of the nonce oracle
	quiet   map[string]*arrived
	reached map[string][]kill.Name // by mode
}

func setup(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{src: source(t, dir), oracle: filepath.Join(dir, "nonces"), quiet: map[string]*arrived{}, reached: map[string][]kill.Name{}}
	for _, mode := range modes {
		trace := filepath.Join(dir, "trace-"+mode)
		b.quiet[mode] = journey{mode: mode, env: []string{"DECANT_KILL_TRACE=" + trace, "DECANT_NONCE_ORACLE=" + b.oracle}, build: env.Faulty}.run(t, b.src)
		if n := b.quiet[mode].deaths; n != 0 {
			t.Fatalf("%s: nobody was told to die, and %d did", mode, n)
		}
		text := readTrace(t, trace, !serverless(mode))
		for line := range strings.FieldsSeq(text) {
			if !slices.Contains(b.reached[mode], kill.Name(line)) {
				b.reached[mode] = append(b.reached[mode], kill.Name(line))
			}
		}
	}
	return b
}

// readTrace reads the points that were reached. The server removes blobs after its last answer, so that is waited for.
func readTrace(t *testing.T, path string, server bool) string {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !server || strings.Contains(string(text), string(kill.ServerBlobsRemoved)) || time.Now().After(deadline) {
			return string(text)
		}
	}
}

// deadly takes a journey on which processes die at points ("NAME" or "NAME:N"; with a "+" in front in the life after that of the point before
// on the same side) and compares it with the quiet one.
func (b *bench) deadly(t *testing.T, mode string, points ...string) *arrived {
	t.Helper()
	j := journey{mode: mode, env: []string{"DECANT_NONCE_ORACLE=" + b.oracle}, kill: map[string][][]string{}, build: env.Faulty}
	for _, p := range points {
		p, later := strings.CutPrefix(p, "+")
		side, _, _ := strings.Cut(p, "/")
		lives := j.kill[side]
		if later || len(lives) == 0 {
			lives = append(lives, nil)
		}
		lives[len(lives)-1] = append(lives[len(lives)-1], p)
		j.kill[side] = lives
	}
	j.awaits = len(points) == 1 && len(j.kill["server"]) == 1
	a, quiet := j.run(t, b.src), b.quiet[mode]
	if err := corpus.Compare(quiet.to, a.to); err != nil {
		t.Error(err)
	}
	if err := corpus.Compare(timeless(t, quiet.into), timeless(t, a.into)); err != nil {
		t.Errorf("the apps: %v", err)
	}
	if !reflect.DeepEqual(a.kinds, quiet.kinds) {
		t.Errorf("the receipt counts %v, and without a death %v", a.kinds, quiet.kinds)
	}
	// Two runs may differ by a step of the padded number of blobs. Beyond that each death may cost what was under way: on the way
	// up a blob on every stream; on the way down one on every stream and one with every worker; and what a process says when
	// it starts.
	const step, start = 2*(blobSize+1<<10) + 16<<10, 64 << 10
	if spare := step + int64(a.deaths)*(streams*(blobSize+1<<10)+start); a.up > quiet.up+spare {
		t.Errorf("%d bytes went up, %d without a death: more than a pack a stream was sent again", a.up, quiet.up)
	}
	// In mode nearby it is chance how much comes from the cache, which is not counted.
	if spare := step + int64(a.deaths)*((streams+workers)*(blobSize+1<<10)+start); a.down > quiet.down+spare && mode != "nearby" {
		t.Errorf("%d bytes came down, %d without a death: more than was under way was fetched again", a.down, quiet.down)
	}
	return a
}

// unsolved are the points at which a death is not survived yet, with what happens. The list must become empty, and a point that
// has been solved must leave it.
var unsolved = map[kill.Name]string{}

// allRead are the points behind which the sender has nothing to read any more. (The first visit to sender/pages and
// sender/root is the catalog's, before anything was read.)
var allRead = []kill.Name{kill.SenderCommitted, kill.SenderSent}

// throughFolder are the points that only TestR1FolderKills reaches.
var throughFolder = []kill.Name{kill.SenderFolder, kill.ReceiverFolder}

// TestR1KillPoints kills the right process at every point that package kill names, once, in the first mode that reaches it;
// and no process may ever use a nonce twice (C-3). A point that no journey reaches is a failure: it is dead code or untested.
func TestR1KillPoints(t *testing.T) {
	b := setup(t)
	t.Run("at", func(t *testing.T) {
		for _, name := range kill.All {
			if why := unsolved[name]; why != "" {
				t.Logf("%s: NOT SOLVED: %s", name, why)
				continue
			}
			if slices.Contains(throughFolder, name) {
				continue
			}
			mode := ""
			for _, m := range modes {
				if mode == "" && slices.Contains(b.reached[m], name) {
					mode = m
				}
			}
			if mode == "" {
				t.Errorf("%s: no journey reaches it", name)
				continue
			}
			t.Run(string(name), func(t *testing.T) {
				t.Parallel()
				a := b.deadly(t, mode, string(name))
				if a.deaths != 1 {
					t.Errorf("%d processes died, want one", a.deaths)
				}
				if slices.Contains(allRead, name) && a.sent[1].Outcome().Read != 0 {
					t.Errorf("the sender read %d bytes again", a.sent[1].Outcome().Read)
				}
			})
		}
	})
	noNonceTwice(t, b.oracle, 500)
}

// TestR1RandomKills runs as many journeys as -kill.pairs says with two or three deaths each, at random visits of random points, some of them
// of a process that has died already.
func TestR1RandomKills(t *testing.T) {
	if *pairs == 0 {
		t.Skip("runs with -kill.pairs N")
	}
	b := setup(t)
	for mode := range b.reached {
		b.reached[mode] = slices.DeleteFunc(b.reached[mode], func(n kill.Name) bool { return unsolved[n] != "" })
	}
	r := rand.New(rand.NewPCG(*seed, 0))
	var died [4]atomic.Int64
	t.Run("schedule", func(t *testing.T) {
		for range *pairs {
			mode := modes[r.IntN(len(modes))]
			var points []string
			for range 2 + r.IntN(2) {
				later := []string{"", "+"}[r.IntN(2)]
				points = append(points, fmt.Sprintf("%s%s:%d", later, b.reached[mode][r.IntN(len(b.reached[mode]))], 1+r.IntN(2)*r.IntN(4)))
			}
			t.Run(mode+" "+strings.Join(points, " "), func(t *testing.T) {
				t.Parallel()
				died[min(b.deadly(t, mode, points...).deaths, 3)].Add(1)
			})
		}
	})
	t.Logf("journeys with no death, one, two, three: %d, %d, %d, %d", died[0].Load(), died[1].Load(), died[2].Load(), died[3].Load())
	noNonceTwice(t, b.oracle, 500)
}
