package contact

import (
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

// TestCircumflexForServers: a server gets it in quotes, a file as it was, and the second time there is nothing to do.
func TestCircumflexForServers(t *testing.T) {
	const card = "BEGIN:VCARD\r\nVERSION:4.0\r\nUID:u\r\nFN:A\r\nADR;LABEL=One^nTwo:;;One;Two;;;\r\nEND:VCARD\r\n"
	quoted := strings.Replace(card, "One^nTwo", `"One^nTwo"`, 1)
	for _, c := range []struct {
		in, want string
		strict   bool
	}{{card, quoted, true}, {quoted, quoted, true}, {card, card, false}} {
		out, said, ok := Rules{}.Shape(item.Record{Kind: item.Contact, Data: []byte(c.in)}, rule.Profile{Strict: c.strict, Version: "4.0"})
		if !ok || string(out.Data) != c.want || len(said) > 0 {
			t.Errorf("strict %v: %v, %q, %v; want %q", c.strict, ok, out.Data, said, c.want)
		}
	}
}
