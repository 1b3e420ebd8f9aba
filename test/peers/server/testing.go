package server

import (
	"context"
	"os"
	"testing"

	"github.com/decant-dev/decant/test/env"
)

// Kinds are the servers that there are, by the names of their programs.
var Kinds = []struct {
	Name  string
	Start func(ctx context.Context, dir string) (*Server, error)
}{{"radicale", Radicale}, {"xandikos", Xandikos}, {"sabre", Sabre}}

// Each runs a test against every kind of server, or skips it with a message where the program is missing.
func Each(t *testing.T, f func(t *testing.T, s *Server)) {
	for _, k := range Kinds {
		t.Run(k.Name, func(t *testing.T) {
			if k.Name == "sabre" {
				needSabre(t)
			} else {
				env.Program(t, k.Name)
			}
			s, err := k.Start(t.Context(), t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			f(t, s)
		})
	}
}

// needSabre skips a test where there is no PHP or not the library. Where DECANT_TEST_PROGRAMS is "required", that is a failure.
func needSabre(t *testing.T) {
	if err := lacksSabre(t.Context()); err != nil {
		if os.Getenv("DECANT_TEST_PROGRAMS") == "required" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}
