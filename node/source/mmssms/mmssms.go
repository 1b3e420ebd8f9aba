// Package mmssms reads mmssms.db, the database of Android's telephony provider, as a
// source of messages. It reads a copy of the file and its write-ahead log, which is
// removed on Close. The bytes of parts are files; they are found in a folder app_parts
// beside the database, as it is on the telephone.
package mmssms

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/format/smsie"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
	"github.com/decant-dev/decant/node/source"
	_ "modernc.org/sqlite" // the driver
)

// MaxSize is the largest database that is copied, in bytes.
const MaxSize = 8 << 30

// partsDir is where the provider keeps the bytes of parts.
const partsDir = "app_parts"

// Database is one database.
type Database struct {
	path  string
	temp  string
	db    *sql.DB
	parts *os.Root // nil if there is none
}

var _ source.Books = (*Database)(nil)

// Open copies the database and opens the copy.
func Open(path string) (*Database, error) {
	temp, err := os.MkdirTemp("", "decant-mmssms-")
	if err != nil {
		return nil, err
	}
	d := &Database{path: path, temp: temp}
	if err := d.open(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Database) open() error {
	name := filepath.Join(d.temp, "mmssms.db")
	if err := copyFile(name, d.path); err != nil {
		return err
	}
	if err := copyFile(name+"-wal", d.path+"-wal"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: name}).EscapedPath()+"?_pragma=trusted_schema(0)&_pragma=query_only(1)")
	if err != nil {
		return err
	}
	d.db = db
	db.SetMaxOpenConns(1)
	var n int
	if err := db.QueryRow("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name IN ('sms', 'pdu')").Scan(&n); err != nil || n == 0 {
		return fmt.Errorf("%s is no database of messages", filepath.Base(d.path))
	}
	if root, err := os.OpenRoot(filepath.Join(filepath.Dir(d.path), partsDir)); err == nil {
		d.parts = root
	}
	return nil
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Size() > MaxSize {
		return fmt.Errorf("%s is no file, or too large", filepath.Base(from))
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, io.LimitReader(in, MaxSize))
	return errors.Join(err, out.Close())
}

func (d *Database) book() string {
	return strings.TrimSuffix(filepath.Base(d.path), filepath.Ext(d.path))
}

// Survey counts the rows.
func (d *Database) Survey(ctx context.Context) ([]item.Found, error) {
	found := item.Found{Kind: item.Message, Book: d.book(), Where: d.path, Bytes: -1, Can: true}
	for _, table := range []string{"sms", "pdu"} {
		var n int64
		if err := d.db.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n); err == nil {
			found.Items += n
		}
	}
	return []item.Found{found}, ctx.Err()
}

// row is one row of a table.
type row struct {
	columns []message.Column
	id      string
	flags   []smsie.Flag
}

// each calls f for every row of a query.
func (d *Database) each(ctx context.Context, f func(row) error, query string, args ...any) error {
	rows, err := d.db.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	values := make([]any, len(names))
	into := make([]any, len(names))
	for i := range values {
		into[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		if err := f(makeRow(names, values)); err != nil {
			return err
		}
	}
	return rows.Err()
}

// makeRow gives values the text that SMS Import / Export gives them.
func makeRow(names []string, values []any) (r row) {
	for i, v := range values {
		name, text := names[i], ""
		switch v := v.(type) {
		case nil:
			continue
		case int64:
			text = strconv.FormatInt(v, 10)
		case float64:
			text = strconv.FormatFloat(v, 'g', -1, 64)
		case string:
			text = v
		case []byte:
			name, text = name+"__base64__", base64.StdEncoding.EncodeToString(v)
		default:
			text = fmt.Sprint(v)
		}
		if len(text) > message.MaxText {
			r.flags = append(r.flags, smsie.Flag{Property: strings.ToUpper(name), Effect: item.EffectDropped, Why: "it is too long", Before: text[:item.MaxShown]})
			continue
		}
		if name == "_id" {
			r.id = text
		}
		r.columns = append(r.columns, message.Column{Name: name, Value: rawjson.AppendString(nil, text)})
	}
	return r
}

// Read gives all SMS, then all MMS, by the number of their row.
func (d *Database) Read(ctx context.Context, to item.Sink) error {
	err := d.table(ctx, "sms", func(r row) error {
		return d.give(message.FromProvider(&message.Row{Columns: r.columns}), "sms", r, to)
	})
	if err != nil {
		return err
	}
	var mms []row
	if err := d.table(ctx, "pdu", func(r row) error { mms = append(mms, r); return nil }); err != nil {
		return err
	}
	own := map[string]bool{}
	if err := d.mms(ctx, mms, false, func(m *message.Message, _ row) error {
		for _, n := range m.Own() {
			own[message.NormalAddress(n, "")] = true
		}
		return nil
	}); err != nil {
		return err
	}
	return d.mms(ctx, mms, true, func(m *message.Message, r row) error {
		m.SetThread(own)
		return d.give(m, "pdu", r, to)
	})
}

// table reads a table that may be missing.
func (d *Database) table(ctx context.Context, name string, f func(row) error) error {
	var n int
	if err := d.db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?", name).Scan(&n); err != nil || n == 0 {
		return err
	}
	return d.each(ctx, f, "SELECT * FROM "+name+" ORDER BY _id")
}

