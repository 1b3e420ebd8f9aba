package wifi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/format/mobileconfig"
	"github.com/decant-dev/decant/node/format/wifiqr"
	"github.com/decant-dev/decant/node/format/wpasupplicant"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/network"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

// editor reads and changes the content of a file that holds many networks.
type editor interface {
	form() string
	// parse reads the content; nil is a file that is not there yet.
	parse(content []byte) error
	// records returns the networks. Their order is that of the indexes below.
	records() []item.Record
	// put replaces network i, or adds one if i is their number. why says that it can't.
	put(i int, r item.Record) (why string)
	remove(i int)
	bytes() ([]byte, error)
}

// file is a target that is one file.
type file struct {
	*wholefile.File
	edit editor
}

var (
	_ target.Books = (*file)(nil)
	_ target.Whole = (*file)(nil)
)

func openFile(path string, e editor) (*file, error) {
	f, err := wholefile.Open(path)
	if err != nil {
		return nil, err
	}
	t := &file{f, e}
	_, err = t.load()
	return t, err
}

func (f *file) Kinds() []item.Kind { return kinds }

func (f *file) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return profileOf(f.edit.form()), nil
}

func (f *file) Close() error { return nil }

// load reads the file into the editor and returns what it was when it was read, nil for none.
func (f *file) load() (fs.FileInfo, error) {
	in, err := f.File.Open()
	if err != nil {
		return nil, err
	}
	if in == nil {
		return nil, f.edit.parse(nil)
	}
	defer in.Close()
	seen, err := in.Stat()
	if err != nil {
		return nil, err
	}
	content, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(content) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d MiB", f.Path(), maxFile>>20)
	}
	return seen, f.edit.parse(content)
}

// list returns the records with their IDs: what identifies a network, and a number if several share it.
func (f *file) list() []target.Existing {
	var out []target.Existing
	count := map[string]int{}
	for _, r := range f.edit.records() {
		id := version([]byte(network.Parse(r.Data).Identity()))[:16]
		count[id]++
		if n := count[id]; n > 1 {
			id += "-" + strconv.Itoa(n)
		}
		out = append(out, existing(id, r))
	}
	return out
}

func (f *file) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	if k != item.Network {
		return nil
	}
	if _, err := f.load(); err != nil {
		return err
	}
	for _, e := range f.list() {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := each(e); err != nil {
			return err
		}
	}
	return nil
}

func (f *file) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	seen, err := f.load()
	if err != nil {
		return err
	}
	before, err := f.edit.bytes()
	if err != nil {
		return err
	}
	errs := make([]error, len(changes))
	for i, w := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		errs[i] = f.one(w)
	}
	after, err := f.edit.bytes()
	if err != nil {
		return err
	}
	if !bytes.Equal(before, after) {
		if err := f.ReplaceSeen(seen, func(w io.Writer) error { _, err := w.Write(after); return err }); err != nil {
			return err
		}
	}
	if _, err := f.load(); err != nil {
		return err
	}
	now := f.list()
	for i, w := range changes {
		var is target.Existing
		if errs[i] == nil && w.Record.Data != nil {
			at := slices.IndexFunc(now, func(e target.Existing) bool { return e.ID == w.ID && w.ID != "" })
			if at < 0 {
				at = find(now, w.Record.Data)
			}
			if at >= 0 {
				is = now[at]
			}
		}
		if err := done(i, is, errs[i]); err != nil {
			return err
		}
	}
	return nil
}

// find returns where a record stands; of two like it the last.
func find(all []target.Existing, data []byte) int {
	for i, e := range slices.Backward(all) {
		if bytes.Equal(e.Data, data) {
			return i
		}
	}
	id := network.Parse(data).Identity()
	for i, e := range slices.Backward(all) {
		if network.Parse(e.Data).Identity() == id {
			return i
		}
	}
	return -1
}

func (f *file) one(w target.Write) error {
	now := f.list()
	if w.ID == "" {
		if i := slices.IndexFunc(now, func(e target.Existing) bool { return bytes.Equal(e.Data, w.Record.Data) }); i >= 0 {
			return nil // an attempt before this one got as far
		}
		if why := f.edit.put(len(now), w.Record); why != "" {
			return refused("%s", why)
		}
		return nil
	}
	i := slices.IndexFunc(now, func(e target.Existing) bool { return e.ID == w.ID })
	if i < 0 || now[i].Version != w.Version {
		return target.ErrEdited
	}
	if w.Record.Data == nil {
		f.edit.remove(i)
		return nil
	}
	if why := f.edit.put(i, w.Record); why != "" {
		return refused("%s", why)
	}
	return nil
}

// supplicant edits a wpa_supplicant.conf. Other blocks and lines stay as they are.
type supplicant struct {
	content []byte
	blocks  []wpasupplicant.Block
	found   []item.Record
}

