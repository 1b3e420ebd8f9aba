package layering

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the prefix of every package that the rules speak about.
const Module = "github.com/decant-dev/decant"

// Package is what the rules need to know about one package of the module.
type Package struct {
	ImportPath string
	Name       string
	Doc        string   // first sentence of the package comment
	GoFiles    []string // without tests
	CgoFiles   []string
	Imports    []string // of the package itself, without its tests
	Deps       []string // of the whole tree below it, without tests
}

// rel is the package's path inside the module, "." for its root.
func (p Package) rel() string { return relative(p.ImportPath) }

func relative(path string) string {
	if path == Module {
		return "."
	}
	return strings.TrimPrefix(path, Module+"/")
}

// within reports whether path, relative to the module, is dir or lies below it.
func within(path, dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") }

func withinAny(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(d string) bool { return within(path, d) })
}

// name is how a rule calls packages: a module directory ("node/item"), a foreign import path, whose first element has a
// dot, or "std:" and a package of the standard library. All but the last stand for everything below them too.
type name string

// separation says that nothing below From may link anything below To, however indirectly.
type separation struct {
	From   []string // module directories
	To     []name
	Except []name // below To, and may be linked all the same
	Why    string
}

var separations = []separation{
	{From: []string{"server"}, To: []name{"node", "cmd"}, Why: "the server knows no format inside a blob"},
	{From: []string{"node"}, To: []name{"server", "cache", "cmd"}, Why: "a device is no server"},
	{From: []string{"server"}, To: []name{"cache"}, Why: "a server needs no cache"},
	{From: []string{"cache"}, To: []name{"crypto"}, Except: []name{"crypto/key", "crypto/label"},
		Why: "a cache, like a server, can check signatures and can decrypt nothing"},
	{From: []string{"cache"}, To: []name{"node", "cmd"}, Except: []name{"node/remote"}, Why: "a cache knows no format inside a blob"},
	{From: []string{"server"}, To: []name{"crypto"}, Except: []name{"crypto/key", "crypto/label"},
		Why: "the server can check signatures and can decrypt nothing"},
	{From: []string{"node/remote", "node/direct", "node/folder"}, To: []name{"node/item", "crypto/seal", "crypto/grant", "crypto/pairing"},
		Why: "routes carry opaque bytes"},
	{From: []string{"crypto"}, To: []name{"node", "server", "cmd", "proto"}, Except: []name{"proto/id"},
		Why: "cryptography sits at the bottom"},
	{From: []string{"proto/id", "proto/wire", "proto/serverpb"}, To: []name{"node", "server", "cmd", "crypto", "kill"},
		Why: "the words of the wire depend on nobody who speaks them"},
	{From: []string{"proto/link"}, To: []name{"node", "server", "cmd", "crypto"}, Except: []name{"crypto/key", "crypto/label"},
		Why: "a carrier knows identities and nothing inside what it carries"},
	{From: []string{"node/item"}, To: []name{"node", "server", "cmd", "crypto", "proto", "kill"}, Except: []name{"node/item"},
		Why: "the vocabulary imports the standard library only"},
	{From: []string{"node/kind", "node/format", "node/source", "node/target", "node/report"}, To: []name{"crypto", "server", "cmd"},
		Why: "what reads and writes other programs' data knows no key"},
	{From: []string{"node/kind", "node/report", "node/gather", "node/deliver"}, To: []name{"proto", "std:net/http", "std:os/exec"},
		Except: []name{"proto/id"}, Why: "plaintext is parsed where there is no way to send it"},
	{From: []string{"node/pack", "node/compress"}, To: []name{"crypto", "server", "cmd"}, Why: "packs are sealed by their caller"},
	{From: []string{"cmd"}, To: []name{"std:testing", "std:testing/cryptotest", "test"}, Why: "test code in a production binary"},
}

// ownership says that only Owners import To directly.
type ownership struct {
	To     name
	Owners []string // module directories
	Why    string
}

