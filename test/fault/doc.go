// Package fault makes every part of Decant die, lose answers and meet a malicious
// server, and demands each time that nothing is lost, nothing is written twice and
// nothing wrong is written at all.
//
// Kills happen to real processes at every point that package kill names; the
// nonce oracle (C-3) watches all of these processes. The malicious server (E-1 to
// E-16) and lost answers are the real server behind a handler that changes
// what goes by.
package fault
