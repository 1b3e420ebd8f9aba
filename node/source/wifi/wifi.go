// Package wifi reads the networks that a device or a file knows: NetworkManager's
// keyfiles and iwd's files, one or a directory of them, wpa_supplicant.conf, Apple's
// and Windows' profiles, Android's WifiConfigStore.xml, and the text or the pictures of QR codes that Decant wrote. What a file is,
// is told by its content. It is a source.Books of networks in the canonical form of
// node/kind/network.
package wifi

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/format/keyfile"
	"github.com/decant-dev/decant/node/format/mobileconfig"
	"github.com/decant-dev/decant/node/format/wifiqr"
	"github.com/decant-dev/decant/node/format/wlanprofile"
	"github.com/decant-dev/decant/node/format/wpasupplicant"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/network"
	"github.com/decant-dev/decant/node/source"
)

// Where systems keep their networks.
const (
	NetworkManager = "/etc/NetworkManager/system-connections"
	Supplicant     = "/etc/wpa_supplicant/wpa_supplicant.conf"
	IWD            = "/var/lib/iwd"
)

// Limits on what is read.
const (
	maxFile  = 4 << 20
	maxFiles = 10_000
)

// Books are the networks of one file or directory.
type Books struct {
	arg   string
	dir   bool
	found []item.Record
	lost  []item.Change
	done  bool
}

var _ source.Books = (*Books)(nil)

// Find returns what Open takes of this device. home is not looked into: networks belong to the system.
func Find(string) []string {
	var out []string
	for _, p := range []string{NetworkManager, Supplicant, IWD} {
		if _, err := os.Lstat(p); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// Open opens a file or a directory; "" is NetworkManager's.
func Open(arg string) (*Books, error) {
	if arg == "" {
		arg = NetworkManager
	}
	info, err := os.Stat(arg)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is neither a file nor a directory", arg)
	}
	return &Books{arg: arg, dir: info.IsDir()}, nil
}

// Survey implements source.Books. Networks are small: it reads them.
func (b *Books) Survey(ctx context.Context) ([]item.Found, error) {
	if err := b.load(ctx); err != nil {
		return nil, err
	}
	f := item.Found{Kind: item.Network, Where: b.arg, Items: int64(len(b.found)), Can: len(b.found) > 0}
	for _, r := range b.found {
		f.Bytes += int64(len(r.Data))
	}
	for _, c := range b.lost {
		if c.Effect == item.EffectDropped && c.Property == "" {
			f.Why = c.Why
		}
	}
	return []item.Found{f}, nil
}

// Read implements source.Books.
func (b *Books) Read(ctx context.Context, to item.Sink) error {
	if err := b.load(ctx); err != nil {
		return err
	}
	for _, r := range b.found {
		if err := to.Record(r); err != nil {
			return err
		}
	}
	for _, c := range b.lost {
		if err := to.Change(c); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Close implements source.Books.
func (b *Books) Close() error { return nil }

func (b *Books) load(ctx context.Context) error {
	if b.done {
		return nil
	}
	b.found, b.lost = nil, nil
	at, names := b.arg, []string{}
	if b.dir {
		entries, err := os.ReadDir(b.arg)
		if errors.Is(err, fs.ErrPermission) {
			b.lose(b.arg, "only the administrator may read it")
			b.done = true
			return nil
		}
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), ".") && !strings.HasSuffix(e.Name(), "~") && !e.IsDir() {
				names = append(names, e.Name())
			}
		}
		if len(names) > maxFiles {
			b.lose(b.arg, strconv.Itoa(len(names)-maxFiles)+" of its files are more than one reads")
			names = names[:maxFiles]
		}
	} else {
		at, names = filepath.Dir(b.arg), []string{filepath.Base(b.arg)}
	}
	root, err := os.OpenRoot(at)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		b.file(root, at, name)
	}
	b.done = true
	return nil
}

func (b *Books) lose(where, why string) {
	b.lost = append(b.lost, item.Change{Kind: item.Network, Record: filepath.Base(where), From: where, Effect: item.EffectDropped, Why: why})
}

// file reads one file, which may hold any number of networks.
func (b *Books) file(root *os.Root, dir, name string) {
	where := filepath.Join(dir, name)
	data, why := read(root, name)
	if why != "" {
		b.lose(where, why)
		return
	}
	found, changes := Networks(where, data)
	b.found = append(b.found, found...)
	b.lost = append(b.lost, changes...)
	if len(found) == 0 && len(changes) == 0 {
		b.lose(where, "no network is in it")
	}
}

func read(root *os.Root, name string) (data []byte, why string) {
	info, err := root.Stat(name)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return nil, "it is no file"
	case err == nil && info.Size() > maxFile:
		return nil, "it is larger than " + strconv.Itoa(maxFile>>20) + " MiB"
	}
	f, err := root.Open(name)
	if err == nil {
		defer f.Close()
		data, err = io.ReadAll(io.LimitReader(f, maxFile))
	}
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, "only the administrator may read it"
	case err != nil:
		return nil, "it could not be read"
	}
	return data, ""
}

