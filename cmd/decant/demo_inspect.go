package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
	"github.com/decant-dev/decant/node/item"
)

// inspect looks at what the server has while it holds everything: how much, in
// what, and whether any name or content of the collection can be found in it.
func (d *demo) inspect() error {
	paths := d.paths
	if d.records != nil {
		paths = append(slices.Clone(paths), filepath.Join(d.dir, "old", "exports"))
	}
	n, err := newNeedles(paths)
	if err != nil {
		return err
	}
	metrics, err := fetchMetrics(d.metrics)
	if err != nil {
		return err
	}
	hits := n.search(d.log.Bytes()) + n.search(metrics)
	var onDisk int64
	var parts []string // of the server's directory, in order
	sums := map[string]*item.Tally{}
	server := filepath.Join(d.dir, "server")
	err = filepath.WalkDir(server, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		found, size, err := n.searchFile(path)
		if err != nil {
			return err
		}
		hits += found + n.search([]byte(path))
		onDisk += size
		rel, _ := filepath.Rel(server, path)
		part, _, inside := strings.Cut(filepath.ToSlash(rel), "/")
		if inside {
			part += "/"
		}
		if sums[part] == nil {
			parts = append(parts, part)
			sums[part] = &item.Tally{}
		}
		sums[part].Add(size)
		return nil
	})
	if err != nil {
		return err
	}
	blobs, bytes := metric(metrics, "decant_blobs"), metric(metrics, "decant_blob_bytes")
	d.step("server", "holds %s%s; %s on disk", ui.Plural(blobs, "blob"), each(blobs, bytes), ui.Bytes(onDisk))
	d.screen.Lines("              for " + ui.Plural(metric(metrics, "decant_sessions"), "transfer") + " between two keys")
	for _, part := range parts {
		d.screen.Lines(fmt.Sprintf("              %-11s %8s in %s", part, ui.Bytes(sums[part].Bytes), ui.Plural(sums[part].Items, "file")))
	}
	d.check(blobs > 0 && bytes > 0, "the server kept %s (%s) when the old device had left", ui.Plural(blobs, "sealed blob"), ui.Bytes(bytes))
	trace := "no trace"
	if hits > 0 || !n.works() {
		trace = ui.Plural(int64(hits), "trace")
	}
	d.check(hits == 0 && n.works(), "%s on the server of %s", trace, n.what())
	return nil
}

// each says how large the blobs are if they are all of one size.
func each(blobs, bytes int64) string {
	if blobs == 0 || bytes%blobs != 0 {
		return ""
	}
	return " of " + ui.Count(bytes/blobs) + " bytes each"
}

// fetchMetrics reads what the server tells Prometheus.
func fetchMetrics(addr string) ([]byte, error) {
	c := http.Client{Timeout: 10 * time.Second}
	r, err := c.Get("http://" + addr + "/metrics")
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	return io.ReadAll(io.LimitReader(r.Body, 16<<20))
}

// metric returns a value without labels from Prometheus's text form, 0 if it is not there.
func metric(text []byte, name string) int64 {
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			f, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
			return int64(f)
		}
	}
	return 0
}

// The needles: names of at least this length, and pieces of content of this length.
const (
	minName    = 10
	pieceSize  = 24
	maxNeedles = 2000 // of names, and of pieces
)

// needles are names and contents that must not occur on the server, as they are
// and in hexadecimal and Base64 (whose three alignments are searched by what they
// have in common: the groups inside).
type needles struct {
	names, pieces int
	first         [1 << 16]bool                // the first two bytes of any needle
	byStart       map[uint64][]string          // first eight bytes → the rest
	example       struct{ name, piece []byte } // to prove that the search finds what is there
}

// newNeedles picks names and pieces of content all over the paths.
func newNeedles(paths []string) (*needles, error) {
	n := &needles{byStart: map[uint64][]string{}}
	for _, root := range paths {
		err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return nil // what can't be read is not sent either
			}
			if name := []byte(e.Name()); len(name) >= minName && n.names < maxNeedles {
				n.names++
				n.example.name = name
				n.addForms(name)
			}
			if e.Type().IsRegular() && n.pieces < maxNeedles {
				n.addPiece(path)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return n, nil
}

// addPiece takes a piece from the middle of a file, unless it is too regular to mean anything.
func (n *needles) addPiece(path string) {
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || st.Size() < 4*pieceSize {
		return
	}
	piece := make([]byte, pieceSize)
	if _, err := f.ReadAt(piece, st.Size()/2); err != nil || dull(piece) {
		return
	}
	n.pieces++
	n.example.piece = piece
	n.addForms(piece)
}

// dull reports whether a piece has so few different bytes that it may occur by chance.
func dull(piece []byte) bool {
	seen := map[byte]bool{}
	for _, c := range piece {
		seen[c] = true
	}
	return len(seen) < 8
}

func (n *needles) addForms(b []byte) {
	n.add(b)
	n.add([]byte(hex.EncodeToString(b)))
	for skip := range 3 {
		if whole := (len(b) - skip) / 3 * 3; whole >= 9 {
			n.add([]byte(base64.RawStdEncoding.EncodeToString(b[skip : skip+whole])))
		}
	}
}

func (n *needles) add(b []byte) {
	if len(b) < 8 {
		return
	}
	n.first[binary.BigEndian.Uint16(b)] = true
	start := binary.BigEndian.Uint64(b)
	n.byStart[start] = append(n.byStart[start], string(b[8:]))
}

// what says what is searched for.
func (n *needles) what() string {
	return ui.Plural(int64(n.names), "name") + " and " + ui.Plural(int64(n.pieces), "piece") + " of content"
}

// search counts the needles in b.
func (n *needles) search(b []byte) (hits int) {
	for i := 0; i+8 <= len(b); i++ {
		if !n.first[uint16(b[i])<<8|uint16(b[i+1])] {
			continue
		}
		for _, rest := range n.byStart[binary.BigEndian.Uint64(b[i:])] {
			if strings.HasPrefix(string(b[i+8:min(i+8+len(rest), len(b))]), rest) {
				hits++
			}
		}
	}
	return hits
}

// overlap is more than the longest needle: names have 255 bytes at most, twice that in hexadecimal.
const overlap = 1024

// searchFile searches a file piece by piece; what lies in the overlap of two may be counted twice.
func (n *needles) searchFile(path string) (hits int, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	buf := make([]byte, 4<<20)
	for at := int64(0); ; at += int64(len(buf) - overlap) {
		k, err := f.ReadAt(buf, at)
		hits += n.search(buf[:k])
		if err == io.EOF {
			return hits, at + int64(k), nil
		}
		if err != nil {
			return hits, 0, err
		}
	}
}

// works proves that the search would have found something: it looks for a name
// and a piece of content where they are.
func (n *needles) works() bool {
	text := base64.StdEncoding.EncodeToString(append([]byte("x"), n.example.name...)) + string(n.example.piece)
	return n.names+n.pieces > 0 && n.search([]byte(text)) > 0
}
