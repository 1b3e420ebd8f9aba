package mbox

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/kind/message"
)

func all(t testing.TB, data string) (mails []*Mail, err error) {
	t.Helper()
	r := NewReader(strings.NewReader(data), int64(len(data)))
	for n := 0; ; n++ {
		if n > len(data) {
			t.Fatal("it does not end")
		}
		m, err := r.Next()
		if err == io.EOF {
			return mails, nil
		}
		if err != nil {
			return mails, err
		}
		mails = append(mails, m)
	}
}

const from = "From a@b Fri Jan  1 00:00:00 2021\n"

func TestVariants(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"mboxo":                    {from + "S: 1\n\n>From x\n\n" + from + "S: 2\n\ny\n", []string{"S: 1\n\nFrom x\n", "S: 2\n\ny\n"}},
		"mboxrd":                   {from + "S: 1\n\n>>From x\n>>>From y\n> From z\n\n", []string{"S: 1\n\n>From x\n>>From y\n> From z\n"}},
		"mboxcl2":                  {from + "Content-Length: 45\n\n" + "x\n\n" + from + ">From y\n\n" + from + "S: 2\n\ny\n", []string{"Content-Length: 45\n\nx\n\n" + from + ">From y\n", "S: 2\n\ny\n"}},
		"mboxcl":                   {from + "content-length: 9\n\n>From y\n\n\n" + from + "S: 2\n\ny", []string{"content-length: 9\n\nFrom y\n\n", "S: 2\n\ny"}},
		"a length that lies":       {from + "Content-Length: 4000\n\nx\n\n" + from + "S: 2\n\ny\n", []string{"Content-Length: 4000\n\nx\n", "S: 2\n\ny\n"}},
		"a length that is short":   {from + "Content-Length: 1\n\nxyz\n\n" + from + "S: 2\n\ny\n", []string{"Content-Length: 1\n\nxyz\n", "S: 2\n\ny\n"}},
		"a length in the body":     {from + "S: 1\n\nContent-Length: 3\n\n\n" + from + "S: 2\n\ny\n", []string{"S: 1\n\nContent-Length: 3\n\n", "S: 2\n\ny\n"}},
		"From without a time":      {from + "S: 1\n\nx\n\nFrom here on\n", []string{"S: 1\n\nx\n\nFrom here on\n"}},
		"no empty line before":     {from + "S: 1\n\nx\n" + from + "y\n", []string{"S: 1\n\nx\n" + from + "y\n"}},
		"CRLF":                     {strings.ReplaceAll(from+"S: 1\n\n>From x\n\n"+from+"S: 2\n\ny\n\n", "\n", "\r\n"), []string{"S: 1\r\n\r\nFrom x\r\n", "S: 2\r\n\r\ny\r\n"}},
		"empty mails":              {from + "\n" + from + "\n" + from, []string{"\n", "\n", ""}},
		"empty lines at the end":   {from + "S: 1\n\nx\n\n\n\n" + from + "S: 2\n\ny\n\n\n", []string{"S: 1\n\nx\n\n\n", "S: 2\n\ny\n\n"}},
		"other dates":              {"From a@b Fri Jan 1 00:00 MET 2021\nx: 1\n\n\nFrom - Fri Jan 01 00:00:00 +0100 2021\ny: 2\n\n\n", []string{"x: 1\n\n", "y: 2\n\n"}},
		"a header without an end":  {from + "S: 1\n", []string{"S: 1\n"}},
		"nothing":                  {"", nil},
		"blank lines at the start": {"\n\n" + from + "S: 1\n\nx\n", []string{"S: 1\n\nx\n"}},
	} {
		mails, err := all(t, c.file)
		var got []string
		at := int64(len(c.file) - len(strings.TrimLeft(c.file, "\n")))
		for _, m := range mails {
			got = append(got, string(m.Raw))
			if m.Offset != at {
				t.Errorf("%s: a mail is said to begin at %d, not %d", name, m.Offset, at)
			}
			at = m.End
		}
		if err != nil || strings.Join(got, "|") != strings.Join(c.want, "|") || len(mails) > 0 && at != int64(len(c.file)) {
			t.Errorf("%s: %q, want %q; ends at %d of %d; %v", name, got, c.want, at, len(c.file), err)
		}
	}
	if _, err := all(t, "Subject: no mbox\n\n"); err != ErrFile {
		t.Errorf("a mail is taken for an mbox file: %v", err)
	}
}

func TestLargeMails(t *testing.T) {
	data := from + "S: 1\n\n" + strings.Repeat(strings.Repeat("x", 1<<20), MaxMail>>20) + "\n\n" + from + "S: 2\n\ny\n"
	mails, err := all(t, data)
	if err != nil || len(mails) != 2 || !mails[0].TooLarge || string(mails[1].Raw) != "S: 2\n\ny\n" {
		t.Errorf("%d mails, %v", len(mails), err)
	}
}

// FuzzReader: no panic, the mails cover the file, and what is written is read as it was.
func FuzzReader(f *testing.F) {
	f.Add([]byte(from + "S: 1\n\n>>From x\n\n" + from + "Content-Length: 2\n\ny\n"))
	f.Add([]byte(from + "\r\n\r\n" + from))
	f.Fuzz(func(t *testing.T, data []byte) {
		mails, err := all(t, string(data))
		if err != nil {
			return
		}
		var out []byte
		var want [][]byte
		for _, m := range mails {
			if m.Offset < 0 || m.End < m.Offset || m.End > int64(len(data)) {
				t.Fatalf("from %d to %d", m.Offset, m.End)
			}
			c, err := message.Decode(m.Message().Bytes())
			if err != nil || !bytes.Equal(c.Raw, m.Raw) {
				t.Fatalf("%v: %q became %q", err, m.Raw, c.Raw)
			}
			if bytes.Contains(bytes.ToLower(m.Raw), []byte("content-length")) {
				continue // it may say what happens to be true of what follows
			}
			out = Append(out, c)
			if n := len(c.Raw); n == 0 || c.Raw[n-1] != '\n' {
				c.Raw = append(c.Raw, '\n')
			}
			want = append(want, c.Raw)
		}
		again, err := all(t, string(out))
		if err != nil || len(again) != len(want) {
			t.Fatalf("%d mails became %d, %v\n%q", len(want), len(again), err, out)
		}
		for i := range again {
			if !bytes.Equal(again[i].Raw, want[i]) {
				t.Fatalf("mail %d, %q, became %q in %q", i, want[i], again[i].Raw, out)
			}
		}
	})
}
