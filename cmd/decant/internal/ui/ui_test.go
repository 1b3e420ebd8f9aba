package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/decant-dev/decant/proto/id"
	"rsc.io/qr"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// bench is a screen whose clock and ticker the test holds.
type bench struct {
	*Screen
	out, err buffer
	now      time.Time
	tickC    chan time.Time
}

func newBench(t *testing.T, stdin string, change func(*Options)) *bench {
	b := &bench{now: time.Unix(1_800_000_000, 0), tickC: make(chan time.Time)}
	o := Options{Stdin: strings.NewReader(stdin), Stdout: &b.out, Stderr: &b.err,
		Now:    func() time.Time { return b.now },
		Ticker: func() (<-chan time.Time, func()) { return b.tickC, func() {} }}
	if change != nil {
		change(&o)
	}
	b.Screen = New(o)
	t.Cleanup(b.Screen.Close)
	return b
}

// tick lets time pass and the screen notice it.
func (b *bench) pass(d time.Duration) {
	b.Flush()
	b.now = b.now.Add(d)
	b.tickC <- b.now
	b.Flush()
}

func terminal(cols, rows int) func(*Options) {
	return func(o *Options) {
		o.StdinTTY, o.OutTTY, o.ErrTTY = true, true, true
		o.Size = func() (int, int) { return cols, rows }
	}
}

var hostile = []string{
	"\x1b]0;pwn\x07", "\x1b[2J", "\x9b2J", "\u009b2J", "a\rb", "a\nb", "\x00", "\x7f", "\u202egpj.exe", "\u200b", "\xff\xfe",
	"\u2066x\u2069", "\ufeff", "\u0085", "\u2028", "\U000e0041", "\x1b(0", "\x08\x08",
}

// dangerous finds what must never reach a terminal, beside the sequences that this package writes itself.
func dangerous(s string) string {
	for _, own := range []string{"\x1b[K", "\x1b[A", "\x1b[2K", "\x1b[1m", "\x1b[0m", "\x1b[0;97;40m"} {
		s = strings.ReplaceAll(s, own, "")
	}
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\ufffd") {
			return fmt.Sprintf("raw byte %#x at %d of %q", s[i], i, s)
		}
		if r != '\n' && r != '\r' && show.Name(string(r)) != string(r) {
			return fmt.Sprintf("%#x at %d of %q", r, i, s)
		}
	}
	return ""
}

func TestRT4HostileTextIsEscaped(t *testing.T) {
	for _, h := range hostile {
		b := newBench(t, h+"\n", terminal(80, 24))
		b.Event(item.Event{Type: "stage", Stage: item.StageSending})
		b.Event(item.Event{Type: "stage", Stage: item.Stage(h)})
		b.Event(item.Event{Type: "progress", Progress: &item.Progress{ItemsDone: 1, BytesDone: 1, Route: h}})
		b.Event(item.Event{Type: "loss", Loss: &item.Loss{Path: h, Reason: item.ReasonXAttr, Detail: h}})
		b.Event(item.Event{Type: "notice", Notice: &item.Notice{Code: "retrying", Detail: h}})
		b.Event(item.Event{Type: "session", Session: &item.SessionNotice{ID: h, Peer: h}})
		b.pass(3 * time.Second)
		b.Say("%s", h)
		b.Data(h)
		b.Strong(h)
		b.Lines(PreviewLines(hostilePreview(h), h, nil, true)...)
		b.Data(ReceiptLines(hostileReceipt(h))...)
		b.Data(WipeLine(hostileReceipt(h)))
		if _, err := b.Ask(t.Context(), h); err != nil {
			t.Fatal(err)
		}
		b.Fail(&Problem{Text: h, Hint: h})
		b.Writer().Write([]byte("msg=" + h + "\n"))
		b.Flush()
		if bad := dangerous(b.err.String()); bad != "" {
			t.Errorf("stderr, given %q: %s", h, bad)
		}
		if bad := dangerous(b.out.String()); bad != "" {
			t.Errorf("stdout, given %q: %s", h, bad)
		}
	}
}

