package impair_test

import (
	"fmt"
	"io"
	"net"
	"time"

	"github.com/decant-dev/decant/test/impair"
)

// A server that is 40 ms away, behind an upload of 1 MB/s, and once away altogether.
func Example() {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c)
		}
	}()
	link := impair.NewLink(1, impair.Profile{Delay: 20 * time.Millisecond, Rate: 1e6}, impair.Profile{Delay: 20 * time.Millisecond})
	proxy, err := impair.Listen("127.0.0.1:0", server.Addr().String(), link)
	if err != nil {
		panic(err)
	}
	defer proxy.Close()

	c, err := net.Dial("tcp", proxy.Address())
	if err != nil {
		panic(err)
	}
	defer c.Close()
	link.Cut() // whatever is said now is heard later
	io.WriteString(c, "hello")
	link.Restore()
	answer := make([]byte, 5)
	io.ReadFull(c, answer)
	fmt.Println(string(answer))
	// Output: hello
}
