package fidelity

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"regexp"
	"strconv"
	"strings"
)

// shelf collects bookmarks. The browsers' roots have names of their own: "toolbar" is theirs, "mobile" too; the menu, other
// bookmarks and what stands outside of folders in an HTML file are one root without a name, since that file can't tell them apart.
type shelf struct {
	records []*Record
	counts  map[string]int
}

func (s *shelf) add(kind, folder, title, url string, line int, weak map[string]string) {
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	r := &Record{Kind: "bookmark", Line: line, folder: folder, order: s.counts[folder], Labels: []string{title, url}}
	s.counts[folder]++
	add := func(name, value string, weak bool) {
		r.Properties = append(r.Properties, Property{Name: name, Value: value, Raw: value, Line: line, weak: weak})
	}
	add("TYPE", kind, false)
	add("FOLDER", folder, false)
	if kind != "separator" {
		add("TITLE", title, false)
	}
	if kind == "bookmark" {
		add("URL", url, false)
	}
	for _, n := range []string{"ADDED", "MODIFIED", "TAGS", "KEYWORD", "DESCRIPTION"} {
		if weak[n] != "" && weak[n] != "0" { // a date of 0 is none
			add(n, weak[n], true)
		}
	}
	s.records = append(s.records, r)
}

// inside is the path of what is in a folder; names may contain anything.
func inside(folder, name string) string { return folder + "/" + strings.ReplaceAll(name, "/", `\/`) }

var (
	tags       = regexp.MustCompile(`(?is)<(/?)(dl|h3|a|hr|dd|dt)\b((?:[^>"']|"[^"]*"|'[^']*')*)>`)
	attributes = regexp.MustCompile(`(?is)([a-z_:-]+)\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+))`)
)

// bookmarksHTML reads a Netscape bookmark file.
func bookmarksHTML(data []byte) []*Record {
	s := &shelf{}
	text := string(data)
	folders := []string{""}
	next, opened := "", false // the folder whose list comes next
	line, seen := 1, 0
	found := tags.FindAllStringSubmatchIndex(text, -1)
	for k, m := range found {
		line, seen = line+strings.Count(text[seen:m[0]], "\n"), m[0]
		closing, name := m[3] > m[2], strings.ToLower(text[m[4]:m[5]])
		a := tagAttributes(text[m[6]:m[7]])
		here := folders[len(folders)-1]
		switch {
		case name == "dl" && !closing:
			if opened {
				here = next
			}
			folders, opened = append(folders, here), false
		case name == "dl" && len(folders) > 1:
			folders = folders[:len(folders)-1]
		case name == "h3" && !closing:
			title := html.UnescapeString(until(text[m[1]:], "</h3>"))
			switch {
			case a["PERSONAL_TOOLBAR_FOLDER"] != "":
				next = "toolbar:"
			case a["MOBILE_BOOKMARKS_FOLDER"] != "":
				next = "mobile:"
			case a["UNFILED_BOOKMARKS_FOLDER"] != "":
				next = ""
			default:
				s.add("folder", here, title, "", line, a.dates())
				next = inside(here, title)
			}
			opened = true
		case name == "a" && !closing:
			weak := a.dates()
			weak["TAGS"], weak["KEYWORD"] = a["TAGS"], a["SHORTCUTURL"]
			if end := describedBy(text, found, k); end > 0 {
				weak["DESCRIPTION"] = strings.TrimSpace(html.UnescapeString(until(text[end:], "<")))
			}
			s.add("bookmark", here, html.UnescapeString(until(text[m[1]:], "</a>")), a["HREF"], line, weak)
		case name == "hr" && !closing:
			s.add("separator", here, "", "", line, nil)
		}
	}
	return s.records
}

// describedBy returns where the text of the DD behind a bookmark begins, 0 if it has none.
func describedBy(text string, found [][]int, k int) int {
	for _, m := range found[k+1 : min(k+3, len(found))] {
		name := strings.ToLower(text[m[4]:m[5]])
		if name == "dd" && m[3] == m[2] {
			return m[1]
		}
		if name != "a" {
			return 0
		}
	}
	return 0
}

func until(s, end string) string {
	if i := strings.Index(strings.ToLower(s[:min(len(s), 1<<16)]), end); i >= 0 {
		return s[:i]
	}
	return ""
}

type htmlAttributes map[string]string

