package node

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/source"
	sourcebookmarks "github.com/decant-dev/decant/node/source/bookmarks"
	sourcedav "github.com/decant-dev/decant/node/source/dav"
	sourcedconf "github.com/decant-dev/decant/node/source/dconf"
	sourceics "github.com/decant-dev/decant/node/source/ics"
	sourcemaildir "github.com/decant-dev/decant/node/source/maildir"
	sourcembox "github.com/decant-dev/decant/node/source/mbox"
	"github.com/decant-dev/decant/node/source/mmssms"
	sourcenotes "github.com/decant-dev/decant/node/source/notes"
	"github.com/decant-dev/decant/node/source/photos"
	sourcesmsie "github.com/decant-dev/decant/node/source/smsie"
	sourcesmsxml "github.com/decant-dev/decant/node/source/smsxml"
	"github.com/decant-dev/decant/node/source/takeout"
	sourcevcf "github.com/decant-dev/decant/node/source/vcf"
	sourcewifi "github.com/decant-dev/decant/node/source/wifi"
	"github.com/decant-dev/decant/node/target"
	targetbookmarks "github.com/decant-dev/decant/node/target/bookmarks"
	targetdav "github.com/decant-dev/decant/node/target/dav"
	targetdconf "github.com/decant-dev/decant/node/target/dconf"
	targetics "github.com/decant-dev/decant/node/target/ics"
	targetmaildir "github.com/decant-dev/decant/node/target/maildir"
	targetmbox "github.com/decant-dev/decant/node/target/mbox"
	targetnotes "github.com/decant-dev/decant/node/target/notes"
	targetsmsie "github.com/decant-dev/decant/node/target/smsie"
	targetsmsxml "github.com/decant-dev/decant/node/target/smsxml"
	targetvcf "github.com/decant-dev/decant/node/target/vcf"
	targetwifi "github.com/decant-dev/decant/node/target/wifi"
)

// places is the list of schemes, in the order in which a person is shown them.
var places = []place{
	{scheme: "vcf", argument: "FILE|DIR", what: "an address book: one file, or a directory of cards as khard and vdirsyncer keep", file: true, find: sourcevcf.Find,
		source: reads(sourcevcf.Open), target: writes(targetvcf.Open)},
	{scheme: "ics", argument: "FILE|DIR", what: "a calendar: one file, or a directory as khal and vdirsyncer keep", file: true, find: sourceics.Find,
		source: reads(sourceics.Open), target: writes(targetics.Open)},
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
	{scheme: "smsxml", argument: "FILE", what: "an archive of SMS Backup & Restore: messages or calls; a new file holds what there is, of both what its name says", file: true, find: sourcesmsxml.Find,
		source: reads(sourcesmsxml.Open), target: writes(targetsmsxml.Open)},
	{scheme: "smsie", argument: "ZIP", what: "an archive of SMS Import/Export: messages or calls", file: true, find: sourcesmsie.Find,
		source: reads(sourcesmsie.Open), target: writes(targetsmsie.Open)},
	{scheme: "mmssms", argument: "FILE", what: "Android's database of messages, mmssms.db", file: true, source: reads(mmssms.Open)},
	{scheme: "mbox", argument: "FILE", what: "a mailbox of mail, in which messages can be kept to be read", file: true, find: sourcembox.Find,
		source: reads(sourcembox.Open), target: writes(targetmbox.Open)},
	{scheme: "maildir", argument: "DIR", what: "a directory of mail, as Maildir", file: true, find: sourcemaildir.Find,
		source: reads(sourcemaildir.Open), target: writes(targetmaildir.Open)},
	{scheme: "bookmarks", argument: "FILE|PROFILE", what: "bookmarks: an HTML export, or the profile of Firefox, Chromium and their kin", file: true, find: sourcebookmarks.Find,
		source: reads(sourcebookmarks.Open), target: writes(targetbookmarks.Open)},
	{scheme: "notes", argument: "DIR|FILE.enex", what: "notes: a directory of Markdown or of a Google Keep takeout, or an Evernote export; into a directory", file: true, find: sourcenotes.Find,
		source: reads(sourcenotes.Open), target: writes(targetnotes.Open)},
	{scheme: "wifi", argument: "[DIR|FILE]", what: "Wi-Fi networks: NetworkManager's, wpa_supplicant.conf, and as targets .mobileconfig and QR codes", file: true, optional: true,
		find: sourcewifi.Find, source: reads(sourcewifi.Open), target: writes(targetwifi.Open)},
	{scheme: "dconf", argument: "[FILE]", what: "settings of a GNOME desktop: of this session, or a file that dconf dump has written", file: true, optional: true,
		find: sourcedconf.Find, source: reads(sourcedconf.Open), target: writes(targetdconf.Open)},
	{scheme: "photos", argument: "DIR", what: "photos and films with the times in their sidecars; a plain directory keeps its own", file: true, find: photos.Find, source: reads(photos.Open)},
	{scheme: "takeout", argument: "ZIP|DIR", what: "what Google Takeout gives: contacts, calendars, notes, photos, mail", file: true, find: takeout.Find, source: reads(takeout.Open)},
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
