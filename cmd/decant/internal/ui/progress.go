package ui

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/decant-dev/decant/node/item"
)

// stageNames are the stages as the progress line calls them.
var stageNames = map[item.Stage]string{
	item.StageConnecting: "Connecting",
	item.StageLooking:    "Looking for the other device nearby",
	item.StageScanning:   "Scanning",
	item.StagePairing:    "Pairing",
	item.StageSending:    "Sending",
	item.StageWaiting:    "Waiting for the other device",
	item.StageReceiving:  "Receiving",
	item.StageApplying:   "Applying",
}

// meter turns progress events into one line. It is used by one goroutine.
type meter struct {
	stage   item.Stage
	began   time.Time // when the stage began
	p       item.Progress
	itemsAt time.Time // when mark was taken
	mark    int64     // items done at itemsAt
	perSec  float64   // items a second, smoothed
}

// enter begins a stage.
func (m *meter) enter(s item.Stage, now time.Time) {
	if s != m.stage {
		*m = meter{stage: s, began: now, itemsAt: now}
	}
}

// update takes a cumulative progress.
func (m *meter) update(p item.Progress, now time.Time) {
	if p.ItemsDone < m.mark { // a new run of the same stage
		m.mark, m.itemsAt, m.perSec = p.ItemsDone, now, 0
	}
	m.p = p
	if dt := now.Sub(m.itemsAt).Seconds(); dt >= 0.5 {
		rate := float64(p.ItemsDone-m.mark) / dt
		if m.perSec == 0 {
			m.perSec = rate
		} else {
			m.perSec += (rate - m.perSec) * min(1, dt/3)
		}
		m.mark, m.itemsAt = p.ItemsDone, now
	}
}

// left estimates the time that remains: what the bytes need or what the items
// need, whichever is longer, because tiny items are bound by their number. It
// is false while there is nothing to go by.
func (m *meter) left(now time.Time) (time.Duration, bool) {
	p := m.p
	if p.BytesTotal == 0 && p.ItemsTotal == 0 || now.Sub(m.began) < 2*time.Second {
		return 0, false
	}
	var secs float64
	if n := p.BytesTotal - p.BytesDone; n > 0 {
		if p.Rate <= 0 {
			return 0, false
		}
		secs = float64(n) / p.Rate
	}
	if n := p.ItemsTotal - p.ItemsDone; n > 0 && m.perSec > 0 && p.BytesDone >= p.BytesTotal {
		secs = max(secs, float64(n)/m.perSec)
	}
	if secs > 30*24*3600 {
		return 0, false
	}
	return time.Duration(secs * float64(time.Second)), true
}

// part is a piece of the line; those with the highest rank go first when the terminal is narrow.
type part struct {
	text string
	rank int
}

// line is the progress in at most width columns; 0 is no limit.
func (m *meter) line(width int, now time.Time) string {
	name, ok := stageNames[m.stage]
	if !ok {
		return ""
	}
	parts := []part{{text: name}}
	add := func(rank int, format string, args ...any) {
		parts = append(parts, part{fmt.Sprintf(format, args...), rank})
	}
	p := m.p
	if f, ok := fraction(p); ok {
		if width >= 120 {
			add(6, "%s", bar(f, 16))
		}
		add(0, "%3d %%", int(f*100))
	}
	if p.ItemsDone > 0 || p.ItemsTotal > 0 {
		add(2, "%s", of(Count(p.ItemsDone), Count(p.ItemsTotal), p.ItemsTotal > 0, "items"))
		add(1, "%s", of(Bytes(p.BytesDone), Bytes(p.BytesTotal), p.BytesTotal > 0, ""))
	}
	if p.Rate > 0 && p.BytesDone < max(p.BytesTotal, 1) {
		add(3, "%s/s", Bytes(int64(p.Rate)))
	}
	if d, ok := m.left(now); ok && d > 0 {
		add(4, "%s left", Span(d+time.Second-1))
	} else if m.stage == item.StageWaiting || m.stage == item.StageConnecting || m.stage == item.StageLooking || m.stage == item.StagePairing {
		if d := now.Sub(m.began); d >= 2*time.Second {
			add(4, "%s", Span(d))
		}
	}
	if p.Route != "" && p.BytesDone > 0 {
		add(5, "%s", routeName(p.Route))
	}
	return fit(parts, width)
}

// routeName names the route in use. What the engine does not send is not shown as it came.
func routeName(r string) string {
	var ways []string
	for way := range strings.SplitSeq(r, " + ") {
		if text, ok := routeNames[way]; ok {
			ways = append(ways, text)
		}
	}
	if len(ways) == 0 {
		return Clean(r)
	}
	return strings.Join(ways, " and ")
}

var routeNames = map[string]string{"stored": "through the server", "local": "over the local network", "direct": "directly", "relayed": "relayed by the server",
	"folder": "through a folder"}

func of(done, total string, known bool, noun string) string {
	s := done
	if known {
		s += " of " + total
	}
	return strings.TrimSpace(s + " " + noun)
}

// fraction is how much is done, by bytes where there are any, never 100 % before the last item.
func fraction(p item.Progress) (float64, bool) {
	var f float64
	switch {
	case p.BytesTotal > 0:
		f = float64(p.BytesDone) / float64(p.BytesTotal)
	case p.ItemsTotal > 0:
		f = float64(p.ItemsDone) / float64(p.ItemsTotal)
	default:
		return 0, false
	}
	if p.ItemsDone < p.ItemsTotal || p.BytesDone < p.BytesTotal {
		f = min(f, 0.99)
	}
	return min(max(f, 0), 1), true
}

func bar(f float64, cells int) string {
	n := int(f * float64(cells))
	return strings.Repeat("█", n) + strings.Repeat("░", cells-n)
}

// fit joins parts and leaves the least important out until they fit.
func fit(parts []part, width int) string {
	for {
		var texts []string
		worst := -1
		for i, p := range parts {
			texts = append(texts, p.text)
			if i > 0 && (worst < 0 || p.rank >= parts[worst].rank) {
				worst = i
			}
		}
		s := strings.Join(texts, "  ")
		if width <= 0 || utf8.RuneCountInString(s) <= width || worst < 0 {
			return clip(s, width)
		}
		parts = append(parts[:worst:worst], parts[worst+1:]...)
	}
}

// ProgressText is a progress in words, for a list: "43 %, 2,412 of 5,802 items, 612 MB of 1.41 GB".
func ProgressText(p item.Progress) string {
	s := of(Count(p.ItemsDone), Count(p.ItemsTotal), p.ItemsTotal > 0, "items") + ", " + of(Bytes(p.BytesDone), Bytes(p.BytesTotal), p.BytesTotal > 0, "")
	if f, ok := fraction(p); ok {
		s = fmt.Sprintf("%d %%, ", int(f*100)) + s
	}
	return s
}
