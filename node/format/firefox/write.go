package firefox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/kind/bookmark"
)

// Editor changes the bookmarks of a database in one transaction, as Firefox would: what its
// triggers and its JavaScript do besides (Bookmarks.sys.mjs, nsPlacesTriggers.h) is done here.
type Editor struct {
	*image
	ctx   context.Context
	tx    *sql.Tx
	dirty map[*bookmark.Node]bool // folders whose children have changed
	now   int64
	next  int64                             // row of moz_bookmarks
	at    map[int64]map[*bookmark.Node]bool // bookmarks by place
}

// NewEditor begins. The caller ends the transaction, after Finish.
func NewEditor(ctx context.Context, tx *sql.Tx) (*Editor, error) {
	m, err := readImage(ctx, tx)
	if err != nil {
		return nil, err
	}
	if m.deep {
		return nil, errors.New("its folders are too deep inside one another to be written")
	}
	e := &Editor{image: m, ctx: ctx, tx: tx, dirty: map[*bookmark.Node]bool{}, now: time.Now().UnixMicro(), at: map[int64]map[*bookmark.Node]bool{}}
	for n, r := range m.rows {
		e.enter(n, r.fk)
	}
	for _, k := range append(rootGUIDs[:len(rootGUIDs):len(rootGUIDs)], struct{ guid, root, name, title string }{guid: tagsGUID}) {
		if m.roots[k.guid] == 0 {
			return nil, fmt.Errorf("%w: the root %s is not there", ErrDatabase, k.guid)
		}
	}
	for _, name := range []string{"foreign_count", "url_hash", "rev_host", "guid"} {
		if !slices.Contains(m.has["moz_places"], name) {
			return nil, fmt.Errorf("%w: this version of Firefox is too old to be written (moz_places.%s is not there)", ErrDatabase, name)
		}
	}
	return e, tx.QueryRowContext(ctx, "SELECT max(id)+1 FROM moz_bookmarks").Scan(&e.next)
}

func (e *Editor) enter(n *bookmark.Node, place int64) {
	if place == 0 {
		return
	}
	if e.at[place] == nil {
		e.at[place] = map[*bookmark.Node]bool{}
	}
	e.at[place][n] = true
}

// Tree is the database's bookmarks. It changes with the editor's methods only.
func (e *Editor) Tree() *bookmark.Tree { return e.tree }

func (e *Editor) exec(query string, args ...any) error {
	_, err := e.tx.ExecContext(e.ctx, query, args...)
	return err
}

// insert inserts a row, of the values whose columns this database has.
func (e *Editor) insert(table string, values map[string]any) (int64, error) {
	var names, marks []string
	var args []any
	for _, name := range e.has[table] {
		if v, ok := values[name]; ok {
			names, marks, args = append(names, name), append(marks, "?"), append(args, v)
		}
	}
	r, err := e.tx.ExecContext(e.ctx, "INSERT INTO "+table+" ("+strings.Join(names, ",")+") VALUES ("+strings.Join(marks, ",")+")", args...)
	if err != nil {
		return 0, err
	}
	return r.LastInsertId()
}

// Insert puts n, whose GUID the database does not have, below parent.
func (e *Editor) Insert(parent, n *bookmark.Node, at int) error {
	r := &row{id: e.next, guid: n.GUID, kind: map[string]int64{bookmark.URL: typeURL, bookmark.Folder: typeFolder, bookmark.Separator: typeSeparator}[n.Type], parent: e.rows[parent].id}
	e.next++
	var fk any
	if n.Type == bookmark.URL {
		var err error
		if r.fk, err = e.place(n.URL); err != nil {
			return err
		}
		fk = r.fk
	}
	added, modified := n.Added, n.Modified
	if added == 0 {
		added = e.now
	}
	if modified == 0 {
		modified = added
	}
	if _, err := e.insert("moz_bookmarks", map[string]any{"id": r.id, "type": r.kind, "fk": fk, "parent": r.parent, "position": -1, "title": n.Title,
		"dateAdded": added, "lastModified": modified, "guid": n.GUID, "syncStatus": 1, "syncChangeCounter": 1}); err != nil {
		return err
	}
	n.Added, n.Modified = added, modified
	parent.Insert(n, at)
	e.rows[n] = r
	e.dirty[parent] = true
	if n.Type != bookmark.URL {
		return nil
	}
	e.enter(n, r.fk)
	if err := e.count(r.fk, 1); err != nil {
		return err
	}
	return e.details(n)
}

