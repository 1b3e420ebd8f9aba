package dav

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
)

// probePrefix begins the names of resources and collections that only try out what a server does.
const probePrefix = "decant-probe-"

// leftover is a probe that was not removed.
type leftover struct {
	c    *dav.Collection
	name string
}

// sweep removes what Read has found of earlier probes. What can't be removed now is found again.
func (t *Target) sweep(ctx context.Context) {
	for _, l := range t.stale {
		t.server.Delete(ctx, l.c, l.name, "*")
	}
	t.stale = nil
}

// Profile tries out what the server does with a kind's records: it puts a few of our own, reads them back and removes
// them. Where that is impossible, because nothing can be written, the server is taken for strict. The result is kept.
func (t *Target) Profile(ctx context.Context, k item.Kind) (rule.Profile, error) {
	if p, ok := t.profiles[k]; ok {
		return p, nil
	}
	p := rule.Profile{Strict: true, Schedules: k == item.Calendar && t.place.Schedules}
	c, remove, err := t.ground(ctx, k)
	if err != nil {
		return p, err
	}
	if c != nil {
		defer remove()
		p.MaxSize = c.MaxSize
		probe := prober{t: t, ctx: ctx, c: c}
		if k == item.Contact {
			probe.contacts(&p)
		} else {
			probe.calendars(&p)
		}
		if probe.err != nil {
			return p, probe.err
		}
	}
	t.profiles[k] = p
	return p, nil
}

// ground returns a collection to try in: one that is there, else one made for it, which remove removes again.
func (t *Target) ground(ctx context.Context, k item.Kind) (c *dav.Collection, remove func(), err error) {
	if c := t.usual(wish{kind: k}); c != nil {
		return c, func() {}, nil
	}
	home := t.home(k)
	if home == "" {
		return nil, nil, nil
	}
	name := probeName()
	c, err = t.server.Make(ctx, home, k, name, name)
	if statusOf(err) != 0 {
		return nil, nil, nil
	}
	return c, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanup)
		defer cancel()
		t.server.Remove(ctx, c)
	}, err
}

func probeName() string {
	var b [8]byte
	rand.Read(b[:])
	return probePrefix + hex.EncodeToString(b[:])
}

// prober puts records into one collection and compares what comes back. After the first error of the connection it does nothing.
type prober struct {
	t   *Target
	ctx context.Context
	c   *dav.Collection
	err error
}

// cleanup is how long removing a probe may take after the caller has lost patience.
const cleanup = 20 * time.Second

// try puts a record and returns what the server makes of it, or nil if it refuses it.
func (p *prober) try(data string) []byte {
	if p.err != nil {
		return nil
	}
	id := probeName()
	name := id + extension(p.c.Kind)
	data = strings.ReplaceAll(strings.ReplaceAll(data, "$UID", id), "\n", "\r\n")
	_, err := p.t.server.Put(p.ctx, p.c, name, "", []byte(data))
	if err != nil && refusal(err) != nil {
		return nil
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx), cleanup)
		defer cancel()
		if err := p.t.server.Delete(ctx, p.c, name, "*"); err != nil {
			p.t.stale = append(p.t.stale, leftover{p.c, name})
		}
	}()
	var r dav.Resource
	if err == nil {
		r, err = p.t.server.Get(p.ctx, p.c, name)
	}
	if err != nil {
		if statusOf(err) == 0 {
			p.err = err
		}
		return nil
	}
	return r.Data
}

// untouched reports whether the server keeps a record byte for byte.
func (p *prober) untouched(data string) bool {
	return string(p.try(data)) == strings.ReplaceAll(data, "\n", "\r\n")
}

// sloppyCard breaks the standard in ways that address books of phones do.
const sloppyCard = "BEGIN:vCard\nVERSION:2.1\nN:Probe;Decant\nTEL;HOME;VOICE:+49 30 1234567\nNOTE;ENCODING=QUOTED-PRINTABLE:one=2C two=\n three\nX-DECANT-PROBE:one, two\nEND:vCard\n"

