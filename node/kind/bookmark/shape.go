package bookmark

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// What Profile.Drops may name, beside the names of properties (TAGS, KEYWORD, …).
const (
	NoMenu       = "ROOT/MENU"        // the target has no such root: its nodes go into a folder of that name among the others
	NoMobile     = "ROOT/MOBILE"      // likewise
	NoSeparators = "SEPARATOR"        // the target has none
	NoCapitals   = "KEYWORD/CASE"     // the target has keywords in small letters only
	FolderPrefix = "FOLDER/"          // before a property's name: of folders only
	URLPrefix    = "BOOKMARK/"        // of bookmarks only
	menuFolder   = "Bookmarks Menu"   // where a target without a menu has its nodes
	mobileFolder = "Mobile Bookmarks" //
)

// StandIn returns the path below Other where nodes of a root lie that the target does not have.
func StandIn(root string) string {
	if root == Mobile {
		return mobileFolder
	}
	return menuFolder
}

// Shape implements rule.Rules.
func (Rules) Shape(r item.Record, p rule.Profile) (item.Record, []item.Change, bool) {
	b, err := Parse(r.Data)
	if err != nil {
		return r, []item.Change{{Kind: item.Bookmark, Record: r.Label, From: r.From, Effect: item.EffectDropped,
			Why: "the line " + err.Error() + "; it stays in the collection", Before: shown(string(r.Data))}}, false
	}
	s := shaper{b: b, r: &r, p: &p}
	if why := s.refuse(); why != "" {
		s.tell("", item.EffectDropped, why, b.URL, "")
		return r, s.changes, false
	}
	s.root()
	s.properties()
	if s.changed {
		r.Data = b.Encode()
	}
	if p.MaxSize > 0 && int64(len(r.Data)) > p.MaxSize {
		s.tell("", item.EffectDropped, fmt.Sprintf("the target takes at most %d bytes", p.MaxSize), "", "")
		return r, s.changes, false
	}
	return r, s.changes, true
}

type shaper struct {
	b       *Bookmark
	r       *item.Record
	p       *rule.Profile
	changes []item.Change
	changed bool
}

func (s *shaper) tell(property string, e item.Effect, why, before, after string) {
	s.changes = append(s.changes, item.Change{Kind: item.Bookmark, Record: s.b.Label(), UID: s.b.URL, From: s.r.From,
		Property: property, Effect: e, Why: why, Before: shown(before), After: shown(after)})
}

func shown(s string) string {
	if len(s) > item.MaxShown {
		return s[:item.MaxShown]
	}
	return s
}

func (s *shaper) refuse() string {
	switch b := s.b; {
	case b.Type == Separator && s.drops(NoSeparators):
		return "the target has no separators"
	case b.Type == URL && b.URL == "":
		return "it has no address"
	case b.Type == URL && s.p.Strict && !valid(b.URL):
		return "the target takes valid addresses only"
	}
	return ""
}

// valid reports whether a browser that refuses addresses takes this one.
func valid(s string) bool {
	scheme, rest, ok := strings.Cut(Canonical(s), ":")
	if !ok || !isScheme(scheme) {
		return false
	}
	if _, special := defaultPorts[scheme]; !special {
		return true
	}
	u, err := url.Parse(scheme + ":" + strings.NewReplacer("%", "%25").Replace(rest)) // only the server's name and port matter
	return err == nil && u.Hostname() != "" && !strings.ContainsAny(u.Hostname(), " %<>^|\\\"`{}[") || err == nil && strings.HasPrefix(u.Host, "[")
}

func (s *shaper) drops(property string) bool {
	return matches(s.p.Drops, property) && !matches(s.p.Keeps, property)
}

func matches(list []string, property string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		prefix, ok := strings.CutSuffix(p, "*")
		return p == property || ok && strings.HasPrefix(property, prefix)
	})
}

// root moves what is below a root that the target does not have. The Change stands with
// those directly below it: what lies deeper comes along with its folder.
func (s *shaper) root() {
	b := s.b
	if !(b.Root == Menu && s.drops(NoMenu) || b.Root == Mobile && s.drops(NoMobile)) {
		return
	}
	in := StandIn(b.Root)
	if len(b.Path) == 0 {
		s.tell("FOLDER", item.EffectMoved, "the target has no such place", b.Root, Other+"/"+in)
	}
	b.Path = slices.Concat([]string{in}, b.Path)
	if b.Nth != nil {
		b.Nth = slices.Concat([]int{0}, b.Nth)
	}
	b.Root, s.changed = Other, true
}

// property is one that a target may drop.
type property struct {
	name  string
	value func(*Bookmark) string
	clear func(*Bookmark)
}

var properties = []property{
	{"ADDED", func(b *Bookmark) string { return timeText(b.Added) }, func(b *Bookmark) { b.Added = 0 }},
	{"MODIFIED", func(b *Bookmark) string { return timeText(b.Modified) }, func(b *Bookmark) { b.Modified = 0 }},
	{"VISITED", func(b *Bookmark) string { return timeText(b.Visited) }, func(b *Bookmark) { b.Visited = 0 }},
	{"TAGS", func(b *Bookmark) string { return strings.Join(b.Tags, ", ") }, func(b *Bookmark) { b.Tags = nil }},
	{"KEYWORD", func(b *Bookmark) string { return b.Keyword }, func(b *Bookmark) { b.Keyword = "" }},
	{"DESCRIPTION", func(b *Bookmark) string { return b.Description }, func(b *Bookmark) { b.Description = "" }},
	{"ICON_URI", func(b *Bookmark) string { return b.IconURI }, func(b *Bookmark) { b.IconURI = "" }},
	{"ICON", func(b *Bookmark) string { return b.Icon }, func(b *Bookmark) { b.Icon = "" }},
	{"TITLE", func(b *Bookmark) string { return b.Title }, func(b *Bookmark) { b.Title = "" }},
}

func timeText(us int64) string {
	if us == 0 {
		return ""
	}
	return time.UnixMicro(us).UTC().Format(time.RFC3339Nano)
}

func (s *shaper) properties() {
	b, prefix := s.b, URLPrefix
	switch b.Type {
	case Folder:
		prefix = FolderPrefix
	case Separator:
		prefix = "SEPARATOR/"
	}
	for _, p := range properties {
		if v := p.value(b); v != "" && (s.drops(p.name) || s.drops(prefix+p.name)) {
			p.clear(b)
			s.changed = true
			s.tell(p.name, item.EffectDropped, "the target has no such property", v, "")
		}
	}
	if low := strings.ToLower(b.Keyword); low != b.Keyword && s.drops(NoCapitals) {
		s.tell("KEYWORD", item.EffectAltered, "the target has keywords in small letters only", b.Keyword, low)
		b.Keyword, s.changed = low, true
	}
	for _, name := range slices.Sorted(maps.Keys(b.X)) {
		if s.drops("X-" + strings.ToUpper(name)) {
			s.tell("X-"+strings.ToUpper(name), item.EffectDropped, "the target has no such property", string(b.X[name]), "")
			b.X = maps.Clone(b.X)
			delete(b.X, name)
			s.changed = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(b.more)) {
		if s.drops("X-*") || s.drops("X-UNKNOWN") {
			s.tell(strings.ToUpper(name), item.EffectDropped, "it is not known what this means", string(b.more[name]), "")
			delete(b.more, name)
			s.changed = true
		}
	}
}
