package main

import (
	"os"
	"runtime/pprof"

	"github.com/decant-dev/decant/cmd/decant/internal/ui"
)

// profiled runs the program and, where the environment variable DECANT_CPUPROFILE
// names a file, writes a CPU profile of it there. It is for test/bench -profile.
func profiled(run func() ui.Code) ui.Code {
	name := os.Getenv("DECANT_CPUPROFILE")
	if name == "" {
		return run()
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		defer f.Close()
		err = pprof.StartCPUProfile(f)
	}
	if err != nil {
		os.Stderr.WriteString("decant: profile: " + err.Error() + "\n")
		return ui.Failed
	}
	defer pprof.StopCPUProfile()
	return run()
}
