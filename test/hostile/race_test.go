//go:build race

package hostile

// raced says that the race detector multiplies what a process takes.
const raced = true
