// Package env is the workbench of the tests that run Decant as whole processes: it
// builds the command once, starts servers and devices on loopback with state of their
// own, stands between them as a proxy that records, throttles, cuts and drops, and
// searches everything that a server could have seen for canaries (test C-1).
//
// Nothing here is a stand-in: processes are real, files are real, fsync is real.
// Package corpus below it makes the collections and compares them.
package env
