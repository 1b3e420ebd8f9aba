package server

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed sabre.php
var sabreScript []byte

// Sabre starts a server made of sabre/dav, the library in Nextcloud and Baïkal, in PHP's own web server, with its store in
// dir. It wants User and Password. Address books and calendars are in homes of their own.
func Sabre(ctx context.Context, dir string) (*Server, error) {
	if err := lacksSabre(ctx); err != nil {
		return nil, err
	}
	script := filepath.Join(dir, "sabre.php")
	if err := os.WriteFile(script, sabreScript, 0o600); err != nil {
		return nil, err
	}
	s := &Server{Name: "sabre", Home: "/calendars/" + User + "/", Books: "/addressbooks/" + User + "/", Auth: true, program: "php"}
	s.env = []string{"PEER_DATABASE=" + filepath.Join(dir, "dav.sqlite"), "PEER_USER=" + User, "PEER_PASSWORD=" + Password}
	return start(ctx, s, func(port string) []string {
		return []string{"-d", "opcache.enable=0", "-d", "memory_limit=512M", "-S", "127.0.0.1:" + port, "-t", dir, script}
	})
}

// lacksSabre returns ErrMissing if PHP, the library or what the library needs is not installed.
func lacksSabre(ctx context.Context) error {
	const needs = `exit((@include_once 'Sabre/autoload.php') && class_exists('Sabre\CardDAV\Plugin') && extension_loaded('pdo_sqlite') && ` +
		`extension_loaded('dom') && extension_loaded('xmlreader') && extension_loaded('mbstring') ? 0 : 1);`
	if out, err := exec.CommandContext(ctx, "php", "-d", "error_reporting=0", "-r", needs).CombinedOutput(); err != nil {
		return fmt.Errorf("sabre/dav (Debian: php-cli php-sqlite3 php-xml php-mbstring php-sabre-dav): %w: %v %.200s", ErrMissing, err, out)
	}
	return nil
}
