package node

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/source"
	sourcedav "github.com/decant-dev/decant/node/source/dav"
	sourcesmsxml "github.com/decant-dev/decant/node/source/smsxml"
	sourcewifi "github.com/decant-dev/decant/node/source/wifi"
	"github.com/decant-dev/decant/node/target"
	targetdav "github.com/decant-dev/decant/node/target/dav"
	targetsmsxml "github.com/decant-dev/decant/node/target/smsxml"
	targetwifi "github.com/decant-dev/decant/node/target/wifi"
)

// places is the list of schemes, in the order in which a person is shown them.
var places = []place{
	{scheme: "dav", argument: "URL", what: "a CardDAV or CalDAV server, or one of its collections; dav:https://ann@example.org asks for a password",
		source: func(_ context.Context, cfg *Config, arg string) (source.Books, error) {
			c, err := davConfig(cfg, arg)
			if err != nil {
				return nil, err
			}
			return sourcedav.Open(c)
		},
		target: func(ctx context.Context, cfg *Config, arg string) (target.Books, error) {
			c, err := davConfig(cfg, arg)
			if err != nil {
				return nil, err
			}
			return targetdav.Open(ctx, c)
		}},
	{scheme: "smsxml", argument: "FILE", what: "an archive of SMS Backup & Restore: messages or calls", file: true, find: sourcesmsxml.Find,
		source: reads(sourcesmsxml.Open), target: writes(targetsmsxml.Open)},
	{scheme: "wifi", argument: "[DIR|FILE]", what: "Wi-Fi networks: NetworkManager's, wpa_supplicant.conf, and as targets .mobileconfig and QR codes", file: true, optional: true,
		find: sourcewifi.Find, source: reads(sourcewifi.Open), target: writes(targetwifi.Open)},
}

// reads adapts a source's Open to the list.
func reads[B source.Books](open func(string) (B, error)) func(context.Context, *Config, string) (source.Books, error) {
	return func(_ context.Context, _ *Config, arg string) (source.Books, error) {
		b, err := open(arg)
		if err != nil { // not b: a nil pointer in an interface is not nil
			return nil, err
		}
		return b, nil
	}
}

// writes adapts a target's Open to the list.
func writes[B target.Books](open func(string) (B, error)) func(context.Context, *Config, string) (target.Books, error) {
	return func(_ context.Context, _ *Config, arg string) (target.Books, error) {
		b, err := open(arg)
		if err != nil {
			return nil, err
		}
		return b, nil
	}
}

// davConfig takes the user's name out of an address. A password in it is refused: others on
// this device can read the arguments of a command.
func davConfig(cfg *Config, address string) (dav.Config, error) {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return dav.Config{}, errors.New("this is no address")
	}
	user := u.User.Username()
	if _, ok := u.User.Password(); ok {
		return dav.Config{}, errors.New("a password does not belong into the address: it is asked for")
	}
	u.User = nil
	c := dav.Config{URL: u.String(), User: user}
	if user != "" {
		ask := cfg.Password
		if ask == nil {
			return dav.Config{}, errors.New("nobody can be asked for the password")
		}
		c.Password = func(ctx context.Context) (string, error) { return ask(ctx, user+" at "+u.Host) }
	}
	return c, nil
}
