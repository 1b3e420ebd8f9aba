// Package firefox reads and writes the bookmarks of Firefox: the database places.sqlite of
// a profile (toolkit/components/places), and the backups that it makes of it, JSON that may
// be compressed (bookmarkbackups/*.jsonlz4).
//
// The database is changed as Firefox itself changes it: it keeps counters, hashes and sync
// state beside what is seen, and in Firefox temporary triggers and JavaScript look after
// them, which are not there when another program writes.
package firefox

import (
	"github.com/decant-dev/decant/node/kind/bookmark"
)

// The GUIDs of the roots.
const (
	rootGUID = "root________"
	tagsGUID = "tags________"
)

// rootGUIDs are the roots in the order in which Firefox has them.
var rootGUIDs = []struct{ guid, root, name, title string }{
	{"menu________", bookmark.Menu, "bookmarksMenuFolder", "menu"},
	{"toolbar_____", bookmark.Toolbar, "toolbarFolder", "toolbar"},
	{"unfiled_____", bookmark.Other, "unfiledBookmarksFolder", "unfiled"},
	{"mobile______", bookmark.Mobile, "mobileFolder", "mobile"},
}

const (
	typeURL       = 1
	typeFolder    = 2
	typeSeparator = 3
)

// What of X is Firefox's.
const (
	prefix          = "firefox."
	annotations     = prefix + "annos"
	postData        = prefix + "post_data"
	descriptionAnno = "bookmarkProperties/description" // Firefox before 62
)