// Networks returns the networks in the content of one file, and what of it is none. where is its path.
func Networks(where string, data []byte) (found []item.Record, changes []item.Change) {
	name := filepath.Base(where)
	add := func(r item.Record, more []item.Change, ok bool) {
		if changes = append(changes, more...); ok {
			found = append(found, r)
		}
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), " \t\r\n")
	switch {
	case bytes.HasPrefix(data, []byte("\x89PNG")):
		if c, err := wifiqr.FromPNG(data); err == nil {
			add(network.FromCode(c, where))
		}
	case bytes.HasPrefix(data, []byte("bplist00")):
		changes = append(changes, item.Change{Kind: item.Network, Record: name, From: where, Effect: item.EffectDropped, Why: "it is a list of Apple's that names networks without their keys, which only the device can read"})
	case bytes.HasPrefix(bytes.ToUpper(text[:min(len(text), 5)]), []byte("WIFI:")):
		for i, line := range strings.Split(string(data), "\n") {
			if c, err := wifiqr.Parse(strings.TrimSpace(line)); err == nil {
				add(network.FromCode(c, where+":"+strconv.Itoa(i+1)))
			} else if strings.TrimSpace(line) != "" {
				changes = append(changes, item.Change{Kind: item.Network, From: where + ":" + strconv.Itoa(i+1), Effect: item.EffectDropped, Why: "the line is no network"})
			}
		}
	case bytes.HasPrefix(text, []byte("<")) && (bytes.Contains(text[:min(len(text), 1024)], []byte("<WLANProfile")) || bytes.Contains(text[:min(len(text), 1024)], []byte("<WifiConfigStoreData"))):
		all, err := wlanprofile.Parse(data)
		if err != nil {
			return nil, []item.Change{{Kind: item.Network, Record: name, From: where, Effect: item.EffectDropped, Why: strings.TrimPrefix(err.Error(), "wlanprofile: ")}}
		}
		for i, n := range all {
			add(network.FromProfile(n, where+":"+strconv.Itoa(i+1)))
		}
	case bytes.HasPrefix(text, []byte("<")), len(data) > 0 && data[0] == 0x30:
		p, err := mobileconfig.Parse(data)
		if err != nil {
			return nil, []item.Change{{Kind: item.Network, Record: name, From: where, Effect: item.EffectDropped, Why: strings.TrimPrefix(err.Error(), "mobileconfig: ")}}
		}
		payloads, _ := p.WiFi()
		for i, n := range payloads {
			add(network.FromPayload(n, where+":"+strconv.Itoa(i+1)))
		}
		if n := p.Others(); n > 0 {
			changes = append(changes, item.Change{Kind: item.Network, Record: name, From: where, Effect: item.EffectDropped, Why: strconv.Itoa(n) + " of the profile's payloads are no wireless networks"})
		}
	default:
		return groups(where, name, data)
	}
	return found, changes
}

// groups reads the forms that have no mark at their beginning.
func groups(where, name string, data []byte) (found []item.Record, changes []item.Change) {
	if k := keyfile.Parse(data); k.Has("connection") {
		if !strings.HasSuffix(name, network.Extension) {
			name += network.Extension
		}
		r := network.Record(name, data)
		r.From = where
		return []item.Record{r}, nil
	} else if ext := filepath.Ext(name); slices.Contains([]string{".psk", ".open", ".8021x"}, ext) && len(k.Broken()) == 0 {
		return iwd(where, strings.TrimSuffix(name, ext), ext, k)
	}
	conf := wpasupplicant.Parse(data)
	for _, b := range conf.Blocks {
		from := where + ":" + strconv.Itoa(b.Line)
		if b.Name != "network" {
			changes = append(changes, item.Change{Kind: item.Network, Record: b.Name, From: from, Effect: item.EffectDropped, Why: "it is no network"})
			continue
		}
		r, more, ok := network.FromBlock(b, from)
		if changes = append(changes, more...); ok {
			found = append(found, r)
		}
	}
	if len(conf.Blocks) == 0 {
		return nil, nil
	}
	for _, g := range conf.Globals {
		c := item.Change{Kind: item.Network, Record: name, From: where, Property: strings.ToUpper(g.Name), Effect: item.EffectDropped, Why: "it is a setting of the other device, not a network", Before: g.Value}
		if network.Secret("", g.Name) {
			c.Before = "(secret)"
		}
		changes = append(changes, c)
	}
	return found, changes
}

// iwd reads a file of iwd, whose name is the network's.
func iwd(where, stem, ext string, k *keyfile.File) ([]item.Record, []item.Change) {
	ssid := []byte(stem)
	if h, ok := strings.CutPrefix(stem, "="); ok {
		b, err := hex.DecodeString(h)
		if err != nil {
			return nil, nil
		}
		ssid = b
	}
	if ext == ".8021x" {
		return nil, []item.Change{{Kind: item.Network, Record: stem, From: where, Effect: item.EffectDropped, Why: "networks of companies are not read from iwd"}}
	}
	code := wifiqr.Code{{Name: "T", Value: "nopass"}, {Name: "S", Value: string(ssid)}}
	if ext == ".psk" {
		secret := k.String("Security", "Passphrase")
		if secret == "" {
			secret = k.String("Security", "PreSharedKey")
		}
		code = wifiqr.Code{{Name: "T", Value: "WPA"}, {Name: "S", Value: string(ssid)}, {Name: "P", Value: secret}}
		if secret == "" {
			return nil, []item.Change{{Kind: item.Network, Record: stem, From: where, Effect: item.EffectDropped, Why: "its secret is not in the file"}}
		}
	}
	if k.String("Settings", "Hidden") == "true" {
		code = append(code, wifiqr.Field{Name: "H", Value: "true"})
	}
	r, changes, ok := network.FromCode(code, where)
	if !ok {
		return nil, changes
	}
	for _, g := range k.Groups() {
		for _, key := range k.Keys(g) {
			switch g + "." + key {
			case "Security.Passphrase", "Security.PreSharedKey", "Settings.Hidden":
			default:
				changes = append(changes, item.Change{Kind: item.Network, Record: r.Label, From: where, Property: strings.ToUpper(g + "/" + key), Effect: item.EffectDropped, Why: "NetworkManager has no such setting", Before: "(secret)"})
			}
		}
	}
	return []item.Record{r}, changes
}
