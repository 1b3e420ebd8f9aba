package fault

import (
	"testing"

	"github.com/decant-dev/decant/kill"
)

// TestR20LostRequests drops every third request before it is executed and loses every fifth answer.
func TestR20LostRequests(t *testing.T) {
	if why := unsolved[kill.SenderGranted]; why != "" {
		t.Skip("a lost answer to message 3 has the same effect as a death there: " + why)
	}
	n := 0
	disturbed(t, func(x *exchange) int {
		if n++; n%3 == 0 {
			x.lose = true
			return 0
		}
		return 1
	}, func(x *exchange) { x.lose = x.lose || n%5 == 0 })
}
