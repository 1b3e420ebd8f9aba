// Package kill names every point at which a process may die between two durable
// steps, so that a test can make it die exactly there. In an ordinary build Point
// is an empty function. Built with the tag killpoints, the environment variable
// DECANT_KILL holds comma-separated NAME or NAME:N entries, and the process kills itself
// (SIGKILL, no deferred code runs) on the N-th visit to the point NAME (1 if N is absent).
// DECANT_STOP is the same, but the process only stops (SIGSTOP; Unix), so that a test can
// change the world around it at that very point before it lets it go on (SIGCONT).
//
// The list All is the one place where points are declared; test/fault fails if one
// is never reached.
package kill

// Name is one kill point: "<side>/<step>", said in the past tense: what has just become durable.
type Name string

// Points on the server.
const (
	ServerBlobWritten  Name = "server/blob-written"  // bytes in the file, not yet synced
	ServerBlobSynced   Name = "server/blob-synced"   // file synced, the index batch not yet committed
	ServerBlobIndexed  Name = "server/blob-indexed"  // index batch synced, no answer sent
	ServerOpened       Name = "server/opened"        // session record synced, no answer sent
	ServerClaimed      Name = "server/claimed"       // claim synced, share not yet released
	ServerPinned       Name = "server/pinned"        // pin synced
	ServerCommitted    Name = "server/committed"     // root synced, no answer sent
	ServerPosted       Name = "server/posted"        // message synced, no answer sent
	ServerAcked        Name = "server/acked"         // acknowledgement synced
	ServerFinished     Name = "server/finished"      // DONE synced, blobs still on disk
	ServerBlobsRemoved Name = "server/blobs-removed" // segment files gone, index rows still there
	ServerNameplate    Name = "server/nameplate"     // nameplate synced, no answer sent
)

// Points in a cache. What else it makes durable it does as a server, whose points it has.
const (
	CacheBrought   Name = "cache/brought"   // blob durable at the server, noted nowhere
	CacheCommitted Name = "cache/committed" // root committed at the server, noted nowhere
)

// Points on the sender.
const (
	SenderSession   Name = "sender/session"    // keys and options in the journal, the server knows nothing yet
	SenderGathered  Name = "sender/gathered"   // records of named sources in the transfer's directory
	SenderScanned   Name = "sender/scanned"    // scan pages in the journal
	SenderOpened    Name = "sender/opened"     // session open on the server
	SenderFolder    Name = "sender/folder"     // session open in a folder that completes what was begun elsewhere
	SenderGuess     Name = "sender/guess"      // pairing attempt counted, message 1 not yet sent
	SenderPaired    Name = "sender/paired"     // receiver's card in the journal, grant not yet sent
	SenderGranted   Name = "sender/granted"    // grant posted
	SenderPinned    Name = "sender/pinned"     // pin posted
	SenderCatalog   Name = "sender/catalog"    // catalog committed
	SenderPackPut   Name = "sender/pack-put"   // blob durable at the server, not yet in the journal
	SenderPackNoted Name = "sender/pack-noted" // blob in the journal
	SenderAnnounced Name = "sender/announced"  // announcement posted
	SenderPages     Name = "sender/pages"      // final pages durable, root not yet sealed
	SenderRoot      Name = "sender/root"       // sealed root in the journal, not yet committed
	SenderCommitted Name = "sender/committed"  // root committed at the server, not yet "sent" in the journal
	SenderSent      Name = "sender/sent"       // "sent" in the journal
	SenderAgain     Name = "sender/again"      // lost packs are out of the journal, synced, their epoch not yet begun
	SenderCacheLost Name = "sender/cache-lost" // packs that a cache has lost are out of the journal, synced
	SenderReceipt   Name = "sender/receipt"    // verified receipt in the journal, ack not yet posted
	SenderAcked     Name = "sender/acked"      // ack posted, session not yet finished
	SenderFinished  Name = "sender/finished"   // session finished at the server, not yet in the journal
)

