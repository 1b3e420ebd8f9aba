package setting

import (
	"path"
	"strings"

	"github.com/decant-dev/decant/node/format/dconfdump"
)

// allowed are the settings that move: directories as path.Match patterns, and patterns of their keys.
// It is a list of what is known to be a person's taste or need, so what is new is left out until somebody has looked at it.
var allowed = []struct {
	dir  string
	keys []string
}{
	// GNOME, and what is built on its desktop
	{"org/gnome/desktop/interface", []string{"accent-color", "avatar-directories", "clock-*", "color-scheme", "cursor-blink*", "cursor-size", "cursor-theme", "document-font-name", "enable-animations",
		"enable-hot-corners", "font-antialiasing", "font-hinting", "font-name", "gtk-enable-primary-paste", "gtk-key-theme", "gtk-theme", "icon-theme", "locate-pointer", "monospace-font-name",
		"overlay-scrolling", "show-battery-percentage", "text-scaling-factor", "toolkit-accessibility"}},
	{"org/gnome/desktop/a11y", []string{"*"}},
	{"org/gnome/desktop/a11y/*", []string{"*"}},
	{"org/gnome/desktop/background", []string{"color-shading-type", "picture-options", "picture-uri", "picture-uri-dark", "primary-color", "secondary-color", "show-desktop-icons"}},
	{"org/gnome/desktop/screensaver", []string{"lock-enabled", "lock-delay", "idle-activation-enabled", "picture-options", "picture-uri", "primary-color", "secondary-color"}},
	{"org/gnome/desktop/calendar", []string{"show-weekdate"}},
	{"org/gnome/desktop/datetime", []string{"automatic-timezone"}},
	{"org/gnome/desktop/input-sources", []string{"sources", "xkb-options", "per-window", "show-all-sources"}},
	{"org/gnome/desktop/media-handling", []string{"autorun-never", "automount", "automount-open"}},
	{"org/gnome/desktop/notifications", []string{"show-banners", "show-in-lock-screen"}},
	{"org/gnome/desktop/peripherals/mouse", []string{"*"}},
	{"org/gnome/desktop/peripherals/touchpad", []string{"*"}},
	{"org/gnome/desktop/peripherals/trackball", []string{"accel-profile", "middle-click-emulation", "scroll-wheel-emulation-button*"}},
	{"org/gnome/desktop/peripherals/keyboard", []string{"delay", "repeat", "repeat-interval", "numlock-state", "remember-numlock-state"}},
	{"org/gnome/desktop/privacy", []string{"remember-recent-files", "recent-files-max-age", "remove-old-temp-files", "remove-old-trash-files", "old-files-age", "disable-camera", "disable-microphone", "disable-sound-output", "hide-identity", "report-technical-problems", "send-software-usage-stats"}},
	{"org/gnome/desktop/search-providers", []string{"disable-external", "disabled", "enabled", "sort-order"}},
	{"org/gnome/desktop/session", []string{"idle-delay"}},
	{"org/gnome/desktop/sound", []string{"allow-volume-above-100-percent", "event-sounds", "input-feedback-sounds", "theme-name"}},
	{"org/gnome/desktop/wm/preferences", []string{"*"}},
	{"org/gnome/desktop/wm/keybindings", []string{"*"}},
	{"org/gnome/mutter", []string{"attach-modal-dialogs", "center-new-windows", "dynamic-workspaces", "edge-tiling", "focus-change-on-pointer-rest", "locate-pointer-key", "overlay-key", "workspaces-only-on-primary"}},
	{"org/gnome/mutter/keybindings", []string{"*"}},
	{"org/gnome/mutter/wayland/keybindings", []string{"*"}},
	{"org/gnome/shell", []string{"favorite-apps"}},
	{"org/gnome/shell/keybindings", []string{"*"}},
	{"org/gnome/shell/app-switcher", []string{"current-workspace-only"}},
	{"org/gnome/shell/window-switcher", []string{"*"}},
	{"org/gnome/settings-daemon/plugins/color", []string{"night-light-enabled", "night-light-temperature", "night-light-schedule-*"}},
	{"org/gnome/settings-daemon/plugins/media-keys", []string{"*"}},
	{"org/gnome/settings-daemon/plugins/power", []string{"ambient-enabled", "idle-dim", "power-button-action", "sleep-inactive-*"}},
	{"org/gnome/system/location", []string{"enabled"}},
	{"org/gnome/nautilus/*", []string{"*"}},
	{"org/gtk/settings/file-chooser", []string{"clock-format", "show-hidden", "sort-directories-first", "sort-column", "sort-order", "date-format", "show-size-column", "show-type-column", "location-mode"}},
	{"org/gtk/gtk4/settings/file-chooser", []string{"clock-format", "show-hidden", "sort-directories-first", "sort-column", "sort-order", "date-format", "show-size-column", "show-type-column", "location-mode", "view-type"}},
	{"org/gnome/TextEditor", []string{"*"}},
	{"org/gnome/gedit/preferences/*", []string{"*"}},
	{"org/gnome/calculator", []string{"accuracy", "angle-units", "base", "button-mode", "number-format", "show-thousands", "show-zeroes", "word-size"}},
	{"org/gnome/terminal/legacy", []string{"default-show-menubar", "headerbar", "menu-accelerator-enabled", "mnemonics-enabled", "shortcuts-enabled", "theme-variant"}},
	{"org/gnome/terminal/legacy/keybindings", []string{"*"}},

	// Cinnamon
	{"org/cinnamon", []string{"favorite-apps", "desktop-effects*", "hotcorner-layout", "alttab-*", "startup-animation"}},
	{"org/cinnamon/theme", []string{"name"}},
	{"org/cinnamon/sounds", []string{"*-enabled"}},
	{"org/cinnamon/desktop/a11y", []string{"*"}},
	{"org/cinnamon/desktop/a11y/*", []string{"*"}},
	{"org/cinnamon/desktop/background", []string{"color-shading-type", "picture-options", "picture-uri", "primary-color", "secondary-color"}},
	{"org/cinnamon/desktop/interface", []string{"*"}},
	{"org/cinnamon/desktop/keybindings", []string{"looking-glass-keybinding", "pointer-next-monitor", "pointer-previous-monitor"}},
	{"org/cinnamon/desktop/keybindings/media-keys", []string{"*"}},
	{"org/cinnamon/desktop/keybindings/wm", []string{"*"}},
	{"org/cinnamon/desktop/peripherals/mouse", []string{"*"}},
	{"org/cinnamon/desktop/peripherals/touchpad", []string{"*"}},
	{"org/cinnamon/desktop/peripherals/keyboard", []string{"*"}},
	{"org/cinnamon/desktop/sound", []string{"*"}},
	{"org/cinnamon/desktop/wm/preferences", []string{"*"}},
	{"org/cinnamon/settings-daemon/plugins/color", []string{"night-light-enabled", "night-light-temperature", "night-light-schedule-*"}},
	{"org/nemo/preferences", []string{"*"}},
	{"org/nemo/*-view", []string{"*"}},

	// MATE
	{"org/mate/desktop/accessibility/*", []string{"*"}},
	{"org/mate/desktop/background", []string{"color-shading-type", "picture-filename", "picture-options", "primary-color", "secondary-color", "show-desktop-icons"}},
	{"org/mate/desktop/interface", []string{"*"}},
	{"org/mate/desktop/peripherals/mouse", []string{"*"}},
	{"org/mate/desktop/peripherals/touchpad", []string{"*"}},
	{"org/mate/desktop/peripherals/keyboard", []string{"delay", "rate", "repeat", "numlock-state", "remember-numlock-state"}},
	{"org/mate/desktop/peripherals/keyboard/kbd", []string{"layouts", "model", "options"}},
	{"org/mate/desktop/sound", []string{"*"}},
	{"org/mate/marco/general", []string{"*"}},
	{"org/mate/marco/window-keybindings", []string{"*"}},
	{"org/mate/marco/global-keybindings", []string{"*"}},
	{"org/mate/caja/*", []string{"*"}},
	{"org/mate/pluma", []string{"*"}},
}

