// Package mbox reads the mbox formats (mboxo, mboxrd, mboxcl, mboxcl2) and writes mboxrd.
//
// A mail begins with a line "From ", an address and a date, at the start of the file or
// behind an empty line. In mboxrd a line of the mail itself that begins with any number of
// ">" and "From " has one ">" more; mboxo adds one only to "From ", which reads the same
// but for lines that had ">From " before. In mboxcl and mboxcl2 the header says
// Content-Length, which is believed if a mail, or the end of the file, is where it says.
// https://www.loc.gov/preservation/digital/formats/fdd/fdd000383.shtml lists the variants.
package mbox

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
)

// MaxMail is the largest mail that is read, in bytes.
const MaxMail = message.MaxData

const (
	maxLine   = 64 << 10  // bytes of a line that can begin a mail
	maxHeader = 256 << 10 // bytes of a header in which Content-Length is looked for
)

// ErrFile is returned for a file that does not begin with a mail.
var ErrFile = errors.New("it is no mbox file")

// Mail is one mail.
type Mail struct {
	Envelope    string // what follows "From "
	Raw         []byte // without the quoting and the empty line at its end
	Offset, End int64  // where it is in the file, with the line before and the empty line behind
	Number      int
	TooLarge    bool // Raw is only how it begins
}

// Reader reads a file.
type Reader struct {
	in     io.ReaderAt
	size   int64
	buf    *bufio.Reader
	at     int64
	number int
	line   []byte // the next line, read already; it is the begin of a mail
	begun  bool
}

// NewReader returns a Reader of a file of that size.
func NewReader(in io.ReaderAt, size int64) *Reader {
	return &Reader{in: in, size: size, buf: bufio.NewReaderSize(io.NewSectionReader(in, 0, size), 64<<10)}
}

// begins matches a line that begins a mail: an address and a time, at least.
var begins = regexp.MustCompile(`^From \S.*\b[0-9]{1,2}:[0-9]{2}(:[0-9]{2})?\b.*[0-9]{4}`)

// IsBegin reports whether a line, without its break, begins a mail.
func IsBegin(line []byte) bool {
	return len(line) < maxLine && bytes.HasPrefix(line, []byte("From ")) && begins.Match(line)
}

// chunk returns the next line with its break, or a piece of one that is longer than the buffer.
func (r *Reader) chunk() ([]byte, error) {
	line, err := r.buf.ReadSlice('\n')
	if err == bufio.ErrBufferFull || err == io.EOF && len(line) > 0 {
		err = nil
	}
	r.at += int64(len(line))
	return line, err
}

// Next returns the next mail, or io.EOF.
func (r *Reader) Next() (*Mail, error) {
	if !r.begun {
		r.begun = true
		line, err := r.chunk()
		for err == nil && len(bytes.TrimRight(line, "\r\n")) == 0 {
			line, err = r.chunk()
		}
		if err == io.EOF {
			return nil, io.EOF
		}
		if err != nil || !IsBegin(trim(line)) {
			return nil, ErrFile
		}
		r.line = bytes.Clone(line)
	}
	if r.line == nil {
		return nil, io.EOF
	}
	r.number++
	m := &Mail{Number: r.number, Offset: r.at - int64(len(r.line)), Envelope: string(trim(r.line)[len("From "):])}
	r.line = nil
	if err := r.read(m); err != nil {
		return nil, err
	}
	return m, nil
}

func trim(line []byte) []byte { return bytes.TrimRight(line, "\r\n") }

// read reads a mail's content, and the line that begins the next one.
func (r *Reader) read(m *Mail) error {
	length := int64(-1)
	header, blank, fresh := true, false, true
	for {
		start := r.at
		line, err := r.chunk()
		if err == io.EOF {
			m.End = r.at
			m.finish(blank)
			return nil
		}
		if err != nil {
			return err
		}
		whole := line[len(line)-1] == '\n'
		text := trim(line)
		if fresh && blank && IsBegin(text) {
			r.line, m.End = bytes.Clone(line), start
			m.finish(blank)
			return nil
		}
		blank = fresh && whole && len(text) == 0
		if header && fresh {
			if n, ok := contentLength(text); ok && len(m.Raw) < maxHeader {
				length = n
			}
		}
		m.add(unquote(line, fresh && !header))
		fresh = whole
		if header && blank {
			header = false
			if length >= 0 && r.believable(length) {
				return r.exactly(m, length)
			}
		}
	}
}

