package apply

import (
	"errors"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/preview"
)

// EachOutcome tells, in the order of the plan, what has become of each item that the log
// knows of, and why where that is known. Nothing was applied if it calls f never.
func EachOutcome(plan *preview.Plan, log Log, f func(e *preview.Entry, o item.Outcome, why item.Reason) error) error {
	for n := 1; n <= plan.Pages(); n++ {
		b, err := log.Outcome(n)
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		o, err1 := decodeOutcomes(b)
		page, err2 := plan.Page(n)
		if err := errors.Join(err1, err2); err != nil {
			return err
		}
		if len(o.Of) != len(page.Entries) {
			return errLog
		}
		for i := range page.Entries {
			if err := f(&page.Entries[i], o.Of[i], o.Why[i]); err != nil {
				return err
			}
		}
	}
	return nil
}
