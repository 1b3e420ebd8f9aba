// Package call knows entries of a call log: their canonical form, which is one JSON
// object on one line, and what makes two of them the same. docs/SPEC.md section 9.3 gives
// the canonical form and section 9.4 the rules.
package call

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Extension is what the names of container files end with.
const Extension = ".calls.ndjson"

// The forms of call logs: where a call was read, and what a target takes.
const (
	FormSBR      = message.FormSBR
	FormProvider = message.FormProvider
)

// Call is one call. Its zero values are unknown.
type Call struct {
	Date      message.Int // milliseconds since 1970 UTC: its beginning
	Duration  message.Int // seconds
	Direction string      // in, out, missed, voicemail, rejected, blocked, elsewhere; "" is unknown
	Number    message.Text
	Name      message.Text
	SubID     message.Text // the subscription (SIM card), as the source has it

	Form  string // FormSBR or FormProvider: what X and Order mean
	X     []message.Column
	Order []string

	other []rawjson.Member
}

// directions are the values of type.
var directions = [...]string{1: "in", 2: "out", 3: "missed", 4: "voicemail", 5: "rejected", 6: "blocked", 7: "elsewhere"}

// ErrNoCall is returned for a line that holds no call in canonical form.
var ErrNoCall = errors.New("is not a call")

// Decode parses a line in canonical form. The result may refer to it.
func Decode(line []byte) (*Call, error) {
	members, err := rawjson.Object(line)
	if err != nil {
		return nil, err
	}
	c := &Call{}
	is, ok := false, true
	for _, f := range members {
		good := true
		switch f.Name {
		case "type":
			s, _ := f.Value.String()
			is = s == "call"
		case "date":
			c.Date.N, good = f.Value.Int()
			c.Date.Known = true
		case "duration":
			c.Duration.N, good = f.Value.Int()
			c.Duration.Known = true
		case "direction":
			c.Direction, good = f.Value.String()
		case "number":
			c.Number, good = text(f.Value)
		case "name":
			c.Name, good = text(f.Value)
		case "sub_id":
			c.SubID, good = text(f.Value)
		case "form":
			c.Form, good = f.Value.String()
		case "x":
			good = c.columns(f.Value)
		case "order":
			good = c.names(f.Value)
		default:
			c.other = append(c.other, f)
		}
		ok = ok && good
	}
	if !is || !ok {
		return nil, ErrNoCall
	}
	return c, nil
}

func text(v rawjson.Value) (message.Text, bool) {
	s, ok := v.String()
	return message.Text{S: s, Known: ok}, ok
}

func (c *Call) columns(v rawjson.Value) bool {
	members, err := rawjson.Object(v)
	for _, f := range members {
		c.X = append(c.X, message.Column(f))
	}
	return err == nil
}

func (c *Call) names(v rawjson.Value) bool {
	elements, err := rawjson.Array(v)
	c.Order = make([]string, 0, len(elements))
	for _, e := range elements {
		s, ok := e.String()
		if !ok {
			return false
		}
		c.Order = append(c.Order, s)
	}
	return err == nil
}

// Bytes returns the call's canonical form, without a line break.
func (c *Call) Bytes() []byte {
	b := []byte(`{"type":"call"`)
	name := func(n string) { b = append(rawjson.AppendString(append(b, ','), n), ':') }
	str := func(n, s string, known bool) {
		if known {
			name(n)
			b = rawjson.AppendString(b, s)
		}
	}
	number := func(n string, i message.Int) {
		if i.Known {
			name(n)
			b = strconv.AppendInt(b, i.N, 10)
		}
	}
	number("date", c.Date)
	number("duration", c.Duration)
	str("direction", c.Direction, c.Direction != "")
	str("number", c.Number.S, c.Number.Known)
	str("name", c.Name.S, c.Name.Known)
	str("sub_id", c.SubID.S, c.SubID.Known)
	str("form", c.Form, c.Form != "")
	if len(c.X) > 0 {
		name("x")
		for i, x := range c.X {
			b = append(b, "{,"[min(i, 1)])
			b = append(append(rawjson.AppendString(b, x.Name), ':'), x.Value...)
		}
		b = append(b, '}')
	}
	if c.Order != nil {
		name("order")
		b = append(b, '[')
		for i, n := range c.Order {
			if i > 0 {
				b = append(b, ',')
			}
			b = rawjson.AppendString(b, n)
		}
		b = append(b, ']')
	}
	for _, f := range c.other {
		name(f.Name)
		b = append(b, f.Value...)
	}
	return append(b, '}')
}

