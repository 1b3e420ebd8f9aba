package firefox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
)

// ErrDatabase is returned for what is no places.sqlite.
var ErrDatabase = errors.New("it is no database of Firefox's bookmarks")

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// columns returns the columns of a table, nil if there is no table of that name: a view or
// something virtual counts as none.
func columns(ctx context.Context, q querier, table string) (names []string, err error) {
	err = each(ctx, q, func(r *sql.Rows) error {
		var name string
		err := r.Scan(&name)
		names = append(names, name)
		return err
	}, "SELECT i.name FROM sqlite_master m, pragma_table_info(m.name) i WHERE m.type='table' AND m.sql LIKE 'CREATE TABLE%' AND m.name=?", table)
	return names, err
}

func each(ctx context.Context, q querier, row func(*sql.Rows) error, query string, args ...any) error {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := row(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// row is one of moz_bookmarks.
type row struct {
	id, kind, fk, parent int64
	title, guid, url     string
	added, modified      int64
	visited              int64
	status               int64 // of Sync; 2 is known to the server
}

// image is the database's bookmarks in memory.
type image struct {
	tree     *bookmark.Tree
	changes  []item.Change
	deep     bool // not all of the tree is where the database has it
	rows     map[*bookmark.Node]*row
	roots    map[string]int64 // row numbers by GUID
	tags     map[int64][]string
	has      map[string][]string // columns by table
	keywords map[int64][2]string // keyword and post data by place
}

// Read reads all bookmarks of a database.
func Read(ctx context.Context, db *sql.DB) (*bookmark.Tree, []item.Change, error) {
	m, err := readImage(ctx, db)
	if err != nil {
		return nil, nil, err
	}
	return m.tree, m.changes, nil
}

var needed = map[string][]string{
	"moz_bookmarks": {"id", "type", "fk", "parent", "position", "title", "dateAdded", "lastModified", "guid"},
	"moz_places":    {"id", "url", "last_visit_date"},
}

func readImage(ctx context.Context, q querier) (*image, error) {
	m := &image{rows: map[*bookmark.Node]*row{}, roots: map[string]int64{}, tags: map[int64][]string{}, has: map[string][]string{}, keywords: map[int64][2]string{}}
	for _, table := range []string{"moz_bookmarks", "moz_places", "moz_keywords", "moz_items_annos", "moz_anno_attributes", "moz_origins", "moz_bookmarks_deleted"} {
		names, err := columns(ctx, q, table)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDatabase, err)
		}
		m.has[table] = names
		for _, name := range needed[table] {
			if !slices.Contains(names, name) {
				return nil, fmt.Errorf("%w: %s.%s is not there", ErrDatabase, table, name)
			}
		}
	}
	below, err := m.readRows(ctx, q)
	if err == nil {
		err = m.readKeywords(ctx, q)
	}
	if err == nil {
		err = m.build(below)
	}
	if err == nil {
		err = m.readAnnos(ctx, q)
	}
	return m, err
}

// readRows returns the rows by their parents, in order.
func (m *image) readRows(ctx context.Context, q querier) (below map[int64][]*row, err error) {
	status := "2"
	if slices.Contains(m.has["moz_bookmarks"], "syncStatus") {
		status = "b.syncStatus"
	}
	below, n := map[int64][]*row{}, 0
	err = each(ctx, q, func(r *sql.Rows) error {
		if n++; n > 4*bookmark.MaxNodes {
			return bookmark.ErrTooMany
		}
		b := &row{}
		err := r.Scan(&b.id, &b.kind, &b.fk, &b.parent, &b.title, &b.added, &b.modified, &b.guid, &b.url, &b.visited, &b.status)
		below[b.parent] = append(below[b.parent], b)
		return err
	}, `SELECT b.id, ifnull(CAST(b.type AS INTEGER),0), ifnull(CAST(b.fk AS INTEGER),0), ifnull(CAST(b.parent AS INTEGER),0), ifnull(CAST(b.title AS TEXT),''),
	ifnull(CAST(b.dateAdded AS INTEGER),0), ifnull(CAST(b.lastModified AS INTEGER),0), ifnull(CAST(b.guid AS TEXT),''), ifnull(CAST(p.url AS TEXT),''),
	ifnull(CAST(p.last_visit_date AS INTEGER),0), ifnull(CAST(`+status+` AS INTEGER),0)
	FROM moz_bookmarks b LEFT JOIN moz_places p ON p.id = b.fk ORDER BY b.parent, b.position, b.id`)
	return below, err
}

func (m *image) readKeywords(ctx context.Context, q querier) error {
	if !slices.Contains(m.has["moz_keywords"], "place_id") {
		return nil
	}
	return each(ctx, q, func(r *sql.Rows) error {
		var place int64
		var k [2]string
		err := r.Scan(&place, &k[0], &k[1])
		if _, ok := m.keywords[place]; !ok {
			m.keywords[place] = k
		}
		return err
	}, "SELECT CAST(place_id AS INTEGER), CAST(keyword AS TEXT), ifnull(CAST(post_data AS TEXT),'') FROM moz_keywords WHERE place_id IS NOT NULL AND keyword IS NOT NULL ORDER BY id")
}

