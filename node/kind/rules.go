package kind

import (
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/bookmark"
	"github.com/decant-dev/decant/node/kind/calendar"
	"github.com/decant-dev/decant/node/kind/call"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/network"
	"github.com/decant-dev/decant/node/kind/note"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/kind/setting"
)

// rules is the list of what brings records together, in one place. A kind that is not in
// it moves as files only.
var rules = map[item.Kind]rule.Rules{
	item.Contact:  contact.Rules{},
	item.Calendar: calendar.Rules{},
	item.Message:  message.Rules{},
	item.Call:     call.Rules{},
	item.Bookmark: bookmark.Rules{},
	item.Network:  network.Rules{},
	item.Note:     note.Rules{},
	item.Setting:  setting.Rules{},
}

// Rules returns the rules of a kind's records, nil if it has none.
func Rules(k item.Kind) rule.Rules { return rules[k] }
