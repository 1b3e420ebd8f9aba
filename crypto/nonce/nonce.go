// Package nonce is the oracle behind the claim that no (key, nonce) pair ever repeats
// (docs/SPEC.md section 3.4; test C-3). In an ordinary build Record is an empty
// function. Built with the tag nonceoracle, every process appends one line per AEAD
// call that seals, hex(SHA-256(key)) SP hex(nonce) LF, to the file that the environment
// variable DECANT_NONCE_ORACLE names, before the ciphertext is handed out. Repeats
// reads that file, written by all processes of a run, those killed included.
package nonce

import (
	"bufio"
	"io"
)

// Repeats returns how many lines r holds and how many of them stood there before.
func Repeats(r io.Reader) (lines, repeats int, err error) {
	seen := map[string]struct{}{}
	s := bufio.NewScanner(r)
	for s.Scan() {
		lines++
		if _, ok := seen[s.Text()]; ok {
			repeats++
		}
		seen[s.Text()] = struct{}{}
	}
	return lines, repeats, s.Err()
}
