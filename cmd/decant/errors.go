package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node"
)

// errInterrupted is the cause of a context that a signal cancelled.
var errInterrupted = errors.New("interrupted")

// usage is a problem with the command line or with what it needs.
func usage(hint, format string, args ...any) error {
	return &ui.Problem{Name: "usage", Text: fmt.Sprintf(format, args...), Hint: hint, Code: ui.Usage}
}

// problems gives the words for each error of the engine: what happened, and what to do about it.
var problems = []struct {
	err  error
	name string
	text string
	hint string
	code ui.Code
}{
	{node.ErrPaused, "paused", "paused; everything so far is kept", "`decant resume` continues, even after a restart", ui.Paused},
	{node.ErrDeclined, "declined", "declined; nothing was written", "`decant resume` shows the preview again", ui.Paused},
	{node.ErrNothingToSend, "nothing-to-send", "there is nothing to send: no file was found that can be read", "name other files or directories", ui.Failed},
	{node.ErrMalformed, "malformed", "this is not a code, a link or a ticket", "a code looks like 7-apple-river-stone, a ticket has twelve words, a link begins with decant:", ui.Refused},
	{node.ErrWrongCode, "wrong-code", "the code is wrong", "read it again from the new device; it may show a new one by now", ui.Refused},
	{node.ErrCodeExpired, "code-expired", "the code has expired or was never given out by this server", "codes live ten minutes: run `decant receive` on the new device again, and check that both devices use the same server", ui.Refused},
	{node.ErrCodeUsedUp, "code-used-up", "the code was typed wrongly too often and is dead", "run `decant receive` again for a new code; if the old device typed nothing, someone else was guessing", ui.Refused},
	{node.ErrWrongTicket, "wrong-ticket", "this ticket is not known here", "check the words and the server or folder; a ticket also ends when it expires, is revoked, or its transfer is complete", ui.Refused},
	{node.ErrAlreadyClaimed, "already-claimed", "another device has already claimed this transfer", "if that was not you, tell the old device's owner: revoke it by sending again with --new", ui.Refused},
	{node.ErrSessionOver, "session-over", "the transfer has expired or was revoked on the server", "send it again with `decant send --new`; what is on this device is untouched", ui.Refused},
	{node.ErrUnreachable, "unreachable", "the server can't be reached", "check the network and the address; nothing is lost, `decant resume` continues", ui.TryAgain},
	{node.ErrFolder, "folder", "the folder can't be used", "is the stick in, and may it be written? Nothing is lost, `decant resume` continues", ui.TryAgain},
	{node.ErrFolderFull, "folder-full", "the folder has no room for this", "make room in it, or use a larger one; nothing is lost, the same command continues", ui.TryAgain},
	{node.ErrOtherFolder, "other-folder", "the folder does not hold this transfer", "is it the right stick, and was everything copied to it? The old device writes it with `decant send --to folder:DIR`; `--new` begins another transfer", ui.TryAgain},
	{node.ErrFolderOlder, "folder-older", "the folder holds an older state of this transfer than this device has seen already", "let the old device write it again with `decant send --to folder:DIR`, or go on where the newer one came from", ui.TryAgain},
	{node.ErrNotPaired, "not-paired", "the devices have not been paired yet, and a folder can't do that", "pair them first, or begin with a ticket: `decant send --new --to folder:DIR PATH…`, and there `decant receive --new --from folder:DIR`", ui.Refused},
	{node.ErrIncomplete, "incomplete", "something is not in the folder, and can't be had elsewhere now; what there is was taken", "reach the server that has it and run this again, or take the folder back to the old device: `decant send --to folder:DIR` adds what is missing", ui.TryAgain},
	{node.ErrNobodyNearby, "nobody-nearby", "no device with this code was found on this network", "is the code still on the other screen, and are both devices on the same network? `decant serve` helps across networks", ui.TryAgain},
	{node.ErrWrongServer, "wrong-server", "the server at this address is not the one that was expected", "its identity differs from the pinned one: ask whoever runs it, and don't go on if they did not change it", ui.Refused},
	{node.ErrServerFull, "server-full", "the server has no room for this now", "try again later, or ask whoever runs it for a larger quota", ui.TryAgain},
	{node.ErrNoSpace, "no-space", "there is not enough space on this device", "make room, then `decant resume` continues", ui.NoSpace},
	{node.ErrIntegrity, "integrity", "what arrived does not verify; it was not applied", "something changed it on the way. Nothing of it was written; send again with --new if it stays so", ui.Alarm},
	{node.ErrRollback, "rollback", "ROLLBACK: the server offered an older collection than it had before", "it was restored from a backup, or it cheats; nothing was applied. Ask whoever runs it", ui.Alarm},
	{node.ErrInterferedWith, "interference", "someone interfered with the pairing; nothing was sent", "this is no typing mistake: use another network or another server", ui.Alarm},
	{node.ErrServerMisbehave, "server-misbehaves", "the server's answers contradict the protocol", "don't trust it with this transfer; report it to whoever runs it", ui.Alarm},
	{node.ErrBusy, "busy", "another process is working on this transfer", "`decant status` shows it, `decant pause` stops it", ui.TryAgain},
	{node.ErrNoTransfer, "no-transfer", "there is no such transfer on this device", "`decant status` lists them", ui.Failed},
	{node.ErrNotComplete, "not-complete", "the transfer is not complete yet", "`decant status` shows where it stands", ui.TryAgain},
	{node.ErrPlace, "place", "this is no source or target that decant knows", "see `decant import --help` for their names", ui.Failed},
	{node.ErrTarget, "target", "a source or target can't be used", "nothing is lost; put it right, and run the same command or `decant resume` again", ui.TryAgain},
	{node.ErrOlderVersion, "version", "the server speaks another version of the protocol", "bring the older of the two up to date; `decant version` shows yours", ui.Failed},
}

// explain turns any error into a problem.
func explain(ctx context.Context, err error) *ui.Problem {
	var p *ui.Problem
	if errors.As(err, &p) {
		return p
	}
	p = explainNode(err)
	if context.Cause(ctx) == errInterrupted && (p == nil || p.Code == ui.TryAgain) { // an alarm is not drowned by ^C
		return &ui.Problem{Name: "interrupted", Text: "interrupted; everything so far is kept", Hint: "`decant resume` continues, even after a restart", Code: ui.Paused, Err: err}
	}
	if p != nil {
		return p
	}
	switch {
	case errors.Is(err, ui.ErrNobody):
		return &ui.Problem{Name: "nobody", Text: "a question could not be asked: stdin has ended", Code: ui.Usage, Err: err,
			Hint: "answer on stdin, or use --yes, --code-fd or --ticket-fd"}
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return &ui.Problem{Name: "no-space", Text: "there is not enough space on this device: " + err.Error(), Hint: "make room, then `decant resume` continues", Code: ui.NoSpace, Err: err}
	case errors.Is(err, fs.ErrPermission):
		return &ui.Problem{Name: "permission", Text: "this is not allowed: " + err.Error(), Hint: "check who owns it", Code: ui.Failed, Err: err}
	}
	return &ui.Problem{Name: "failed", Text: err.Error(), Code: ui.Failed, Err: err}
}

// explainNode finds the words for an error of the engine, or returns nil.
func explainNode(err error) *ui.Problem {
	for _, e := range problems {
		if errors.Is(err, e.err) {
			text := e.text
			if e.err == node.ErrTarget || e.err == node.ErrPlace { // which one and why is all that helps
				text = err.Error()
			}
			return &ui.Problem{Name: e.name, Text: text, Hint: e.hint, Code: e.code, Err: err}
		}
	}
	return nil
}
