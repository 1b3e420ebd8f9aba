package message

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Extension is what the names of container files end with.
const Extension = ".messages.ndjson"

// Rules implements rule.Rules for messages.
type Rules struct{}

var (
	_ rule.Rules   = Rules{}
	_ rule.Divided = Rules{}
)

func formatTime(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02 15:04:05Z") }

// lines calls each for every line that is not blank.
func lines(data []byte, each func(number int, offset int64, line []byte)) {
	var offset int64
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if text := bytes.TrimSpace(line); len(text) > 0 {
			each(number, offset, line)
		}
		offset += int64(len(line))
	}
}

// Book returns the book of a container by its path: its name without the extension, and
// without the number of one that goes on from another (docs/SPEC.md section 9.3).
func Book(file, extension string) string {
	name := strings.TrimSuffix(path.Base(file), extension)
	if n := len(name) - 4; n > 0 && name[n] == '_' && strings.Trim(name[n+1:], "0123456789") == "" {
		return name[:n]
	}
	return name
}

// Split makes a record of each line.
func (Rules) Split(file string, data []byte) []item.Record {
	book := Book(file, Extension)
	out := make([]item.Record, 0, bytes.Count(data, []byte("\n"))+1)
	lines(data, func(number int, _ int64, line []byte) {
		line = bytes.TrimSpace(line)
		r := item.Record{Kind: item.Message, Book: book, From: file + ":" + strconv.Itoa(number), Data: line[:len(line):len(line)]}
		if m, err := Decode(line); err == nil {
			r.Label = m.Label()
		}
		out = append(out, r)
	})
	return out
}

// Records finds the messages of a container file, as node/kind wants them.
func Records(data []byte) (out []contentline.Record) {
	lines(data, func(_ int, offset int64, line []byte) {
		r := contentline.Record{Ranges: []item.Range{{Offset: offset, Length: int64(len(line))}}}
		if m, err := Decode(line); err == nil {
			r.Identity = m.Identity()
		} else {
			r.Problem = err.Error()
		}
		out = append(out, r)
	})
	return out
}

// Merge returns the container existing with the lines of from behind its own that it does
// not have yet, or nil if from has a line that is no message, which a person should see
// in a file of its own. A message that is there with other properties is added too:
// neither is lost. Merging twice adds nothing.
func Merge(existing, from []byte) []byte { return MergeLines(existing, from, Records) }

// MergeLines is Merge for any kind whose container has one record on a line.
func MergeLines(existing, from []byte, records func([]byte) []contentline.Record) []byte {
	have := map[[32]byte]bool{}
	lines(existing, func(_ int, _ int64, line []byte) { have[sha256.Sum256(bytes.TrimSpace(line))] = true })
	out := slices.Clip(existing)
	for _, r := range records(from) {
		if r.Problem != "" {
			return nil
		}
		line := bytes.TrimSpace(r.Bytes(from))
		sum := sha256.Sum256(line)
		if have[sum] {
			continue
		}
		have[sum] = true
		if n := len(out); n > 0 && out[n-1] != '\n' {
			out = append(out, '\n')
		}
		out = append(append(out, line...), '\n')
	}
	return out
}

// candidate is what Match has to know of a message.
type candidate struct {
	date, sent int64
	index      int32 // in existing, or len(existing) + in incoming; -1 is no message
	next       int32 // the next one of the same key, in matcher.list; 0 is none
	mms        bool
}

// maxNear is how many messages of one person and content are looked at for one whose time is nearly the same.
const maxNear = 1000

// matchKey is as much of a message's key as tells messages apart.
type matchKey [16]byte

// Match compares by box, people, content and time. The time of an MMS may differ by a
// second if one of them has whole seconds, and messages that were sent in the same second
// may have come within a day: some programs put the one time where the other belongs.
func (Rules) Match(ctx context.Context, existing, incoming []item.Record, opts rule.Options) ([]rule.Decision, error) {
	t := matcher{normal: addresses{opts.Profile.Region, map[string]string{}}, own: opts.Known, existing: existing, incoming: incoming}
	t.known = make(map[matchKey]int32, len(existing)+len(incoming))
	t.first = make(map[matchKey]int32, len(existing))
	t.list = make([]candidate, 1, 1+len(existing))
	if t.own == nil {
		t.own = map[string]bool{}
		if err := t.learn(ctx); err != nil {
			return nil, err
		}
	}
	for i := range existing {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if m, err := Decode(existing[i].Data); err == nil {
			t.add(t.key(m), t.candidate(m, i), m)
		}
	}
	return t.decide(ctx, opts.NoFuzzy)
}

