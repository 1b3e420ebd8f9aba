package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/decant-dev/decant/proto/id"
	"github.com/spf13/cobra"
)

func (a *app) useCmd() *cobra.Command {
	var forget bool
	cmd := &cobra.Command{
		Use:   "use [PEERID@HOST:PORT]",
		Short: "Remember a server, or show the remembered one",
		Long: `Remembers the server that send and receive use unless --server or
$DECANT_SERVER names another. The part before the @ is the server's identity:
no other machine can answer in its place. Without an argument the remembered
server is shown. With --cache the cache that send uses is remembered, or
forgotten with --cache none.`,
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(_ *cobra.Command, argv []string) error {
			if a.cache != "" {
				if err := a.rememberCache(); err != nil || len(argv) == 0 {
					return err
				}
			}
			switch {
			case forget && len(argv) > 0:
				return usage("", "--forget takes no address")
			case forget:
				return a.forget()
			case len(argv) == 0:
				return a.showServer()
			}
			return a.remember(argv[0])
		},
	}
	cmd.Flags().BoolVar(&forget, "forget", false, "forget the remembered server")
	return cmd
}

type useResult struct {
	Server string `json:"server"`
}

func (a *app) remember(text string) error {
	srv, err := id.ParseServer(text)
	if err != nil {
		return usage(serverHint, "%q is not an address of the form PEERID@HOST:PORT", text)
	}
	path, err := serverFile()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	if err := writeWhole(path, []byte(srv.String()+"\n")); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	a.screen.Result(useResult{srv.String()})
	a.screen.Say("send and receive now use the server at %s", srv.HostPort())
	return nil
}

func (a *app) showServer() error {
	text, err := rememberedServer()
	if err != nil {
		return err
	}
	if text == "" {
		return usage(serverHint, "no server is remembered")
	}
	a.screen.Result(useResult{text})
	a.screen.Data(text)
	return nil
}

func (a *app) forget() error {
	path, err := serverFile()
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("configuration: %w", err)
	}
	a.screen.Result(useResult{})
	a.screen.Say("no server is remembered any more")
	return nil
}

// serverFile holds the remembered server's address on one line.
func serverFile() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", usage("set $HOME, or name the server with --server", "there is no place for a configuration: %v", err)
	}
	return filepath.Join(dir, "decant", "server"), nil
}

// rememberedServer is empty if there is none.
func rememberedServer() (string, error) {
	path, err := serverFile()
	if err != nil {
		return "", nil // no home, no configuration
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("configuration: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// writeWhole writes a file that appears whole or not at all.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".server-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