// never are words in a path that make it a thing of one device, of the moment, or of an account,
// whatever the list says; with the reason that a person is told.
var never = []struct{ word, why string }{
	{"password", "it may be a secret"}, {"passphrase", "it may be a secret"}, {"token", "it may be a secret"}, {"secret", "it may be a secret"}, {"credential", "it may be a secret"}, {"cookie", "it may be a secret"},
	{"account", "accounts are set up on each device anew"}, {"username", "accounts are set up on each device anew"}, {"email", "accounts are set up on each device anew"}, {"online-accounts", "accounts are set up on each device anew"},
	{"monitor", "it belongs to the old device's screens"}, {"display", "it belongs to the old device's screens"}, {"screen-resolution", "it belongs to the old device's screens"},
	{"window-size", "it is the place of a window"}, {"window-position", "it is the place of a window"}, {"window-state", "it is the place of a window"}, {"window-width", "it is the place of a window"}, {"window-height", "it is the place of a window"},
	{"geometry", "it is the place of a window"}, {"maximized", "it is the place of a window"}, {"sidebar-width", "it is the place of a window"}, {"initial-size", "it is the place of a window"},
	{"recent", "it is what was used last"}, {"last-", "it is what was used last"}, {"history", "it is what was used last"}, {"mru", "it is what was used last"},
	{"bluetooth", "it belongs to a part of the old device"}, {"network", "networks are moved as networks"}, {"printer", "it belongs to a part of the old device"}, {"wacom", "it belongs to a part of the old device"}, {"tablets", "it belongs to a part of the old device"},
	{"exec", "it names a program to run"}, {"command", "it names a program to run"}, {"custom-keybinding", "it names a program to run"}, {"custom-list", "it names a program to run"},
	{"uuid", "it identifies something of the old device"}, {"serial", "it identifies something of the old device"}, {"proxy", "it belongs to the old device's network"},
}

