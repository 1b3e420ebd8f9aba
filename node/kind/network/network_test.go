package network

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/format/wifiqr"
	"github.com/decant-dev/decant/node/format/wpasupplicant"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/test/env"
)

func keyfiles(t testing.TB) map[string][]byte {
	t.Helper()
	all := map[string][]byte{}
	names, err := filepath.Glob("testdata/keyfiles/*" + Extension)
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, n := range names {
		if all[filepath.Base(n)], err = os.ReadFile(n); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func record(name string, data []byte) item.Record { return Rules{}.Split("Networks/"+name, data)[0] }

// normalise returns a keyfile as NetworkManager writes it; "" if it refuses it.
func normalise(t *testing.T, data []byte) string {
	t.Helper()
	cmd := exec.Command(env.Program(t, "nmcli"), "--offline", "connection", "modify", "connection.autoconnect-slaves", "-1")
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// TestKeyfilesKept shows that a keyfile that passes through a collection is what it was, and means the same to NetworkManager.
func TestKeyfilesKept(t *testing.T) {
	for name, data := range keyfiles(t) {
		r := record(name, data)
		out, _, ok := Rules{}.Shape(r, rule.Profile{})
		if !ok || !bytes.Equal(out.Data, data) || out.Path != name || r.Label == "" {
			t.Errorf("%s: became %+v", name, out)
		}
		before, after := normalise(t, data), normalise(t, out.Data)
		if before == "" || before != after {
			t.Errorf("%s: NetworkManager reads\n%s\nand then\n%s", name, before, after)
		}
	}
}

// TestEdited shows that what we change in a keyfile is what NetworkManager reads, and nothing else.
func TestEdited(t *testing.T) {
	for name, data := range keyfiles(t) {
		c := Parse(data)
		c.set("connection", "zone", "home")
		want := normalise(t, data)
		got := normalise(t, c.Bytes())
		if strings.Replace(got, "zone=home\n", "", 1) != want || got == want {
			t.Errorf("%s: NetworkManager reads\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestSSID(t *testing.T) {
	for _, s := range []string{"a", "Café", " leading", "trailing ", "a;b", `a\b`, "67;", "\x00\xff", "a b", "=", "#x", "☕", "67;97;"} {
		raw := formatSSID([]byte(s))
		if got := string(parseSSID(raw)); got != s {
			t.Errorf("%q is written as %s and read as %q", s, raw, got)
		}
		c := newWiFi("", []byte(s))
		c.identify()
		again := Parse([]byte(normalise(t, c.Bytes())))
		if got := string(again.SSID()); got != s {
			t.Errorf("%q is %q to NetworkManager", s, got)
		}
	}
}

const supplicant = `country=DE
network={
	ssid="Home"
	psk="correct horse # battery"
	scan_ssid=1
	priority=7
	bgscan="simple:30:-65:300"
}
network={
	ssid=436166c3a9
	key_mgmt=SAE WPA-PSK
	sae_password="geheim"
	ieee80211w=2
}
network={
	ssid="eduroam"
	key_mgmt=WPA-EAP
	eap=PEAP TTLS
	identity="me@example.org"
	anonymous_identity="anonymous@example.org"
	password="pass\word"
	ca_cert="/etc/ssl/certs/ca.pem"
	phase1="peapver=0"
	phase2="auth=MSCHAPV2"
	domain_suffix_match="example.org"
}
network={
	ssid="hashed"
	key_mgmt=WPA-EAP
	eap=PEAP
	identity="x"
	password=hash:0123456789abcdef0123456789abcdef
	phase2="auth=MSCHAPV2"
}
network={
	ssid="raw"
	psk=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
	proto=WPA2
	pairwise=CCMP TKIP
}
network={
	ssid="museum"
	key_mgmt=NONE
	disabled=1
}
network={
	ssid="wep"
	key_mgmt=NONE
	wep_key0="abcde"
	wep_key1=0123456789
	wep_tx_keyidx=1
	auth_alg=SHARED
}
`

// TestSupplicant shows that networks of wpa_supplicant are accepted by NetworkManager, and are what they were when written back.
func TestSupplicant(t *testing.T) {
	for _, b := range wpasupplicant.Parse([]byte(supplicant)).Blocks {
		r, changes, ok := FromBlock(b, "wpa_supplicant.conf:1")
		if !ok {
			t.Fatalf("%v: %v", b, changes)
		}
		if normalise(t, r.Data) == "" {
			t.Errorf("NetworkManager refuses\n%s", r.Data)
		}
		for _, c := range changes {
			if c.Effect != item.EffectMoved {
				t.Errorf("%s: %+v", r.Label, c)
			}
			if strings.Contains(c.Before, "hash:") {
				t.Errorf("a secret is shown: %+v", c)
			}
		}
		back, why := ToBlock(r.Data)
		if why != "" {
			t.Fatal(why)
		}
		for _, f := range b.Fields {
			got, _ := back.Get(f.Name)
			want := f.Value
			if f.Name == "ssid" || f.Name == "psk" {
				g, _ := wpasupplicant.Unquote(got)
				w, _ := wpasupplicant.Unquote(want)
				got, want = string(g), string(w)
			}
			if want == "WPA2" {
				want = "RSN"
			}
			if got != want {
				t.Errorf("%s: %s was %q and is %q", r.Label, f.Name, want, got)
			}
		}
		checkShape(t, r, Supplicant)
	}
}

// checkShape shows that a form takes a record, that shaping it again changes nothing, and that what is lost is told.
func checkShape(t *testing.T, r item.Record, form string) (item.Record, []item.Change) {
	t.Helper()
	p := rule.Profile{Version: form}
	out, changes, ok := Rules{}.Shape(r, p)
	if !ok {
		if len(changes) == 0 || changes[len(changes)-1].Why == "" {
			t.Errorf("%s: refused without a reason", r.Label)
		}
		return r, changes
	}
	again, more, ok := Rules{}.Shape(out, p)
	if !ok || !bytes.Equal(again.Data, out.Data) || len(more) != 0 {
		t.Errorf("%s as %s: shaped again\n%s\n%+v\nbefore\n%s", r.Label, form, again.Data, more, out.Data)
	}
	told := map[string]bool{}
	for _, c := range changes {
		told[c.Property] = true
		if strings.Contains(c.Before+c.After, "geheim") {
			t.Errorf("a secret is shown: %+v", c)
		}
	}
	now := map[property]bool{}
	for _, p := range Parse(out.Data).properties() {
		now[p] = true
	}
	for _, p := range Parse(r.Data).properties() {
		if !now[p] && !told[p.name()] {
			t.Errorf("%s as %s: %s is lost silently", r.Label, form, p.name())
		}
	}
	return out, changes
}

func TestForms(t *testing.T) {
	taken := map[string]int{}
	for name, data := range keyfiles(t) {
		for _, form := range []string{Supplicant, Apple, QR} {
			r := record(name, data)
			if out, _ := checkShape(t, r, form); !bytes.Equal(out.Data, r.Data) {
				taken[form]++
				if normalise(t, out.Data) == "" {
					t.Errorf("NetworkManager refuses what %s left of %s:\n%s", form, name, out.Data)
				}
			}
		}
	}
	t.Logf("of %d: %v", len(keyfiles(t)), taken)
	if taken[Supplicant] < 9 || taken[Apple] < 7 || taken[QR] < 6 {
		t.Errorf("too few: %v", taken)
	}
}

func TestCode(t *testing.T) {
	c, err := wifiqr.Parse(`WIFI:T:WPA;S:Caf\;é;P:p\:w;H:true;R:1;;`)
	if err != nil {
		t.Fatal(err)
	}
	r, changes, ok := FromCode(c, "code.txt:1")
	if !ok || len(changes) != 1 || changes[0].Property != "R" {
		t.Errorf("%v %v", changes, ok)
	}
	if back, why := ToCode(r.Data); back.String() != c.String() {
		t.Errorf("%s, %s", back, why)
	}
}

func match(t *testing.T, existing, incoming []item.Record) []rule.Decision {
	t.Helper()
	d, err := Rules{}.Match(context.Background(), existing, incoming, rule.Options{})
	if err != nil || len(d) != len(incoming) {
		t.Fatal(d, err)
	}
	return d
}

const home = "[connection]\nid=Home\nuuid=6d0e7a6e-31a4-4a1e-90a5-6b70c6a1f3a2\ntype=wifi\n\n[wifi]\nssid=Home\n\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=secret1\n"

func TestMatch(t *testing.T) {
	old := strings.NewReplacer("[wifi", "[802-11-wireless", "\nid=Home", "\nid=Zuhause", "f3a2", "ffff").Replace(home)
	for _, c := range []struct {
		name, existing, incoming string
		want                     rule.Verdict
		contains                 string
	}{
		{"same", home, home, rule.Same, ""},
		{"other name, id and file", home, old, rule.Same, ""},
		{"other key", home, strings.ReplaceAll(home, "secret1", "secret2"), rule.Conflict, "psk=secret2"},
		{"lacks hidden", home, strings.Replace(home, "ssid=Home\n", "ssid=Home\nhidden=true\n", 1), rule.Merge, "hidden=true"},
		{"other security", home, strings.NewReplacer("wpa-psk", "sae", "f3a2", "0000").Replace(home), rule.Suggest, "sae"},
		{"other network", home, strings.NewReplacer("Home", "Cafe", "f3a2", "0000").Replace(home), rule.New, "Cafe"},
		{"taken UUID", home, strings.NewReplacer("Home", "Cafe").Replace(home), rule.New, "Cafe"},
	} {
		existing, incoming := []item.Record{record("a", []byte(c.existing))}, []item.Record{record("b", []byte(c.incoming))}
		d := match(t, existing, incoming)[0]
		if d.Verdict != c.want || !strings.Contains(string(d.Result), c.contains) {
			t.Errorf("%s: %v %s", c.name, d.Verdict, d.Result)
			continue
		}
		for _, ch := range d.Changes {
			if strings.Contains(ch.Before+ch.After, "secret") && !strings.Contains(ch.Before, "(secret)") {
				t.Errorf("%s: shows %+v", c.name, ch)
			}
		}
		switch d.Verdict {
		case rule.Same:
			continue
		case rule.Merge:
			existing[0].Data = d.Result
		default:
			existing = append(existing, record("c", d.Result))
		}
		if d := match(t, existing, incoming)[0]; d.Verdict != rule.Same {
			t.Errorf("%s: matched again it is %v", c.name, d.Verdict)
		}
		if d.Verdict != rule.Merge && strings.Contains(string(d.Result), "f3a2") {
			t.Errorf("%s: two networks have one UUID", c.name)
		}
	}
}

func TestMatchAmongIncoming(t *testing.T) {
	other := strings.ReplaceAll(home, "secret1", "secret2")
	d := match(t, nil, []item.Record{record("a", []byte(home)), record("b", []byte(home)), record("c", []byte(other))})
	if d[0].Verdict != rule.New || d[1].Verdict != rule.Same || d[1].With != 0 || d[2].Verdict != rule.Conflict || d[2].With != 0 {
		t.Errorf("%+v", d)
	}
}

func FuzzRules(f *testing.F) {
	for _, data := range keyfiles(f) {
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 || len(data) > 1<<12 {
			return
		}
		r := record("x", data)
		for _, form := range []string{"", Supplicant, Apple, QR} {
			p := rule.Profile{Version: form}
			out, _, ok := Rules{}.Shape(r, p)
			if !ok {
				continue
			}
			if _, more, ok := (Rules{}).Shape(out, p); form != "" && (!ok || len(more) > 0) {
				t.Fatalf("%s: shaped again %+v\n%q", form, more, out.Data)
			}
		}
		d, err := Rules{}.Match(context.Background(), nil, []item.Record{r, r}, rule.Options{})
		if err != nil || d[1].Verdict != rule.Same {
			t.Fatalf("%+v %v", d, err)
		}
	})
}