// place returns the row of an address, which it makes if need be.
func (e *Editor) place(url string) (id int64, err error) {
	err = e.tx.QueryRowContext(e.ctx, "SELECT id FROM moz_places WHERE url_hash = ? AND url = ?", URLHash(url), url).Scan(&id)
	if err != sql.ErrNoRows {
		return id, err
	}
	query := 0
	if strings.HasPrefix(url, "place:") {
		query = 1
	}
	guid, err := e.free("moz_places", "place\x00"+url)
	if err != nil {
		return 0, err
	}
	values := map[string]any{"url": url, "rev_host": reversed(url), "hidden": query, "frecency": 1 - query, "guid": guid, "url_hash": URLHash(url),
		"recalc_frecency": 1 - query, "recalc_alt_frecency": 1 - query}
	if e.has["moz_origins"] != nil {
		prefix, host := origin(url)
		values["origin_id"], err = e.origin(prefix, host)
		if err != nil {
			return 0, err
		}
	}
	return e.insert("moz_places", values)
}

// free returns a GUID that a table does not have.
func (e *Editor) free(table, of string) (guid string, err error) {
	for n := 0; ; n++ {
		var taken int
		guid = GUID(of + strconv.Itoa(n))
		if err := e.tx.QueryRowContext(e.ctx, "SELECT count(*) FROM "+table+" WHERE guid = ?", guid).Scan(&taken); err != nil || taken == 0 {
			return guid, err
		}
	}
}

func (e *Editor) origin(prefix, host string) (id int64, err error) {
	err = e.tx.QueryRowContext(e.ctx, "SELECT id FROM moz_origins WHERE prefix = ? AND host = ?", prefix, host).Scan(&id)
	if err != sql.ErrNoRows {
		return id, err
	}
	return e.insert("moz_origins", map[string]any{"prefix": prefix, "host": host, "frecency": -1, "recalc_frecency": 1, "recalc_alt_frecency": 1})
}

// count notes that a bookmark, a tag or a keyword refers to a place, or no longer does.
func (e *Editor) count(place int64, by int) error {
	more := ""
	for _, name := range []string{"recalc_frecency", "recalc_alt_frecency"} {
		if slices.Contains(e.has["moz_places"], name) {
			more += ", " + name + " = CASE WHEN url LIKE 'place:%' THEN " + name + " ELSE 1 END"
		}
	}
	return e.exec("UPDATE moz_places SET foreign_count = max(0, foreign_count + ?)"+more+" WHERE id = ?", by, place)
}

// details gives a bookmark's place the tags and the keyword of the bookmark. Tags and
// keywords belong to places: all bookmarks of one address share them.
func (e *Editor) details(n *bookmark.Node) error {
	place := e.rows[n].fk
	for _, tag := range n.Tags {
		if slices.ContainsFunc(e.tags[place], func(t string) bool { return strings.EqualFold(t, tag) }) {
			continue
		}
		if err := e.tag(place, tag); err != nil {
			return err
		}
	}
	if err := e.keyword(n, place); err != nil {
		return err
	}
	for m := range e.at[place] {
		m.Tags, m.Keyword = slices.Clone(e.tags[place]), e.keywords[place][0]
	}
	return nil
}

