//go:build !linux

package link

import "context"

// netEvents is for systems that are only looked at.
func netEvents(context.Context, chan struct{}) {}
