package folder

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Mailbox is the mailbox of one session in a folder. It is safe for concurrent use.
//
// A message is a file that its poster names: by whom it is for, a number that grows with each of its messages, and chance. So
// two posters never write the same file. The reader numbers messages itself, in the order in which they come into its sight:
// one that a program copies late gets a late number and is not passed over. These numbers count for one Folder; a new one
// begins with what has not been acknowledged.
type Mailbox struct {
	s *Session

	mu      sync.Mutex        // guards the rest
	numbers map[string]uint64 // sequence numbers given, by name, of messages that are still there
	last    uint64            // the highest number given
	acked   uint64            // up to here nothing is shown again, also if it can't be removed
	posted  uint64            // the number in the name of the last message that was posted
}

// A message's name: 16 digits of the addressee, 16 of a number, 16 of chance.
const (
	addressDigits = 16
	messageDigits = 3 * 16
)

// fetchBytes bounds the bodies of one answer.
const fetchBytes = wire.MaxRoot

// Post puts a message of at most wire.MaxBody bytes into another device's mailbox; it is durable when nil is returned. The
// sender may write to anyone, others to the sender. At 4,096 messages that nobody has acknowledged it is wire.QuotaCount.
func (m *Mailbox) Post(ctx context.Context, to id.Peer, body []byte) error {
	return fail("post", m.post(ctx, to, body))
}

func (m *Mailbox) post(ctx context.Context, to id.Peer, body []byte) error {
	if len(body) > wire.MaxBody {
		return wire.TooLarge
	}
	v, err := m.s.live(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	if v.device != v.offer.sender && to != v.offer.sender {
		return wire.Forbidden
	}
	names, err := v.list(mailDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(names) >= maxEntries {
		return wire.QuotaCount
	}
	msg := message{from: v.device, to: to, body: body}
	return v.create(mailDir+"/"+m.next(to), frame(kindMessage, msg.parts()...))
}

// next draws a name. Names of one poster ascend, after a restart by its clock.
func (m *Mailbox) next(to id.Peer) string {
	m.mu.Lock()
	m.posted = max(m.posted+1, uint64(time.Now().UnixMicro()))
	name := append(to[:addressDigits/2:addressDigits/2], u64(m.posted)...)
	m.mu.Unlock()
	chance := make([]byte, 8)
	rand.Read(chance)
	return hex.EncodeToString(append(name, chance...))
}

// Fetch returns this device's messages above after, in ascending order, at most wire.MaxFetch and about 1 MiB, waiting up to
// wait (at most wire.MaxWait) for the first. None is an empty slice and no error. ack is the sender's ack of a finished
// session, else nil. From is what the message says of itself: anyone who can write to the folder can write that.
func (m *Mailbox) Fetch(ctx context.Context, after uint64, wait time.Duration) (msgs []wire.Message, ack []byte, err error) {
	err = poll(ctx, wait, func() (bool, error) {
		v, err := m.s.enter(ctx)
		if err != nil {
			return false, err
		}
		defer v.Close()
		if ack = v.ack; ack != nil {
			return true, nil
		}
		msgs, err = m.look(v, after)
		return len(msgs) > 0, err
	})
	return msgs, ack, fail("fetch", err)
}

// look returns what is there for this device above after: first what has a number, then what is new.
func (m *Mailbox) look(v *view, after uint64) ([]wire.Message, error) {
	names, err := mine(v)
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known, fresh := m.sort(names)
	var out []wire.Message
	size := 0
	for _, name := range append(known, fresh...) {
		n := m.numbers[name]
		if n != 0 && n <= max(after, m.acked) {
			continue
		}
		if len(out) == wire.MaxFetch || size >= fetchBytes {
			break
		}
		msg, err := v.message(name)
		if err != nil {
			return nil, err
		}
		if msg == nil {
			continue // gone, or not yet whole: then it gets its number when it is
		}
		if n == 0 {
			m.last++
			n, m.numbers[name] = m.last, m.last
		}
		if n > after {
			size += len(msg.body)
			out = append(out, wire.Message{Sequence: n, From: msg.from, Body: msg.body})
		}
	}
	return out, nil
}

// sort separates names that have a number, by it, from those that have none, by name. It forgets those that are gone.
func (m *Mailbox) sort(names []string) (known, fresh []string) {
	kept := make(map[string]uint64, len(names))
	for _, name := range names {
		if n := m.numbers[name]; n != 0 {
			kept[name] = n
			known = append(known, name)
		} else {
			fresh = append(fresh, name)
		}
	}
	m.numbers = kept
	slices.SortFunc(known, func(a, b string) int { return cmp.Compare(kept[a], kept[b]) })
	slices.Sort(fresh)
	return known, fresh
}

// mine lists the names of messages for this device.
func mine(v *view) ([]string, error) {
	names, err := v.list(mailDir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	prefix := hex.EncodeToString(v.device[:addressDigits/2])
	return slices.DeleteFunc(names, func(name string) bool {
		_, ok := unhex(name, messageDigits/2)
		return !ok || !strings.HasPrefix(name, prefix)
	}), nil
}

// message reads a message for this device, nil if it is none, or not whole.
func (v *view) message(name string) (*message, error) {
	body, err := v.read(mailDir+"/"+name, kindMessage)
	if err != nil || body == nil {
		return nil, err
	}
	msg := parseMessage(body)
	if msg == nil || msg.to != v.device {
		return nil, nil
	}
	return msg, nil
}

// Ack removes this device's messages up to and including upTo, of those that this Folder has fetched. In a folder that can't
// be written they are passed over from now on, and a new Folder shows them again; they may also come back after a power cut.
func (m *Mailbox) Ack(ctx context.Context, upTo uint64) error {
	return fail("ack", m.ack(ctx, upTo))
}

func (m *Mailbox) ack(ctx context.Context, upTo uint64) error {
	v, err := m.s.enter(ctx)
	if err != nil {
		return err
	}
	defer v.Close()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.acked = max(m.acked, min(upTo, m.last))
	for name, n := range m.numbers {
		if n > m.acked {
			continue
		}
		err := v.remove(mailDir + "/" + name)
		if err != nil && !isDenied(err) {
			return err
		}
	}
	return nil
}