func (e *Editor) tag(place int64, tag string) error {
	root := e.roots[tagsGUID]
	var folder int64
	err := e.tx.QueryRowContext(e.ctx, "SELECT id FROM moz_bookmarks WHERE parent = ? AND type = 2 AND lower(title) = lower(?)", root, tag).Scan(&folder)
	if err == sql.ErrNoRows {
		folder, err = e.below(root, typeFolder, nil, tag, "tag\x00"+strings.ToLower(tag))
	}
	if err != nil {
		return err
	}
	if _, err := e.below(folder, typeURL, place, nil, "tagged\x00"+strconv.FormatInt(place, 10)+"\x00"+strings.ToLower(tag)); err != nil {
		return err
	}
	e.tags[place] = append(e.tags[place], tag)
	return e.count(place, 1)
}

// below adds a row of the tree of tags.
func (e *Editor) below(parent int64, kind int, fk, title any, of string) (int64, error) {
	guid, err := e.free("moz_bookmarks", of)
	if err != nil {
		return 0, err
	}
	var position int
	if err := e.tx.QueryRowContext(e.ctx, "SELECT ifnull(max(position),-1)+1 FROM moz_bookmarks WHERE parent = ?", parent).Scan(&position); err != nil {
		return 0, err
	}
	id := e.next
	e.next++
	return e.insert("moz_bookmarks", map[string]any{"id": id, "type": kind, "fk": fk, "parent": parent, "position": position, "title": title,
		"dateAdded": e.now, "lastModified": e.now, "guid": guid, "syncStatus": 1, "syncChangeCounter": 1})
}

func (e *Editor) keyword(n *bookmark.Node, place int64) error {
	k := strings.ToLower(n.Keyword)
	if k == "" || e.keywords[place][0] == k || e.has["moz_keywords"] == nil {
		return nil
	}
	var taken int
	if err := e.tx.QueryRowContext(e.ctx, "SELECT count(*) FROM moz_keywords WHERE keyword = ?", k).Scan(&taken); err != nil || taken > 0 {
		return err
	}
	post := text(n.X[postData])
	if _, err := e.insert("moz_keywords", map[string]any{"keyword": k, "place_id": place, "post_data": post}); err != nil {
		return err
	}
	e.keywords[place] = [2]string{k, post}
	return e.count(place, 1)
}

// Update gives a node the properties of another one. Its place stays.
func (e *Editor) Update(n *bookmark.Node, to *bookmark.Bookmark) error {
	r := e.rows[n]
	if n.Type == bookmark.URL && to.URL != n.URL {
		place, err := e.place(to.URL)
		if err != nil {
			return err
		}
		old := r.fk
		if err := e.exec("UPDATE moz_bookmarks SET fk = ? WHERE id = ?", place, r.id); err != nil {
			return err
		}
		delete(e.at[old], n)
		e.enter(n, place)
		r.fk, n.URL = place, to.URL
		if err := e.count(place, 1); err != nil {
			return err
		}
		if err := e.leave(old); err != nil {
			return err
		}
	}
	if err := e.exec("UPDATE moz_bookmarks SET title = ?, dateAdded = ?, lastModified = ?, syncChangeCounter = syncChangeCounter + 1 WHERE id = ?", to.Title, to.Added, to.Modified, r.id); err != nil {
		return err
	}
	n.Title, n.Added, n.Modified = to.Title, to.Added, to.Modified
	if n.Type != bookmark.URL {
		return nil
	}
	for _, tag := range slices.Clone(e.tags[r.fk]) {
		if !slices.ContainsFunc(to.Tags, func(t string) bool { return strings.EqualFold(t, tag) }) {
			if err := e.untag(r.fk, tag); err != nil {
				return err
			}
		}
	}
	if k := e.keywords[r.fk][0]; k != "" && k != strings.ToLower(to.Keyword) {
		if err := e.noKeyword(r.fk); err != nil {
			return err
		}
	}
	n.Tags, n.Keyword, n.X = to.Tags, to.Keyword, to.X
	return e.details(n)
}

