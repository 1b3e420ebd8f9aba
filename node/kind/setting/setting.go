// Package setting knows a desktop's settings: the keys of dconf that belong to a person
// and not to a device. A list says which; everything else stays where it is, and is told
// with the reason. The canonical form of one setting is what `dconf dump /` prints of it:
//
//	[org/gnome/desktop/interface]
//	clock-format='24h'
//
// with the value verbatim. docs/SPEC.md section 9.3 describes it.
package setting

import (
	"context"
	"path"
	"strings"

	"github.com/decant-dev/decant/node/format/dconfdump"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// Extension is that of a file of settings in a collection.
const Extension = ".dconf"

// FileName is that file's usual name.
const FileName = "Settings" + Extension

// Record makes a record of one key.
func Record(e dconfdump.Entry, from string) item.Record {
	return item.Record{Kind: item.Setting, Label: e.Path(), From: from, Data: e.Append(nil)}
}

// Entry is the inverse of Record. ok is false for what is not one key.
func Entry(data []byte) (e dconfdump.Entry, ok bool) {
	all, odd := dconfdump.Parse(data)
	if len(all) != 1 || len(odd) > 0 {
		return e, false
	}
	all[0].Line = 0
	return all[0], true
}

// Rules are the rule.Rules of settings.
type Rules struct{}

var _ rule.Rules = Rules{}

// Split implements rule.Rules.
func (Rules) Split(name string, data []byte) []item.Record {
	if len(data) > dconfdump.MaxSize {
		return nil
	}
	var out []item.Record
	entries, _ := dconfdump.Parse(data)
	for _, e := range entries {
		out = append(out, Record(e, path.Base(name)))
	}
	return out
}

// Shape implements rule.Rules. It takes what is on the list and is a value; the list holds on this
// side too, whatever the other device sends.
func (Rules) Shape(r item.Record, _ rule.Profile) (item.Record, []item.Change, bool) {
	e, ok := Entry(r.Data)
	why := "it is not one setting"
	if ok {
		if why = Why(e); why == "" && !e.Proper() {
			why = "its value is none that dconf has"
		}
	}
	if why != "" {
		return r, []item.Change{left(r, why)}, false
	}
	return r, nil, true
}

func left(r item.Record, why string) item.Change {
	return item.Change{Kind: item.Setting, Record: r.Label, From: r.From, Effect: item.EffectDropped, Why: why}
}

// Left is the Change for a setting that is not moved; it does not repeat the value, which may be a secret.
func Left(e dconfdump.Entry, from, why string) item.Change { return left(Record(e, from), why) }

// Match implements rule.Rules. A setting that the target has with another value is replaced: a
// device that is new has few of its own, and undo gives them back.
func (Rules) Match(ctx context.Context, existing, incoming []item.Record, _ rule.Options) ([]rule.Decision, error) {
	type place struct {
		at    int
		value string
	}
	has := map[string]place{}
	for i, r := range existing {
		if e, ok := Entry(r.Data); ok {
			has[e.Path()] = place{i, e.Value}
		}
	}
	out := make([]rule.Decision, 0, len(incoming))
	for i, r := range incoming {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e, _ := Entry(r.Data)
		p, there := has[e.Path()]
		switch {
		case !there:
			out = append(out, rule.Decision{Verdict: rule.New, With: -1, Result: r.Data})
			has[e.Path()] = place{len(existing) + i, e.Value}
		case dconfdump.Normal(p.value) == dconfdump.Normal(e.Value):
			out = append(out, rule.Decision{Verdict: rule.Same, With: p.at, Why: "same value"})
		default:
			c := item.Change{Kind: item.Setting, Record: r.Label, From: r.From, Property: strings.ToUpper(e.Key), Effect: item.EffectAltered,
				Why: "the target's own value gives way", Before: shorten(p.value), After: shorten(e.Value)}
			out = append(out, rule.Decision{Verdict: rule.Merge, With: p.at, Result: r.Data, Why: "same setting, another value", Changes: []item.Change{c}})
			has[e.Path()] = place{p.at, e.Value}
		}
	}
	return out, nil
}

func shorten(s string) string { return s[:min(len(s), item.MaxShown)] }
