// Package node is the engine of Decant on a device: it scans, seals and sends a
// collection, or fetches, previews and applies one, and keeps enough in its state
// directory that every step can be run again after a crash. Commands call this
// package and nothing below it. docs/ARCHITECTURE.md walks one transfer through it.
package node

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/decant-dev/decant/node/deliver"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/proto/id"
)

// Carrier chooses how the server is reached.
type Carrier string

// The carriers.
const (
	CarrierAuto   Carrier = ""       // the fast lane, then libp2p
	CarrierFast   Carrier = "fast"   // TCP with libp2p's TLS identity
	CarrierLibp2p Carrier = "libp2p" // QUIC, then TCP, through a libp2p host
)

// Route chooses which ways packs and messages may take.
type Route string

// The routes.
const (
	RouteAuto   Route = ""       // the server, and directly between the devices when both are awake
	RouteStored Route = "stored" // the server alone
	RouteDirect Route = "direct" // no server: the other device must be found nearby
)

// Config says how a device works. It is copied by Open.
type Config struct {
	// StateDir holds keys and journals, mode 0700; created if absent. Required. One process may hold one transfer at a
	// time; several transfers may run at once from one StateDir.
	StateDir string
	// Server is the pinned server. Required for new transfers unless a link or ticket names it; a resumed one knows its own.
	Server id.Server
	// Cache, if set, takes a sender's packs in the server's place and brings them there.
	Cache id.Server
	// Carrier chooses how the server is reached.
	Carrier Carrier
	// Route chooses whether there is a direct route beside the server, or only that.
	Route Route
	// Loopback lets the direct route use this machine's loopback addresses, for two devices on one machine.
	Loopback bool
	// Label is this device's name as the other person sees it, at most 64 bytes of UTF-8. Default: none.
	Label string
	// Events receives what happens; see item.Event. Default: dropped.
	Events func(item.Event)
	// Log receives diagnostics without names, paths or secrets. Default: discarded.
	Log *slog.Logger
	// Streams is the number of packs in flight at once. Default 4.
	Streams int
	// Workers is the number of goroutines that read, compress and seal, or open and stage. Default: the number of processors, at most 4.
	Workers int
	// Fatal is called when the state directory can't be written any more, as a rule because its disk is full. It must not
	// return; the next run goes on from what was durable. Default: panic.
	Fatal func(message string)
	// Password is asked for what a source or target needs to be opened, named by what ("ann at dav.example.org"). Default: such
	// places can't be opened.
	Password func(ctx context.Context, what string) (string, error)
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Errors that a command turns into a sentence, a hint and an exit code. Everything
// that Node's methods return matches at most one of them with errors.Is.
var (
	ErrNothingToSend   = errors.New("there is nothing to send")
	ErrWrongCode       = errors.New("the code is wrong")                            // one attempt is used up
	ErrCodeExpired     = errors.New("the code has expired")                         // or was never given out
	ErrCodeUsedUp      = errors.New("too many wrong attempts on this code")         // receiver: a new code is needed
	ErrWrongTicket     = errors.New("the ticket is not known to this server")       // wrong words, expired, revoked or completed
	ErrMalformed       = errors.New("this is not a code, link or ticket")           // could not be parsed; nothing was sent
	ErrAlreadyClaimed  = errors.New("another device has already claimed this")      //
	ErrSessionOver     = errors.New("the session has expired or was revoked")       //
	ErrUnreachable     = errors.New("the server can't be reached")                  // retry helps
	ErrWrongServer     = errors.New("the server is not the one that was expected")  // identity mismatch
	ErrServerFull      = errors.New("the server has no room for this")              // watermark or quota
	ErrNoSpace         = errors.New("there is not enough space on this device")     //
	ErrIntegrity       = errors.New("what arrived does not verify")                 // never retried by itself
	ErrRollback        = errors.New("the server offered an older collection")       // ROLLBACK alarm
	ErrDeclined        = errors.New("declined")                                     // the person said no at the preview
	ErrPaused          = errors.New("paused")                                       // resume continues
	ErrBusy            = errors.New("another process is working on this transfer")  //
	ErrNoTransfer      = errors.New("there is no such transfer")                    //
	ErrNotComplete     = errors.New("the transfer is not complete")                 // verify, undo, receipt too early
	ErrOlderVersion    = errors.New("the server speaks another version")            //
	ErrInterferedWith  = errors.New("someone interfered with the pairing")          // identity or tag mismatch that a wrong code can't explain
	ErrFolder          = errors.New("the folder is not there or can't be used")     // pulled out, read-only
	ErrFolderFull      = errors.New("the folder has no room for this")              // the stick, the share
	ErrOtherFolder     = errors.New("the folder does not hold this transfer")       // another stick, or not copied yet
	ErrFolderOlder     = errors.New("the folder holds an older state")              // than this device has seen; retry helps once it was written again
	ErrNotPaired       = errors.New("the devices have not been paired yet")         // a folder can't do that
	ErrIncomplete      = errors.New("something is not in the folder")               // and the server, which may have it, can't be reached
	ErrNobodyNearby    = errors.New("no device with this code was found nearby")    // without a server
	ErrTarget          = errors.New("a source or target can't be used")             // the text says which and why
	ErrServerMisbehave = errors.New("the server's answers contradict the protocol") //
)

// SendOptions say what to send and how to reach the other device.
type SendOptions struct {
	// Paths are files and directories. The base name of each becomes a top-level name.
	Paths []string
	// Sources are places that hold records ("vcf:friends.vcf", "dav:https://…"); see Places. What they hold becomes files in
	// directories of their kinds: "Contacts", "Messages", …
	Sources []string
	// Placeless photos and films don't say where they were taken, as far as that can be taken out of them; Report tells what
	// each loses. A transfer keeps to what it was begun with.
	Placeless bool
	// Session continues that transfer. Otherwise an unfinished or unclaimed transfer of the same Paths is continued unless New is set.
	Session id.Session
	New     bool
	// Folder is a directory that carries the transfer instead of a server; a new transfer then has a ticket. A transfer that was
	// begun with a server or directly goes on there: what neither the server nor the other device has is put into it, and
	// Send ends when it is there.
	Folder string
	// Whole has this run send too what is in another place than the other device itself: to a folder what only the server has,
	// without one what only a folder has.
	Whole bool
	// Ticket: the other device doesn't exist yet. The transfer ends once everything is stored.
	Ticket bool
	// Expiry is how long the server keeps a ticket session. Default 14 days, at most 30.
	Expiry time.Duration
	// AskCode returns the code or link that the other device shows. Called only in code mode, and again after ErrWrongCode
	// (attempt counts from 0) until it returns an error.
	AskCode func(ctx context.Context, attempt int) (string, error)
	// ShowTicket is called once the ticket exists, before anything is uploaded, and again on resume.
	ShowTicket func(words, uri string)
	// NoWait ends a code-mode transfer once everything is stored instead of waiting for the receipt.
	NoWait bool
}

// SendResult is what became of a sending.
type SendResult struct {
	Session   id.Session
	Sent      map[string]item.Tally // by kind name
	Losses    int64                 // items that could not be read, each reported as an event
	Packs     int64                 // blobs stored for this epoch, padding included
	Folder    bool                  // they are in a folder
	Elsewhere int64                 // packs of content that are only at the server, and this run was for a folder; or the other way round
	Delivered bool                  // some or all of them went to the other device itself
	Cached    bool                  // some or all of them are in a cache, which brings them to the server
	WireBytes int64                 // bytes of blobs put in this run
	Read      int64                 // bytes of files read in this run
	Epoch     uint64
	Unchanged bool     // nothing had changed since the epoch before: nothing but a status was exchanged
	Receipt   *Receipt // nil until the other device has applied everything
}

// ReceiveOptions say how to find the transfer and where it goes.
type ReceiveOptions struct {
	// To is the directory that the collection is applied to. Created if absent. Required for a new transfer.
	To string
	// Session continues that transfer. Otherwise an unfinished transfer into To is continued unless New is set.
	Session id.Session
	New     bool
	// Folder is the directory that the sender has sent to, instead of a server. It completes a transfer into To that this device has
	// the keys of already; otherwise AskTicket is needed.
	Folder string
	// AskTicket returns the ticket's words or URI; nil means code mode.
	AskTicket func(ctx context.Context) (string, error)
	// ShowCode is called with the code, and the link for a QR code, until the other device has paired; left is the number of
	// attempts that remain.
	ShowCode func(code, link string, left int)
	// Into are places that the records are brought into as well ("vcf:friends.vcf"); see Places. Fixed when a transfer begins.
	Into []string
	// Region is the country (ISO 3166, "DE") whose telephone numbers have no prefix; "" is unknown.
	Region string
	// ConfirmDelivery is shown what would become of the records in Into, once all of them are here and before anything is
	// written to To or Into.
	ConfirmDelivery func(ctx context.Context, d *Delivery) (DeliveryChoice, error)
	// Confirm is shown the preview and returns what to apply, before anything is written to To. It may be called a second time
	// if the final collection differs from the catalog in a way that a person must decide.
	Confirm func(ctx context.Context, p *Preview) (Choice, error)
	// ReadBack makes the receipt's level "read back from storage".
	ReadBack bool
}

// Choice is the person's answer to a preview.
type Choice struct {
	Apply bool
	Kinds []item.Kind // empty: all
}

// Preview is what would happen; nothing has been written.
type Preview struct {
	Session     id.Session             `json:"session"`
	Final       bool                   `json:"final"` // false: a catalog; the sender is still sending
	From        string                 `json:"from"`  // the sender's label, untrusted: escape before showing
	Peer        string                 `json:"peer"`  // the sender's short fingerprint
	Kinds       map[string]KindPreview `json:"kinds"`
	Losses      []item.Loss            `json:"losses"` // what would not be kept; at most 1,000 of LossCount
	LossCount   int64                  `json:"loss_count"`
	Renamed     []Renamed              `json:"renamed"` // at most 1,000 of RenamedCount
	RenameCount int64                  `json:"renamed_count"`
	Need        int64                  `json:"need_bytes"` // on the target's file system
	Free        int64                  `json:"free_bytes"`
}

// KindPreview counts the items of one kind by what would become of them.
type KindPreview struct {
	Total    item.Tally `json:"total"`
	New      item.Tally `json:"new"`
	Same     item.Tally `json:"same"` // size and time match; compared byte for byte before it is believed
	Conflict item.Tally `json:"conflict"`
	Merge    item.Tally `json:"merge"`
	Lost     item.Tally `json:"lost"`
}

// Renamed is an item that will lie under another name than it had.
type Renamed struct {
	Path string `json:"path"`
	Dest string `json:"dest"`
}

// ReceiveResult is what became of a receiving.
type ReceiveResult struct {
	Session   id.Session
	To        string
	Receipt   *Receipt
	Delivered *deliver.Result // records in Into, nil if there is none or an earlier run has brought them
	WireBytes int64           // bytes of blobs fetched in this run
	Acked     bool            // the sender has confirmed the receipt
	Pending   bool            // the receipt could not be left anywhere; a later run can
}

// Receipt is a verified receipt, for showing.
type Receipt struct {
	Session  id.Session                       `json:"session"`
	Epoch    uint64                           `json:"epoch"`
	Commit   string                           `json:"commit"`
	Receiver string                           `json:"receiver"` // peer ID
	At       time.Time                        `json:"at"`
	Level    string                           `json:"level"` // "synced" or "read back"
	Kinds    map[string]map[string]item.Tally `json:"kinds"` // kind → outcome → tally
	SafeWipe bool                             `json:"safe_to_wipe"`
	Raw      []byte                           `json:"raw"` // the signed bytes
}

// TransferStatus is where one transfer stands.
type TransferStatus struct {
	Session  id.Session    `json:"session"`
	Role     string        `json:"role"`  // "sender", "receiver" or "import"
	State    string        `json:"state"` // "planning", "pairing", "sending", "stored", "waiting", "receiving", "applying", "applied", "done", "paused", "over"
	Running  bool          `json:"running"`
	Paths    []string      `json:"paths,omitempty"`
	Sources  []string      `json:"sources,omitempty"`
	Into     []string      `json:"into,omitempty"`
	To       string        `json:"to,omitempty"`
	Peer     string        `json:"peer,omitempty"`
	Server   string        `json:"server"`           // empty if there is none
	Folder   string        `json:"folder,omitempty"` // that carries it instead
	Direct   bool          `json:"direct,omitempty"` // the devices met without a server
	Created  time.Time     `json:"created"`
	Expires  time.Time     `json:"expires,omitzero"`
	Progress item.Progress `json:"progress"`
	SafeWipe bool          `json:"safe_to_wipe"`
}

// VerifyResult is what a verification found.
type VerifyResult struct {
	Items     int64       `json:"items"`
	Bytes     int64       `json:"bytes"`
	Different []item.Loss `json:"different"` // edited, missing or unreadable since; at most 1,000
	Count     int64       `json:"different_count"`
}

// UndoResult is what an undo did.
type UndoResult struct {
	Restored int64           `json:"restored"`
	Refused  []item.Loss     `json:"refused"` // edited since, so left alone; at most 1,000
	Count    int64           `json:"refused_count"`
	Records  *deliver.Undone `json:"records,omitempty"` // of targets that are no files of the transfer
}