func TestRT4HostileTextIsEscapedInJSON(t *testing.T) {
	for _, h := range hostile {
		b := newBench(t, "", nil)
		b.Configure(true, false)
		b.Event(item.Event{Type: "loss", Loss: &item.Loss{Path: h, Detail: h}})
		b.Emit(Event{Type: "preview", Preview: NewPreview(hostilePreview(h))})
		b.Fail(&Problem{Text: h})
		if bad := dangerous(b.out.String()); bad != "" {
			t.Errorf("given %q: %s", h, bad)
		}
		for line := range strings.Lines(b.out.String()) {
			if !json.Valid([]byte(line)) {
				t.Errorf("given %q: not JSON: %s", h, line)
			}
		}
	}
}

func hostilePreview(h string) *node.Preview {
	return &node.Preview{From: h, Peer: h, Kinds: map[string]node.KindPreview{h: {}, "photo": {Total: item.Tally{Items: 1}, Conflict: item.Tally{Items: 1}}},
		Losses: []item.Loss{{Path: h, Reason: item.ReasonName, Detail: h}}, LossCount: 1, Renamed: []node.Renamed{{Path: h, Dest: h}}, RenameCount: 1}
}

func hostileReceipt(h string) *node.Receipt {
	return &node.Receipt{Receiver: h, Level: h, SafeWipe: true, Kinds: map[string]map[string]item.Tally{"photo": {h: {Items: 1}, "lost": {Items: 2}}}}
}

func FuzzClean(f *testing.F) {
	for _, h := range hostile {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Clean(s)
		if bad := dangerous(strings.ReplaceAll(c, "\r", "\x00")); bad != "" {
			t.Error(bad)
		}
		if Clean(c) != c {
			t.Errorf("not stable: %q then %q", c, Clean(c))
		}
		if utf8.ValidString(s) && dangerous(strings.ReplaceAll(s, "\r", "\x00")) == "" && c != s {
			t.Errorf("changed harmless text %q to %q", s, c)
		}
	})
}

func TestProgressLineFitsAndTellsItemsAndBytes(t *testing.T) {
	now := time.Unix(0, 0)
	m := meter{}
	m.enter(item.StageSending, now)
	p := item.Progress{ItemsTotal: 5802, BytesTotal: 1_410_000_000, Rate: 212e6, Route: "stored"}
	m.update(p, now)
	now = now.Add(4 * time.Second)
	p.ItemsDone, p.BytesDone = 2412, 612_000_000
	m.update(p, now)
	const full = "Sending  ██████░░░░░░░░░░   43 %  2,412 of 5,802 items  612 MB of 1.41 GB  212 MB/s  4 s left  through the server"
	if got := m.line(200, now); got != full {
		t.Errorf("got  %s\nwant %s", got, full)
	}
	for width := 1; width < 130; width++ {
		got := m.line(width, now)
		if n := utf8.RuneCountInString(got); n > width {
			t.Errorf("width %d: %d columns: %s", width, n, got)
		}
		if width >= 55 && (!strings.Contains(got, "2,412") || !strings.Contains(got, "612 MB")) {
			t.Errorf("width %d leaves items or bytes out: %s", width, got)
		}
	}
}

func TestProgressIsNeverFullTooEarly(t *testing.T) {
	for _, p := range []item.Progress{
		{ItemsDone: 9_999_999, ItemsTotal: 10_000_000, BytesDone: 5, BytesTotal: 5},
		{ItemsDone: 1, ItemsTotal: 1, BytesDone: 1<<50 - 1, BytesTotal: 1 << 50},
	} {
		if f, _ := fraction(p); f >= 1 {
			t.Errorf("%+v is full", p)
		}
	}
	if f, ok := fraction(item.Progress{ItemsDone: 2, ItemsTotal: 2, BytesDone: 3, BytesTotal: 3}); !ok || f != 1 {
		t.Error("a finished stage is not full")
	}
	if f, _ := fraction(item.Progress{BytesDone: 9, BytesTotal: 3}); f > 1 {
		t.Error("more than full")
	}
}

func TestTimeLeftFollowsItemsWhenTheyAreTheBottleneck(t *testing.T) {
	now := time.Unix(0, 0)
	m := meter{}
	m.enter(item.StageApplying, now)
	m.update(item.Progress{ItemsTotal: 1000}, now)
	now = now.Add(10 * time.Second)
	m.update(item.Progress{ItemsDone: 100, ItemsTotal: 1000}, now)
	if d, ok := m.left(now); !ok || d != 90*time.Second {
		t.Errorf("%v %v, want 90 s", d, ok)
	}
}

