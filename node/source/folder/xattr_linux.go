//go:build !portable

package folder

import (
	"bytes"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/decant-dev/decant/node/item"
)

// hasXAttrs asks once, into a buffer that holds the names of nearly every file; a longer
// list is worth the slow way.
func (h handle) hasXAttrs() bool {
	var buf [256]byte
	n, err := unix.Flistxattr(h.fd, buf[:])
	if err == unix.ERANGE {
		return true
	}
	for _, name := range splitNames(buf[:max(n, 0)]) {
		if counts(string(name)) {
			return true
		}
	}
	return false
}

// splitNames cuts a list of NUL-terminated names.
func splitNames(list []byte) [][]byte {
	if len(list) == 0 {
		return nil
	}
	return bytes.Split(bytes.TrimSuffix(list, []byte{0}), []byte{0})
}

// counts reports whether an attribute is the person's concern. Labels that the system
// puts on every file belong to the system's policy, not to the collection.
func counts(name string) bool {
	switch name {
	case "security.selinux", "security.ima", "security.evm":
		return false
	}
	return true
}

// xattrs answers as handle.xattrs does.
func (d dir) xattrs() ([]item.XAttr, []string, error) {
	if h := handle(d); h.hasXAttrs() {
		return h.xattrs()
	}
	return nil, nil, nil
}

// xattrs reads the attributes of the "user." namespace within the limits of an item and
// names the others.
func (h handle) xattrs() (kept []item.XAttr, dropped []string, err error) {
	list, err := h.listXAttrs()
	if err != nil {
		return nil, nil, err
	}
	total := 0
	value := make([]byte, item.MaxXAttrSize)
	names := splitNames(list)
	slices.SortFunc(names, bytes.Compare)
	for _, raw := range names {
		name := string(raw)
		if !strings.HasPrefix(name, "user.") {
			if counts(name) {
				dropped = append(dropped, name)
			}
			continue
		}
		n, err := unix.Fgetxattr(h.fd, name, value)
		if err != nil || len(kept) == item.MaxXAttrs || len(name) > item.MaxComponent || total+len(name)+n > item.MaxXAttrSize {
			dropped = append(dropped, name)
			continue
		}
		total += len(name) + n
		kept = append(kept, item.XAttr{Name: name, Value: bytes.Clone(value[:n])})
	}
	return kept, dropped, nil
}

func (h handle) listXAttrs() ([]byte, error) {
	for size := 1 << 10; ; size *= 4 {
		list := make([]byte, size)
		n, err := unix.Flistxattr(h.fd, list)
		switch {
		case err == nil:
			return list[:n], nil
		case err == unix.ENOTSUP || err == unix.ENOSYS:
			return nil, nil
		case err != unix.ERANGE || size > 1<<20:
			return nil, err
		}
	}
}
