// Package maildir writes Maildirs as a target of mail, and of SMS and MMS as a readable
// archive. A mail is written to tmp, synced and renamed to cur, as the format demands, so
// that other programs may use the Maildir at the same time. Books other than the Maildir
// itself become folders of it (Maildir++).
package maildir

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/rule"
	source "github.com/decant-dev/decant/node/source/maildir"
	"github.com/decant-dev/decant/node/target"
)

// Dir is one Maildir.
type Dir struct {
	root  *os.Root
	files map[string]source.Name // where every mail is, by ID, as it was when somebody looked last; nil is unknown
}

var _ target.Books = (*Dir)(nil)

// Open opens a Maildir, and makes it if there is nothing.
func Open(dir string) (*Dir, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	d := &Dir{root: root}
	if !source.IsFolder(root, ".") {
		f, err := root.Open(".")
		if err == nil {
			names, _ := f.Readdirnames(1) // what can't be listed can't be made a Maildir either
			f.Close()
			if len(names) > 0 {
				err = fmt.Errorf("%s is neither a Maildir nor empty", filepath.Base(dir))
			} else {
				err = d.make(".")
			}
		}
		if err != nil {
			root.Close()
			return nil, err
		}
	}
	return d, nil
}

// make makes a folder.
func (d *Dir) make(folder string) error {
	if folder != "." {
		if err := d.root.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, sub := range []string{"tmp", "new", "cur"} {
		if err := d.root.Mkdir(path.Join(folder, sub), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if folder != "." {
		f, err := d.root.OpenFile(path.Join(folder, "maildirfolder"), os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		f.Close()
	}
	return errors.Join(d.sync(folder), d.sync("."))
}

// sync makes what happened to a directory durable. Systems that can't do not need it.
func (d *Dir) sync(dir string) error {
	f, err := d.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && runtime.GOOS != "windows" && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}

// Kinds returns message.
func (d *Dir) Kinds() []item.Kind { return []item.Kind{item.Message} }

// Profile says that the target takes mail, with flags of its own.
func (d *Dir) Profile(context.Context, item.Kind) (rule.Profile, error) {
	return rule.Profile{Version: message.FormMail}, nil
}

// Close closes the directory.
func (d *Dir) Close() error { return d.root.Close() }

// id is what a mail is known by: its folder and the part of its name that does not change.
func id(n source.Name) string { return n.Folder + "/" + n.Unique() }

func existing(n source.Name, m *message.Message) target.Existing {
	sum := sha256.Sum256(append(append([]byte(n.Flags()), 0), m.Raw...))
	r := item.Record{Kind: item.Message, Book: source.Book(n.Folder), Label: m.Label(), From: n.Path(), Data: m.Bytes()}
	return target.Existing{Record: r, ID: id(n), Version: hex.EncodeToString(sum[:16])}
}

// Read gives all mails that can be read.
func (d *Dir) Read(ctx context.Context, k item.Kind, each func(target.Existing) error) error {
	if k != item.Message {
		return nil
	}
	return source.Walk(ctx, d.root, func(n source.Name, why error) error {
		if why != nil {
			return nil
		}
		m, err := source.Message(d.root, n)
		if err != nil {
			return nil
		}
		return each(existing(n, m))
	})
}

// Write carries out the changes one by one; directories are synced before anything is reported.
func (d *Dir) Write(ctx context.Context, k item.Kind, changes []target.Write, done func(int, target.Existing, error) error) error {
	if k != item.Message {
		return fmt.Errorf("a Maildir holds no %s", k)
	}
	if err := d.look(ctx, changes); err != nil {
		return err
	}
	w := writer{dir: d, files: d.files, touched: map[string]bool{}}
	now := make([]target.Existing, len(changes))
	errs := make([]error, len(changes))
	var failed error
	n := 0
	for ; n < len(changes); n++ {
		if failed = ctx.Err(); failed != nil {
			break
		}
		now[n], errs[n] = w.write(changes[n])
	}
	for dir := range w.touched {
		if err := d.sync(dir); err != nil {
			return err
		}
	}
	for i := range n {
		if err := done(i, now[i], errs[i]); err != nil {
			return err
		}
	}
	return failed
}

// look finds where every mail is, unless that is known: other programs rename a mail when its flags change.
func (d *Dir) look(ctx context.Context, changes []target.Write) error {
	stale := d.files == nil
	for _, c := range changes {
		if stale || c.ID == "" {
			continue
		}
		n, ok := d.files[c.ID]
		if ok {
			_, err := d.root.Lstat(n.Path())
			ok = err == nil
		}
		stale = !ok
	}
	if !stale {
		return nil
	}
	files := map[string]source.Name{}
	err := source.Walk(ctx, d.root, func(n source.Name, why error) error {
		if why == nil {
			files[id(n)] = n
		}
		return nil
	})
	if err == nil {
		d.files = files
	}
	return err
}

type writer struct {
	dir     *Dir
	files   map[string]source.Name
	touched map[string]bool // directories that are to be synced
}

func (w *writer) write(c target.Write) (now target.Existing, err error) {
	var old source.Name
	if c.ID != "" {
		var ok bool
		if old, ok = w.files[c.ID]; !ok {
			return now, target.ErrEdited
		}
		m, err := source.Message(w.dir.root, old)
		if err != nil || existing(old, m).Version != c.Version {
			return now, target.ErrEdited
		}
	}
	if len(c.Record.Data) > 0 {
		if now, err = w.put(c, old); err != nil {
			return target.Existing{}, err
		}
	}
	if c.ID != "" && (len(c.Record.Data) == 0 || now.From != old.Path()) {
		if err := w.dir.root.Remove(old.Path()); err != nil {
			return target.Existing{}, err
		}
		delete(w.files, c.ID)
		w.touched[path.Join(old.Folder, old.Sub)] = true
	}
	if now.ID != "" {
		w.files[now.ID] = source.Name{Folder: folderOf(now.From), Sub: path.Base(path.Dir(now.From)), File: path.Base(now.From)}
	}
	return now, nil
}

func folderOf(file string) string { return path.Dir(path.Dir(file)) }

// separator stands between a file's name and its flags.
func separator() string {
	if runtime.GOOS == "windows" {
		return ";2,"
	}
	return ":2,"
}

// put writes a mail, in the place of old if that is not the zero Name.
func (w *writer) put(c target.Write, old source.Name) (target.Existing, error) {
	m, err := message.Decode(c.Record.Data)
	if err == nil && m.Type != message.Mail {
		err = errors.New("it is no mail")
	}
	if err != nil {
		return target.Existing{}, &target.RefusedError{Why: err.Error()}
	}
	n := source.Name{Folder: old.Folder, Sub: "cur"}
	unique := old.Unique()
	if old.File == "" {
		if n.Folder, err = w.folder(c.Record.Book); err != nil {
			return target.Existing{}, err
		}
		unique = w.name(c, m)
	} else {
		unique += ".decant"
	}
	flags := plainFlags(m.MailFlags())
	for i := 1; ; i++ {
		n.File = unique
		if i > 1 {
			n.File += "." + fmt.Sprint(i)
		}
		at, taken := w.files[id(n)]
		if !taken {
			break
		}
		// An attempt whose answer was lost has written it already.
		if there, err := source.Message(w.dir.root, at); err == nil && string(there.Raw) == string(m.Raw) && old.File == "" {
			return existing(at, there), nil
		}
	}
	n.File += separator() + flags
	if err := w.create(n, m); err != nil {
		return target.Existing{}, err
	}
	e := existing(n, message.NewMail(m.Raw, "", flags))
	w.files[e.ID] = n
	return e, nil
}

// plainFlags are the flags that are letters.
func plainFlags(s string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r|0x20 && r|0x20 <= 'z' {
			return r
		}
		return -1
	}, s)
}

// name makes the unique part of a new file's name: of the time, for order, and of the key.
func (w *writer) name(c target.Write, m *message.Message) string {
	key := strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' || 'a' <= r|0x20 && r|0x20 <= 'z' || r == '-' {
			return r
		}
		return '_'
	}, c.Key)
	if key == "" || len(key) > 100 {
		key = hex.EncodeToString(m.Identity()[1:17])
	}
	return fmt.Sprintf("%d.%s.decant", max(m.Date.N/1000, 0), key)
}

