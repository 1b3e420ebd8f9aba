// Package hostile feeds every source, format and kind of records with files made by somebody who means harm (RT-18, RT-19 and
// RT-20 of the red team's table): lines without end, nests, bombs, paths that lead outside, addresses that want to be fetched.
// Whatever comes of it, a process must end, within bounded memory, without a panic; it asks no server, reads no file
// that it was not given, and writes nothing outside of its own directories; and what it can't read it says.
//
// Every case runs twice: read by the package itself in a process of its own, and through the command, whose sources and targets
// are taken by name. A case whose scheme the command does not know yet is skipped there.
//
// DECANT_HOSTILE=full makes the files as large as the table says (lines of 100 MB, a picture of 2 GB), "large" a quarter of that
// and less, which shows what is not linear; without it they are small. DECANT_HOSTILE_DEADLINE is how long one process may take.
package hostile
