package link

import (
	"io"
	"sync"
)

// Body is a request body whose bytes the connection sends without copying them. It
// also tells when net/http has let go of the bytes, which may be after the answer came
// or the request was given up. One request, one Body.
type Body struct {
	mu     sync.Mutex // guards off, closed, using
	data   []byte
	off    int
	closed bool
	using  bool // a connection is sending from data
	free   chan struct{}
}

// NewBody returns a Body that sends data. The caller must not change data before Wait returns.
func NewBody(data []byte) *Body { return &Body{data: data, free: make(chan struct{})} }

// Read implements io.Reader.
func (b *Body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.off == len(b.data) {
		return 0, io.EOF
	}
	n := copy(p, b.data[b.off:])
	b.off += n
	return n, nil
}

// Close implements io.Closer.
func (b *Body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.closed = true
		if !b.using {
			close(b.free)
		}
	}
	return nil
}

// Wait blocks until nothing reads the bytes any more. Call it once RoundTrip has
// returned; it is prompt then, because a request that is given up loses its connection.
func (b *Body) Wait() { <-b.free }

// take borrows the next n bytes at most, unless the body is closed; done must follow.
func (b *Body) take(n int64) ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, false
	}
	b.using = true
	p := b.data[b.off:]
	return p[:min(int64(len(p)), n)], true
}

func (b *Body) done(sent int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.off += sent
	b.using = false
	if b.closed {
		close(b.free)
	}
}

// sendFrom is ReadFrom for a connection. net/http passes the body inside an
// io.LimitedReader of the content length.
func sendFrom(w io.Writer, r io.Reader) (int64, error) {
	l, ok := r.(*io.LimitedReader)
	if ok {
		if b, ok := l.R.(*Body); ok {
			p, ok := b.take(l.N)
			if !ok {
				return 0, io.ErrClosedPipe
			}
			n, err := w.Write(p)
			b.done(n)
			l.N -= int64(n)
			return int64(n), err
		}
	}
	buf := batches.Get().(*[]byte)
	defer batches.Put(buf)
	return io.CopyBuffer(struct{ io.Writer }{w}, r, *buf)
}
