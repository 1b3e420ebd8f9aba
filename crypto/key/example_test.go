package key_test

import (
	"fmt"
	"time"

	"github.com/decant-dev/decant/crypto/key"
)

// A device signs its card; the other side parses it and asks what it needs to know.
func Example() {
	device := key.NewDevice()
	exchange, err := key.NewExchange()
	if err != nil {
		fmt.Println(err)
		return
	}
	signed, err := key.SignCard(device, exchange, key.Receiver, key.Limits{MaxItems: 1e6}, time.Now().Add(24*time.Hour), "new phone")
	if err != nil {
		fmt.Println(err)
		return
	}
	card, err := key.ParseCard(signed)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(card.Role, card.Label, card.Peer == device.Peer(), card.Expired(time.Now()))
	fmt.Println(device)
	// Output:
	// receiver new phone true false
	// device key (redacted)
}
