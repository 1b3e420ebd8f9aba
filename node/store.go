package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/journal"
	"github.com/decant-dev/decant/node/session"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Node is the engine of one device. Its methods may be called concurrently; each
// transfer is worked on by one call at a time.
type Node struct {
	cfg Config
	key seal.Key // of the journals

	emit sync.Mutex // one event at a time
}

// Open prepares the state directory.
func Open(cfg Config) (*Node, error) {
	if cfg.StateDir == "" {
		return nil, errors.New("node: no state directory")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Workers == 0 {
		cfg.Workers = min(runtime.NumCPU(), 4)
	}
	if cfg.Streams == 0 {
		cfg.Streams = 4
	}
	if len(cfg.Label) > maxLabel || !utf8.ValidString(cfg.Label) || strings.ContainsFunc(cfg.Label, unicode.IsControl) {
		return nil, errors.New("node: the label must be at most 64 bytes of printable text")
	}
	dir, err := filepath.Abs(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	cfg.StateDir = dir
	if err := os.MkdirAll(filepath.Join(dir, "transfers"), 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	n := &Node{cfg: cfg}
	n.key, err = loadKey(filepath.Join(dir, "journal.key"))
	return n, err
}

// Close releases what the node holds. Calls under way must have returned.
func (n *Node) Close() error { return nil }

// maxLabel is the longest label in bytes.
const maxLabel = 64

// loadKey reads the device's journal key, made at the first run.
func loadKey(path string) (seal.Key, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		k := seal.NewKey()
		if err := writeFile(path, k.Bytes()); err != nil && !errors.Is(err, fs.ErrExist) {
			return seal.Key{}, fmt.Errorf("state directory: %w", err)
		}
		b, err = os.ReadFile(path) // perhaps another process was faster
	}
	if err != nil {
		return seal.Key{}, fmt.Errorf("state directory: %w", err)
	}
	return seal.KeyFromBytes(b)
}

// writeFile writes a file that appears whole or not at all, and never replaces one.
func writeFile(path string, data []byte) error {
	var suffix [6]byte
	rand.Read(suffix[:])
	tmp := path + "." + hex.EncodeToString(suffix[:])
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(tmp, path)
	}
	os.Remove(tmp)
	return err
}

// Roles of a transfer, the first letter of its directory's name.
const (
	roleSender   = "sender"
	roleReceiver = "receiver"
	roleImport   = "import" // from sources into targets of this device
)

// transferDir is one transfer's directory, open and locked by this process.
type transferDir struct {
	dir     string
	j       *journal.Journal
	lock    io.Closer
	control *control

	progress atomic.Pointer[item.Progress] // what was reported last
}

// Keys in the journal that belong to this package.
var (
	keyMeta    = []byte("m/meta")
	keySecrets = []byte("m/secrets")
	keyState   = []byte("m/state")
)

// meta is fixed when a transfer begins.
type meta struct {
	Version int       `json:"version"`
	Role    string    `json:"role"`
	Created time.Time `json:"created"`
	Server  string    `json:"server"`
	Card    []byte    `json:"card"` // this device's signed card
	// Sender.
	Paths  []string      `json:"paths,omitempty"`
	Ticket bool          `json:"ticket,omitempty"`
	Folder string        `json:"folder,omitempty"` // carries the transfer instead of a server
	Expiry time.Duration `json:"expiry,omitempty"`
	// Placeless photos were asked for: see SendOptions.
	Placeless bool `json:"placeless,omitempty"`
	// Sender and import.
	Sources []string `json:"sources,omitempty"` // places whose records are gathered
	// Receiver.
	To string `json:"to,omitempty"`
	// Receiver and import.
	Into   []string `json:"into,omitempty"`   // places that records are brought into
	Region string   `json:"region,omitempty"` // country of numbers without a prefix
}

const metaVersion = 1

// secrets are sealed in the journal.
type secrets struct {
	Device   []byte `json:"device"`   // Ed25519 seed, fresh for this migration
	Exchange []byte `json:"exchange"` // X-Wing and box keys
	Master   []byte `json:"master,omitempty"`
	Ticket   []byte `json:"ticket,omitempty"`
	Share    []byte `json:"share,omitempty"`
	Grant    []byte `json:"grant,omitempty"` // sender, ticket form: as it was offered to the server
}

// identity is a transfer's own keys, parsed.
type identity struct {
	device   *key.Device
	exchange *key.Exchange
	card     []byte
	cardHash id.CardHash
}

func (s *secrets) identity(card []byte) (*identity, error) {
	d, err := key.DeviceFromSeed(s.Device)
	if err != nil {
		return nil, err
	}
	e, err := key.ParseExchange(s.Exchange)
	if err != nil {
		return nil, err
	}
	return &identity{device: d, exchange: e, card: card, cardHash: key.HashCard(card)}, nil
}

// unfinished opens the newest transfer of a role that same accepts, or returns nil. One
// that another process is working on, and that alike accepts by what that process says of
// it, is ErrBusy: to begin a second one beside it is not what anybody meant.
func (n *Node) unfinished(ctx context.Context, role string, same func(*meta, *state) bool, alike func(*TransferStatus) bool) (*transferDir, error) {
	dirs, err := n.dirs()
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		if filepath.Base(dir)[0] != role[0] {
			continue
		}
		t, err := n.open(dir)
		if errors.Is(err, ErrBusy) {
			if st, asked := askStatus(ctx, dir); asked == nil && alike(st) {
				return nil, err
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		m, err1 := t.meta()
		st, err2 := t.state()
		if err1 == nil && err2 == nil && same(&m, &st) {
			return t, nil
		}
		t.close()
	}
	return nil, nil
}

// newIdentity draws a device key and exchange keys for one migration, and signs the card.
func (n *Node) newIdentity(role key.Role) (*secrets, []byte, error) {
	d := key.NewDevice()
	e, err := key.NewExchange()
	if err != nil {
		return nil, nil, err
	}
	limits := key.Limits{MaxItems: 1 << 22, MaxBytes: 1 << 50}
	card, err := key.SignCard(d, e, role, limits, n.cfg.Now().Add(cardLife), "") // cards pass through the server: the label goes with the grant
	if err != nil {
		return nil, nil, err
	}
	return &secrets{Device: d.Seed(), Exchange: e.Bytes()}, card, nil
}

// cardLife is how long a device's card is good for: the longest session and a day.
const cardLife = 31 * 24 * time.Hour

func (n *Node) dirOf(role string, tag []byte) string {
	return filepath.Join(n.cfg.StateDir, "transfers", role[:1]+"-"+hex.EncodeToString(tag))
}

// open locks and opens a transfer's directory, creating it if it is not there. The error is ErrBusy if
// another process has it.
func (n *Node) open(dir string) (*transferDir, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	lock, err := journal.Lock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrBusy, err)
	}
	j, err := journal.Open(filepath.Join(dir, "journal"), n.key, n.cfg.Fatal)
	if err != nil {
		lock.Close()
		return nil, err
	}
	return &transferDir{dir: dir, j: j, lock: lock}, nil
}

