// Package layering proves in the ordinary test run that the import graph is the
// threat model (docs/ARCHITECTURE.md): what may not read plaintext does not link
// what can decrypt, each foreign library has one owner, and each package says what
// it is. The rules stand in rules.go, one line each with its reason; the graph
// comes from the go command, for every system and build tag that the code knows.
package layering
