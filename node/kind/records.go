package kind

import (
	"bytes"
	"crypto/sha256"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
	"github.com/decant-dev/decant/node/kind/calendar"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/message"
)

// Limits on a file that is split into records. A larger one is moved as what it is.
const (
	MaxRecordFile = 64 << 20 // bytes
	MaxRecords    = 250_000
)

// HasRecords reports whether files of a kind hold records.
func HasRecords(k item.Kind) bool {
	switch k {
	case item.Contact, item.Calendar, item.Message, item.Call, item.Bookmark:
		return true
	}
	return false
}

// TooMany reports whether a file holds so many records, or the beginnings of such, that taking it apart would take more
// memory than it is worth: more than MaxRecords cards or lines, or 200,000 components of calendars. It holds nothing.
func TooMany(k item.Kind, data []byte) bool {
	switch k {
	case item.Contact:
		return cards(data) > MaxRecords
	case item.Calendar:
		return calendar.TooMany(data)
	case item.Message, item.Call, item.Bookmark:
		return bytes.Count(data, []byte("\n")) > MaxRecords
	}
	return false
}

// cards counts what may begin a card.
func cards(data []byte) (n int) {
	const begin, card = "BEGIN", "VCARD"
	for at := 0; ; at++ {
		i := bytes.IndexByte(data[at:], ':')
		if i < 0 {
			return n
		}
		if at += i; at >= len(begin) && len(data) > at+len(card) && contentline.EqualFold(data[at-len(begin):at], begin) && contentline.EqualFold(data[at+1:at+1+len(card)], card) {
			n++
		}
	}
}

// Records returns the records of a file of the kind k in their order, those that could
// not be parsed with a Problem. It does not refer to data.
func Records(k item.Kind, data []byte) []contentline.Record {
	switch k {
	case item.Contact:
		return contact.Records(data)
	case item.Calendar:
		return calendar.Records(data)
	case item.Message:
		return message.Records(data)
	case item.Call:
		return call.Records(data)
	case item.Bookmark:
		return bookmark.Records(data)
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
	case item.Message:
		return message.Merge(existing, from)
	case item.Call:
		return call.Merge(existing, from)
	case item.Bookmark:
		return bookmark.Merge(existing, from)
	}
	return nil
}

// Compare tells for each run of records in add how the file existing stands to it: New if
// it has none of their identities, Same if it has all of them as they are.
func Compare(k item.Kind, existing []byte, add [][]byte) []contentline.State {
	switch k {
	case item.Contact:
		return contact.Compare(existing, add)
	case item.Calendar:
		return calendar.Compare(existing, add)
	}
	identities, lines := map[string]bool{}, map[[32]byte]bool{}
	for _, r := range Records(k, existing) {
		identities[string(r.Identity)] = true
		lines[lineSum(r.Bytes(existing))] = true
	}
	states := make([]contentline.State, len(add))
	for i, a := range add {
		same, met := true, false
		for _, r := range Records(k, a) {
			same = same && lines[lineSum(r.Bytes(a))]
			met = met || r.Problem == "" && identities[string(r.Identity)]
		}
		switch {
		case same:
			states[i] = contentline.Same
		case met:
			states[i] = contentline.Differs
		}
	}
	return states
}

// lineSum identifies a line without its break and the blanks around it.
func lineSum(line []byte) [32]byte { return sha256.Sum256(bytes.TrimSpace(line)) }