func (m *image) build(below map[int64][]*row) error {
	var roots []*row
	for _, list := range below {
		for _, b := range list {
			if b.guid == rootGUID || b.guid == tagsGUID || slices.ContainsFunc(rootGUIDs, func(k struct{ guid, root, name, title string }) bool { return k.guid == b.guid }) {
				roots = append(roots, b)
			}
		}
	}
	for _, b := range roots {
		m.roots[b.guid] = b.id
	}
	if m.roots[rootGUIDs[0].guid] == 0 {
		return fmt.Errorf("%w: it has no roots", ErrDatabase)
	}
	tagRoot := m.roots[tagsGUID]
	for _, tag := range below[tagRoot] {
		if tagRoot == 0 {
			break
		}
		for _, b := range below[tag.id] {
			if b.fk != 0 && tag.title != "" && !slices.Contains(m.tags[b.fk], tag.title) {
				m.tags[b.fk] = append(m.tags[b.fk], tag.title)
			}
		}
		delete(below, tag.id)
	}
	delete(below, tagRoot)
	for _, tags := range m.tags {
		slices.Sort(tags)
	}
	b := bookmark.NewBuilder(bookmark.Menu)
	m.tree = b.Tree
	for _, k := range rootGUIDs {
		b.To(k.root)
		if id := m.roots[k.guid]; id != 0 {
			m.rows[b.Inside()] = &row{id: id, kind: typeFolder, guid: k.guid}
			if err := m.add(b, below, id); err != nil {
				return err
			}
		}
	}
	delete(below, m.roots[rootGUID])
	delete(below, 0)
	if err := m.orphans(b, below); err != nil {
		return err
	}
	m.deep = len(b.Changes) > 0
	m.changes = append(m.changes, b.Changes...)
	return nil
}

// add adds what is below a row, each row once, so that a circle ends.
func (m *image) add(b *bookmark.Builder, below map[int64][]*row, id int64) error {
	list := below[id]
	delete(below, id)
	for _, r := range list {
		n := m.node(r)
		if n == nil {
			continue
		}
		m.rows[n] = r
		if n.Type != bookmark.Folder {
			if err := b.Add(n); err != nil {
				return err
			}
			continue
		}
		if err := b.Open(n); err != nil {
			return err
		}
		if err := m.add(b, below, r.id); err != nil {
			return err
		}
		b.Close()
	}
	return nil
}

// orphans keeps what lies below no root, in the order of its parents.
func (m *image) orphans(b *bookmark.Builder, below map[int64][]*row) error {
	var parents []int64
	for id := range below {
		parents = append(parents, id)
	}
	slices.Sort(parents)
	for _, id := range parents {
		for _, r := range below[id] {
			m.changes = append(m.changes, item.Change{Kind: item.Bookmark, Record: r.title, UID: r.guid, Property: "FOLDER", Effect: item.EffectRepaired, Why: "its folder is not there"})
		}
		b.To(bookmark.Other)
		if err := m.add(b, below, id); err != nil {
			return err
		}
	}
	return nil
}

func (m *image) node(r *row) *bookmark.Node {
	n := &bookmark.Node{Bookmark: bookmark.Bookmark{Title: clean(r.title), GUID: clean(r.guid), Added: r.added, Modified: r.modified}}
	switch r.kind {
	case typeURL:
		n.Type, n.URL, n.Visited, n.Tags = bookmark.URL, clean(r.url), r.visited, slices.Clone(m.tags[r.fk])
		k := m.keywords[r.fk]
		n.Keyword = k[0]
		if k[1] != "" {
			v, _ := json.Marshal(k[1])
			keep(n, "post_data", v)
		}
	case typeFolder:
		n.Type = bookmark.Folder
	case typeSeparator:
		n.Type = bookmark.Separator
	default:
		m.changes = append(m.changes, item.Change{Kind: item.Bookmark, Record: n.Title, UID: n.GUID, Effect: item.EffectDropped, Why: "it is neither bookmark nor folder nor separator"})
		return nil
	}
	return n
}

func clean(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// readAnnos reads what extensions, and Firefox before 62, have noted about nodes.
func (m *image) readAnnos(ctx context.Context, q querier) error {
	if !slices.Contains(m.has["moz_items_annos"], "anno_attribute_id") || !slices.Contains(m.has["moz_anno_attributes"], "name") {
		return nil
	}
	byID := map[int64]*bookmark.Node{}
	for n, r := range m.rows {
		byID[r.id] = n
	}
	found := map[int64][]anno{}
	err := each(ctx, q, func(r *sql.Rows) error {
		var id int64
		var name, content string
		if err := r.Scan(&id, &name, &content); err != nil {
			return err
		}
		v, _ := json.Marshal(clean(content))
		found[id] = append(found[id], anno{Name: clean(name), Expires: 4, Value: v})
		return nil
	}, `SELECT CAST(a.item_id AS INTEGER), CAST(t.name AS TEXT), ifnull(CAST(a.content AS TEXT),'') FROM moz_items_annos a JOIN moz_anno_attributes t ON t.id = a.anno_attribute_id ORDER BY a.id`)
	for id, all := range found {
		if n := byID[id]; n != nil {
			v, _ := json.Marshal(all)
			annos(n, v)
		}
	}
	return err
}
