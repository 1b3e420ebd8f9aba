package wifi

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
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

// editor reads and changes the content of a file that holds many networks. Its work is linear in
// the content and the changes: these are carried out by bytes.
type editor interface {
	form() string
	// parse reads the content, forgetting changes; nil is a file that is not there yet.
	parse(content []byte) error
	// records returns the networks that were read. Their order is that of the indexes below.
	records() []item.Record
	// put replaces network i, or adds one for -1. why says that it can't.
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
	p := planned{edit: f.edit, now: f.list(), at: map[string]int{}, has: map[string]bool{}}
	for i, e := range p.now {
		p.at[e.ID], p.has[string(e.Data)] = i, true
	}
	for i, w := range changes {
		if err := ctx.Err(); err != nil {
			return err
		}
		errs[i] = p.one(w)
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
	return f.tell(changes, errs, done)
}

// tell calls done for each change with what the file has now.
func (f *file) tell(changes []target.Write, errs []error, done func(int, target.Existing, error) error) error {
	byID, byData, byIdentity := map[string]target.Existing{}, map[string]target.Existing{}, map[string]target.Existing{}
	for _, e := range f.list() {
		byID[e.ID], byData[string(e.Data)], byIdentity[network.Parse(e.Data).Identity()] = e, e, e
	}
	for i, w := range changes {
		var is target.Existing
		if errs[i] == nil && w.Record.Data != nil {
			var ok bool
			if is, ok = byID[w.ID]; !ok || w.ID == "" {
				if is, ok = byData[string(w.Record.Data)]; !ok {
					is = byIdentity[network.Parse(w.Record.Data).Identity()]
				}
			}
		}
		if err := done(i, is, errs[i]); err != nil {
			return err
		}
	}
	return nil
}

// planned carries out changes in an editor.
type planned struct {
	edit editor
	now  []target.Existing
	at   map[string]int  // indexes in now, by ID
	has  map[string]bool // contents
}

func (p *planned) one(w target.Write) error {
	if w.ID == "" {
		if p.has[string(w.Record.Data)] {
			return nil // an attempt before this one got as far
		}
		return p.put(-1, w.Record)
	}
	i, ok := p.at[w.ID]
	if !ok || p.now[i].Version != w.Version {
		return target.ErrEdited
	}
	if w.Record.Data == nil {
		p.edit.remove(i)
		return nil
	}
	return p.put(i, w.Record)
}

func (p *planned) put(i int, r item.Record) error {
	if why := p.edit.put(i, r); why != "" {
		return refused("%s", why)
	}
	p.has[string(r.Data)] = true
	return nil
}

// pieces are runs of a text that may be replaced, and what comes behind it.
type pieces struct {
	text  []byte
	at    [][2]int       // where each piece stands
	edits map[int][]byte // by piece; empty is to remove it
	added [][]byte
}

func (p *pieces) reset(text []byte) { *p = pieces{text: text, edits: map[int][]byte{}} }

func (p *pieces) put(i int, with []byte) {
	if i < 0 {
		p.added = append(p.added, with)
		return
	}
	p.edits[i] = with
}

func (p *pieces) remove(i int) { p.edits[i] = nil }

func (p *pieces) bytes() ([]byte, error) {
	var out []byte
	from := 0
	for i, at := range p.at {
		if with, ok := p.edits[i]; ok {
			out = append(append(out, p.text[from:at[0]]...), with...)
			from = at[1]
		}
	}
	out = append(out, p.text[from:]...)
	if n := len(out); n > 0 && out[n-1] != '\n' && len(p.added) > 0 {
		out = append(out, '\n')
	}
	return append(out, bytes.Join(p.added, nil)...), nil
}

// supplicant edits a wpa_supplicant.conf. Other blocks and lines stay as they are.
type supplicant struct {
	pieces
	found []item.Record
	open  bool // the last block is not closed
}

func (s *supplicant) form() string { return network.Supplicant }

func (s *supplicant) parse(content []byte) error {
	s.reset(content)
	s.found, s.open = nil, false
	for _, b := range wpasupplicant.Parse(content).Blocks {
		s.open = b.Unclosed
		if b.Name != "network" {
			continue
		}
		if r, _, ok := network.FromBlock(b, ""); ok {
			s.at, s.found = append(s.at, [2]int{b.Start, b.End}), append(s.found, r)
		}
	}
	return nil
}

func (s *supplicant) records() []item.Record { return s.found }

func (s *supplicant) put(i int, r item.Record) string {
	b, why := network.ToBlock(r.Data)
	if why == "" && s.open && i < 0 {
		why = "the file's last block is not closed, so that nothing can be put behind it"
	}
	if why == "" {
		s.pieces.put(i, b.Bytes())
	}
	return why
}

// codes edits a text with a QR code's content on each line. Other lines stay as they are.
type codes struct {
	pieces
	found []item.Record
}

func (c *codes) form() string { return network.QR }

func (c *codes) parse(content []byte) error {
	c.reset(content)
	c.found = nil
	start := 0
	for line := range bytes.Lines(content) {
		end := start + len(line)
		if code, err := wifiqr.Parse(strings.TrimRight(string(line), "\r\n")); err == nil {
			if r, _, ok := network.FromCode(code, ""); ok {
				c.at, c.found = append(c.at, [2]int{start, end}), append(c.found, r)
			}
		}
		start = end
	}
	return nil
}

func (c *codes) records() []item.Record { return c.found }

func (c *codes) put(i int, r item.Record) string {
	code, why := network.ToCode(r.Data)
	if why != "" {
		return why
	}
	line := code.String()
	if strings.ContainsAny(line, "\r\n") {
		return "its name or secret has a line break"
	}
	c.pieces.put(i, []byte(line+"\n"))
	return ""
}

// profile edits an Apple profile. Other payloads stay.
type profile struct {
	p       *mobileconfig.Profile
	content []byte // as it was read, until it is changed
	at      []int  // where the networks stand among the payloads
	found   []item.Record
	gone    []int // indexes of networks that are to be removed
}

// profileUUID is the same in all profiles that we begin: a device that gets a later one replaces the earlier.
const profileUUID = "7A0D1F0C-2C55-4F5B-8E3D-5B1C6F0E9A41"

func (p *profile) form() string { return network.Apple }

func (p *profile) parse(content []byte) (err error) {
	p.content, p.at, p.found, p.gone = content, nil, nil, nil
	if content == nil {
		p.p = mobileconfig.New("Wi-Fi networks", "org.decant.wifi", profileUUID)
	} else if p.p, err = mobileconfig.Parse(content); err != nil {
		return err
	}
	payloads, at := p.p.WiFi()
	for i, n := range payloads {
		if r, _, ok := network.FromPayload(n, ""); ok {
			p.at, p.found = append(p.at, at[i]), append(p.found, r)
		}
	}
	return nil
}

func (p *profile) records() []item.Record { return p.found }

func (p *profile) put(i int, r item.Record) string {
	n, why := network.ToPayload(r.Data)
	if why != "" {
		return why
	}
	if i < 0 {
		p.p.Add(n)
	} else {
		p.p.Put(p.at[i], n)
	}
	p.content = nil
	return ""
}

func (p *profile) remove(i int) { p.gone, p.content = append(p.gone, p.at[i]), nil }

func (p *profile) bytes() ([]byte, error) {
	if p.content != nil {
		return p.content, nil
	}
	p.p.Remove(p.gone...)
	p.gone = nil
	return p.p.Bytes()
}
