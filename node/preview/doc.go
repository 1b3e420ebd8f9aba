// Package preview compares what a manifest announces with what a target holds and
// decides where every item will go: a Plan. Making a plan writes nothing to the
// target. It implements docs/SPEC.md section 9 (plan).
//
// A plan is a sequence of pages like those of the manifest, kept in a Store and read
// back one at a time, so that a million items cost a fixed amount of memory beside
// about 32 bytes each for the names that are taken.
//
// Destinations are decided once, in the order of the manifest's pages, and the same
// input gives the same plan:
//
//   - A directory that the target has is entered, one that it has not is made. Where
//     something else has its name, a symbolic link included, the directory becomes
//     "name (2)" with everything below it.
//   - A file whose name is free gets it. A file of the same size that is there is
//     compared byte by byte when the plan is applied; anything else keeps its name and
//     ours becomes "name (2).ext", the first that is free in target and collection.
//   - Address books and calendars are merged into a file of that name, record by record.
//   - Names that the target can't hold, or can't tell apart, are mapped by
//     folder.Caps.MapName and then by the same rule; each is listed.
package preview
