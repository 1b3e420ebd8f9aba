package grant_test

import (
	"fmt"
	"time"

	"github.com/decant-dev/decant/crypto/grant"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
)

func device(role key.Role) (*key.Device, *key.Exchange, []byte, error) {
	d := key.NewDevice()
	e, err := key.NewExchange()
	if err != nil {
		return nil, nil, nil, err
	}
	card, err := key.SignCard(d, e, role, key.Limits{}, time.Now().Add(time.Hour), "")
	return d, e, card, err
}

// The sender grants a session to the receiver whose card it has.
func Example() {
	sender, senderEx, senderCard, err := device(key.Sender)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, receiverEx, receiverCard, err := device(key.Receiver)
	if err != nil {
		fmt.Println(err)
		return
	}
	g := &grant.Grant{MK: seal.NewMasterKey(), Session: id.NewSession(), NotAfter: time.Now().Add(time.Hour),
		SenderCard: key.HashCard(senderCard), ReceiverCard: key.HashCard(receiverCard)}
	sealed, err := grant.Seal(g, sender, senderEx, receiverCard)
	if err != nil {
		fmt.Println(err)
		return
	}
	opened, err := grant.Open(sealed, receiverEx, senderCard, receiverCard, g.Session)
	fmt.Println(len(sealed), opened.MK.Equal(g.MK), err)
	_, err = grant.Open(sealed, receiverEx, senderCard, receiverCard, id.NewSession())
	fmt.Println(err)
	// Output:
	// 1400 true <nil>
	// grant does not open
}
