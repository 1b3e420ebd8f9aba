// Package smsie reads and writes the files of SMS Import / Export, version 2: a zip with
// messages.ndjson, one message of Android's telephony provider on each line, and data/,
// the bytes of the parts of MMS; and the call log, a JSON array. The app writes all values
// as strings and takes strings. https://github.com/tmo1/sms-ie describes the format.
//
// Nothing of a zip is unpacked to anywhere: entries are looked up by the names that the
// lines give, and what is inflated is bounded, all together too.
package smsie

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
)

// Limits.
const (
	MaxLine    = 16 << 20  // bytes of a line; a longer one is left out
	MaxEntries = 1_000_000 // of a zip
	maxRatio   = 100       // how much larger than the zip all that is inflated may be,
	minBudget  = 256 << 20 // unless it is less than this
	maxPart    = message.MaxData
	maxMessage = message.MaxData + 16<<20 // bytes of all parts of one message
)

// MessagesName is the entry that holds the messages, and DataPrefix what the names of the others begin with.
const (
	MessagesName = "messages.ndjson"
	DataPrefix   = "data/"
)

// The errors that end the reading.
var (
	ErrBomb    = errors.New("it inflates to more than such an archive can hold")
	ErrArchive = errors.New("it is no archive of SMS Import / Export 2")
)

// Archive is a zip that is read.
type Archive struct {
	zip    *zip.Reader
	lines  *zip.File
	data   map[string]*zip.File
	used   map[string]bool
	size   int64
	budget int64
}

// Open opens an archive.
func Open(in io.ReaderAt, size int64) (*Archive, error) {
	z, err := zip.NewReader(in, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return nil, ErrArchive
	}
	if len(z.File) > MaxEntries {
		return nil, ErrBomb
	}
	a := &Archive{zip: z, size: size, data: map[string]*zip.File{}, used: map[string]bool{}}
	a.Rewind()
	for _, f := range z.File {
		if f.Name == MessagesName && a.lines == nil {
			a.lines = f
		}
		if name, ok := strings.CutPrefix(f.Name, DataPrefix); ok && name != "" && a.data[name] == nil {
			a.data[name] = f
		}
	}
	if a.lines == nil {
		return nil, ErrArchive
	}
	return a, nil
}

// Rewind gives the archive a new allowance of what may be inflated.
func (a *Archive) Rewind() { a.budget = max(minBudget, a.size*maxRatio) }

// Entries returns the entries but the messages.
func (a *Archive) Entries() []*zip.File {
	return slices.DeleteFunc(slices.Clone(a.zip.File), func(f *zip.File) bool { return f == a.lines })
}

// Has reports whether there are data of this name.
func (a *Archive) Has(name string) bool { return a.data[name] != nil }

// Unused returns the entries that no message has referred to.
func (a *Archive) Unused() (out []string) {
	for _, f := range a.Entries() {
		name, ok := strings.CutPrefix(f.Name, DataPrefix)
		if ok && name == "" || ok && a.used[name] && a.data[name] == f {
			continue
		}
		out = append(out, f.Name)
	}
	return out
}

// limited reads an entry and counts what is inflated.
type limited struct {
	in io.Reader
	a  *Archive
}

func (l *limited) Read(b []byte) (int, error) {
	n, err := l.in.Read(b)
	if l.a.budget -= int64(n); l.a.budget < 0 {
		return 0, ErrBomb
	}
	return n, err
}

// Lines calls each for every line of the messages that is not blank. line is valid until
// it returns; tooLong tells that line is only how it begins.
func (a *Archive) Lines(each func(number int, line []byte, tooLong bool) error) error {
	f, err := a.lines.Open()
	if err != nil {
		return err
	}
	defer f.Close()
	return Lines(&limited{f, a}, each)
}

