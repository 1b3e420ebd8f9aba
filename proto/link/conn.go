package link

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/decant-dev/decant/proto/id"
)

// A fast-lane connection is a tls.Conn over a batch over a TCP socket:
//
//	HTTP → Conn.Write → tls.Conn (16 KiB records) → batch (up to batchSize) → socket
//
// crypto/tls makes one system call per 16 KiB record. A batch gathers the records of
// one Write, which takes 15 % off the CPU time of a PUT or GET of 4 MiB (both ends,
// loopback). Reading ahead in the same way was measured too and gains nothing, since
// crypto/tls already reads up to its buffer's end. The buffer is held only during a
// Write: an idle connection owns none.

const (
	recordSize = 16 << 10              // largest plaintext of a TLS record
	batchSize  = 4 * (recordSize + 64) // bytes written at once: four records, the most that TCP segmentation offload takes
)

var batches = sync.Pool{New: func() any { b := make([]byte, batchSize); return &b }}

// batch is the socket under a tls.Conn. Writes may come from several goroutines:
// crypto/tls answers key updates while reading.
type batch struct {
	net.Conn
	pace pace

	closing atomic.Bool // crypto/tls bounds its last alert itself

	mu   sync.Mutex // guards the rest
	held int        // Conn.Write calls in progress: gather
	out  int        // bytes gathered in wbuf
	wbuf *[]byte
	err  error // of a failed write; nothing is sent after it
}

// Write sends p, or gathers it while a Conn.Write is in progress.
func (b *batch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == 0 || b.closing.Load() || len(p) > batchSize {
		return b.send(p)
	}
	if b.wbuf == nil {
		b.wbuf = batches.Get().(*[]byte)
	}
	if b.out+len(p) > batchSize {
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	b.out += copy((*b.wbuf)[b.out:], p)
	return len(p), nil
}

// Read implements net.Conn.
func (b *batch) Read(p []byte) (int, error) {
	n, err := b.Conn.Read(p)
	b.pace.count(n)
	return n, err
}

// send writes to the socket. The caller holds mu.
func (b *batch) send(p []byte) (n int, err error) {
	if b.err != nil {
		return 0, b.err
	}
	w := b.pace
	if b.closing.Load() {
		w.stall = 0
	}
	n, b.err = w.write(b.Conn, p)
	return n, b.err
}

// flush sends what was gathered. The caller holds mu.
func (b *batch) flush() error {
	if b.out == 0 {
		return b.err
	}
	_, err := b.send((*b.wbuf)[:b.out])
	b.out = 0
	return err
}

func (b *batch) hold() {
	b.mu.Lock()
	b.held++
	b.mu.Unlock()
}

func (b *batch) release() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held--
	if b.held > 0 {
		return nil
	}
	err := b.flush()
	if b.wbuf != nil {
		batches.Put(b.wbuf)
		b.wbuf = nil
	}
	return err
}

// pace gives every piece of a write a deadline of its own: a peer that takes nothing
// for stall is given up, however long the whole body lasts.
type pace struct {
	stall time.Duration  // 0: no deadline
	slow  bool           // the peer may take as little as it likes in each stall, or acknowledge it: for what a device sends
	moved *atomic.Uint64 // bytes that moved either way; nil: nobody asks
}

func (w pace) count(n int) {
	if w.moved != nil {
		w.moved.Add(uint64(n))
	}
}

// pieceSize keeps a reader of 2.2 kB/s within a stall of 30 s.
const pieceSize = batchSize

func (w pace) write(c net.Conn, p []byte) (n int, err error) {
	for {
		before := 0
		if w.stall > 0 {
			if err := c.SetWriteDeadline(time.Now().Add(w.stall)); err != nil {
				return n, err
			}
			before, _ = queued(c)
		}
		m, err := c.Write(p[n:min(len(p), n+pieceSize)])
		n += m
		w.count(m)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			after, ok := queued(c)
			if w.slow && (m > 0 || ok && after < before) {
				continue
			}
			if t, ok := c.(*net.TCPConn); ok {
				_ = t.SetLinger(0) // what the peer didn't take would stay with the system, for minutes after the connection was closed
			}
		}
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// conn is an established fast-lane connection, on either end.
type conn struct {
	*tls.Conn
	raw     *batch
	peer    id.Peer
	writing atomic.Int32
	onClose func() // may be nil
	once    sync.Once
}

// Peer returns the other end.
func (c *conn) Peer() id.Peer { return c.peer }

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Add(1)
	defer c.writing.Add(-1)
	if len(p) <= recordSize {
		return c.Conn.Write(p)
	}
	c.raw.hold()
	n, err := c.Conn.Write(p)
	if ferr := c.raw.release(); err == nil && ferr != nil {
		n, err = 0, ferr
	}
	return n, err
}

// ReadFrom implements io.ReaderFrom: net/http hands a request's body to it. A Body is
// encrypted straight from the caller's bytes, anything else goes through a buffer.
func (c *conn) ReadFrom(r io.Reader) (int64, error) { return sendFrom(c, r) }

func (c *conn) count(moved *atomic.Uint64) { c.raw.pace.moved = moved }

// Queued returns how many bytes of what was written the other end has not acknowledged: on a slow link they are all that
// moves for a while. ok is false where the system does not tell.
func (c *conn) Queued() (n int, ok bool) { return queued(c.raw.Conn) }

func queued(c net.Conn) (n int, ok bool) {
	s, ok := c.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, false
	}
	return unsent(raw)
}

// abort ends the connection without a word.
func (c *conn) abort() { c.raw.Close() }

// Close implements net.Conn. A writer that hangs is cut off rather than waited for.
func (c *conn) Close() error {
	c.once.Do(func() {
		if c.onClose != nil {
			c.onClose()
		}
	})
	if c.writing.Load() > 0 {
		return c.raw.Close()
	}
	c.raw.closing.Store(true)
	return c.Conn.Close()
}
