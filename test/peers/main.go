package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
	targetdav "github.com/decant-dev/decant/node/target/dav"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/peers/server"
)

func main() {
	most := flag.Int("most", 20, "records of a file; 0 is all")
	refused := flag.Bool("refused", false, "say what was refused")
	lost := flag.Bool("lost", false, "say what did not come back")
	only := flag.String("server", "", "only this one")
	flag.Parse()
	if err := run(*most, *only, flag.Arg(0), *refused, *lost); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run(most int, only, dir string, refused, lost bool) error {
	if dir == "" {
		root, err := env.Root()
		if err != nil {
			return err
		}
		dir = filepath.Join(root, "..", "shared", "fixtures")
	}
	files, err := corpus(dir, most)
	if err != nil {
		return err
	}
	fmt.Printf("%-9s %-9s %-7s %8s %9s %6s %11s %9s %9s %9s %12s\n", "server", "kind", "mode", "records", "accepted", "", "properties", "of acc.", "overall", "strict", "silent(lost)")
	for _, kind := range server.Kinds {
		if only != "" && only != kind.Name {
			continue
		}
		err := table(kind.Name, kind.Start, files, refused, lost)
		if errors.Is(err, server.ErrMissing) {
			fmt.Println(err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func table(name string, start func(context.Context, string) (*server.Server, error), files []file, refused, lost bool) error {
	dir, err := os.MkdirTemp("", "decant-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	s, err := start(ctx, dir)
	if err != nil {
		return err
	}
	defer s.Close()
	for _, k := range []item.Kind{item.Contact, item.Calendar} {
		profile, err := profileOf(ctx, s, k)
		if err != nil {
			return err
		}
		for _, p := range []*rule.Profile{nil, profile} {
			sc, err := measure(ctx, s, files, k, p)
			if err != nil {
				return err
			}
			sc.print(name, k, p != nil)
			if refused && p != nil {
				for _, r := range sc.refused {
					fmt.Println("  ", r)
				}
			}
			if lost && p != nil {
				for _, l := range sc.lost {
					fmt.Println("  ", l)
				}
			}
		}
	}
	return nil
}

func profileOf(ctx context.Context, s *server.Server, k item.Kind) (*rule.Profile, error) {
	to, err := targetdav.Open(ctx, config(s, s.URL))
	if err != nil {
		return nil, err
	}
	defer to.Close()
	p, err := to.Profile(ctx, k)
	return &p, err
}

func (sc *score) print(name string, k item.Kind, shaped bool) {
	mode := "raw"
	if shaped {
		mode = "shaped"
	}
	fmt.Printf("%-9s %-9v %-7s %8d %9d %5.1f%% %11d %8.1f%% %8.1f%% %8.1f%% %6d (%d)\n", name, k, mode, sc.Records, sc.Accepted, percent(sc.Accepted, sc.Records),
		sc.Properties, percent(sc.Kept, sc.OfAccepted), percent(sc.Kept, sc.Properties), percent(sc.StrictKept, sc.Strict), sc.Silent, sc.SilentLost)
}

func percent(a, b int) float64 {
	if b == 0 {
		return 100
	}
	return 100 * float64(a) / float64(b)
}
