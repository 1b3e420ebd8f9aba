package seal_test

import (
	"fmt"

	"github.com/decant-dev/decant/crypto/label"
	"github.com/decant-dev/decant/crypto/seal"
	"github.com/decant-dev/decant/proto/id"
)

// A pack is sealed for its place in its session and opens nowhere else.
func Example() {
	sid := id.NewSession()
	keys, err := seal.Schedule(seal.NewMasterKey(), sid, id.CardHash{})
	if err != nil {
		fmt.Println(err)
		return
	}
	place := func(pack uint64) []byte { return label.LV(label.Pack, sid[:], label.U64(1), label.U64(pack)) }

	blob := seal.Seal(nil, &keys.Pack, place(7), []byte("a pack"))
	plain, err := seal.Open(nil, &keys.Pack, place(7), blob)
	fmt.Printf("%s, %v\n", plain, err)
	_, err = seal.Open(nil, &keys.Pack, place(8), blob)
	fmt.Println(err)
	// Output:
	// a pack, <nil>
	// sealed blob does not open
}
