package main

import "context"

// hard runs what is measured instead of the corpora.
func hard(ctx context.Context, o options) error {
	switch {
	case o.recovery > 0:
		return recovery(ctx, o)
	case o.expiry > 0:
		return expiry(ctx, o)
	case o.slow > 0:
		return slow(ctx, o)
	case o.member > 0:
		return member(ctx, o)
	}
	return storm(ctx, o)
}
