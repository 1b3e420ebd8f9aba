package source

import (
	"context"

	"github.com/decant-dev/decant/node/item"
)

// Books is a place that holds records: an address book, a calendar server, a browser's
// profile. It is only read. Its methods run one at a time.
type Books interface {
	// Survey tells what is there, as cheaply as it can.
	Survey(ctx context.Context) ([]item.Found, error)
	// Read gives everything to the sink, in an order that depends on the place's content
	// only. What can't be read is told as a Change and does not end it; the first error of
	// the sink, or the end of ctx, does.
	Read(ctx context.Context, to item.Sink) error
	Close() error
}
