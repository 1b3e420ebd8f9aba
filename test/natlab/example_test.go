//go:build linux

package natlab_test

import (
	"context"
	"fmt"
	"time"

	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/impair"
	"github.com/decant-dev/decant/test/natlab"
)

// A server and a phone, which leaves its Wi-Fi for a mobile network while a program runs on it.
func Example() {
	lab, err := natlab.New() // in a test: natlab.Test(t)
	if err != nil {
		panic(err)
	}
	defer lab.Close()
	server, _ := lab.Public(natlab.Cable{})
	wifi, _ := lab.Home(natlab.PortRestricted, natlab.Cable{Rate: 12_500_000})
	mobile, _ := lab.Home(natlab.Symmetric, natlab.Cable{Link: impair.Both(1, impair.Profile{Delay: 40 * time.Millisecond, Loss: 0.01})})
	phone, _ := wifi.Device(natlab.Cable{})

	ping, _ := phone.Start(context.Background(), env.Command{Path: "ping", Args: []string{"-c", "20", server.Addr().String()}})
	phone.Move(mobile, natlab.Cable{})
	for _, e := range ping.Wait().Events {
		fmt.Println(e.Raw)
	}
}
