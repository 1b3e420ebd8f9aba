// Package contract holds what every blob store and every mailbox promises, whatever is
// behind it: memory, a server, the other device, a folder. A package that implements one
// of them runs the suite in its own tests; contract_test.go runs it against those that
// several packages together make up.
package contract
