// Package apply moves what is staged into its place, takes it back, and says under
// signature what has become of it. It implements docs/SPEC.md section 9 (settle,
// apply, undo) and 9.2 (receipt).
//
// The order, which holds at every crash (the kill points are in package kill):
//
//	Settle        every staged file is what the final manifest says, or is reported missing
//	Apply         staging is synced, once                            receiver/synced
//	  per page    what will be done is in the undo log, synced       receiver/undo-log
//	              directories and files are renamed into place       receiver/renamed
//	  per group   the renames are synced, then outcomes are noted    receiver/applied
//	Receipt       only after all of it
//
// A group is up to 16 pages, 65,536 items: one sync for all of them. A directory that
// the target has not is renamed whole, with everything below it; only what goes into
// a directory that exists is renamed by itself. Nothing is ever renamed over: a name
// that somebody has taken since the plan was made leads to another name, noted in the
// undo log before it is used.
//
// Apply may be called again after a crash at any point. What the undo log announces
// is looked for: a file that has left staging and is found in the target by its inode
// is done, everything else is decided anew.
package apply