type matcher struct {
	normal             addresses
	own                map[string]bool
	known              map[matchKey]int32 // by key and time: the index
	first              map[matchKey]int32 // by key: where the last existing one is in list
	list               []candidate        // from 1
	existing, incoming []item.Record
	taken              []bool // existing ones that an incoming one is the same as
}

func (t *matcher) key(m *Message) matchKey {
	key := m.key(t.own, t.normal)
	return matchKey(key[:16])
}

// exactly is the key with the time, of what has one.
func exactly(key matchKey, m *Message) matchKey {
	if m.Type == Mail {
		return key
	}
	sum := sha256.Sum256(binary.BigEndian.AppendUint64(key[:], uint64(m.Date.N)))
	return matchKey(sum[:16])
}

// add adds an existing message.
func (t *matcher) add(key matchKey, c candidate, m *Message) {
	if e := exactly(key, m); !known(t.known, e) {
		t.known[e] = c.index
	}
	c.next = t.first[key]
	t.first[key] = int32(len(t.list))
	t.list = append(t.list, c)
}

func known(m map[matchKey]int32, k matchKey) bool { _, ok := m[k]; return ok }

// learn finds the numbers of the device.
func (t *matcher) learn(ctx context.Context) error {
	for _, records := range [][]item.Record{t.existing, t.incoming} {
		for _, r := range records {
			if err := ctx.Err(); err != nil {
				return err
			}
			if !bytes.Contains(r.Data[:min(len(r.Data), 32)], []byte(`"mms"`)) {
				continue
			}
			if m, err := Decode(r.Data); err == nil {
				m.learn(t.own, t.normal)
			}
		}
	}
	return nil
}

// learn adds the numbers of the device that the message shows.
func (m *Message) learn(own map[string]bool, n addresses) {
	for _, a := range m.Own() {
		own[n.normal(a)] = true
	}
}

// Lot implements rule.Divided: messages that differ in content are never the same.
func (Rules) Lot(r item.Record, p rule.Profile, own map[string]bool) uint32 {
	m, err := Decode(r.Data)
	if err != nil {
		sum := sha256.Sum256(r.Data)
		return binary.BigEndian.Uint32(sum[:])
	}
	m.learn(own, addresses{region: p.Region})
	sum := m.content()
	return binary.BigEndian.Uint32(sum[:])
}

func (t *matcher) candidate(m *Message, i int) candidate {
	return candidate{date: m.Date.N, sent: m.DateSent.N, index: int32(i), mms: m.Type == MMS}
}

func (t *matcher) decide(ctx context.Context, exact bool) ([]rule.Decision, error) {
	out := make([]rule.Decision, len(t.incoming))
	t.taken = make([]bool, len(t.existing))
	keys := make([]matchKey, len(t.incoming))
	cands := make([]candidate, len(t.incoming))
	for i, r := range t.incoming {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := Decode(r.Data)
		if err != nil {
			out[i] = rule.Decision{Verdict: rule.New, With: -1, Result: r.Data, Why: "it can't be compared: it " + err.Error()}
			cands[i].index = -1
			continue
		}
		keys[i], cands[i] = t.key(m), t.candidate(m, len(t.existing)+i)
		out[i] = t.exact(m, keys[i], cands[i])
	}
	for i := range t.incoming {
		if out[i].Verdict == rule.New && cands[i].index >= 0 && !exact {
			if d, ok := t.near(i, keys[i], cands[i]); ok {
				out[i] = d
			}
		}
	}
	return out, ctx.Err()
}

func (t *matcher) exact(m *Message, key matchKey, c candidate) rule.Decision {
	e := exactly(key, m)
	with, ok := t.known[e]
	if !ok {
		t.known[e] = c.index
		return rule.Decision{Verdict: rule.New, With: -1, Result: t.incoming[int(c.index)-len(t.existing)].Data}
	}
	why := "same time, people and content"
	if m.Type == Mail {
		why = "same content"
	}
	return t.same(m, int(with), why)
}

func (t *matcher) same(m *Message, with int, why string) rule.Decision {
	if with < len(t.existing) {
		t.taken[with] = true
	}
	return rule.Decision{Verdict: rule.Same, With: with, Why: why, Changes: t.lost(m, with)}
}