func TestTerminalLineIsRedrawnAtMostTenTimesASecond(t *testing.T) {
	b := newBench(t, "", terminal(100, 30))
	b.Event(item.Event{Type: "stage", Stage: item.StageSending})
	b.Flush()
	before := strings.Count(b.err.String(), "\r")
	for i := range 10_000 {
		b.Event(item.Event{Type: "progress", Progress: &item.Progress{ItemsDone: int64(i), BytesDone: int64(i)}})
	}
	b.Flush()
	if n := strings.Count(b.err.String(), "\r"); n != before {
		t.Errorf("drawn %d times between two ticks", n-before)
	}
	b.pass(redraw)
	if n := strings.Count(b.err.String(), "\r"); n != before+1 {
		t.Errorf("drawn %d times in a tick", n-before)
	}
	if !strings.Contains(b.err.String(), "9,999 items") {
		t.Errorf("the latest progress is not on the screen: %q", b.err.String())
	}
}

func TestWithoutTerminalProgressIsAFewPlainLines(t *testing.T) {
	b := newBench(t, "", nil)
	b.Event(item.Event{Type: "stage", Stage: item.StageSending})
	for i := range 100 {
		b.Event(item.Event{Type: "progress", Progress: &item.Progress{ItemsDone: int64(i), BytesDone: int64(i)}})
		b.pass(redraw)
	}
	got := b.err.String()
	if n := strings.Count(got, "\n"); n < 2 || n > 3 {
		t.Errorf("10 s gave %d lines:\n%s", n, got)
	}
	if strings.ContainsAny(got, "\r\x1b") {
		t.Errorf("escape sequences without a terminal: %q", got)
	}
	if b.out.String() != "" {
		t.Errorf("stdout has %q", b.out.String())
	}
}

func TestRemarksDoNotTearTheLine(t *testing.T) {
	b := newBench(t, "", terminal(100, 30))
	b.Event(item.Event{Type: "stage", Stage: item.StageWaiting})
	b.pass(redraw)
	b.Say("hello")
	if !strings.Contains(b.err.String(), "\r\x1b[Kdecant: hello\n") {
		t.Errorf("the line was not erased first: %q", b.err.String())
	}
}

func TestLossesAreShownThenCounted(t *testing.T) {
	b := newBench(t, "", nil)
	for i := range 100 {
		b.Event(item.Event{Type: "loss", Loss: &item.Loss{Path: fmt.Sprint("p", i), Reason: item.ReasonSymlink}})
	}
	if n := b.Losses(); n != 100 {
		t.Errorf("%d losses counted", n)
	}
	if n := strings.Count(b.err.String(), "\n"); n != warnings+1 {
		t.Errorf("%d lines", n)
	}
}

