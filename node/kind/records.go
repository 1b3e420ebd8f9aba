package kind

import (
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/calendar"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/kind/contentline"
)

// Limits on a file that is split into records. A larger one is moved as what it is.
const (
	MaxRecordFile = 64 << 20 // bytes
	MaxRecords    = 250_000
)

// HasRecords reports whether files of a kind hold records.
func HasRecords(k item.Kind) bool { return k == item.Contact || k == item.Calendar }

// Records returns the records of a file of the kind k in their order, those that could
// not be parsed with a Problem. It does not refer to data.
func Records(k item.Kind, data []byte) []contentline.Record {
	switch k {
	case item.Contact:
		return contact.Records(data)
	case item.Calendar:
		return calendar.Records(data)
	}
	return nil
}

// Merge returns the file existing with the records of the file from that it does not
// have yet, or nil if both must be kept. See contact.Merge and calendar.Merge.
func Merge(k item.Kind, existing, from []byte) []byte {
	switch k {
	case item.Contact:
		return contact.Merge(existing, [][]byte{from})
	case item.Calendar:
		return calendar.Merge(existing, [][]byte{from})
	}
	return nil
}
