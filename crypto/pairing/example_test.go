package pairing_test

import (
	"fmt"
	"time"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/proto/id"
)

func card(role key.Role) ([]byte, error) {
	e, err := key.NewExchange()
	if err != nil {
		return nil, err
	}
	return key.SignCard(key.NewDevice(), e, role, key.Limits{}, time.Now().Add(time.Hour), "")
}

// The new device shows a code, a person types it on the old one, and three messages later
// each has the other's card and the new one has the grant.
func Example() {
	oldCard, err := card(key.Sender)
	if err != nil {
		fmt.Println(err)
		return
	}
	newCard, err := card(key.Receiver)
	if err != nil {
		fmt.Println(err)
		return
	}
	server, scope := key.NewDevice().Peer(), id.NewScope()
	shown := pairing.NewCode(7)
	typed, err := pairing.ParseCode(shown.String())
	if err != nil {
		fmt.Println(err)
		return
	}

	old, message1, err := pairing.StartOld(typed.Params(server, scope), oldCard)
	if err != nil {
		fmt.Println(err)
		return
	}
	newer, message2, err := pairing.AnswerNew(shown.Params(server, scope), newCard, message1)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Here the new device writes its state and the number of attempts, durably.
	paired, err := old.Finish(message2)
	if err != nil {
		fmt.Println(err)
		return
	}
	granted, sender, err := newer.Confirm(paired.Message3([]byte("sealed grant")))
	fmt.Printf("%s, %v, %v\n", granted, string(sender) == string(oldCard), err)
	// Output: sealed grant, true, <nil>
}

// A ticket is for a device that does not exist yet.
func Example_ticket() {
	ticket := pairing.NewTicket()
	share := pairing.NewShare() // for the server to keep, with ticket.Locator and ticket.ClaimPublic

	typed, err := pairing.ParseTicket(ticket.Words())
	if err != nil {
		fmt.Println(err)
		return
	}
	a, err := ticket.Key(share[:])
	if err != nil {
		fmt.Println(err)
		return
	}
	b, err := typed.Key(share[:])
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(a.Equal(b), ticket)
	// Output: true ticket (redacted)
}