// add adds to a mail what it can hold.
func (m *Mail) add(b []byte) {
	if len(m.Raw)+len(b) > MaxMail {
		m.TooLarge = true
		return
	}
	if !m.TooLarge {
		m.Raw = append(m.Raw, b...)
	}
}

// finish takes off the empty line that stands between mails.
func (m *Mail) finish(blank bool) {
	if !blank || m.TooLarge {
		return
	}
	if end := bytes.TrimSuffix(m.Raw, []byte("\n")); len(end) < len(m.Raw) {
		end = bytes.TrimSuffix(end, []byte("\r"))
		if len(end) > 0 && end[len(end)-1] == '\n' {
			m.Raw = end
		}
	}
}

// unquote takes one > off a line that begins with some and "From ".
func unquote(line []byte, can bool) []byte {
	if can && len(line) > 0 && line[0] == '>' && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
		return line[1:]
	}
	return line
}

func contentLength(line []byte) (int64, bool) {
	const name = "content-length:"
	if len(line) < len(name) || len(line) > 64 || !bytes.EqualFold(line[:len(name)], []byte(name)) {
		return 0, false
	}
	n, err := strconv.ParseInt(string(bytes.TrimSpace(line[len(name):])), 10, 64)
	return n, err == nil && n >= 0
}

// believable reports whether a mail, or the end of the file, follows a body of that length.
func (r *Reader) believable(length int64) bool {
	end := r.at + length
	if length > r.size-r.at {
		return false
	}
	b := make([]byte, 512)
	n, _ := r.in.ReadAt(b, end)
	b = b[:n]
	if len(bytes.Trim(b, "\r\n")) == 0 {
		return len(b) <= 4
	}
	line := bytes.TrimLeft(b, "\r\n")
	if len(b)-len(line) > 4 {
		return false
	}
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	return IsBegin(trim(line))
}

// exactly reads a body of a known length. If it has a line that begins like a mail,
// nothing in it was quoted.
func (r *Reader) exactly(m *Mail, length int64) error {
	end := r.at + length
	begin := len(m.Raw)
	for r.at < end {
		b := make([]byte, min(end-r.at, 64<<10))
		n, err := io.ReadFull(r.buf, b)
		r.at += int64(n)
		m.add(b[:n])
		if err != nil {
			return err
		}
	}
	if !m.TooLarge {
		if body := m.Raw[begin:]; !bytes.HasPrefix(body, []byte("From ")) && !bytes.Contains(body, []byte("\nFrom ")) {
			m.Raw = append(m.Raw[:begin:begin], unquoted(body)...)
		}
	}
	for {
		start := r.at
		line, err := r.chunk()
		if err == io.EOF {
			m.End = r.at
			return nil
		}
		if err != nil {
			return err
		}
		if len(trim(line)) > 0 {
			r.line, m.End = bytes.Clone(line), start
			return nil
		}
	}
}

func unquoted(body []byte) []byte {
	out := make([]byte, 0, len(body))
	for line := range bytes.Lines(body) {
		out = append(out, unquote(line, true)...)
	}
	return out
}

// Message returns the canonical form of a mail.
func (m *Mail) Message() *message.Message { return message.NewMail(m.Raw, m.Envelope, "") }

// Label tells where a mail is that can't be taken.
func (m *Mail) Label() string {
	return strconv.QuoteToASCII(string(m.Raw[:min(len(m.Raw), item.MaxShown/4)]))
}

// Append appends a mail as mboxrd has it: with the line before it, quoted, an empty line
// behind. An envelope that could not be read again is made anew.
func Append(dst []byte, m *message.Message) []byte {
	envelope := m.Envelope
	if !IsBegin([]byte("From "+envelope)) || bytes.ContainsAny([]byte(envelope), "\r\n") {
		envelope = Envelope(m)
	}
	dst = append(append(append(dst, "From "...), envelope...), '\n')
	header := true
	for line := range bytes.Lines(m.Raw) {
		if !header && bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
			dst = append(dst, '>')
		}
		header = header && len(trim(line)) > 0
		dst = append(dst, line...)
	}
	if n := len(m.Raw); n == 0 || m.Raw[n-1] != '\n' {
		dst = append(dst, '\n')
	}
	return append(dst, '\n')
}

// Envelope makes what stands behind "From " for a mail that came without.
func Envelope(m *message.Message) string {
	return fmt.Sprintf("MAILER-DAEMON %s", time.UnixMilli(m.Date.N).UTC().Format("Mon Jan _2 15:04:05 2006"))
}