func (e *Editor) untag(place int64, tag string) error {
	var id, folder int64
	err := e.tx.QueryRowContext(e.ctx, "SELECT b.id, f.id FROM moz_bookmarks b JOIN moz_bookmarks f ON f.id = b.parent WHERE f.parent = ? AND b.fk = ? AND lower(f.title) = lower(?)", e.roots[tagsGUID], place, tag).Scan(&id, &folder)
	if err == sql.ErrNoRows {
		return nil
	}
	if err == nil {
		err = e.remove(id)
	}
	if err == nil {
		err = e.count(place, -1)
	}
	var left int
	if err == nil {
		err = e.tx.QueryRowContext(e.ctx, "SELECT count(*) FROM moz_bookmarks WHERE parent = ?", folder).Scan(&left)
	}
	if err == nil && left == 0 {
		err = e.remove(folder)
	}
	e.tags[place] = slices.DeleteFunc(e.tags[place], func(t string) bool { return strings.EqualFold(t, tag) })
	return err
}

func (e *Editor) noKeyword(place int64) error {
	if e.keywords[place][0] == "" {
		return nil
	}
	if err := e.exec("DELETE FROM moz_keywords WHERE place_id = ?", place); err != nil {
		return err
	}
	delete(e.keywords, place)
	return e.count(place, -1)
}

// remove removes a row, and tells Sync if it knows it.
func (e *Editor) remove(id int64) error {
	if e.has["moz_bookmarks_deleted"] != nil && slices.Contains(e.has["moz_bookmarks"], "syncStatus") {
		if err := e.exec("INSERT OR IGNORE INTO moz_bookmarks_deleted (guid, dateRemoved) SELECT guid, ? FROM moz_bookmarks WHERE id = ? AND syncStatus = 2", e.now, id); err != nil {
			return err
		}
	}
	return e.exec("DELETE FROM moz_bookmarks WHERE id = ?", id)
}

// Delete removes a node without children, and what only it needed.
func (e *Editor) Delete(n *bookmark.Node) error {
	r, parent := e.rows[n], n.Parent
	if err := e.remove(r.id); err != nil {
		return err
	}
	n.Remove()
	delete(e.rows, n)
	delete(e.at[r.fk], n)
	e.dirty[parent] = true
	if n.Type != bookmark.URL {
		return nil
	}
	return e.leave(r.fk)
}

// leave is called after a bookmark of a place is gone.
func (e *Editor) leave(place int64) error {
	if err := e.count(place, -1); err != nil {
		return err
	}
	if len(e.at[place]) > 0 {
		return nil
	}
	for _, tag := range slices.Clone(e.tags[place]) {
		if err := e.untag(place, tag); err != nil {
			return err
		}
	}
	if err := e.noKeyword(place); err != nil {
		return err
	}
	if !slices.Contains(e.has["moz_places"], "visit_count") || !slices.Contains(e.has["moz_places"], "origin_id") {
		return nil
	}
	var origin sql.NullInt64
	err := e.tx.QueryRowContext(e.ctx, "DELETE FROM moz_places WHERE id = ? AND foreign_count = 0 AND visit_count = 0 RETURNING origin_id", place).Scan(&origin)
	if err == sql.ErrNoRows {
		return nil
	}
	if err == nil && origin.Valid {
		err = e.exec("DELETE FROM moz_origins WHERE id = ? AND NOT EXISTS (SELECT 1 FROM moz_places WHERE origin_id = moz_origins.id)", origin.Int64)
	}
	return err
}

// Finish numbers the children of the folders that were changed.
func (e *Editor) Finish() error {
	for folder := range e.dirty {
		r := e.rows[folder]
		if r == nil {
			continue // it was removed
		}
		for i, c := range folder.Children {
			if err := e.exec("UPDATE moz_bookmarks SET position = ? WHERE id = ? AND position <> ?", i, e.rows[c].id, i); err != nil {
				return err
			}
		}
		if slices.Contains(e.has["moz_bookmarks"], "syncChangeCounter") {
			if err := e.exec("UPDATE moz_bookmarks SET syncChangeCounter = syncChangeCounter + 1 WHERE id = ?", r.id); err != nil {
				return err
			}
		}
	}
	return nil
}
