// Package e2e moves small collections as a person would, with the real command on both
// devices and a real server between them, and looks at everything afterwards: the trees,
// the receipt, the exit codes, and what the server could have learnt.
package e2e
