// Package deliver brings records into places that are no files of ours: an address book
// on a server, a browser's profile, another program's export. It implements
// docs/SPEC.md section 9.5.
//
// A delivery goes to one or more goals, each a target with a name. Prepare reads what a
// target has, gives each record the form that the target takes (rule.Rules.Shape), decides
// what becomes of it (Match) and writes a step for it to the log; nothing is written to
// any target. Apply carries the steps out, Undo takes them back, Each tells of them.
//
// The order that holds at every crash: a step, with what the target had in its place, is
// durable before the target is written; what the target then has is durable before the
// step counts as done. A step whose outcome is unknown is decided anew against what the
// target has by then, which is the rule that makes a second delivery of the same records
// add nothing. So recovery is the first run's code.
package deliver
