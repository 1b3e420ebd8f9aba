package server

import (
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/server/db"
	"github.com/decant-dev/decant/server/rendezvous"
)

// Bringing returns the live sessions that a cache brings to their servers.
func (s *Server) Bringing() ([]rendezvous.Brought, error) { return s.sessions.Bringing() }

// Newest returns the newest root of a session that a cache brings.
func (s *Server) Newest(sid id.Session) (rendezvous.Root, bool, error) { return s.sessions.Newest(sid) }

// Drop ends a session that is over at its server; what a cache has of it goes.
func (s *Server) Drop(sid id.Session) error { return s.sessions.Drop(sid) }

// Names returns the names of a session's blobs, in no order that means anything.
func (s *Server) Names(sid id.Session) (names []id.Blob, err error) {
	err = s.db.EachPrefix(db.BlobPrefix(sid), false, func(k, _ []byte) (bool, error) {
		_, name := db.ParseBlobKey(k)
		names = append(names, name)
		return true, nil
	})
	return names, err
}

// Read appends a blob to dst. One that isn't here, or is damaged, is wire.NotFound.
func (s *Server) Read(sid id.Session, name id.Blob, dst []byte) ([]byte, error) {
	h, err := s.blobs.Enter(sid)
	if err != nil {
		return dst, err
	}
	defer h.Close()
	b, err := h.Open(name)
	if err != nil {
		return dst, err
	}
	defer b.Close()
	return b.AppendTo(dst)
}
