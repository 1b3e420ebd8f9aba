package wifi

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFind(t *testing.T) {
	for _, p := range Find(t.TempDir()) {
		if _, err := Open(p); err != nil && !os.IsPermission(err) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("what is not there was opened")
	}
}

// FuzzNetworks shows that no file brings the reader down, and that what comes of it has a name and content.
func FuzzNetworks(f *testing.F) {
	for _, s := range []string{"[connection]\nid=a\n[wifi]\nssid=b\n", "network={\n\tssid=\"a\"\n\tpsk=\"b\"\n}\n", "WIFI:T:WPA;S:a;P:b;;\n",
		`<plist version="1.0"><dict><key>PayloadContent</key><array><dict><key>PayloadType</key><string>com.apple.wifi.managed</string><key>SSID_STR</key><string>a</string></dict></array></dict></plist>`} {
		f.Add("a.psk", []byte(s))
	}
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		found, _ := Networks(name, data)
		for _, r := range found {
			if r.Path == "" || len(r.Data) == 0 {
				t.Fatalf("%+v", r)
			}
		}
	})
}