// mms puts MMS together, with their parts if those are wanted.
func (d *Database) mms(ctx context.Context, rows []row, parts bool, f func(*message.Message, row) error) error {
	for _, r := range rows {
		m := &message.Row{MMS: true, Columns: r.columns}
		flags := append([]smsie.Flag(nil), r.flags...)
		err := d.each(ctx, func(a row) error {
			m.Addrs = append(m.Addrs, a.columns)
			flags = append(flags, a.flags...)
			return nil
		}, "SELECT * FROM addr WHERE msg_id = ? ORDER BY _id LIMIT 1000", r.id)
		if err != nil {
			return err
		}
		if parts {
			err = d.each(ctx, func(p row) error {
				m.Parts = append(m.Parts, p.columns)
				data, flag := d.data(p)
				m.Data = append(m.Data, data)
				flags = append(append(flags, p.flags...), flag...)
				return nil
			}, "SELECT * FROM part WHERE mid = ? ORDER BY seq, _id LIMIT 1000", r.id)
			if err != nil {
				return err
			}
		}
		if err := f(message.FromProvider(m), row{id: r.id, flags: flags}); err != nil {
			return err
		}
	}
	return nil
}

// data reads the bytes of a part, in base64.
func (d *Database) data(p row) ([]byte, []smsie.Flag) {
	name, ok := smsie.DataName(p.columns)
	if !ok {
		return nil, nil
	}
	lost := func(why string) ([]byte, []smsie.Flag) {
		return nil, []smsie.Flag{{Property: "PART/DATA", Effect: item.EffectDropped, Why: why, Before: name}}
	}
	if d.parts == nil {
		return lost("its bytes are not beside the database, in " + partsDir)
	}
	info, err := d.parts.Lstat(name)
	if err != nil || !info.Mode().IsRegular() {
		return lost("its bytes are not in " + partsDir)
	}
	if info.Size() > message.MaxData {
		return lost(fmt.Sprintf("it is larger than %d bytes", message.MaxData))
	}
	b, err := d.parts.ReadFile(name)
	if err != nil || len(b) > message.MaxData {
		return lost("its bytes can't be read")
	}
	return base64.StdEncoding.AppendEncode(nil, b), nil
}

func (d *Database) give(m *message.Message, table string, r row, to item.Sink) error {
	from := filepath.Base(d.path) + ":" + table + ":" + r.id
	if err := to.Record(item.Record{Kind: item.Message, Book: d.book(), Label: m.Label(), From: from, Data: m.Bytes()}); err != nil {
		return err
	}
	for _, f := range r.flags {
		if err := to.Change(item.Change{Kind: item.Message, Record: m.Label(), From: from, Property: f.Property, Effect: f.Effect, Why: f.Why, Before: f.Before}); err != nil {
			return err
		}
	}
	return nil
}

// Close removes the copy.
func (d *Database) Close() error {
	var err error
	if d.db != nil {
		err = d.db.Close()
	}
	if d.parts != nil {
		d.parts.Close()
	}
	return errors.Join(err, os.RemoveAll(d.temp))
}
