package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/test/env"
)

// TestAgainAfterReceipt sends again after the other device has taken everything: the receipt is fetched, and what has
// changed since goes in a new transfer, because nobody would fetch another epoch of the old one.
func TestAgainAfterReceipt(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	src := w.Write("src", map[string]string{"a": "a", "b": "b"})
	first, ticket := w.SendTicket(src)
	w.Must(w.ReceiveTicket(ticket, w.Path("to")))
	must(t, os.WriteFile(filepath.Join(src, "a"), []byte("changed"), 0o644))
	second, ticket := w.SendTicket(src)
	if a, b := first.Outcome(), second.Outcome(); a.Session == b.Session || b.Unchanged || b.Receipt != nil {
		t.Errorf("first %+v, then %+v", a, b)
	}
	if r := w.Must(w.Device("old", "receipt", first.Outcome().Session)); !r.Outcome().SafeWipe {
		t.Errorf("the first receipt: %s", r.Stderr)
	}
	if r := w.Run(w.Device("old", "receipt", second.Outcome().Session)); r.Exit != env.ExitTryAgain {
		t.Errorf("a receipt for what nobody has fetched: exit code %d", r.Exit)
	}
	w.Must(w.ReceiveTicket(ticket, w.Path("other"), "--new"))
	same(t, src, w.Path("other", "src"))
}

// TestSeveralPaths sends paths that are not given in the order of their names, and again after a change.
func TestSeveralPaths(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	b := w.Write("b", map[string]string{"one": strings.Repeat("1", 40_000), "two": strings.Repeat("2", 40_000)})
	a := w.Write("a", map[string]string{"one": strings.Repeat("3", 40_000)})
	_, ticket := w.SendTicket(b, a)
	must(t, os.Remove(filepath.Join(b, "one")))
	must(t, os.WriteFile(filepath.Join(b, "zero"), []byte("0"), 0o644))
	if delta, _ := w.SendTicket(b, a); delta.Outcome().Read > 1000 {
		t.Errorf("a file of one byte is new, and %d were read", delta.Outcome().Read)
	}
	w.Must(w.ReceiveTicket(ticket, w.Path("to")))
	same(t, a, w.Path("to", "a"))
	same(t, b, w.Path("to", "b"))
}

// TestStagedContentLost kills the new device while it fetches, and takes from staging some of what it had put there:
// it is fetched again.
func TestStagedContentLost(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{Build: env.Faulty})
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("%02d", i)] = strings.Repeat(fmt.Sprint(i), 1_000+i*1_000)
	}
	src := w.Write("src", files)
	_, ticket := w.SendTicket(src)
	dying := w.ReceiveTicket(ticket, w.Path("to"))
	dying.Env = append(dying.Env, "DECANT_KILL=receiver/noted:1")
	var staged []string
	for len(staged) < 4 { // the first pack may be one that holds a single file
		if r := w.Run(dying); r.Exit == 0 {
			t.Fatal("it did not die")
		}
		var err error
		staged, err = filepath.Glob(w.Path("to", ".decant-*", "tree", "src", "*"))
		must(t, err)
	}
	must(t, os.Remove(staged[0]))
	must(t, os.Truncate(staged[2], 1))
	w.Must(w.ReceiveTicket(ticket, w.Path("to")))
	same(t, src, w.Path("to", "src"))
}

// TestR10ServerRestored puts an older state of the server back: what it has lost is noticed before anybody is told that
// all is stored, and the next run sends everything anew. A restore that loses nothing is made good silently.
func TestR10ServerRestored(t *testing.T) {
	t.Parallel()
	w := env.NewWorld(t, env.WorldOptions{})
	backup := func(name string) {
		t.Helper()
		_, err := w.Server.Stop()
		must(t, err)
		must(t, os.CopyFS(w.Path(name), os.DirFS(w.Server.Dir)))
		must(t, w.Server.Start())
	}
	restore := func(name string) {
		t.Helper()
		_, err := w.Server.Stop()
		must(t, err)
		must(t, os.RemoveAll(w.Server.Dir))
		must(t, os.CopyFS(w.Server.Dir, os.DirFS(w.Path(name))))
		must(t, w.Server.Start())
	}
	src := w.Write("src", map[string]string{"a": "a"})
	first, _ := w.SendTicket(src)
	backup("before")
	must(t, os.WriteFile(filepath.Join(src, "b"), []byte("b"), 0o644))
	w.SendTicket(src)
	backup("after")
	restore("after")
	if again := w.Must(w.Device("old", "send", "--ticket", src)); !again.Outcome().Unchanged || again.Outcome().Session != first.Outcome().Session {
		t.Errorf("nothing was lost, but %+v", again.Outcome())
	}
	restore("before")
	if r := w.Run(w.Device("old", "send", "--ticket", src)); r.Exit == env.ExitOK {
		t.Errorf("the server has lost what was sent, and the sender says %+v", r.Outcome())
	}
	anew, ticket := w.SendTicket(src)
	if anew.Outcome().Session == first.Outcome().Session {
		t.Error("the session that has lost packs goes on")
	}
	w.Must(w.ReceiveTicket(ticket, w.Path("to")))
	same(t, src, w.Path("to", "src"))
}
