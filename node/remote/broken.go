package remote

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"syscall"

	"github.com/decant-dev/decant/proto/link"
)

// ErrBroken reports an exchange that failed below the protocol, where the reason is not
// ours to tell: net/http and libp2p quote what the other side sent in their errors, and
// a server's words never reach a person (adversity E-15). It is repeated.
var ErrBroken = errors.New("connection to the server broke")

// ownWords reduces a transport's error to the part whose text comes from this device:
// ours, the context's, the operating system's.
func ownWords(err error) error {
	for _, s := range []error{ErrStalled, link.ErrKeyType, link.ErrClosed, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, s) {
			return s
		}
	}
	var wrong *link.WrongServerError
	var dns *net.DNSError
	var op *net.OpError
	var sys syscall.Errno
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.As(err, &wrong):
		return wrong
	case errors.As(err, &dns):
		return dns
	case errors.As(err, &op):
		return op
	case errors.As(err, &sys):
		return sys
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, fs.ErrClosed):
		return io.ErrUnexpectedEOF
	}
	return ErrBroken
}