// Points on the receiver.
const (
	ReceiverSession Name = "receiver/session"  // keys in the journal, the server knows nothing yet
	ReceiverGuess   Name = "receiver/guess"    // attempt counter synced, Tb not yet sent
	ReceiverCache   Name = "receiver/cache"    // address of a cache in the journal, its message not yet acknowledged
	ReceiverClaimed Name = "receiver/claimed"  // claim answered, grant not yet in the journal
	ReceiverGranted Name = "receiver/granted"  // master key in the journal
	ReceiverFolder  Name = "receiver/folder"   // a folder that completes what was begun elsewhere is in the journal
	ReceiverEpoch   Name = "receiver/epoch"    // highest epoch and commit in the journal
	ReceiverPlanned Name = "receiver/planned"  // the person's yes in the journal
	ReceiverStaged  Name = "receiver/staged"   // a pack's content written to staging, not yet in the journal
	ReceiverNoted   Name = "receiver/noted"    // the pack is in the journal
	ReceiverSynced  Name = "receiver/synced"   // staging synced, apply not begun
	ReceiverUndoLog Name = "receiver/undo-log" // undo record synced, nothing renamed yet
	ReceiverRenamed Name = "receiver/renamed"  // renamed into place, not yet in the journal
	ReceiverApplied Name = "receiver/applied"  // page of outcomes in the journal
	ReceiverAllDone Name = "receiver/all-done" // everything applied and synced, receipt not yet signed
	ReceiverReceipt Name = "receiver/receipt"  // receipt in the journal, not yet posted
	ReceiverPosted  Name = "receiver/posted"   // receipt posted
	ReceiverCleaned Name = "receiver/cleaned"  // staging removed
)

// Points of a delivery of records into a target.
const (
	ReceiverDeliverPlanned Name = "receiver/deliver-planned" // all steps in the journal, nothing written
	ReceiverDeliverBegun   Name = "receiver/deliver-begun"   // what a target of one file was is in the journal
	ReceiverDelivered      Name = "receiver/delivered"       // records written to the target, not yet in the journal
	ReceiverDeliverNoted   Name = "receiver/deliver-noted"   // what the target has now is in the journal
)

// Points on the receiver's desk, where its sender comes over the direct route.
const (
	ReceiverDeskPlate     Name = "receiver/desk-plate"     // nameplate synced, not yet shown
	ReceiverDeskOpened    Name = "receiver/desk-opened"    // offer synced, no answer sent
	ReceiverDeskPinned    Name = "receiver/desk-pinned"    // pin synced, no answer sent
	ReceiverDeskPosted    Name = "receiver/desk-posted"    // message synced, no answer sent
	ReceiverDeskAcked     Name = "receiver/desk-acked"     // acknowledgement synced
	ReceiverDeskAdmitted  Name = "receiver/desk-admitted"  // sender admitted, synced, not yet served
	ReceiverDeskClaimed   Name = "receiver/desk-claimed"   // card synced
	ReceiverDeskTaken     Name = "receiver/desk-taken"     // pack delivered, no answer sent
	ReceiverDeskSpooled   Name = "receiver/desk-spooled"   // sealed blob synced in the spool, no answer sent
	ReceiverDeskFlushed   Name = "receiver/desk-flushed"   // all that was delivered is durable, the final root is not yet stored
	ReceiverDeskCommitted Name = "receiver/desk-committed" // root synced, no answer sent
	ReceiverDeskFinished  Name = "receiver/desk-finished"  // DONE synced, spool still on the disk
)

// All lists every kill point once.
var All = []Name{
	ServerBlobWritten, ServerBlobSynced, ServerBlobIndexed, ServerOpened, ServerClaimed, ServerPinned, ServerCommitted,
	ServerPosted, ServerAcked, ServerFinished, ServerBlobsRemoved, ServerNameplate,
	CacheBrought, CacheCommitted,
	SenderSession, SenderGathered, SenderScanned, SenderOpened, SenderFolder, SenderGuess, SenderPaired, SenderGranted, SenderPinned, SenderCatalog,
	SenderPackPut, SenderPackNoted, SenderAnnounced, SenderPages, SenderRoot, SenderCommitted, SenderSent, SenderAgain, SenderCacheLost, SenderReceipt,
	SenderAcked, SenderFinished,
	ReceiverSession, ReceiverGuess, ReceiverCache, ReceiverClaimed, ReceiverGranted, ReceiverFolder, ReceiverEpoch, ReceiverPlanned, ReceiverStaged,
	ReceiverNoted, ReceiverSynced, ReceiverUndoLog, ReceiverRenamed, ReceiverApplied, ReceiverAllDone, ReceiverReceipt,
	ReceiverPosted, ReceiverCleaned,
	ReceiverDeliverPlanned, ReceiverDeliverBegun, ReceiverDelivered, ReceiverDeliverNoted,
	ReceiverDeskPlate, ReceiverDeskOpened, ReceiverDeskPinned, ReceiverDeskPosted, ReceiverDeskAcked, ReceiverDeskAdmitted,
	ReceiverDeskClaimed, ReceiverDeskTaken, ReceiverDeskSpooled, ReceiverDeskFlushed, ReceiverDeskCommitted, ReceiverDeskFinished,
}