// near finds an existing message that nothing is the same as yet, and whose time is nearly the same.
func (t *matcher) near(i int, key matchKey, c candidate) (rule.Decision, bool) {
	found, why, seen := -1, "", 0
	for at := t.first[key]; at != 0 && seen < maxNear; at = t.list[at].next {
		k := t.list[at]
		if seen++; t.taken[k.index] {
			continue
		}
		if w := alike(k, c); w != "" {
			found, why = int(k.index), w
		}
	}
	if found < 0 {
		return rule.Decision{}, false
	}
	m, _ := Decode(t.incoming[i].Data)
	return t.same(m, found, why), true
}

func alike(a, b candidate) string {
	d := max(a.date-b.date, b.date-a.date)
	switch {
	case a.mms && d <= 1000 && (a.date%1000 == 0) != (b.date%1000 == 0):
		return "same second, people and content"
	case a.sent != 0 && a.sent/1000 == b.sent/1000 && d <= 24*3600*1000:
		return "sent in the same second, same people and content"
	}
	return ""
}

// lost tells what an incoming message has that the one which the target keeps has not.
func (t *matcher) lost(m *Message, with int) (changes []item.Change) {
	var r item.Record
	if with < len(t.existing) {
		r = t.existing[with]
	} else {
		r = t.incoming[with-len(t.existing)]
	}
	have, err := Decode(r.Data)
	if err != nil {
		return nil
	}
	if m.Type == Mail {
		if a, b := m.MailFlags(), have.MailFlags(); a != b {
			changes = append(changes, m.change("FLAGS", item.EffectDropped, "the target has this mail with its own", a, b))
		}
		return changes
	}
	theirs := have.properties()
	for _, p := range m.properties() {
		d := index(theirs, p.Name)
		if d >= 0 && theirs[d].Value == p.Value || p.Value == "" {
			continue
		}
		c := m.change(strings.ToUpper(p.Name), item.EffectDropped, "the target has this message without it", p.Value, "")
		if d >= 0 {
			c.Why, c.After = "the target has this message with another value, which stays", shown(theirs[d].Value)
		}
		changes = append(changes, c)
	}
	return changes
}

// passing are columns that mean something only inside the database that they came from,
// or that the identity covers.
var passing = []string{"_id", "thread_id", "person", "readable_date", "date", "type", "msg_box", "body", "address", displayName, contactName,
	"m_type", "date_sent", "msg_id", "creator", "text_only", "m_size"}

// properties are what a message says beside what identifies it, under the names of the provider.
func (m *Message) properties() []Attr {
	var all []Attr
	if m.Form == FormSBR {
		all = m.SBR().Attrs
	} else {
		all = attrs(m.Provider().Columns)
	}
	out := all[:0]
	for _, a := range all {
		if slices.Contains(passing, a.Name) || m.Form == FormSBR && a.Value == null {
			continue
		}
		out = append(out, a)
	}
	if m.Name.S != "" {
		out = append(out, Attr{"name", m.Name.S})
	}
	if m.DateSent.N != 0 {
		out = append(out, Attr{"date_sent", formatInt(m.DateSent.N / 1000)})
	}
	return out
}

func shown(s string) string { return s[:min(len(s), item.MaxShown)] }

func (m *Message) change(property string, e item.Effect, why, before, after string) item.Change {
	return item.Change{Kind: item.Message, Record: m.Label(), Property: property, Effect: e, Why: why, Before: shown(before), After: shown(after)}
}

// Shape gives a message the form that Profile.Version names.
func (Rules) Shape(r item.Record, p rule.Profile) (item.Record, []item.Change, bool) {
	m, err := Decode(r.Data)
	if err != nil {
		if p.Version == "" {
			return r, []item.Change{{Kind: item.Message, Record: r.Label, From: r.From, Effect: item.EffectFlagged, Why: err.Error()}}, true
		}
		return r, []item.Change{{Kind: item.Message, Record: r.Label, From: r.From, Effect: item.EffectDropped, Why: err.Error()}}, false
	}
	s := shaper{m: m}
	ok := s.shape(p.Version)
	if s.altered {
		r.Data = s.m.Bytes()
	}
	if ok && p.MaxSize > 0 && int64(len(r.Data)) > p.MaxSize {
		s.change("", item.EffectDropped, "it is larger than the target takes", strconv.Itoa(len(r.Data)), "")
		ok = false
	}
	for i := range s.changes {
		s.changes[i].From, s.changes[i].Record = r.From, cmp.Or(r.Label, s.changes[i].Record)
	}
	return r, s.changes, ok
}

// shaper shapes one message.
type shaper struct {
	m       *Message
	changes []item.Change
	altered bool
}