var ownerships = []ownership{
	{To: "github.com/libp2p/go-libp2p", Owners: []string{"proto/link"}, Why: "one owner of the network library"},
	{To: "github.com/multiformats/go-multiaddr", Owners: []string{"proto/link"}, Why: "addresses of the network library stop at its owner"},
	{To: "github.com/quic-go", Owners: []string{"proto/link"}, Why: "one owner of the network library"},
	{To: "github.com/cockroachdb/pebble/v2/vfs", Owners: []string{"server/db", "server/blobstore", "node/journal", "marker"}, Why: "file systems are swapped where durable steps are"},
	{To: "github.com/cockroachdb/pebble", Owners: []string{"server/db", "node/journal"}, Why: "two owners of the database"},
	{To: "proto/serverpb", Owners: []string{"server/api", "node/remote", "node/direct", "proto/serverpb"}, Why: "generated types stop at the boundary"},
	{To: "connectrpc.com/connect", Owners: []string{"server/api", "node/remote", "proto/serverpb"}, Why: "the RPC library stops at the boundary"},
	{To: "github.com/klauspost/compress", Owners: []string{"node/compress", "test"}, Why: "one owner of the decoder's limits"},
	{To: "std:crypto/hpke", Owners: []string{"crypto"}, Why: "one place for primitives"},
	{To: "golang.org/x/crypto", Owners: []string{"crypto"}, Why: "one place for primitives"},
	{To: "filippo.io/edwards25519", Owners: []string{"crypto"}, Why: "one place for primitives"},
	{To: "std:crypto/cipher", Owners: []string{"crypto", "test"}, Why: "every AEAD call passes the nonce rules of crypto"},
	{To: "std:os/exec", Owners: []string{"node/source/dconf", "node/target/dconf", "test"}, Why: "other programs are run where that is the only way to their data"},
	{To: "std:net/http", Owners: []string{"node/format/dav", "node/target/dav", "node/source/dav", "node/remote", "node/direct", "node", "server", "cache", "proto", "cmd", "test"},
		Why: "parsers fetch nothing"},
	{To: "modernc.org/sqlite", Owners: []string{"node/format", "node/source/mmssms"}, Why: "other programs' databases are opened with care, in copies"},
	{To: "github.com/nyaruka/phonenumbers", Owners: []string{"node/kind"}, Why: "numbers are compared where records are matched"},
	{To: "github.com/bep/imagemeta", Owners: []string{"node/kind/photo"}, Why: "one owner of the decoder's limits"},
	{To: "github.com/spf13/cobra", Owners: []string{"cmd"}, Why: "flags stop at the command"},
	{To: "std:unsafe", Owners: []string{"node/source/folder", "node/target/folder", "proto/serverpb"}, Why: "system calls on hot paths only"},
	{To: "marker", Owners: []string{"server/db", "node/journal"}, Why: "two owners of the database"},
	{To: "kill", Owners: []string{"node", "server", "cache", "test/env", "test/fault", "test/bench"}, Why: "kill points stand only between durable steps"},
}

// vague are the package names that say nothing about what is inside.
var vague = []string{"util", "utils", "common", "helper", "helpers", "misc", "models", "model", "types", "shared", "base", "lib"}

// Check returns one line for every rule that the packages break, sorted.
func Check(packages []Package) []string {
	var out []string
	for _, p := range packages {
		out = append(out, checkNaming(p)...)
		out = append(out, checkSeparations(p)...)
		out = append(out, checkOwnerships(p)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func checkNaming(p Package) (out []string) {
	if len(p.GoFiles)+len(p.CgoFiles) > 0 && p.Doc == "" {
		out = append(out, fmt.Sprintf("%s: has no package comment that says what it is", p.rel()))
	}
	if slices.Contains(vague, p.Name) {
		out = append(out, fmt.Sprintf("%s: the name %q says nothing about what is inside", p.rel(), p.Name))
	}
	return out
}

func checkSeparations(p Package) (out []string) {
	for _, s := range separations {
		if !withinAny(p.rel(), s.From) {
			continue
		}
		for _, dep := range p.Deps {
			covers := func(n name) bool { return n.covers(dep) }
			if !slices.ContainsFunc(s.To, covers) || slices.ContainsFunc(s.Except, covers) {
				continue
			}
			how := "imports"
			if !slices.Contains(p.Imports, dep) {
				how = "links, through another package,"
			}
			out = append(out, fmt.Sprintf("%s: %s %s: %s", p.rel(), how, relative(dep), s.Why))
		}
	}
	return out
}

// covers reports whether the import path is what the name says or lies below it.
func (n name) covers(path string) bool {
	if std, ok := strings.CutPrefix(string(n), "std:"); ok {
		return path == std
	}
	if first, _, _ := strings.Cut(string(n), "/"); strings.Contains(first, ".") {
		return within(path, string(n))
	}
	rest, ours := strings.CutPrefix(path, Module+"/")
	return ours && within(rest, string(n))
}

func checkOwnerships(p Package) (out []string) {
	var claimed []string // imports for which a more special rule, higher up, has spoken
	for _, o := range ownerships {
		for _, imp := range p.Imports {
			if !o.To.covers(imp) || slices.Contains(claimed, imp) {
				continue
			}
			claimed = append(claimed, imp)
			if !withinAny(p.rel(), o.Owners) {
				out = append(out, fmt.Sprintf("%s: imports %s, which belongs to %s: %s", p.rel(), relative(imp), strings.Join(o.Owners, ", "), o.Why))
			}
		}
	}
	return out
}