// Lines calls each for every line of in that is not blank.
func Lines(in io.Reader, each func(number int, line []byte, tooLong bool) error) error {
	r := bufio.NewReaderSize(in, 256<<10)
	var line []byte
	for number := 1; ; number++ {
		line = line[:0]
		tooLong := false
		var err error
		for {
			var chunk []byte
			chunk, err = r.ReadSlice('\n')
			if len(line)+len(chunk) <= MaxLine {
				line = append(line, chunk...)
			} else {
				tooLong = true
			}
			if err != bufio.ErrBufferFull {
				break
			}
		}
		if text := bytes.TrimSpace(line); len(text) > 0 || tooLong {
			if err := each(number, text, tooLong); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Flag is what is odd about a message.
type Flag struct {
	Property string
	Effect   item.Effect
	Why      string
	Before   string
}

// The names of what the app adds to the provider's columns.
const (
	senderName     = "__sender_address"
	recipientsName = "__recipient_addresses"
	partsName      = "__parts"
	dataColumn     = "_data"
)

// Message parses a line, and reads the bytes of its parts.
func (a *Archive) Message(line []byte) (*message.Message, []Flag, error) {
	r, flags, err := ParseRow(line)
	if err != nil {
		return nil, nil, err
	}
	r.Data = make([][]byte, len(r.Parts))
	left := int64(maxMessage)
	lost := map[int]string{}
	for i, p := range r.Parts {
		name, ok := DataName(p)
		if !ok {
			continue
		}
		a.used[name] = true
		b, sum, err := a.read(name, min(left, maxPart))
		if errors.Is(err, ErrBomb) {
			return nil, nil, err
		}
		if err != nil {
			flags = append(flags, Flag{"PART/DATA", item.EffectDropped, err.Error(), name})
			lost[i] = sum
			continue
		}
		left -= int64(len(b))
		r.Data[i] = b
	}
	for i := range r.Parts {
		r.Parts[i] = withoutName(r.Parts[i], r.Data[i] != nil)
	}
	m := message.FromProvider(r)
	for i, sum := range lost {
		m.Parts[i].SHA256 = sum
	}
	return m, flags, nil
}

// withoutName takes the column off a part that says where its bytes are, if AppendMessage
// has made it: the path that a telephone has written stays.
func withoutName(part []message.Column, has bool) []message.Column {
	path, _ := message.Get(part, dataColumn)
	if !has || !strings.HasPrefix(path, ownPrefix) {
		return part
	}
	return slices.DeleteFunc(slices.Clone(part), func(c message.Column) bool { return c.Name == dataColumn })
}

// DataName returns the name below data/ of a part's bytes.
func DataName(part []message.Column) (string, bool) {
	path, ok := message.Get(part, dataColumn)
	if !ok || path == "" {
		return "", false
	}
	name, _ := message.DataName(path)
	return name, name != ""
}

// read returns the bytes of a data entry in base64. With an error because they are too
// many it returns their hash.
func (a *Archive) read(name string, limit int64) (b []byte, sum string, err error) {
	f := a.data[name]
	if f == nil {
		return nil, "", errors.New("its bytes are not in the archive")
	}
	in, err := f.Open()
	if err != nil {
		return nil, "", fmt.Errorf("its bytes can't be read: %w", err)
	}
	defer in.Close()
	h := sha256.New()
	var out bytes.Buffer
	enc := base64.NewEncoder(base64.StdEncoding, &out)
	n, err := io.CopyN(io.MultiWriter(h, enc), &limited{in, a}, limit+1)
	enc.Close()
	switch {
	case errors.Is(err, ErrBomb):
		return nil, "", err
	case err == nil || n > limit:
		if _, err := io.Copy(h, &limited{in, a}); err != nil {
			return nil, "", err
		}
		return nil, hex.EncodeToString(h.Sum(nil)), fmt.Errorf("it is larger than %d bytes", limit)
	case err != io.EOF:
		return nil, "", fmt.Errorf("its bytes can't be read: %w", err)
	}
	return append([]byte{}, out.Bytes()...), "", nil
}

// ParseRow parses a line without the bytes of its parts.
func ParseRow(line []byte) (*message.Row, []Flag, error) {
	members, err := rawjson.Object(line)
	if err != nil {
		return nil, nil, err
	}
	p := rowParser{row: &message.Row{}, seen: map[string]bool{}}
	for _, f := range members {
		p.member(f)
	}
	return p.row, p.flags, nil
}

type rowParser struct {
	row   *message.Row
	seen  map[string]bool
	flags []Flag
}

func (p *rowParser) flag(property string, e item.Effect, why string, v rawjson.Value) {
	if len(p.flags) < 100 {
		p.flags = append(p.flags, Flag{strings.ToUpper(property), e, why, string(v[:min(len(v), item.MaxShown)])})
	}
}

func (p *rowParser) member(f rawjson.Member) {
	if p.seen[f.Name] {
		p.flag(f.Name, item.EffectDropped, "it is there twice, and the first one is taken", f.Value)
		return
	}
	p.seen[f.Name] = true
	switch {
	case f.Name == senderName:
		if c, ok := p.columns(f); ok {
			p.row.Addrs = slices.Insert(p.row.Addrs, 0, c)
			return
		}
	case f.Name == recipientsName || f.Name == partsName:
		if p.list(f) {
			return
		}
	}
	p.row.MMS = p.row.MMS || f.Name == "m_type" || f.Name == partsName
	if len(f.Value) > message.MaxText {
		p.flag(f.Name, item.EffectDropped, "it is too long", f.Value)
		return
	}
	p.row.Columns = append(p.row.Columns, message.Column(f))
}

// columns parses an object of columns.
func (p *rowParser) columns(f rawjson.Member) ([]message.Column, bool) {
	members, err := rawjson.Object(f.Value)
	if err != nil {
		p.flag(f.Name, item.EffectFlagged, "it is no object: kept as it is", f.Value)
		return nil, false
	}
	out := make([]message.Column, 0, len(members))
	seen := map[string]bool{}
	for _, m := range members {
		switch {
		case seen[m.Name]:
			p.flag(f.Name+"/"+m.Name, item.EffectDropped, "it is there twice, and the first one is taken", m.Value)
		case len(m.Value) > message.MaxText:
			p.flag(f.Name+"/"+m.Name, item.EffectDropped, "it is too long", m.Value)
		default:
			seen[m.Name] = true
			out = append(out, message.Column(m))
		}
	}
	return out, true
}

// list parses the array of recipients or parts.
func (p *rowParser) list(f rawjson.Member) bool {
	elements, err := rawjson.Array(f.Value)
	if err != nil {
		p.flag(f.Name, item.EffectFlagged, "it is no array: kept as it is", f.Value)
		return false
	}
	to := &p.row.Addrs
	if f.Name == partsName {
		to = &p.row.Parts
		p.row.MMS = true
	}
	for _, e := range elements {
		c, ok := p.columns(rawjson.Member{Name: f.Name, Value: e})
		switch {
		case !ok:
			p.flag(f.Name, item.EffectDropped, "an element of it is no object", e)
		case len(*to) >= message.MaxParts:
			p.flag(f.Name, item.EffectDropped, "there are more than 1000", e)
		default:
			*to = append(*to, c)
		}
	}
	return true
}