// harmless are paths that have such a word and are on the list all the same.
var harmless = []string{
	"/org/gnome/desktop/privacy/remember-recent-files", "/org/gnome/desktop/privacy/recent-files-max-age", "/org/gnome/desktop/wm/keybindings/", "/org/gnome/shell/keybindings/", "/org/gnome/mutter/keybindings/",
	"/org/cinnamon/desktop/keybindings/", "/org/mate/marco/window-keybindings/", "/org/mate/marco/global-keybindings/", "/org/gnome/mutter/wayland/keybindings/", "/org/gnome/settings-daemon/plugins/media-keys/",
}

// Why returns why a setting stays where it is, "" if it moves.
func Why(e dconfdump.Entry) string {
	at := e.Path()
	risky := ""
	for _, n := range never {
		if strings.Contains(strings.ToLower(at), n.word) {
			risky = n.why
			break
		}
	}
	if !listed(e) {
		if risky != "" {
			return risky
		}
		return "it is not on the list of settings that are known to be a person's and not a device's"
	}
	if risky != "" && !isHarmless(at) || strings.Contains(at, "custom-") && strings.Contains(at, "keybinding") {
		return risky
	}
	return whyValue(e.Value)
}

func isHarmless(at string) bool {
	for _, h := range harmless {
		if strings.HasPrefix(at, h) {
			return true
		}
	}
	return false
}

func listed(e dconfdump.Entry) bool {
	for _, a := range allowed {
		if ok, _ := path.Match(a.dir, e.Dir); !ok {
			continue
		}
		for _, k := range a.keys {
			if ok, _ := path.Match(k, e.Key); ok {
				return true
			}
		}
	}
	return false
}

// whyValue keeps values behind that name what only the old device has.
func whyValue(value string) string {
	low := strings.ToLower(value)
	for _, place := range []string{"/home/", "/run/", "/media/", "/mnt/", "/tmp/", "/root/", "/var/"} {
		if strings.Contains(low, place) {
			return "it names a file of the old device"
		}
	}
	for _, scheme := range []string{"http:", "https:", "ftp:", "smb:", "sftp:", "dav:", "davs:"} {
		if strings.Contains(low, scheme) {
			return "it names an address that the desktop would fetch"
		}
	}
	return ""
}
