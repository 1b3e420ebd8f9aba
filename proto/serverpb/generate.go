// Package serverpb is the generated form of server.proto, the device-server control
// protocol (docs/SPEC.md section 7). Generated types stop at the boundary: only
// server/api and node/remote import this package.
package serverpb

//go:generate sh generate.sh
