// Command peers measures what address books and calendars of other people's software are after a journey through other
// people's servers: every card and calendar object of a directory is put into Radicale and Xandikos, once as it is
// and once as Decant shapes it, read back, and compared by test/fidelity.
//
//	go run ./test/peers                     the fixtures beside the repository, at most 20 records of a file
//	go run ./test/peers -most 0 -refused    all records; say what was refused, and why
//	go run ./test/peers -lost DIR           of another directory; say what did not come back
package main