func (t *transferDir) close() error {
	if t.control != nil {
		t.control.close()
	}
	return errors.Join(t.j.Close(), t.lock.Close())
}

func isTransfer(name string) bool {
	return strings.HasPrefix(name, "s-") || strings.HasPrefix(name, "r-") || strings.HasPrefix(name, "i-")
}

// dirs lists the transfers' directories, the newest first.
func (n *Node) dirs() ([]string, error) {
	base := filepath.Join(n.cfg.StateDir, "transfers")
	entries, err := os.ReadDir(base)
	if err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	type dated struct {
		dir string
		at  time.Time
	}
	var all []dated
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || !e.IsDir() || !isTransfer(e.Name()) {
			continue
		}
		all = append(all, dated{filepath.Join(base, e.Name()), fi.ModTime()})
	}
	slices.SortFunc(all, func(a, b dated) int { return b.at.Compare(a.at) })
	dirs := make([]string, len(all))
	for i := range all {
		dirs[i] = all[i].dir
	}
	return dirs, nil
}

// state is what changes over a transfer's life. Every change is one synced write.
type state struct {
	State   session.State `json:"state"`
	Session id.Session    `json:"session"`
	Paused  bool          `json:"paused,omitempty"`
	Class   uint8         `json:"class,omitempty"`
	Expires time.Time     `json:"expires,omitzero"`

	Home     string `json:"home,omitempty"`      // who holds the session: homeDirect, else the server or the folder
	OpenedAt string `json:"opened_at,omitempty"` // sender: where it was opened last
	Via      string `json:"via,omitempty"`       // the last folder that completed what was begun with the server or directly

	Open id.Request `json:"open"` // request ID of the Open or Claim call, kept across crashes

	// The other device.
	Peer     id.Peer `json:"peer"`
	PeerCard []byte  `json:"peer_card,omitempty"`
	From     string  `json:"from,omitempty"` // its label, untrusted; empty by ticket

	// Epochs. The sender: the one being worked at, and the last committed. The receiver: the highest seen.
	Epoch     uint64    `json:"epoch"`
	Committed bool      `json:"committed,omitempty"` // the sender's Epoch is committed at the server
	Commit    id.Commit `json:"commit"`
	Final     bool      `json:"final,omitempty"`

	// The sender.
	Pinned   bool       `json:"pinned,omitempty"`
	Server   [16]byte   `json:"server"` // incarnation in which everything above was done
	Granted  bool       `json:"granted,omitempty"`
	Items    item.Tally `json:"items,omitzero"` // of the collection
	Finished bool       `json:"finished,omitempty"`
	Cache    string     `json:"cache,omitempty"` // that has, or had, packs

	// The receiver.
	Kinds    []item.Kind `json:"kinds,omitempty"`
	Accepted uint64      `json:"accepted,omitempty"` // 1 + the epoch whose plan the person accepted
	ReadBack bool        `json:"read_back,omitempty"`
	Posted   bool        `json:"posted,omitempty"`
	Deliver  string      `json:"deliver,omitempty"` // how far the records have come that go into targets

	Receipt []byte `json:"receipt,omitempty"` // signed
}

