// Package transfer moves a collection's content between a device and whatever holds
// sealed blobs: the upload pipeline (read, compress, pack, seal, put) and the download
// pipeline (get, open, decode, stage), with the journal records that let both go on
// after a crash without doing anything twice. docs/SPEC.md sections 3 and 4 give the
// formats; docs/ARCHITECTURE.md the order of events.
package transfer

import (
	"context"
	"time"

	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/proto/wire"
)

// BlobStore keeps opaque immutable blobs. Implementations are safe for concurrent
// use. Every blob of a store has one size, that of the session's class.
type BlobStore interface {
	// Put stores blob under name. It is durable when nil is returned. The same name with the same bytes is no error; with
	// other bytes it is wire.Conflict. The blob is not retained.
	Put(ctx context.Context, name id.Blob, blob []byte) error
	// Get appends the blob to dst. A blob that is not there is wire.NotFound.
	Get(ctx context.Context, name id.Blob, dst []byte) ([]byte, error)
	// Has tells which blobs are durable; the answer has the length and order of names.
	Has(ctx context.Context, names []id.Blob) ([]bool, error)
	// Delete removes blobs; one that is not there is no error.
	Delete(ctx context.Context, names ...id.Blob) error
}

// Mailbox passes messages between the devices of one scope, in order of arrival.
// A message stays until it is acknowledged. Safe for concurrent use.
type Mailbox interface {
	// Post puts a message of at most wire.MaxBody bytes into another device's mailbox; it is durable when nil is returned.
	Post(ctx context.Context, to id.Peer, body []byte) error
	// Fetch returns this device's messages with a sequence number above after, waiting up to wait for the first. ack is
	// the sender's ack of a finished session, nil before.
	Fetch(ctx context.Context, after uint64, wait time.Duration) (ms []wire.Message, ack []byte, err error)
	// Ack removes this device's messages up to and including upTo.
	Ack(ctx context.Context, upTo uint64) error
}