// folder returns the folder of a book, and makes it.
func (w *writer) folder(book string) (string, error) {
	if book == "" {
		return ".", nil
	}
	name := "." + strings.Map(func(r rune) rune {
		switch {
		case r == '/':
			return '.'
		case r == '.' || r < 0x20 || r == 0x7F || strings.ContainsRune(`\:*?"<>|`, r):
			return '_'
		}
		return r
	}, strings.ToValidUTF8(strings.Trim(book, "/"), "_"))
	if name = strings.TrimRight(name[:min(len(name), 200)], "."); name == "" {
		return ".", nil
	}
	if source.IsFolder(w.dir.root, name) {
		return name, nil
	}
	return name, w.dir.make(name)
}

// create writes a mail to tmp and moves it to where it belongs.
func (w *writer) create(n source.Name, m *message.Message) error {
	root := w.dir.root
	temp := path.Join(n.Folder, "tmp", n.Unique())
	if err := root.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(m.Raw)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		root.Remove(temp)
		return err
	}
	if m.Date.Known {
		at := time.UnixMilli(m.Date.N)
		root.Chtimes(temp, at, at) // what mail programs show as the time of arrival
	}
	if err := root.Rename(temp, n.Path()); err != nil {
		root.Remove(temp)
		return err
	}
	w.touched[path.Join(n.Folder, n.Sub)] = true
	return nil
}
