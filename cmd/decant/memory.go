package main

import (
	"os"
	"runtime/debug"
)

// softMemory is where the garbage collector begins to work harder. What a device needs
// at once stays below it whatever the size of the collection; without the limit the
// collector would let twice that lie around.
const softMemory = 112 << 20

// limitMemory keeps a process under 200 MiB (docs/ARCHITECTURE.md, "Memory"). A person
// who sets GOMEMLIMIT has the last word.
func limitMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softMemory)
	}
}

// recordMemory is the same where records are brought together: those of both sides are
// held at once, and 200,000 messages are more than a transfer of files ever needs.
const recordMemory = 192 << 20

// moreMemory gives the collector room for records.
func moreMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(recordMemory)
	}
}