func (s *shaper) change(property string, e item.Effect, why, before, after string) {
	s.changes = append(s.changes, s.m.change(property, e, why, before, after))
}

func (s *shaper) shape(form string) bool {
	if s.m.Type == Mail && (form == FormSBR || form == FormProvider) {
		s.change("", item.EffectDropped, "the target keeps SMS and MMS, no mail", "", "")
		return false
	}
	switch form {
	case FormSBR:
		s.sbr()
	case FormProvider:
		s.provider()
	case FormMail:
		s.mail()
	case FormMbox:
		fromPhone := s.m.Type != Mail
		s.mail()
		told := len(s.changes)
		s.mbox()
		if fromPhone {
			s.changes = s.changes[:told]
		}
	}
	return true
}

// sbr tells what an archive of SMS Backup & Restore can't say.
func (s *shaper) sbr() {
	m := s.m
	if m.Form != FormSBR {
		s.clash(s.tables())
		s.nulls()
		s.madeUp()
	}
	s.names("", m.X)
	for i := range m.Parts {
		s.names("PART/", m.Parts[i].X)
	}
	for i := range m.Addrs {
		s.names("ADDRESS/", m.Addrs[i].X)
	}
}

// tables are what holds the message's columns in the form that it has, and what does in the target.
func (s *shaper) tables() (sbr, provider []field) {
	if s.m.Type == MMS {
		return sbrMMS, providerMMS
	}
	return sbrSMS, providerSMS
}

// clash drops columns whose names mean in the target what a field holds, and in their own form did not.
func (s *shaper) clash(target, own []field) {
	m := s.m
	kept := m.X[:0:0]
	for _, c := range m.X {
		f := find(target, 0, c.Name)
		if f == nil || f.free || find(own, 0, c.Name) != nil && !find(own, 0, c.Name).free || c.Value.IsNull() {
			kept = append(kept, c)
			continue
		}
		s.altered = true
		s.change(strings.ToUpper(c.Name), item.EffectDropped, "its name means something else to the target", plain(c.Value), "")
	}
	m.X = kept
}

// madeUp tells what an archive of SMS Backup & Restore has to say although the message does not.
func (s *shaper) madeUp() {
	table, _ := s.tables()
	for _, f := range table {
		_, known := f.get(s.m)
		if _, column := Get(s.m.X, f.name); known || column || f.free || f.unknown == "" || f.unknown == null || f.name == contactName {
			continue
		}
		s.change(strings.ToUpper(f.name), item.EffectAdded, "such an archive must say something", "", f.unknown)
	}
	for i := range s.m.Parts {
		if _, column := Get(s.m.Parts[i].X, "seq"); !s.m.Parts[i].Seq.Known && !column {
			s.change("PART/SEQ", item.EffectAdded, "such an archive must say something", "", "0")
		}
	}
}

func (s *shaper) nulls() {
	m := s.m
	for _, f := range []struct {
		name string
		text Text
	}{{"ADDRESS", m.Address}, {"SUBJECT", m.Subject}, {"NAME", m.Name}} {
		if f.text.Known && f.text.S == null {
			s.change(f.name, item.EffectAltered, `in such an archive "null" says that there is nothing`, null, "")
		}
	}
}

func (s *shaper) names(prefix string, x []Column) {
	for _, c := range x {
		switch {
		case c.Value.IsNull():
		case !IsAttribute(c.Name):
			s.change(prefix+strings.ToUpper(c.Name), item.EffectDropped, "no attribute can have this name", plain(c.Value), "")
		case !c.Value.IsString():
			s.change(prefix+strings.ToUpper(c.Name), item.EffectAltered, "an attribute holds text only", string(c.Value), "")
		case plain(c.Value) == null:
			s.change(prefix+strings.ToUpper(c.Name), item.EffectAltered, `in such an archive "null" says that there is nothing`, null, "")
		}
	}
}

