// Package serverpbconnect is the generated service of server.proto: Connect unary
// calls below /decant.v1.Decant/ (docs/SPEC.md section 7.1). Only server/api and
// node/remote import it.
package serverpbconnect
