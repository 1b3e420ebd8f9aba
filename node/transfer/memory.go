package transfer

import (
	"bytes"
	"context"
	"sync"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// Memory is a BlobStore in memory. Its zero value is empty and ready.
type Memory struct {
	mu    sync.Mutex // guards blobs
	blobs map[id.Blob][]byte
}

var _ BlobStore = (*Memory)(nil)

// Put implements BlobStore.
func (m *Memory) Put(_ context.Context, name id.Blob, blob []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.blobs[name]; ok {
		if !bytes.Equal(old, blob) {
			return wire.Fail(wire.Conflict, "put")
		}
		return nil
	}
	if m.blobs == nil {
		m.blobs = map[id.Blob][]byte{}
	}
	m.blobs[name] = bytes.Clone(blob)
	return nil
}

// Get implements BlobStore.
func (m *Memory) Get(_ context.Context, name id.Blob, dst []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, ok := m.blobs[name]
	if !ok {
		return dst, wire.Fail(wire.NotFound, "get")
	}
	return append(dst, b...), nil
}

// Has implements BlobStore.
func (m *Memory) Has(_ context.Context, names []id.Blob) ([]bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]bool, len(names))
	for i, n := range names {
		_, out[i] = m.blobs[n]
	}
	return out, nil
}

// Delete implements BlobStore.
func (m *Memory) Delete(_ context.Context, names ...id.Blob) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range names {
		delete(m.blobs, n)
	}
	return nil
}

// Len is the number of blobs.
func (m *Memory) Len() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.blobs)
}