const fullCard3 = `BEGIN:VCARD
VERSION:3.0
UID:$UID
FN:Decant probe
N:Probe;Decant;;;
NICKNAME:probe
PHOTO;ENCODING=b;TYPE=PNG:iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==
BDAY:2001-01-01
ADR;TYPE=HOME:;;Street 1;Town;;12345;Country
LABEL;TYPE=HOME:Street 1
TEL;TYPE=CELL:+49 30 1234567
EMAIL;TYPE=INTERNET:probe@example.com
MAILER:probe
TZ:+01:00
GEO:52.5;13.4
TITLE:Probe
ROLE:Probe
ORG:Example;Department
CATEGORIES:one,two
NOTE:probe
PRODID:-//Decant//probe//EN
REV:20010101T000000Z
SORT-STRING:Probe
URL:https://www.example.com/
IMPP;TYPE=HOME:xmpp:probe@example.com
CLASS:PRIVATE
X-PHONETIC-FIRST-NAME:probe
X-SOCIALPROFILE;TYPE=example:https://www.example.com/probe
X-ABDATE:2001-01-02
X-ABRELATEDNAMES:probe
X-SPOUSE:probe
X-ANNIVERSARY:2001-01-03
X-DECANT-PROBE:probe
END:VCARD
`

const fullCard4 = `BEGIN:VCARD
VERSION:4.0
UID:$UID
FN:Decant probe
N:Probe;Decant;;;
NICKNAME:probe
BDAY:20010101
ANNIVERSARY:20010103
GENDER:O
KIND:individual
LANG:de
RELATED;TYPE=spouse;VALUE=text:probe
XML:<probe xmlns="https://www.example.com/"/>
CALURI:https://www.example.com/calendar
X-DECANT-PROBE:probe
END:VCARD
`

func (p *prober) contacts(out *rule.Profile) {
	out.Strict = !p.untouched(sloppyCard)
	three, four := p.try(fullCard3), p.try(fullCard4)
	asked := properties([]byte(fullCard3))
	kept := properties(three)
	switch {
	case three == nil && four != nil:
		out.Version, asked, kept = "4.0", nil, nil
	case three != nil && (four == nil || !bytes.Contains(four, []byte("VERSION:4.0"))):
		out.Version = "3.0"
	}
	if four != nil && out.Version != "3.0" {
		asked, kept = append(asked, properties([]byte(fullCard4))...), append(kept, properties(four)...)
	}
	if len(kept) > 0 {
		out.Drops, out.Keeps = lost(asked, kept, "")
	}
}

const sloppyEvent = "BEGIN:VCALENDAR\nVERSION:2.0\nPRODID:-//Decant//probe//EN\nBEGIN:VEVENT\nUID:UNIQUE\nDTSTAMP:20010101T000000Z\nSUMMARY:one, two\nDTSTART:20010101T090000Z\nDURATION:PT90M \nX-DECANT-PROBE:one, two\nEND:VEVENT\nEND:VCALENDAR\n"