func (t *transferDir) meta() (m meta, err error) {
	err = t.j.GetJSON(keyMeta, &m)
	if err == nil && m.Version != metaVersion {
		err = fmt.Errorf("this transfer was begun by another version of decant")
	}
	return m, err
}

func (t *transferDir) state() (s state, err error) {
	err = t.j.GetJSON(keyState, &s)
	return s, err
}

// recall reads all that an earlier run left of a transfer's own.
func (t *transferDir) recall() (m meta, st state, s secrets, err error) {
	if m, err = t.meta(); err == nil {
		st, err = t.state()
	}
	if err == nil {
		err = t.j.GetSecretJSON(keySecrets, &s)
	}
	return m, st, s, err
}

// save makes the state durable.
func (t *transferDir) save(s *state) error {
	return t.j.Batch().PutJSON(keyState, s).Commit()
}

// move applies an event to the state and saves it.
func (t *transferDir) move(s *state, e session.Event) error {
	next, err := session.Next(s.State, e)
	if err != nil {
		return err
	}
	s.State = next
	return t.save(s)
}

// unpause notes that a paused transfer goes on.
func (t *transferDir) unpause(n *Node, s *state) error {
	if !s.Paused {
		return nil
	}
	s.Paused = false
	n.notice("resumed", "")
	return t.save(s)
}

// hasEnded reports whether err says that the server's session is over, however it ended.
func hasEnded(err error) bool {
	switch wire.StatusOf(err) {
	case wire.Done, wire.Expired, wire.Revoked, wire.NotFound:
		return true
	}
	return false
}

// ended notes that a session is over if that is what err says: the transfer can't be
// taken up again.
func (t *transferDir) ended(s *state, err error) error {
	if !errors.Is(err, ErrSessionOver) {
		return err
	}
	if _, no := session.Next(s.State, session.Ended); no != nil {
		return err
	}
	return errors.Join(err, t.move(s, session.Ended), t.forgetRecords())
}

func (n *Node) event(e item.Event) {
	if n.cfg.Events == nil {
		return
	}
	n.emit.Lock()
	defer n.emit.Unlock()
	e.Time = n.cfg.Now()
	n.cfg.Events(e)
}

func (n *Node) stage(s item.Stage) { n.event(item.Event{Type: "stage", Stage: s}) }

func (n *Node) notice(code, detail string) {
	n.event(item.Event{Type: "notice", Notice: &item.Notice{Code: code, Detail: detail}})
}

func (n *Node) loss(l item.Loss) { n.event(item.Event{Type: "loss", Loss: &l}) }

// meter turns running sums into progress events with a rate over the last seconds.
type meter struct {
	n     *Node
	t     *transferDir
	stage item.Stage
	total item.Tally
	route func() string // in use now; nil: stored
	prev  []sample
}

type sample struct {
	at    time.Time
	bytes int64
}

const rateWindow = 5 * time.Second

func (m *meter) report(items, bytes, wire int64) {
	now := m.n.cfg.Now()
	m.prev = append(m.prev, sample{now, bytes})
	for len(m.prev) > 2 && now.Sub(m.prev[1].at) > rateWindow {
		m.prev = m.prev[1:]
	}
	p := &item.Progress{ItemsDone: items, ItemsTotal: m.total.Items, BytesDone: bytes, BytesTotal: m.total.Bytes, WireBytes: wire, Route: "stored"}
	if m.route != nil {
		p.Route = m.route()
	}
	if d := now.Sub(m.prev[0].at).Seconds(); d > 0 {
		p.Rate = float64(bytes-m.prev[0].bytes) / d
	}
	m.t.progress.Store(p)
	m.n.event(item.Event{Type: "progress", Stage: m.stage, Progress: p})
}

// pausable derives a context that Pause ends with ErrPaused, and answers other
// processes until t is closed.
func (n *Node) pausable(ctx context.Context, t *transferDir) (context.Context, context.CancelFunc, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	status := func() *TransferStatus {
		st, err := t.status()
		if err != nil {
			return nil
		}
		st.Running = true
		if p := t.progress.Load(); p != nil {
			st.Progress = *p
		}
		return st
	}
	c, err := listenControl(t.dir, status, func() { cancel(ErrPaused) })
	if err != nil {
		cancel(nil)
		return nil, nil, err
	}
	t.control = c
	return ctx, func() { cancel(nil) }, nil
}
