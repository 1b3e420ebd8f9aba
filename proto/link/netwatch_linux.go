package link

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// netEvents pokes events when the kernel says that an interface, an address or a route has changed, until ctx ends. It returns
// at once where that is not told: Android lets no app listen.
func netEvents(ctx context.Context, events chan struct{}) {
	if f, err := openEvents(); err == nil {
		readEvents(ctx, f, events)
	}
}

// openEvents returns a socket on which the kernel says what changes in the network of the calling thread.
func openEvents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "netlink")
	const groups = unix.RTMGRP_LINK | unix.RTMGRP_IPV4_IFADDR | unix.RTMGRP_IPV4_ROUTE | unix.RTMGRP_IPV6_IFADDR | unix.RTMGRP_IPV6_ROUTE
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// readEvents pokes events for whatever is said on f, until ctx ends, and closes it.
func readEvents(ctx context.Context, f *os.File, events chan struct{}) {
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })()
	b := make([]byte, 8<<10)
	for { // what it says does not matter
		if _, err := f.Read(b); err != nil && !errors.Is(err, unix.ENOBUFS) { // more was said than fits
			return
		}
		poke(events)
	}
}
