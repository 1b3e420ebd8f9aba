// Command decant links test code and counts durable steps.
package main

import (
	_ "testing"

	_ "github.com/decant-dev/decant/kill"
)

func main() {}
