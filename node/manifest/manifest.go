// Package manifest says what a collection consists of: items in pages, the list of
// packs, and one root an epoch that names them all (docs/SPEC.md section 4). It
// encodes and decodes them in the one encoding that each has, seals and opens roots,
// and judges a whole manifest page by page in bounded memory before anything of it
// is believed.
//
// Everything that a decoder of this package returns without an error keeps to the
// limits of item and to CheckPath; what only the whole manifest shows (gaps,
// duplicates, sums) is the Validator's business.
package manifest

import (
	"errors"

	"github.com/decant-dev/decant/node/pack"
)

// Limits of a manifest. A decoder rejects what goes beyond before it allocates for it.
const (
	MaxPageItems   = 4096          // items of a page
	MaxPageBytes   = pack.MaxChunk // bytes of an encoded page or pack list
	MaxPagePaths   = 4 << 20       // bytes of a page's paths, written out
	MaxPageExtents = 1 << 20       // extents and ranges of a page
	MaxListPacks   = 4096          // packs of one page of the pack list
	MaxItems       = 1 << 22       // items of a manifest
	MaxPacks       = 1 << 20       // content packs of a session, abandoned ones included: 4 TiB
	MaxPages       = 1 << 14       // pages and pack lists of a root
	MaxManPacks    = 1 << 12       // manifest packs of a session
	MaxEpoch       = 1 << 32       // epochs of a session
)

// Errors, to be compared with errors.Is. All but ErrFull and ErrRollback say that the
// manifest, whoever made it, is not valid; nothing of it may be applied.
var (
	ErrFull      = errors.New("page is full")
	ErrEncoding  = errors.New("manifest: malformed encoding")                            // cut off, trailing bytes, a longer form of a number, an unknown flag
	ErrLimit     = errors.New("manifest: beyond a limit")                                // more items, packs, bytes or names than allowed
	ErrPath      = errors.New("manifest: path not allowed")                              // see CheckPath
	ErrItem      = errors.New("manifest: item not valid")                                // a field out of range, or one that its form does not have
	ErrExtent    = errors.New("manifest: extents do not give the item")                  // empty, out of range, or not Size in all
	ErrOverlap   = errors.New("manifest: two items share bytes of a chunk")              // or a chunk's items are not in its order
	ErrOrder     = errors.New("manifest: pages out of order")                            // gap, repetition, other kind or count than the root says
	ErrDuplicate = errors.New("manifest: two items have one path")                       //
	ErrConflict  = errors.New("manifest: a file is used as a directory")                 //
	ErrRecord    = errors.New("manifest: record outside its container")                  // no such container, of another kind, or beyond its end
	ErrPack      = errors.New("manifest: pack is not listed, or listed twice")           // also a blob name used twice
	ErrTotals    = errors.New("manifest: sums do not agree")                             // items, bytes, losses or packs
	ErrContent   = errors.New("manifest: item without content in the last epoch")        // or with content in a catalog
	ErrRoot      = errors.New("manifest: root not valid")                                //
	ErrRollback  = errors.New("manifest: an older or another root than one seen before") // an alarm, not to be retried
	ErrSignature = errors.New("manifest: commit is not signed by the sender")
)
