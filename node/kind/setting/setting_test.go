package setting

import (
	"context"
	"testing"

	"github.com/decant-dev/decant/node/format/dconfdump"
	"github.com/decant-dev/decant/node/kind/rule"
)

func TestWhy(t *testing.T) {
	for path, moves := range map[[2]string]bool{
		{"org/gnome/desktop/interface", "clock-format"}:                                        true,
		{"org/gnome/desktop/wm/keybindings", "move-to-monitor-left"}:                           true,
		{"org/gnome/desktop/privacy", "remember-recent-files"}:                                 true,
		{"org/gnome/settings-daemon/plugins/media-keys", "volume-up"}:                          true,
		{"org/gnome/settings-daemon/plugins/media-keys", "custom-keybindings"}:                 false,
		{"org/gnome/settings-daemon/plugins/media-keys/custom-keybindings/custom0", "command"}: false,
		{"org/gnome/nautilus/window-state", "initial-size"}:                                    false,
		{"org/gnome/nautilus/preferences", "default-folder-viewer"}:                            true,
		{"org/gnome/desktop/peripherals/tablets/056a:00de", "output"}:                          false,
		{"org/gnome/desktop/remote-desktop/rdp", "tls-key"}:                                    false,
		{"org/gnome/control-center", "last-panel"}:                                             false,
		{"org/gnome/desktop/default-applications/terminal", "exec"}:                            false,
		{"system/proxy", "mode"}:                                                               false, {"org/gtk/settings/file-chooser", "window-size"}: false, {"", "x"}: false,
	} {
		e := dconfdump.Entry{Dir: path[0], Key: path[1], Value: "1"}
		if why := Why(e); (why == "") != moves {
			t.Errorf("%s: %q", e.Path(), why)
		}
	}
}

func FuzzRules(f *testing.F) {
	f.Add([]byte("[org/gnome/desktop/interface]\nclock-format='24h'\n"), []byte("[org/gnome/desktop/interface]\nclock-format='12h'\nfont-name=''\n"))
	f.Fuzz(func(t *testing.T, a, b []byte) {
		existing, incoming := Rules{}.Split("a", a), Rules{}.Split("b", b)
		for _, r := range incoming {
			Rules{}.Shape(r, rule.Profile{})
		}
		d, err := Rules{}.Match(context.Background(), existing, incoming, rule.Options{})
		if err != nil || len(d) != len(incoming) {
			t.Fatal(err)
		}
	})
}
