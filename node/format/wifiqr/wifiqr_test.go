package wifiqr

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/test/env"
	"pgregory.net/rapid"
)

func TestString(t *testing.T) {
	c := Code{{"T", "WPA"}, {"S", `"foo;bar\baz"`}, {"P", "a:b,c"}, {"H", "true"}, {"A", ""}}
	const want = `WIFI:T:WPA;S:\"foo\;bar\\baz\";P:a\:b\,c;H:true;;`
	if got := c.String(); got != want {
		t.Errorf("got %s", got)
	}
	got, err := Parse(want)
	if err != nil || !slices.Equal(got, c[:4]) {
		t.Errorf("%v %v", got, err)
	}
	for _, bad := range []string{"", "WIFI:", "WIFI:T:WPA;;", "WIFI:S:a", "http://x", "WIFI:S", "WIFI:S:" + strings.Repeat("x", MaxText) + ";;"} {
		if c, err := Parse(bad); err == nil {
			t.Errorf("%q is read as %v", bad, c)
		}
	}
}

// TestZbar shows that a reader of QR codes that is not ours reads what we draw.
func TestZbar(t *testing.T) {
	zbar := env.Program(t, "zbarimg")
	for _, c := range []Code{{{"T", "WPA"}, {"S", `Café;\`}, {"P", `p"a:s,s ☕`}}, {{"T", "nopass"}, {"S", "x"}}, {{"S", "long"}, {"P", strings.Repeat("Grüße aus Köln; ", 30)}}} {
		b, err := c.PNG()
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(t.TempDir(), "code.png")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(zbar, "--raw", "-q", name).Output()
		if got := strings.TrimSuffix(string(out), "\n"); err != nil || got != c.String() {
			t.Errorf("zbarimg reads %q, %v; want %q", got, err, c.String())
		}
	}
}

func TestPNG(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := Code{{"S", rapid.StringN(1, 32, 32).Draw(t, "ssid")}, {"P", rapid.StringN(1, 63, 63).Draw(t, "password")}}
		b, err := c.PNG()
		if err != nil {
			t.Fatal(err)
		}
		got, err := FromPNG(b)
		if err != nil || strings.TrimRight(got.Get("P"), "\r\n") != strings.TrimRight(c.Get("P"), "\r\n") || got.Get("S") != c.Get("S") {
			t.Fatalf("%q became %q, %v", c, got, err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(`WIFI:T:WPA;S:\"foo\;bar\\baz\";P:a\:b\,c;H:true;;`)
	f.Fuzz(func(t *testing.T, s string) {
		c, err := Parse(s)
		if err != nil {
			return
		}
		if again, err := Parse(c.String()); err != nil && len(c.String()) <= MaxText || err == nil && again.Get("S") != c.Get("S") {
			t.Fatalf("%q is read as %q and then as %q, %v", s, c, again, err)
		}
	})
}

func FuzzFromPNG(f *testing.F) {
	b, _ := Code{{"S", "x"}}.PNG()
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { FromPNG(b) })
}
