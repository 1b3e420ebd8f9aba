// Package folder is the target that is a directory: it stages what arrives in a tree
// of its own on the target's file system and gives the hands with which node/apply
// moves the staged tree into place. It implements docs/SPEC.md section 9.
//
// What it promises:
//
//   - Nothing is ever followed. A path is walked component by component from the
//     target's own handle, each directory opened relative to its parent and never
//     through a symbolic link, so that neither a name from outside nor a link swapped
//     in while we write can lead out of the target. This is what os.Root does, minus
//     the links that it would follow inside the root; where the system has no openat
//     (see dir_other.go), os.Root itself is used with a check of every component.
//   - Nothing is ever replaced. Files are created exclusively, renames refuse an
//     existing name, and what a merge puts out of place is kept in staging.
//   - Names come from a plan, never from a pack: the Stager is told ordinals.
//
// Staging is the directory .decant-<8 hex digits of the session> in the target, mode
// 0700, with
//
//	tree/    what arrives, under the names it will have
//	undo/    merged files before, and their originals after, they take their place
//	probe/   only while Open finds out what the file system can hold
package folder
