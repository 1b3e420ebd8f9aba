package smsie

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	format "github.com/decant-dev/decant/node/format/smsie"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
	"github.com/decant-dev/decant/node/target"
	"github.com/decant-dev/decant/node/target/wholefile"
)

func readCalls(in io.Reader) ([]rawjson.Value, error) {
	_, rows, err := format.Calls(in)
	return rows, err
}

// call is a row of the call log as a record.
func (a *Archive) call(row rawjson.Value, number int) (e target.Existing, identity []byte, ok bool) {
	columns, _, err := format.ParseCall(row)
	if err != nil {
		return e, nil, false
	}
	c := call.FromProvider(columns)
	e.Record = item.Record{Kind: item.Call, Label: c.Label(), From: fmt.Sprintf("%s:%d", filepath.Base(a.Path()), number), Data: c.Bytes()}
	e.Version = wholefile.Version(e.Data)
	return e, c.Identity(), true
}

// row is a call as it stands in the file.
func row(data []byte) (rawjson.Value, error) {
	c, err := call.Decode(data)
	if err != nil {
		return nil, &target.RefusedError{Why: err.Error()}
	}
	return format.AppendObject(nil, c.Provider()), nil
}

// writeCalls rewrites the call log. Rows that are not changed stay as they are.
func (a *Archive) writeCalls(in *os.File, seen fs.FileInfo, changes []target.Write, done func(int, target.Existing, error) error) error {
	now := func(c target.Write) (target.Existing, []byte, error) {
		r, err := row(c.Record.Data)
		if err != nil {
			return target.Existing{}, nil, err
		}
		e, id, _ := a.call(r, 0)
		e.Book, e.From = c.Record.Book, c.Record.From
		return e, id, nil
	}
	p := wholefile.NewPlan(changes, func(data []byte) (string, error) {
		e, _, err := now(target.Write{Record: item.Record{Data: data}})
		return e.Version, err
	})
	var rows []rawjson.Value
	if in != nil {
		var err error
		if rows, err = readCalls(in); err != nil {
			return err
		}
	}
	var out []rawjson.Value
	for n, r := range rows {
		e, id, ok := a.call(r, n+1)
		if !ok {
			out = append(out, r)
			continue
		}
		if i, ok := p.Meet(&e, id); ok {
			if len(changes[i].Record.Data) == 0 {
				continue
			}
			var err error
			if r, err = row(changes[i].Record.Data); err != nil {
				return err
			}
		}
		out = append(out, r)
	}
	for _, i := range p.Added() {
		r, err := row(changes[i].Record.Data)
		if err != nil {
			return err
		}
		out = append(out, r)
	}
	if p.Needed() {
		if err := a.ReplaceSeen(seen, func(w io.Writer) error { return writeArray(w, out) }); err != nil {
			return err
		}
	}
	return p.Report(now, done)
}

func writeArray(to io.Writer, rows []rawjson.Value) error {
	w := bufio.NewWriter(to)
	for i, r := range rows {
		w.WriteString([]string{"[\n  ", ",\n  "}[min(i, 1)])
		w.Write(r)
	}
	if len(rows) == 0 {
		w.WriteByte('[')
	}
	w.WriteString("\n]\n")
	return w.Flush()
}