func tagAttributes(s string) htmlAttributes {
	a := htmlAttributes{}
	for _, m := range attributes.FindAllStringSubmatch(s, -1) {
		a[strings.ToUpper(m[1])] = html.UnescapeString(m[2] + m[3] + m[4])
	}
	return a
}

func (a htmlAttributes) dates() map[string]string {
	return map[string]string{"ADDED": a["ADD_DATE"], "MODIFIED": a["LAST_MODIFIED"]}
}

// place is a node of what Firefox, Chromium and others write as JSON.
type place struct {
	Title     *string         `json:"title"`
	Name      *string         `json:"name"`
	URI       string          `json:"uri"`
	URL       string          `json:"url"`
	Type      string          `json:"type"`
	Root      string          `json:"root"`
	GUID      string          `json:"guid"`
	Special   string          `json:"special_folder"`
	Tags      string          `json:"tags"`
	Keyword   string          `json:"keyword"`
	Added     json.RawMessage `json:"dateAdded"`
	Modified  json.RawMessage `json:"lastModified"`
	ChromeAdd json.RawMessage `json:"date_added"`
	Children  []*place        `json:"children"`
}

// bookmarksJSON reads what Firefox backs up and what Chromium keeps.
func bookmarksJSON(data []byte) ([]*Record, error) {
	var top struct {
		place
		Roots map[string]json.RawMessage `json:"roots"`
	}
	if err := json.Unmarshal(data, &top); err != nil {
		return nil, err
	}
	s := &shelf{}
	if top.Roots == nil {
		if top.Children == nil {
			return nil, errors.New("neither bookmarks of Firefox nor of Chromium")
		}
		s.walk(&top.place, "", 0)
		return s.records, nil
	}
	for _, root := range []struct{ name, path string }{{"bookmark_bar", "toolbar:"}, {"other", ""}, {"synced", "mobile:"}} {
		var p place
		if json.Unmarshal(top.Roots[root.name], &p) == nil {
			for _, c := range p.Children {
				s.node(c, root.path, 1)
			}
		}
	}
	return s.records, nil
}

func (s *shelf) walk(p *place, folder string, depth int) {
	for _, c := range p.Children {
		s.node(c, folder, depth)
	}
}

func (s *shelf) node(p *place, folder string, depth int) {
	title := ""
	if p.Title != nil {
		title = *p.Title
	} else if p.Name != nil {
		title = *p.Name
	}
	weak := map[string]string{"ADDED": seconds(p.Added, p.ChromeAdd), "MODIFIED": seconds(p.Modified, nil), "TAGS": p.Tags, "KEYWORD": p.Keyword}
	url := p.URI + p.URL
	switch {
	case p.rootPath() != nil && depth == 0:
		s.walk(p, *p.rootPath(), depth+1)
	case strings.HasSuffix(p.Type, "separator"):
		s.add("separator", folder, "", "", 0, nil)
	case p.Children != nil || strings.HasSuffix(p.Type, "container") || p.Type == "folder":
		s.add("folder", folder, title, "", 0, weak)
		s.walk(p, inside(folder, title), depth+1)
	case url != "" || title != "":
		s.add("bookmark", folder, title, url, 0, weak)
	}
}

// rootPath is the path of what is in one of the browser's own folders; nil is another.
func (p *place) rootPath() *string {
	path := ""
	switch {
	case p.GUID == "toolbar_____" || p.Root == "toolbarFolder" || p.Special == "toolbar":
		path = "toolbar:"
	case p.GUID == "mobile______" || p.Root == "mobileFolder" || p.Special == "mobile":
		path = "mobile:"
	case p.GUID == "menu________" || p.Root == "bookmarksMenuFolder" || p.GUID == "unfiled_____" || p.Root == "unfiledBookmarksFolder" ||
		p.Special == "menu" || p.Special == "other":
	default:
		return nil
	}
	return &path
}

// seconds are those since 1970 of a time in microseconds, since 1970 or 1601.
func seconds(firefox, chromium json.RawMessage) string {
	if n, err := strconv.ParseInt(strings.Trim(string(firefox), `"`), 10, 64); err == nil && n > 0 {
		return fmt.Sprint(n / 1e6)
	}
	if n, err := strconv.ParseInt(strings.Trim(string(chromium), `"`), 10, 64); err == nil && n > 0 {
		if n > 11644473600e6 {
			n -= 11644473600e6
		}
		return fmt.Sprint(n / 1e6)
	}
	return ""
}