const fullEvent = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Decant//probe//EN
BEGIN:VTIMEZONE
TZID:Decant/Probe
BEGIN:STANDARD
DTSTART:19700101T000000
TZOFFSETFROM:+0100
TZOFFSETTO:+0100
TZNAME:DP
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:$UID
DTSTAMP:20010101T000000Z
CREATED:20010101T000000Z
LAST-MODIFIED:20010101T000000Z
DTSTART;TZID=Decant/Probe:20010101T090000
DTEND;TZID=Decant/Probe:20010101T100000
RRULE:FREQ=DAILY;COUNT=3
RDATE;TZID=Decant/Probe:20010105T090000
EXDATE;TZID=Decant/Probe:20010102T090000
SUMMARY:Decant probe
DESCRIPTION:probe
LOCATION:probe
GEO:52.5;13.4
URL:https://www.example.com/
CATEGORIES:one,two
RESOURCES:one
COMMENT:probe
CONTACT:probe
RELATED-TO:probe
CLASS:PRIVATE
STATUS:CONFIRMED
TRANSP:TRANSPARENT
PRIORITY:5
SEQUENCE:0
COLOR:red
ATTACH;VALUE=BINARY;ENCODING=BASE64;FMTTYPE=text/plain:cHJvYmU=
CONFERENCE;VALUE=URI:https://www.example.com/
IMAGE;VALUE=URI:https://www.example.com/image.png
X-ALT-DESC;FMTTYPE=text/html:probe
X-APPLE-STRUCTURED-LOCATION;VALUE=URI:geo:52.5,13.4
X-MICROSOFT-CDO-BUSYSTATUS:FREE
X-DECANT-PROBE:probe
BEGIN:VALARM
UID:$UID-alarm
ACTION:DISPLAY
TRIGGER:-PT15M
DESCRIPTION:probe
X-DECANT-PROBE:probe
END:VALARM
END:VEVENT
END:VCALENDAR
`

const fullTask = `BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Decant//probe//EN
BEGIN:VTODO
UID:$UID
DTSTAMP:20010101T000000Z
CREATED:20010101T000000Z
DTSTART:20010101T090000Z
DUE:20010102T090000Z
COMPLETED:20010101T100000Z
PERCENT-COMPLETE:100
STATUS:COMPLETED
SUMMARY:Decant probe
DESCRIPTION:probe
CATEGORIES:one
PRIORITY:5
RELATED-TO:probe
X-APPLE-SORT-ORDER:1
X-DECANT-PROBE:probe
END:VTODO
END:VCALENDAR
`

func (p *prober) calendars(out *rule.Profile) {
	out.Strict = !p.untouched(strings.ReplaceAll(sloppyEvent, "UNIQUE", probeName()))
	for _, try := range []struct{ component, full string }{{"VEVENT", fullEvent}, {"VTODO", fullTask}} {
		if !p.c.Takes(try.component) {
			continue
		}
		if back := p.try(try.full); back != nil {
			drops, keeps := lost(properties([]byte(try.full)), properties(back), try.component+"/")
			out.Drops, out.Keeps = append(out.Drops, drops...), append(out.Keeps, keeps...)
		}
	}
	slices.Sort(out.Drops)
	slices.Sort(out.Keeps)
}

// lost returns the properties below a component that were asked for and are not kept, and if none of an unknown name are
// kept, those of a known one that are.
func lost(asked, kept []string, below string) (drops, keeps []string) {
	for _, name := range asked {
		own := strings.HasPrefix(name, below)
		switch {
		case !own || slices.Contains(drops, name):
		case !slices.Contains(kept, name):
			drops = append(drops, name)
		case strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], "X-"):
			keeps = append(keeps, name)
		}
	}
	drops = whole(drops, asked, "VEVENT/VALARM")
	prefixes := false
	for i, name := range drops {
		if parent, ok := strings.CutSuffix(name, "X-DECANT-PROBE"); ok {
			drops[i], prefixes = parent+"X-*", true
		}
	}
	if !prefixes {
		keeps = nil
	}
	slices.Sort(drops)
	slices.Sort(keeps)
	return slices.Compact(drops), slices.Compact(keeps)
}

// whole puts a component in the place of its properties if all of them are dropped.
func whole(drops, asked []string, component string) []string {
	inside := func(name string) bool { return strings.HasPrefix(name, component+"/") }
	count := func(names []string) (n int) {
		for _, name := range names {
			if inside(name) {
				n++
			}
		}
		return n
	}
	if n := count(asked); n == 0 || n != count(drops) {
		return drops
	}
	return append(slices.DeleteFunc(drops, inside), component)
}

// properties returns the names of a record's properties that have a value, with their components' before them: "FN",
// "VEVENT/VALARM/TRIGGER". VCARD and VCALENDAR are left out.
func properties(data []byte) (out []string) {
	var path []string
	s := contentline.NewScanner(data)
	for s.Next() {
		v, _ := s.Value(1 << 20)
		name := strings.ToUpper(string(s.Name()))
		switch {
		case name == "BEGIN" && len(path) < 16:
			path = append(path, strings.ToUpper(string(v)))
		case name == "END" && len(path) > 0:
			path = path[:len(path)-1]
		case len(path) > 0 && len(v) > 0 && name != "VERSION" && name != "PRODID":
			out = append(out, strings.Join(append(path[1:len(path):len(path)], name), "/"))
		}
	}
	return out
}
