package deliver

import (
	"fmt"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// TestHeadersCountOnce: a calendar's name, which all of its objects repeat, is one property that a target doesn't keep; tasks are as many as there are.
func TestHeadersCountOnce(t *testing.T) {
	var p Part
	add := func(k item.Kind, book, before string) {
		name := item.Change{Property: "X-WR-CALNAME", Effect: item.EffectDropped, Why: "the target does not keep it", Before: before}
		p.count(&Step{Kind: k, Book: book, Label: fmt.Sprint(p.Total), Verdict: rule.New, Changes: []item.Change{name, {Property: "VTODO", Effect: item.EffectDropped}}})
	}
	for range 3 {
		add(item.Calendar, "Work", "Work")
		add(item.Calendar, "Home", "Work")
		add(item.Calendar, "Home", "Home")
	}
	if p.Properties["X-WR-CALNAME"] != 3 || p.Properties["VTODO"] != 9 || p.Changes["dropped"] != 12 || p.Total != 9 {
		t.Errorf("%+v", p)
	}
	p = Part{}
	add(item.Contact, "", "x")
	add(item.Contact, "", "x")
	if p.Properties["X-WR-CALNAME"] != 2 {
		t.Errorf("of contacts, whose properties are each one's own: %+v", p)
	}
}
