//go:build killpoints

package kill

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
)

// Enabled reports whether this build can be killed at a point.
const Enabled = true

var (
	mu    sync.Mutex // guards left, stops and seen
	left  = parse(os.Getenv("DECANT_KILL"))
	stops = parse(os.Getenv("DECANT_STOP"))
	trace = os.Getenv("DECANT_KILL_TRACE") // file to which the name of every point reached is appended
	seen  = map[Name]bool{}
)

func parse(s string) map[Name]int {
	m := map[Name]int{}
	for e := range strings.SplitSeq(s, ",") {
		name, count, ok := strings.Cut(e, ":")
		n := 1
		if ok {
			n, _ = strconv.Atoi(count)
		}
		if name != "" {
			m[Name(name)] = max(n, 1)
		}
	}
	return m
}

// due counts a visit and reports whether it is the one.
func due(m map[Name]int, n Name) bool {
	if m[n] == 0 {
		return false
	}
	m[n]--
	return m[n] == 0
}

// Point stops or kills the process if its turn has come.
func Point(n Name) {
	mu.Lock()
	defer mu.Unlock()
	if trace != "" && !seen[n] {
		seen[n] = true
		if f, err := os.OpenFile(trace, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, n)
			f.Close()
		}
	}
	if due(stops, n) {
		stop()
	}
	if !due(left, n) {
		return
	}
	p, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = p.Kill()
	}
	if err != nil {
		os.Exit(137)
	}
	select {}
}
