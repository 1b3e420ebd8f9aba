package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{
		Use:               "version",
		Short:             "Show the version",
		Args:              args(cobra.NoArgs),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			v := version()
			a.screen.Result(v)
			a.screen.Data("decant " + v.Version + " (protocol 1, " + v.Go + ", " + v.Platform + ")")
			return nil
		},
	}
}

type versionResult struct {
	Version  string `json:"version"`
	Protocol int    `json:"protocol"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// version reads what the go command wrote into the program: the module's version, or the commit it was built from.
func version() versionResult {
	v := versionResult{Version: "unreleased", Protocol: 1, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		v.Version = info.Main.Version
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v.Version = "unreleased-" + s.Value[:12]
		}
	}
	return v
}