func (s *supplicant) form() string { return network.Supplicant }

func (s *supplicant) parse(content []byte) error {
	s.content, s.blocks, s.found = content, nil, nil
	for _, b := range wpasupplicant.Parse(content).Blocks {
		if b.Name != "network" {
			continue
		}
		if r, _, ok := network.FromBlock(b, ""); ok {
			s.blocks, s.found = append(s.blocks, b), append(s.found, r)
		}
	}
	return nil
}

func (s *supplicant) records() []item.Record { return s.found }

func (s *supplicant) put(i int, r item.Record) string {
	b, why := network.ToBlock(r.Data)
	if why != "" {
		return why
	}
	if i < len(s.blocks) {
		old := s.blocks[i]
		s.replace(old.Start, old.End, b.Bytes())
		return ""
	}
	text := b.Bytes()
	if n := len(s.content); n > 0 && s.content[n-1] != '\n' {
		text = append([]byte("\n"), text...)
	}
	s.replace(len(s.content), len(s.content), text)
	return ""
}

func (s *supplicant) remove(i int) { s.replace(s.blocks[i].Start, s.blocks[i].End, nil) }

func (s *supplicant) replace(start, end int, with []byte) {
	s.parse(slices.Concat(s.content[:start], with, s.content[end:]))
}

func (s *supplicant) bytes() ([]byte, error) { return s.content, nil }

// codes edits a text with a QR code's content on each line. Other lines stay as they are.
type codes struct {
	lines []string
	at    []int // the lines that are networks
	found []item.Record
}

func (c *codes) form() string { return network.QR }

func (c *codes) parse(content []byte) error {
	c.lines = strings.SplitAfter(string(content), "\n")
	if c.lines[len(c.lines)-1] == "" {
		c.lines = c.lines[:len(c.lines)-1]
	}
	c.index()
	return nil
}

func (c *codes) index() {
	c.at, c.found = nil, nil
	for i, line := range c.lines {
		code, err := wifiqr.Parse(strings.TrimRight(line, "\r\n"))
		if err != nil {
			continue
		}
		if r, _, ok := network.FromCode(code, ""); ok {
			c.at, c.found = append(c.at, i), append(c.found, r)
		}
	}
}

func (c *codes) records() []item.Record { return c.found }

func (c *codes) put(i int, r item.Record) string {
	code, why := network.ToCode(r.Data)
	if why != "" {
		return why
	}
	line := code.String() + "\n"
	if strings.Count(line, "\n") != 1 {
		return "its name or secret has a line break"
	}
	if i < len(c.at) {
		c.lines[c.at[i]] = line
	} else {
		if n := len(c.lines); n > 0 && !strings.HasSuffix(c.lines[n-1], "\n") {
			c.lines[n-1] += "\n"
		}
		c.lines = append(c.lines, line)
	}
	c.index()
	return ""
}

func (c *codes) remove(i int) {
	c.lines = slices.Delete(c.lines, c.at[i], c.at[i]+1)
	c.index()
}

func (c *codes) bytes() ([]byte, error) { return []byte(strings.Join(c.lines, "")), nil }

// profile edits an Apple profile. Other payloads stay.
type profile struct {
	p       *mobileconfig.Profile
	content []byte // as it was read, until it is changed
	at      []int
	found   []item.Record
}

// profileUUID is the same in all profiles that we begin: a device that gets a later one replaces the earlier.
const profileUUID = "7A0D1F0C-2C55-4F5B-8E3D-5B1C6F0E9A41"

func (p *profile) form() string { return network.Apple }

func (p *profile) parse(content []byte) (err error) {
	p.content = content
	if content == nil {
		p.p = mobileconfig.New("Wi-Fi networks", "org.decant.wifi", profileUUID)
	} else if p.p, err = mobileconfig.Parse(content); err != nil {
		return err
	}
	p.index()
	return nil
}

func (p *profile) index() {
	p.at, p.found = nil, nil
	payloads, at := p.p.WiFi()
	for i, n := range payloads {
		if r, _, ok := network.FromPayload(n, ""); ok {
			p.at, p.found = append(p.at, at[i]), append(p.found, r)
		}
	}
}

func (p *profile) records() []item.Record { return p.found }

func (p *profile) put(i int, r item.Record) string {
	n, why := network.ToPayload(r.Data)
	if why != "" {
		return why
	}
	if i < len(p.at) {
		p.p.Put(p.at[i], n)
	} else {
		p.p.Add(n)
	}
	p.content = nil
	p.index()
	return ""
}

func (p *profile) remove(i int) {
	p.p.Remove(p.at[i])
	p.content = nil
	p.index()
}

func (p *profile) bytes() ([]byte, error) {
	if p.content != nil {
		return p.content, nil
	}
	return p.p.Bytes()
}
