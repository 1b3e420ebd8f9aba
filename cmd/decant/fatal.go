package main

import (
	"io"
	"log"
	"os"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
)

// stateFailed ends the program when the journal can't be written: the store below has
// to stop at a failed sync, from whichever goroutine met it. Nothing durable is lost.
func stateFailed(message string) {
	os.Stderr.WriteString("decant: the state directory can't be written: " + ui.Clean(message) + "\n" +
		"decant: hint: its disk is full, most likely; make room, then `decant resume` continues\n")
	os.Exit(int(ui.NoSpace))
}

// quietLog silences the log of the standard library, to which net/http writes what a
// server sent (adversity E-15).
func quietLog() { log.SetOutput(io.Discard) }
