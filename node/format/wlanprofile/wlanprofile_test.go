package wlanprofile

import (
	"errors"
	"strings"
	"testing"
)

const windowsProfile = `<?xml version="1.0"?>
<WLANProfile xmlns="http://www.microsoft.com/networking/WLAN/profile/v1">
	<name>Café &amp; Bar</name>
	<SSIDConfig><SSID><hex>436166C3A9</hex><name>Café</name></SSID><nonBroadcast>true</nonBroadcast></SSIDConfig>
	<connectionType>ESS</connectionType><connectionMode>manual</connectionMode>
	<MSM><security>
		<authEncryption><authentication>WPA2PSK</authentication><encryption>AES</encryption><useOneX>false</useOneX></authEncryption>
		<sharedKey><keyType>passPhrase</keyType><protected>false</protected><keyMaterial>geheim 123</keyMaterial></sharedKey>
	</security></MSM>
	<MacRandomization xmlns="http://www.microsoft.com/networking/WLAN/profile/v3"><enableRandomization>false</enableRandomization></MacRandomization>
</WLANProfile>`

const androidStore = `<?xml version='1.0' encoding='utf-8' standalone='yes' ?>
<WifiConfigStoreData><int name="Version" value="3" /><NetworkList>
<Network><WifiConfiguration><string name="ConfigKey">&quot;Home&quot;WPA_PSK</string><string name="SSID">&quot;Home&quot;</string><null name="BSSID" />
<string name="PreSharedKey">&quot;geheim &amp; &quot;123&quot;</string><boolean name="HiddenSSID" value="true" /><boolean name="AutoJoinEnabled" value="false" /></WifiConfiguration>
<NetworkStatus><string name="SelectionStatus">NETWORK_SELECTION_ENABLED</string></NetworkStatus></Network>
<Network><WifiConfiguration><string name="ConfigKey">436166c3a9NONE</string><string name="SSID">436166c3a9</string></WifiConfiguration></Network>
</NetworkList></WifiConfigStoreData>`

func TestWindows(t *testing.T) {
	all, err := Parse([]byte(windowsProfile))
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	n := all[0]
	if n.Name != "Café & Bar" || string(n.SSID) != "Café" || !n.Hidden || !n.Manual || n.Security != "wpa-psk" || n.Key != "geheim 123" || len(n.Left) != 1 {
		t.Errorf("%+v", n)
	}
	all, err = Parse([]byte(strings.Replace(windowsProfile, "<protected>false", "<protected>true", 1)))
	if err != nil || all[0].Key != "" {
		t.Errorf("%+v %v", all, err)
	}
}

func TestAndroid(t *testing.T) {
	all, err := Parse([]byte(androidStore))
	if err != nil || len(all) != 2 {
		t.Fatal(all, err)
	}
	if n := all[0]; string(n.SSID) != "Home" || n.Key != `geheim & "123` || !n.Hidden || !n.Manual || n.Security != "wpa-psk" {
		t.Errorf("%+v", n)
	}
	if n := all[1]; string(n.SSID) != "Café" || n.Security != "" || n.Hidden {
		t.Errorf("%+v", n)
	}
}

func TestRT19Refused(t *testing.T) {
	for name, c := range map[string]struct {
		data string
		want error
	}{
		"entities": {`<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><WLANProfile><name>&a;</name></WLANProfile>`, ErrForm},
		"deep":     {strings.Repeat("<a>", 1000), ErrLimit},
		"other":    {"<html><body>x</body></html>", ErrForm},
		"cut off":  {windowsProfile[:200], ErrForm},
		"empty":    {"", ErrForm},
		"large":    {strings.Repeat(" ", MaxSize+1), ErrLimit},
	} {
		if _, err := Parse([]byte(c.data)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(windowsProfile))
	f.Add([]byte(androidStore))
	f.Fuzz(func(t *testing.T, data []byte) { Parse(data) })
}