// Label is what a person knows the call by.
func (c *Call) Label() string {
	who := c.Name.S
	if who == "" {
		who = c.Number.S
	}
	who = strings.ToValidUTF8(who[:min(len(who), 60)], "")
	return strings.TrimSpace(c.Direction + " " + who + " " + time.UnixMilli(c.Date.N).UTC().Format("2006-01-02 15:04:05Z"))
}

func (c *Call) key(region string) [32]byte {
	var b []byte
	for _, s := range []string{message.NormalAddress(c.Number.S, region), strconv.FormatInt(floor(c.Date.N), 10), c.Direction, strconv.FormatInt(c.Duration.N, 10)} {
		b = append(append(b, s...), 0)
	}
	return sha256.Sum256(b)
}

// floor is a time in whole seconds.
func floor(ms int64) int64 {
	if ms < 0 {
		ms -= 999
	}
	return ms / 1000
}

// identityByKey is the first byte of an identity that is made of a call's key.
const identityByKey = 3

// Identity is what two records of the same call have in common: number, second, direction
// and duration. It has 33 bytes.
func (c *Call) Identity() []byte {
	key := c.key("")
	return append([]byte{identityByKey}, key[:]...)
}

// Rules implements rule.Rules for calls.
type Rules struct{}

var _ rule.Rules = Rules{}

// Split makes a record of each line.
func (Rules) Split(file string, data []byte) []item.Record {
	book := message.Book(file, Extension)
	var out []item.Record
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		r := item.Record{Kind: item.Call, Book: book, From: file + ":" + strconv.Itoa(number), Data: slices.Clip(line)}
		if c, err := Decode(line); err == nil {
			r.Label = c.Label()
		}
		out = append(out, r)
	}
	return out
}

// Records finds the calls of a container file, as node/kind wants them.
func Records(data []byte) (out []contentline.Record) {
	var offset int64
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) > 0 {
			r := contentline.Record{Ranges: []item.Range{{Offset: offset, Length: int64(len(line))}}}
			if c, err := Decode(line); err == nil {
				r.Identity = c.Identity()
			} else {
				r.Problem = err.Error()
			}
			out = append(out, r)
		}
		offset += int64(len(line))
	}
	return out
}

// Merge is message.Merge for calls.
func Merge(existing, from []byte) []byte { return message.MergeLines(existing, from, Records) }

// Shape gives a call the form that Profile.Version names.
func (Rules) Shape(r item.Record, p rule.Profile) (item.Record, []item.Change, bool) {
	c, err := Decode(r.Data)
	if err != nil {
		effect := item.EffectFlagged
		if p.Version != "" {
			effect = item.EffectDropped
		}
		return r, []item.Change{{Kind: item.Call, Record: r.Label, From: r.From, Effect: effect, Why: err.Error()}}, p.Version == ""
	}
	var changes []item.Change
	change := func(property string, e item.Effect, why, before string) {
		changes = append(changes, item.Change{Kind: item.Call, Record: r.Label, From: r.From, Property: strings.ToUpper(property), Effect: e, Why: why, Before: before[:min(len(before), item.MaxShown)]})
	}
	if clash := clashing(c, p.Version); clash >= 0 {
		x := c.X[clash]
		c.X = slices.Delete(c.X, clash, clash+1)
		r.Data = c.Bytes()
		change(x.Name, item.EffectDropped, "its name means something else to the target", string(x.Value))
	}
	if p.Version == FormSBR && c.Form != FormSBR {
		for _, f := range []struct {
			name  string
			known bool
		}{{"date", c.Date.Known}, {"duration", c.Duration.Known}} {
			if _, column := message.Get(c.X, f.name); !f.known && !column {
				change(f.name, item.EffectAdded, "such an archive must say something", "")
			}
		}
		for _, x := range c.X {
			switch {
			case x.Value.IsNull():
			case !message.IsAttribute(x.Name):
				change(x.Name, item.EffectDropped, "no attribute can have this name", string(x.Value))
			case !x.Value.IsString():
				change(x.Name, item.EffectAltered, "an attribute holds text only", string(x.Value))
			case string(x.Value) == `"null"`:
				change(x.Name, item.EffectAltered, `in such an archive "null" says that there is nothing`, "null")
			}
		}
	}
	if p.MaxSize > 0 && int64(len(r.Data)) > p.MaxSize {
		change("", item.EffectDropped, "it is larger than the target takes", "")
		return r, changes, false
	}
	return r, changes, true
}

