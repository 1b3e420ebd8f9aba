//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/decant-dev/decant/test/natlab"
)

// connect opens a plain TCP connection from one device to another that it can reach.
func connect(from, to *natlab.Device) (out, in net.Conn, err error) {
	var l net.Listener
	if err := to.Do(func() (err error) {
		l, err = net.Listen("tcp4", "0.0.0.0:0")
		return err
	}); err != nil {
		return nil, nil, err
	}
	defer l.Close()
	if err := from.Do(func() (err error) {
		port := uint16(l.Addr().(*net.TCPAddr).Port)
		out, err = net.DialTimeout("tcp4", netip.AddrPortFrom(to.Addr(), port).String(), time.Minute)
		return err
	}); err != nil {
		return nil, nil, err
	}
	if in, err = l.Accept(); err != nil {
		out.Close()
		return nil, nil, err
	}
	return out, in, nil
}

// plain is a transfer over plain TCP: that many bytes of nothing over each of so many connections at once, all opened before. It returns
// how long it took from the first byte until the sender has heard that the last one was read, as a sender of Decant hears of the receipt.
func plain(ctx context.Context, from, to *natlab.Device, bytes int64, conns int) (time.Duration, error) {
	g, ctx := errgroup.WithContext(ctx)
	var all []net.Conn
	for range conns {
		out, in, err := connect(from, to)
		if err != nil {
			return 0, errors.Join(err, closeAll(all))
		}
		all = append(all, out, in)
	}
	defer context.AfterFunc(ctx, func() { closeAll(all) })()
	defer closeAll(all)
	began := time.Now()
	for i := range conns {
		out, in := all[2*i], all[2*i+1]
		g.Go(func() error {
			if err := pour(out, zeros{}, bytes/int64(conns)); err != nil {
				return err
			}
			_, err := io.ReadFull(out, make([]byte, 1))
			return err
		})
		g.Go(func() error {
			if err := pour(sink{}, in, bytes/int64(conns)); err != nil {
				return err
			}
			_, err := in.Write([]byte{0})
			return err
		})
	}
	err := g.Wait()
	return time.Since(began), err
}

func closeAll(conns []net.Conn) (err error) {
	for _, c := range conns {
		err = errors.Join(err, c.Close())
	}
	return err
}

// pour passes n bytes on, in pieces as large as Decant's.
func pour(to io.Writer, from io.Reader, n int64) error {
	got, err := io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{io.LimitReader(from, n)}, make([]byte, 256<<10))
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

type sink struct{}

func (sink) Write(b []byte) (int, error) { return len(b), nil }

// zeros reads as nothing but zeros, without end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