// provider prepares a message for the provider of another device.
func (s *shaper) provider() {
	m := s.m
	if m.Form == FormSBR {
		sbr, provider := s.tables()
		s.clash(provider, sbr)
		s.units()
	}
	if sub, ok := Get(m.X, "sub_id"); ok || m.SubID.Known && m.SubID.N != -1 {
		if m.SubID.Known {
			sub = formatInt(m.SubID.N)
		}
		m.SubID, s.altered = Int{-1, true}, true
		m.X = slices.DeleteFunc(m.X, func(c Column) bool { return c.Name == "sub_id" })
		s.change("SUB_ID", item.EffectAltered, "the other device has other SIM cards, and hides messages of those that it does not know", sub, "-1")
	}
	if m.Type == MMS {
		s.seconds("DATE", &m.Date)
		s.seconds("DATE_SENT", &m.DateSent)
		s.people()
		if v, _ := Get(asColumns(m.typed()), "m_type"); v == "" {
			s.change("M_TYPE", item.EffectAdded, "by it the target tells an MMS", "", m.derived("m_type"))
		}
	}
	for _, x := range m.XML {
		s.change("XML", item.EffectDropped, "the target has no place for an unknown element", x, "")
		s.altered = true
	}
	m.XML = nil
	s.reserved(m.X)
	names := map[string]bool{}
	for i := range m.Parts {
		p := &m.Parts[i]
		if path, ok := Get(p.X, "_data"); ok {
			name, plain := DataName(path)
			if p.Base64 == nil || !plain || names[name] {
				p.X = slices.DeleteFunc(p.X, func(c Column) bool { return c.Name == "_data" })
				s.altered = true
				s.change("PART/_DATA", item.EffectDropped, "it does not say where the bytes are in the target", path, "")
			}
			names[name] = true
		}
		if p.Base64 == nil {
			continue
		}
		if v, ok := Get(p.X, "data"); ok && v != string(p.Base64) {
			p.X = slices.DeleteFunc(p.X, func(c Column) bool { return c.Name == "data" })
			s.altered = true
			s.change("PART/DATA", item.EffectAltered, "its bytes are the same, their base64 is written in the usual way", v, string(p.Base64[:min(len(p.Base64), item.MaxShown)]))
		}
	}
}

// DataName returns the name of the file that a provider's path leads to. plain is true if
// the path is one that a telephone would write: then its archives find the file again.
func DataName(path string) (name string, plain bool) {
	i := strings.LastIndexByte(path, '/')
	name = path[i+1:]
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return name, i >= 0 && len(name) <= 200 && strings.Trim(name, letters) == "" && strings.Trim(name, ".") != ""
}

// typed are the attributes that an MMS came with; of one from the provider, its columns.
func (m *Message) typed() []Attr {
	if m.Form == FormSBR {
		return slices.DeleteFunc(m.SBR().Attrs, func(a Attr) bool { return a.Value == null })
	}
	return attrs(m.Provider().Columns)
}

func (m *Message) derived(name string) string {
	all := m.derive(providerMMS)
	if i := index(all, name); i >= 0 {
		return all[i].Value
	}
	return ""
}

func asColumns(attrs []Attr) (out []Column) {
	for _, a := range attrs {
		out = append(out, Column{a.Name, quoteNull(a.Value)})
	}
	return out
}

// units tells of an MMS's date_sent that the source has in milliseconds: the provider has seconds.
func (s *shaper) units() {
	m := s.m
	if v, ok := Get(m.X, "date_sent"); ok && m.DateSent.Known {
		m.X = slices.DeleteFunc(m.X, func(c Column) bool { return c.Name == "date_sent" })
		s.altered = true
		s.change("DATE_SENT", item.EffectAltered, "the provider has it in seconds", v, formatInt(m.DateSent.N/1000))
	}
}

// people makes addresses of an MMS that has none: the provider would put it into a thread with nobody.
func (s *shaper) people() {
	m := s.m
	if len(m.Addrs) > 0 {
		return
	}
	for i, a := range split(m.Address) {
		role := "to"
		if i == 0 && m.Box == "received" {
			role = "from"
		}
		m.Addrs = append(m.Addrs, Addr{Role: role, Address: Known(a)})
		s.altered = true
		s.change("ADDRESSES", item.EffectAdded, "the provider needs to know who takes part", "", a+" ("+role+")")
	}
}

// reserved flags columns whose names mean something else to the target.
func (s *shaper) reserved(x []Column) {
	names := []string{"__parts", "__sender_address", "__recipient_addresses"}
	if s.m.Type == SMS {
		names = append(names, "m_type") // by which the target tells an MMS
	}
	for _, n := range names {
		if v, ok := Get(x, n); ok {
			s.m.X = slices.DeleteFunc(s.m.X, func(c Column) bool { return c.Name == n })
			s.altered = true
			s.change(strings.ToUpper(n), item.EffectDropped, "its name means something else to the target", v, "")
		}
	}
}

func (s *shaper) seconds(name string, at *Int) {
	if n := at.N % 1000; n != 0 {
		before := formatInt(at.N)
		at.N -= n
		s.altered = true
		s.change(name, item.EffectAltered, "the target keeps seconds only", before, formatInt(at.N))
	}
}
