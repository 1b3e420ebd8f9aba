package e2e

import (
	"bytes"
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node"
)

// place is what Android's cameras write into a film, and away what is left of it.
const place = "\x00\x00\x00\x1e\xa9xyz\x00\x12\x15\xc7+48.1367+011.5824/"

var away = "\x00\x00\x00\x1efree" + strings.Repeat("\x00", 22)

// located is a film of some size that says where it was taken.
func located(size int) string {
	media := strings.Repeat("film", size/4)
	head := "\x00\x00\x00\x10ftypisom\x00\x00\x00\x00\x00\x00\x00\x2emoov\x00\x00\x00\x26udta" + place
	return head + string(binary.BigEndian.AppendUint32(nil, uint32(len(media)+8))) + "mdat" + media
}

// TestRT20StripLocation: what arrives does not say where it was taken and is the same otherwise, small or large; what is sent
// from stays as it is; a second run has nothing to send, a second transfer nothing to bring; and the report tells.
func TestRT20StripLocation(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	dir := t.TempDir()
	src, stick, to := filepath.Join(dir, "src"), filepath.Join(dir, "stick"), filepath.Join(dir, "to")
	must(t, os.Mkdir(stick, 0o700))
	films := map[string]string{"small.mp4": located(1000), "large.mp4": located(24 << 20)}
	for name, film := range films {
		put(t, filepath.Join(src, name), film)
	}
	put(t, filepath.Join(src, "anim.gif"), "GIF89a;")
	put(t, filepath.Join(src, "note.txt"), place)
	device := func(name string) *node.Node {
		n, err := node.Open(node.Config{StateDir: filepath.Join(dir, name)})
		must(t, err)
		t.Cleanup(func() { n.Close() })
		return n
	}
	old, young, ticket := device("old"), device("young"), ""
	opts := node.SendOptions{Paths: []string{src}, Folder: stick, Placeless: true, ShowTicket: func(words, _ string) { ticket = words }}
	sent, err := old.Send(ctx, opts)
	must(t, err)
	again, err := old.Send(ctx, opts)
	must(t, err)
	if again.Session != sent.Session || !again.Unchanged {
		t.Errorf("the second run: %+v", again)
	}
	receive := func(from string) *node.ReceiveResult {
		r, err := young.Receive(ctx, node.ReceiveOptions{To: to, Folder: from, New: true, AskTicket: func(context.Context) (string, error) { return ticket, nil },
			Confirm: func(context.Context, *node.Preview) (node.Choice, error) { return node.Choice{Apply: true}, nil }})
		must(t, err)
		return r
	}
	receive(stick)
	check := func() {
		t.Helper()
		for name, film := range films {
			b, err := os.ReadFile(filepath.Join(to, "src", name))
			must(t, err)
			if string(b) != strings.Replace(film, place, away, 1) {
				t.Errorf("%s is not the film without its place", name)
			}
			if b, err = os.ReadFile(filepath.Join(src, name)); err != nil || string(b) != film {
				t.Errorf("the source has changed: %s, %v", name, err)
			}
		}
		if b, err := os.ReadFile(filepath.Join(to, "src", "note.txt")); err != nil || string(b) != place {
			t.Errorf("%q, %v", b, err)
		}
		if entries, err := os.ReadDir(filepath.Join(to, "src")); err != nil || len(entries) != 4 {
			t.Errorf("%v, %v", entries, err)
		}
	}
	check()

	other := filepath.Join(dir, "other") // another transfer of the same brings nothing
	must(t, os.Mkdir(other, 0o700))
	opts.Folder, opts.New = other, true
	second, err := old.Send(ctx, opts)
	must(t, err)
	receive(other)
	check()

	opts.New, opts.Placeless = false, false // and one that is to keep the places is another one
	third, err := old.Send(ctx, opts)
	must(t, err)
	if third.Session == second.Session {
		t.Error("a transfer went on that was begun with another wish")
	}

	r, err := old.Report(ctx, sent.Session)
	must(t, err)
	defer r.Close()
	var text bytes.Buffer
	must(t, r.WriteText(&text))
	for _, want := range []string{"small.mp4", "large.mp4", "anim.gif", "location (film) dropped", "it may say where it was taken"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the report does not tell of %q:\n%s", want, text.String())
		}
	}
}
