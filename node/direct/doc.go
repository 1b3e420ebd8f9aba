// Package direct is the receiving end of the direct route: a desk, at which the
// receiver serves its one sender with the same calls that a server has (docs/SPEC.md
// section 7.8). The sender speaks to it with node/remote, so there is one upload
// pipeline and one resume logic for both.
//
// A Desk has two sides. As an http.Handler it is asked by other devices: by anybody
// while a nameplate lives and nobody has been admitted, afterwards by the admitted
// sender alone. By its methods, which are those of a remote.Remote, it is asked by the
// receiver itself.
//
// The desk keeps small state in Config.Store (nameplates, the session, its newest root,
// messages) and sealed blobs that are read later in the spool. Everything else that is
// put is handed to Config.Deliver while it arrives and kept nowhere. Bytes are opaque
// here: nothing in this package can decrypt any.
//
// Orders that hold at every crash, each with a kill point:
//
//	message, offer, pin, root, ack in the store, synced → answered
//	blob delivered → spooled if it is to be kept, file and directory synced → answered
//	everything delivered made durable (Config.Checkpoint) → final root in the store → answered
//	sender admitted, synced → served
//	DONE in the store → spool emptied
//
// What is delivered is durable against a crash of the machine only from the next final
// root on. If the machine may have crashed meanwhile, the desk has another incarnation,
// and the sender asks what is still there.
package direct
