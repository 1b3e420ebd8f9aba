package db

import (
	"encoding/binary"

	"github.com/decant-dev/decant/proto/id"
)

// The tables. A key is the table's byte, then fixed-size parts, numbers big-endian; so a
// table's rows lie together and those of a session too.
const (
	tableMeta      = 'A' // name
	tableBlob      = 'B' // session, blob name → slot and checksum (server/blobstore)
	tableCard      = 'C' // session → the receiver's card
	tableBefore    = 'D' // session → commit before that of the newest root; in a cache
	tableExpiry    = 'E' // time in ms, what, ID → nothing
	tableTicket    = 'K' // session → share and sealed grant; goes when the session ends
	tableLocator   = 'L' // locator → session
	tableMessage   = 'M' // scope, recipient, sequence → sender, body
	tableNameplate = 'N' // number → scope, owner
	tablePin       = 'P' // session → the sender's pin
	tableRequest   = 'Q' // scope, caller, request ID → digest of the request, answer
	tableRoot      = 'R' // session → the newest root
	tableSession   = 'S' // session → record
	tableMailbox   = 'U' // scope → counters
	tableScope     = 'W' // scope → nameplate number
	tableCleanup   = 'X' // session whose blob files must go → nothing
	tablePermit    = 'Y' // session → the permit with which it is brought to its server; in a cache
)

// What an expiry row is about.
const (
	ExpireSession   = 1
	ExpireNameplate = 2
)

// MetaKey names a single value of the server's own.
func MetaKey(name string) []byte { return append([]byte{tableMeta}, name...) }

func key16[T ~[id.Size]byte](table byte, v T) []byte {
	k := make([]byte, 1, 1+id.Size)
	k[0] = table
	return append(k, v[:]...)
}

// Keys of one session, scope or locator.
func SessionKey(s id.Session) []byte  { return key16(tableSession, s) }
func CardKey(s id.Session) []byte     { return key16(tableCard, s) }
func PinKey(s id.Session) []byte      { return key16(tablePin, s) }
func TicketKey(s id.Session) []byte   { return key16(tableTicket, s) }
func RootKey(s id.Session) []byte     { return key16(tableRoot, s) }
func PermitKey(s id.Session) []byte   { return key16(tablePermit, s) }
func BeforeKey(s id.Session) []byte   { return key16(tableBefore, s) }
func CleanupKey(s id.Session) []byte  { return key16(tableCleanup, s) }
func LocatorKey(l id.Locator) []byte  { return key16(tableLocator, l) }
func MailboxKey(s id.Scope) []byte    { return key16(tableMailbox, s) }
func ScopeKey(s id.Scope) []byte      { return key16(tableScope, s) }
func BlobPrefix(s id.Session) []byte  { return key16(tableBlob, s) }
func RequestPrefix(s id.Scope) []byte { return key16(tableRequest, s) }
func MessagePrefix(s id.Scope) []byte { return key16(tableMessage, s) }

// Prefixes of whole tables.
func AllSessions() []byte   { return []byte{tableSession} }
func AllBlobs() []byte      { return []byte{tableBlob} }
func AllNameplates() []byte { return []byte{tableNameplate} }
func AllCleanups() []byte   { return []byte{tableCleanup} }
func AllPermits() []byte    { return []byte{tablePermit} }
func AllTickets() []byte    { return []byte{tableTicket} }
func AllExpiries() []byte   { return []byte{tableExpiry} }

// BlobKey names one blob's row.
func BlobKey(s id.Session, b id.Blob) []byte {
	k := make([]byte, 0, 1+2*id.Size)
	k = append(append(k, tableBlob), s[:]...)
	return append(k, b[:]...)
}

// ParseBlobKey undoes BlobKey.
func ParseBlobKey(k []byte) (id.Session, id.Blob) {
	return id.Session(k[1 : 1+id.Size]), id.Blob(k[1+id.Size:])
}

// SessionOf returns the session in a key of a table that is keyed by session alone.
func SessionOf(k []byte) id.Session { return id.Session(k[1:]) }

// NameplateKey names a nameplate's row.
func NameplateKey(n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{tableNameplate}, n)
}

// ParseNameplateKey undoes NameplateKey.
func ParseNameplateKey(k []byte) uint32 { return binary.BigEndian.Uint32(k[1:]) }

// RequestKey names the row of one caller's request.
func RequestKey(s id.Scope, caller id.Peer, r id.Request) []byte {
	k := append(RequestPrefix(s), caller[:]...)
	return append(k, r[:]...)
}

// MailPrefix is the mailbox of one recipient in a scope.
func MailPrefix(s id.Scope, to id.Peer) []byte { return append(MessagePrefix(s), to[:]...) }

// MessageKey names one message.
func MessageKey(s id.Scope, to id.Peer, sequence uint64) []byte {
	return binary.BigEndian.AppendUint64(MailPrefix(s, to), sequence)
}

// MessageSequence returns the sequence number in a message's key.
func MessageSequence(k []byte) uint64 { return binary.BigEndian.Uint64(k[len(k)-8:]) }

// ExpiryKey names the row that makes the sweep look at an ID at a time in milliseconds.
func ExpiryKey(ms int64, what byte, of id.Scope) []byte {
	k := binary.BigEndian.AppendUint64([]byte{tableExpiry}, uint64(max(ms, 0)))
	return append(append(k, what), of[:]...)
}

// ParseExpiryKey undoes ExpiryKey.
func ParseExpiryKey(k []byte) (ms int64, what byte, of id.Scope) {
	return int64(binary.BigEndian.Uint64(k[1:])), k[9], id.Scope(k[10:])
}

// ExpiredBefore is the end of the expiry rows up to and including ms.
func ExpiredBefore(ms int64) []byte {
	return binary.BigEndian.AppendUint64([]byte{tableExpiry}, uint64(ms+1))
}

// After returns the first key behind every key that begins with prefix.
func After(prefix []byte) []byte {
	end := append([]byte(nil), prefix...)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i]++; end[i] != 0 {
			return end[:i+1]
		}
	}
	return nil
}