func TestEventsAreOneObjectALine(t *testing.T) {
	b := newBench(t, "", nil)
	b.Configure(true, false)
	b.now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := b.now
	b.Event(item.Event{Time: at, Type: "stage", Stage: item.StageSending})
	b.Event(item.Event{Time: at, Type: "loss", Loss: &item.Loss{Kind: item.Photo, Path: "a\xff", Reason: item.ReasonUnreadable}})
	b.Event(item.Event{Time: at, Type: "progress", Progress: &item.Progress{ItemsDone: 1}})
	b.pass(0)
	b.Emit(Event{Type: "pairing", Pairing: &Pairing{Code: "7-a-b-c", Link: "decant:v1#x", AttemptsLeft: 3}})
	b.Fail(&Problem{Name: "wrong-code", Text: "the code is wrong", Hint: "read it again", Code: Refused})
	want := `{"time":"2026-01-02T03:04:05Z","type":"stage","stage":"sending"}
{"time":"2026-01-02T03:04:05Z","type":"loss","loss":{"path":"a\ufffd","path_base64":"Yf8=","kind":"photo","reason":"unreadable","text":"could not be read"}}
{"time":"2026-01-02T03:04:05Z","type":"progress","progress":{"items_done":1,"items_total":0,"bytes_done":0,"bytes_total":0,"rate":0,"wire_bytes":0,"route":""}}
{"time":"2026-01-02T03:04:05Z","type":"pairing","pairing":{"code":"7-a-b-c","link":"decant:v1#x","attempts_left":3}}
{"time":"2026-01-02T03:04:05Z","type":"error","error":{"name":"wrong-code","message":"the code is wrong","hint":"read it again","exit":4}}
`
	if got := b.out.String(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got := b.err.String(); got != "decant: the code is wrong.\ndecant: hint: read it again\n" {
		t.Errorf("stderr: %q", got)
	}
}

func TestEveryReasonHasAName(t *testing.T) {
	for r := item.ReasonNone + 1; r.Valid(); r++ {
		if l := NewLoss(item.Loss{Reason: r}); l.Reason == "other" {
			t.Errorf("reason %d (%s) has no name", r, r)
		}
	}
}

func TestAskReadsLinesAndKnowsTheEnd(t *testing.T) {
	b := newBench(t, "  first \n\nlast", nil)
	for _, want := range []string{"first", "", "last"} {
		if got, err := b.Ask(t.Context(), "?"); got != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if _, err := b.Ask(t.Context(), "?"); !errors.Is(err, ErrNobody) {
		t.Errorf("at the end: %v", err)
	}
	if b.err.String() != "" {
		t.Errorf("asked %q where nobody reads", b.err.String())
	}
}

func TestAskEndsWithItsContextAndLosesNothing(t *testing.T) {
	r, w := io.Pipe()
	b := newBench(t, "", func(o *Options) { o.Stdin = r })
	cause := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := b.Ask(ctx, "?"); err != cause {
		t.Errorf("cancelled: %v", err)
	}
	go io.WriteString(w, "word\n")
	if got, err := b.Ask(t.Context(), "?"); got != "word" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

func TestRT15AnswersAreShort(t *testing.T) {
	b := newBench(t, strings.Repeat("x", 10<<20), nil)
	if _, err := b.Ask(t.Context(), "?"); err == nil || errors.Is(err, ErrNobody) {
		t.Errorf("10 MB of answer: %v", err)
	}
}

func TestSecretIsWipedFromEveryRow(t *testing.T) {
	words := strings.Repeat("abandon ", 11) + "about" // 93 runes
	b := newBench(t, words+"\n", terminal(40, 24))
	got, err := b.AskSecret(t.Context(), "Ticket:")
	if err != nil || got != words {
		t.Fatal(got, err)
	}
	if n := strings.Count(b.err.String(), "\x1b[A\x1b[2K"); n != 3 { // 8 + 93 columns on rows of 40
		t.Errorf("%d rows wiped, want 3", n)
	}
}

func TestConfirmAsksAgain(t *testing.T) {
	for in, want := range map[string]bool{"y\n": true, "YES\n": true, "n\n": false, "\n": false, "maybe\ny\n": true} {
		b := newBench(t, in, nil)
		if got, err := b.Confirm(t.Context(), "Really?"); got != want || err != nil {
			t.Errorf("%q: %v %v", in, got, err)
		}
	}
}

func TestQRIsTheCodeWithItsMargin(t *testing.T) {
	const text = "decant:v1#AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	lines, err := QRLines(text)
	if err != nil {
		t.Fatal(err)
	}
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		t.Fatal(err)
	}
	for y := range 2 * len(lines) {
		row := []rune(lines[y/2])
		for x, r := range row {
			dark := r == ' ' || r == '▄' && y%2 == 0 || r == '▀' && y%2 == 1
			inside := x >= quiet && y >= quiet && x < quiet+code.Size && y < quiet+code.Size
			if dark != (inside && code.Black(x-quiet, y-quiet)) {
				t.Fatalf("module %d,%d is wrong", x, y)
			}
		}
		if len(row) != code.Size+2*quiet {
			t.Fatalf("row %d has %d modules", y, len(row))
		}
	}
}

func TestQRIsLeftOutWhereItDoesNotFit(t *testing.T) {
	for _, c := range []struct {
		cols, rows int
		mode       QRMode
		want       bool
	}{{80, 40, QRAuto, true}, {20, 40, QRAuto, false}, {80, 10, QRAuto, false}, {20, 10, QRAlways, true}, {80, 40, QRNever, false}} {
		b := newBench(t, "", terminal(c.cols, c.rows))
		if got := b.QR("decant:v1#x", c.mode); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	b := newBench(t, "", nil)
	if b.QR("x", QRAuto) {
		t.Error("drawn without a terminal")
	}
}

func TestFormats(t *testing.T) {
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1.00 kB", 9994: "9.99 kB", 99_950: "100 kB", 999_400: "999 kB", 999_600: "1.00 MB",
		1_410_000_000: "1.41 GB", 1 << 62: "4.61 EB"} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %s, want %s", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %s, want %s", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "0 s", 59 * time.Second: "59 s", 80 * time.Second: "1 min 20 s", 2 * time.Hour: "2 h",
		130 * time.Minute: "2 h 10 min", 14 * 24 * time.Hour: "14 days"} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestPreviewScreen(t *testing.T) {
	p := &node.Preview{From: "old laptop", Peer: "3xKq9P", Final: true, Need: 1_410_000_000, Free: 20_000_000_000,
		Kinds: map[string]node.KindPreview{
			"photo":   {Total: item.Tally{Items: 600, Bytes: 1_300_000_000}, New: item.Tally{Items: 598}, Conflict: item.Tally{Items: 2}},
			"contact": {Total: item.Tally{Items: 1312, Bytes: 180_000}, New: item.Tally{Items: 1300}, Merge: item.Tally{Items: 12}},
		},
		Renamed:   []node.Renamed{{Path: "Photos/a.jpg", Dest: "Photos/a (2).jpg"}, {Path: "Photos/b.jpg", Dest: "Photos/b (2).jpg"}},
		Losses:    []item.Loss{{Path: "Photos/link", Reason: item.ReasonSymlink}},
		LossCount: 7, RenameCount: 2}
	want := `
From old laptop (…3xKq9P) to /new

            items     size    new  conflict  merge
  contacts  1,312   180 kB  1,300         –     12
  photos      600  1.30 GB    598         2      –
  all       1,912  1.30 GB  1,898         2     12

In conflict: the name is taken by another file. Yours stays as it is; the new one lies beside it.
2 items under another name:
  Photos/a.jpg → Photos/a (2).jpg
  Photos/b.jpg → Photos/b (2).jpg
Not kept, or not kept as it was (7):
  Photos/link is a symbolic link
  … and 6 more
Needs 1.41 GB; 20.0 GB are free.
Nothing has been written yet.`
	if got := strings.Join(PreviewLines(p, "/new", nil, false), "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	only := strings.Join(PreviewLines(p, "/new", []item.Kind{item.Contact}, false), "\n")
	if strings.Contains(only, "photos ") || strings.Contains(only, "In conflict") {
		t.Errorf("a kind that was not chosen is counted:\n%s", only)
	}
}

func TestReceiptScreen(t *testing.T) {
	r := &node.Receipt{Session: id.Session{0xab, 0xcd}, Receiver: "12D3KooWabcdef", Level: "read back", SafeWipe: true,
		At:    time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local),
		Kinds: map[string]map[string]item.Tally{"file": {"moved": {Items: 10, Bytes: 1000}, "lost": {Items: 1}}, "photo": {"moved": {Items: 2, Bytes: 5_000_000}}}}
	want := `Receipt abcd0000, signed by the new device (…abcdef), 2026-01-02 03:04:05

          items     size  moved  lost
  photos      2  5.00 MB      2     –
  files      11  1.00 kB     10     1

Everything was verified, synced and read back from the new device's storage.`
	if got := strings.Join(ReceiptLines(r), "\n"); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestC6OnlyAReceiptThatSaysSoIsSafeToWipe(t *testing.T) {
	for _, r := range []*node.Receipt{nil, {}, {Kinds: map[string]map[string]item.Tally{"file": {"moved": {Items: 1}}}}} {
		if !strings.HasPrefix(WipeLine(r), "NOT safe") {
			t.Errorf("%+v: %s", r, WipeLine(r))
		}
	}
	r := &node.Receipt{SafeWipe: true}
	if got := WipeLine(r); got != "Safe to wipe the old device." {
		t.Error(got)
	}
	r.Kinds = map[string]map[string]item.Tally{"file": {"failed": {Items: 3}, "skipped": {Items: 1}}}
	if got := WipeLine(r); got != "Safe to wipe the old device, except for what did not move: 1 skipped, 3 failed." {
		t.Error(got)
	}
}