// clashing finds the column whose name means in the target what the name is, and in the call's own form did not.
func clashing(c *Call, target string) int {
	name := ""
	switch {
	case target == FormProvider && c.Form == FormSBR:
		name = "name"
	case target == FormSBR && c.Form != FormSBR:
		name = "contact_name"
	}
	return slices.IndexFunc(c.X, func(x message.Column) bool { return x.Name == name && !x.Value.IsNull() })
}

// Match compares by number, second, direction and duration.
func (Rules) Match(ctx context.Context, existing, incoming []item.Record, opts rule.Options) ([]rule.Decision, error) {
	known := map[[32]byte]int{}
	at := func(i int) item.Record {
		if i < len(existing) {
			return existing[i]
		}
		return incoming[i-len(existing)]
	}
	for i := range existing {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if c, err := Decode(existing[i].Data); err == nil {
			if k := c.key(opts.Profile.Region); !has(known, k) {
				known[k] = i
			}
		}
	}
	out := make([]rule.Decision, len(incoming))
	for i := range incoming {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out[i] = rule.Decision{Verdict: rule.New, With: -1, Result: incoming[i].Data}
		c, err := Decode(incoming[i].Data)
		if err != nil {
			out[i].Why = "it can't be compared: it " + err.Error()
			continue
		}
		k := c.key(opts.Profile.Region)
		if with, ok := known[k]; ok {
			out[i] = rule.Decision{Verdict: rule.Same, With: with, Why: "same number, time, direction and duration", Changes: c.lost(at(with).Data)}
			continue
		}
		known[k] = len(existing) + i
	}
	return out, nil
}

func has(m map[[32]byte]int, k [32]byte) bool { _, ok := m[k]; return ok }

// passing are columns that mean something only inside the database that they came from, or that the identity covers.
var passing = []string{"_id", "readable_date", "date", "type", "number", "duration", "contact_name", "__display_name", "display_name", "name",
	"lookup_uri", "photo_id", "photo_uri", "last_modified"}

// lost tells what a call has that the one which stays has not.
func (c *Call) lost(stays []byte) (changes []item.Change) {
	have, err := Decode(stays)
	if err != nil {
		return nil
	}
	theirs := have.properties()
	for name, v := range c.properties() {
		if w, ok := theirs[name]; !ok || w != v {
			change := item.Change{Kind: item.Call, Record: c.Label(), Property: strings.ToUpper(name), Effect: item.EffectDropped,
				Why: "the target has this call without it", Before: v[:min(len(v), item.MaxShown)]}
			if ok {
				change.Why, change.After = "the target has this call with another value, which stays", w[:min(len(w), item.MaxShown)]
			}
			changes = append(changes, change)
		}
	}
	slices.SortFunc(changes, func(a, b item.Change) int { return strings.Compare(a.Property, b.Property) })
	return changes
}

// properties are what a call says beside what identifies it.
func (c *Call) properties() map[string]string {
	out := map[string]string{}
	all := c.SBR()
	if c.Form != FormSBR {
		all = nil
		for _, x := range c.Provider() {
			v, ok := x.Value.String()
			if !ok {
				v = string(x.Value)
			}
			all = append(all, message.Attr{Name: x.Name, Value: v})
		}
	}
	for _, a := range all {
		if !slices.Contains(passing, a.Name) && a.Value != "null" && a.Value != "" {
			out[a.Name] = a.Value
		}
	}
	if c.Name.S != "" {
		out["name"] = c.Name.S
	}
	return out
}
