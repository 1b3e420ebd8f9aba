//go:build linux

package hostile

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const prolog = "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n"

func (o *out) sms(body string) {
	o.f("<sms protocol=\"0\" address=\"+491\" date=\"1600000000000\" type=\"1\" body=\"%s\" read=\"1\" status=\"-1\" />\n", body)
}

// archives are RT-19's: messages as XML.
var archives = []hostileFile{
	{name: "a billion laughs", write: func(w *out, t trap) {
		w.f(prolog + "<!DOCTYPE smses [\n<!ENTITY a \"lollollollollollollollollollol\">\n")
		for c := 'b'; c <= 'k'; c++ {
			w.f("<!ENTITY %c \"%s\">\n", c, strings.Repeat("&"+string(c-1)+";", 10))
		}
		w.f("]>\n<smses count=\"1\">")
		w.sms("&k;")
		w.f("</smses>")
	}},
	{name: "an external entity", write: func(w *out, t trap) {
		w.f(prolog+"<!DOCTYPE smses [<!ENTITY %% p SYSTEM \"%s/parameter\">%%p;<!ENTITY x SYSTEM \"file://%s\"><!ENTITY y SYSTEM \"%s/entity\">]>\n<smses count=\"1\">", t.url, t.secret, t.url)
		w.sms("&x;&y;")
		w.f("</smses>")
	}},
	{name: "an external type", write: func(w *out, t trap) {
		w.f(prolog+"<!DOCTYPE smses PUBLIC \"a\" \"%s/dtd\">\n<?xml-stylesheet href=\"%s/style\"?><smses xmlns:xi=\"http://www.w3.org/2001/XInclude\"><xi:include href=\"file://%s\"/>", t.url, t.url, t.secret)
		w.sms(marker)
		w.f("</smses>")
	}},
	{name: "an entity again and again", write: func(w *out, t trap) {
		w.f(prolog + "<!DOCTYPE smses [<!ENTITY a \"")
		w.repeat("x", sized(mega, mega))
		w.f("\">]>\n<smses><sms body=\"")
		w.repeat("&a;", sized(100_000, 100_000))
		w.f("\"/></smses>")
	}},
	{name: "elements in elements", write: func(w *out, t trap) {
		w.f(prolog + "<smses>")
		w.repeat("<a>", sized(100_000, 100_000))
		w.sms(marker)
		w.repeat("</a>", sized(100_000, 100_000))
		w.f("</smses>")
	}},
	{name: "messages in messages", write: func(w *out, t trap) {
		w.f(prolog + "<smses>")
		w.repeat("<mms date=\"1\"><parts><part seq=\"0\">", sized(50_000, 50_000))
	}},
	{name: "halves of emoji", whole: true, keeps: []string{marker}, write: func(w *out, t trap) {
		w.f(prolog + "<smses count=\"99999999999999999999\">")
		for _, s := range []string{"&#55357;", "&#56832;", "&#56832;&#55357;", "&#55357; &#56832;", "&#55357;&#56832;", "&#xD83D;&#xde00;", "&#0;", "&#27;[2J", "&#xFFFFFFFFFF;", "&#1114112;", "&#-1;", "&#x;", "&#;", "&nosuch;", "&amp;#55357;", "a&b", marker} {
			w.sms(s)
		}
		w.f("</smses>")
	}},
	{name: "a huge attribute", write: func(w *out, t trap) {
		w.f(prolog + "<smses><sms address=\"1\" date=\"1\" type=\"1\" body=\"")
		w.repeat("xxxxxxxx", sized(32*mega, 1000*mega)/8)
		w.f("\"/>")
		w.sms(marker)
		w.f("</smses>")
	}},
	{name: "a huge attribute that never ends", write: func(w *out, t trap) {
		w.f(prolog + "<smses><sms address=\"1\" body=\"")
		w.repeat("&#10;<>'", sized(32*mega, 1000*mega)/8)
	}},
	{name: "a huge tag", write: func(w *out, t trap) {
		w.f(prolog + "<smses><")
		w.repeat("sms", sized(8*mega, 100*mega))
		w.f("/></smses>")
	}},
	{name: "a huge comment", write: func(w *out, t trap) {
		w.f(prolog + "<smses><!--")
		w.repeat(" - <sms/> ", sized(3*mega, 60*mega))
		w.f("-->")
		w.sms(marker)
		w.f("</smses>")
	}},
	{name: "attributes without end", write: func(w *out, t trap) {
		w.f(prolog + "<smses><sms")
		for i := range sized(100_000, 1_000_000) {
			w.f(" a%d=\"1\"", i)
		}
		w.f("/></smses>")
	}},
	{name: "the same attribute twice", whole: false, write: func(w *out, t trap) {
		w.f(prolog + "<smses><sms address=\"1\" address=\"2\" date=\"1\" date=\"2\" type=\"1\" body=\"a\" body=\"b\" BODY=\"c\"/></smses>")
	}},
	{name: "parts without end", write: func(w *out, t trap) {
		w.f(prolog + "<smses><mms date=\"1\" msg_box=\"1\" address=\"1\"><parts>")
		w.repeat("<part seq=\"0\" ct=\"a/b\" data=\"AAAA\"/>", sized(100_000, 1_000_000))
		w.f("</parts></mms>")
		w.sms(marker)
		w.f("</smses>")
	}},
	{name: "a huge part", write: func(w *out, t trap) {
		w.f(prolog+"<smses><mms date=\"1\" msg_box=\"1\" address=\"1\"><parts><part seq=\"0\" ct=\"image/jpeg\" cl=\"../../x\" fn=\"%s\" data=\"", t.secret)
		w.repeat("QUJD", sized(32*mega, 400*mega)/4)
		w.f("\"/></parts></mms></smses>")
	}},
	{name: "a part that is no base64", whole: true, write: func(w *out, t trap) {
		w.f(prolog + "<smses><mms date=\"1\" msg_box=\"1\" address=\"1\"><parts><part seq=\"-1\" ct=\"" + marker + "\" data=\"!!!!\"/><part/></parts><addrs><addr/></addrs></mms></smses>")
	}},
	{name: "dates and boxes that are none", whole: true, write: func(w *out, t trap) {
		w.f(prolog + "<smses>")
		for _, v := range []string{"", "bad", "-1", "99999999999999999999", "1e9", "NaN", "0x10", "١٢٣"} {
			w.f("<sms address=\"%s\" date=\"%s\" type=\"%s\" read=\"%s\" body=\"%s\"/><mms date=\"%s\" msg_box=\"%s\" address=\"~~~\"/>\n", v, v, v, v, v, v, v)
		}
		w.f("</smses>")
	}},
	{name: "another encoding", write: func(w *out, t trap) {
		w.f("<?xml version='1.0' encoding='UTF-7' standalone='no' ?>\n<smses>")
		w.sms("+ADw-script+AD4- \xff\xfe")
		w.f("</smses>")
	}},
	{name: "nothing but a beginning", write: func(w *out, t trap) { w.f(prolog + "<smses count=\"1\"><sms body=\"a\" ") }},
	{name: "many that are the same", write: func(w *out, t trap) {
		w.f(prolog + "<smses>")
		for range sized(20_000, 200_000) {
			w.sms("same")
		}
		w.f("</smses>")
	}},
}

// bookmarkFiles are bookmarks as browsers export them.
var bookmarkFiles = []hostileFile{
	{name: "folders in folders", file: "b.html", probe: "bookmarkhtml bookmarks", write: func(w *out, t trap) {
		w.f("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n")
		w.repeat("<DL><p><DT><H3>x</H3>\n", sized(100_000, 100_000))
		w.f("<DT><A HREF=\"http://example.org/\">%s</A>", marker)
	}},
	{name: "many bookmarks", file: "b.html", probe: "bookmarkhtml bookmarks", write: func(w *out, t trap) {
		w.f("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DL><p>\n")
		w.repeat("<DT><A HREF=\"http://example.org/\">x</A>\n", sized(100_000, 1_000_000))
	}},
	{name: "addresses", file: "b.html", probe: "bookmarkhtml bookmarks", whole: true, keeps: []string{"javascript:alert(1)", marker}, write: func(w *out, t trap) {
		w.f("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<link rel=stylesheet href=\"%s/style\"><script src=\"%s/script\"></script>\n<DL><p>\n", t.url, t.url)
		for i, u := range []string{"javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "file://" + t.secret, t.url + "/bookmark", "", "\x00", "http://\u202e/", " leading", "http://[::1", strings.Repeat("a", 100_000)} {
			w.f("<DT><A HREF=\"%s\" ICON_URI=\"%s/icon\" ICON=\"data:image/png;base64,!!\" ADD_DATE=\"99999999999999999999\" FEEDURL=\"%s/feed\">%d %s</A>\n", strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(u), t.url, t.url, i, marker)
		}
		w.f("</DL><p>\n")
	}},
	{name: "tags that never close", file: "b.html", probe: "bookmarkhtml bookmarks", write: func(w *out, t trap) {
		w.f("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DL><p>\n")
		w.repeat("<DT><A HREF=\"", sized(mega, mega))
	}},
	{name: "a huge title", file: "b.html", probe: "bookmarkhtml bookmarks", write: func(w *out, t trap) {
		w.f("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DL><p>\n<DT><A HREF=\"http://example.org/\">")
		w.repeat("&amp;x", sized(4*mega, 20*mega))
		w.f("</A>\n</DL>\n")
	}},
	{name: "a bracket again and again", file: "b.html", probe: "bookmarkhtml bookmarks", write: func(w *out, t trap) {
		w.f("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DL><p>\n")
		w.repeat("<", sized(4*mega, 40*mega))
	}},
	{name: "comments that never close", file: "b.html", probe: "bookmarkhtml bookmarks", write: func(w *out, t trap) {
		w.f("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<DL><p>\n")
		w.repeat("<!--", sized(mega, mega))
	}},
	{name: "Chromium, folders in folders", file: "Bookmarks", probe: "chromium bookmarks", write: func(w *out, t trap) {
		w.f(`{"roots":{"bookmark_bar":`)
		w.repeat(`{"type":"folder","name":"x","children":[`, sized(100_000, 100_000))
	}},
	{name: "Chromium, folders in folders that close", file: "Bookmarks", probe: "chromium bookmarks", write: func(w *out, t trap) {
		w.f(`{"roots":{"bookmark_bar":{"type":"folder","name":"b","children":[`)
		w.repeat(`{"type":"folder","name":"x","children":[`, 4_000)
		w.repeat(`]}`, 4_000)
		w.f(`]},"other":{"type":"folder","name":"o","children":[]},"synced":{"type":"folder","name":"s","children":[]}},"version":1}`)
	}},
	{name: "Chromium, odd values", file: "Bookmarks", probe: "chromium bookmarks", write: func(w *out, t trap) {
		w.f(`{"checksum":5,"roots":{"bookmark_bar":{"type":"folder","name":"b","children":[{"type":"url","name":"%s","url":"%s/x","date_added":"99999999999999999999999","id":"-1","guid":"../../x","meta_info":{"a":"%s"}},`+
			`{"type":7},{"type":"url"},null,[],"x",{"children":[{}]}],"date_added":1e400}},"roots":{"bookmark_bar":{"children":[]}},"version":99}`, marker, t.url, t.secret)
	}},
	{name: "Chromium, many", file: "Bookmarks", probe: "chromium bookmarks", write: func(w *out, t trap) {
		w.f(`{"roots":{"bookmark_bar":{"type":"folder","name":"b","children":[{"type":"url","name":"a","url":"http://example.org/"}`)
		w.repeat(`,{"type":"url","name":"a","url":"http://example.org/"}`, sized(100_000, 1_000_000))
		w.f(`]},"other":{"type":"folder","name":"o","children":[]},"synced":{"type":"folder","name":"s","children":[]}},"version":1}`)
	}},
	{name: "Firefox, a lie about size", file: "b.jsonlz4", probe: "firefox bookmarks", write: func(w *out, t trap) {
		w.f("mozLz40\x00\xff\xff\xff\xff\xf0")
		w.repeat("\xff", sized(mega, mega))
	}},
	{name: "Firefox, folders in folders", file: "b.json", probe: "firefox bookmarks", write: func(w *out, t trap) {
		w.repeat(`{"guid":"root________","title":"","type":"text/x-moz-place-container","root":"placesRoot","children":[`, sized(100_000, 100_000))
	}},
	{name: "Firefox, a database of garbage", file: "places.sqlite", probe: "firefoxdb bookmarks", write: func(w *out, t trap) {
		w.f("SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20\xff\xff\xff\xff\x7f\xff\xff\xff")
		w.repeat("\xa5\x5a\x00\xff", sized(mega/4, mega/4))
	}},
}

// networkFiles are networks.
var networkFiles = []hostileFile{
	{name: "keys without end", file: "a.nmconnection", probe: "wifi", write: func(w *out, t trap) {
		w.f("[connection]\nid=a\ntype=wifi\n[wifi]\nssid=a\n")
		w.repeat("[x]\na=b\n", sized(200_000, 1_000_000))
	}},
	{name: "a value without end", file: "a.nmconnection", probe: "wifi", write: func(w *out, t trap) {
		w.f("[connection]\nid=a\ntype=wifi\n[wifi]\nssid=")
		w.repeat("65;", sized(4*mega, 20*mega))
	}},
	{name: "commands", file: "a.nmconnection", probe: "wifi", keeps: nil, write: func(w *out, t trap) {
		w.f("[connection]\nid=../../../../x\nuuid=../../y\ntype=wifi\ninterface-name=$(touch x)\n[wifi]\nssid=\\n[connection]\\nid=x\nmac-address=`id`\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=a\"\\nb\n[802-1x]\nca-cert=%s\nprivate-key=file://%s\n[vpn]\nservice-type=%s\n[proxy]\npac-url=%s/pac\n", t.secret, t.secret, t.secret, t.url)
	}},
	{name: "wpa_supplicant", file: "wpa_supplicant.conf", probe: "wifi", write: func(w *out, t trap) {
		w.f("ctrl_interface=/run\nload_dynamic_eap=%s\nblob-base64-x={\n", t.secret)
		w.repeat("network={\nssid=\"a\"\npsk=\"b\"\n", sized(50_000, 400_000))
	}},
	{name: "mobileconfig, a billion laughs", file: "a.mobileconfig", probe: "mobileconfig wifi", write: func(w *out, t trap) {
		w.f(prolog + "<!DOCTYPE plist [<!ENTITY a \"aaaaaaaaaa\">")
		for c := 'b'; c <= 'k'; c++ {
			w.f("<!ENTITY %c \"%s\">", c, strings.Repeat("&"+string(c-1)+";", 10))
		}
		w.f("<!ENTITY z SYSTEM \"%s/plist\">]><plist version=\"1.0\"><dict><key>PayloadContent</key><string>&k;&z;</string></dict></plist>", t.url)
	}},
	{name: "mobileconfig, lists in lists", file: "a.mobileconfig", probe: "mobileconfig wifi", write: func(w *out, t trap) {
		w.f(prolog + "<plist version=\"1.0\">")
		w.repeat("<array>", sized(100_000, 100_000))
		w.repeat("</array>", sized(100_000, 100_000))
		w.f("</plist>")
	}},
	{name: "mobileconfig, binary that loops", file: "a.mobileconfig", probe: "mobileconfig wifi", write: func(w *out, t trap) {
		w.f("bplist00\xa1\x00\x08\x00\x00\x00\x00\x00\x00\x01\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x0a")
	}},
}

// zipOf makes a zip with the entries; a name may be anything.
func zipOf(entries func(add func(name, text string, mode os.FileMode))) func(*out, trap) {
	return func(w *out, t trap) {
		z := zip.NewWriter(w)
		entries(func(name, text string, mode os.FileMode) {
			h := &zip.FileHeader{Name: strings.NewReplacer("SECRET", t.secret, "URL", t.url).Replace(name), Method: zip.Deflate}
			h.SetMode(mode)
			if e, err := z.CreateHeader(h); err == nil {
				e.Write([]byte(strings.NewReplacer("SECRET", t.secret, "URL", t.url).Replace(text)))
			}
		})
		z.Close()
	}
}

// slips are names that want to be outside.
var slips = []string{"../../../../escaped", "/tmp/escaped", "..\\..\\escaped", "data/../../escaped", "C:\\escaped", "a/b/../../../../escaped", ".", "..", "", "a\x00b", "//x/escaped", "~/escaped"}

const smsieLine = `{"_id":"1","address":"+491","date":"1600000000000","type":"1","body":"` + marker + `"}` + "\n"

// bomb makes a zip whose one entry inflates to size bytes of text that begins with head.
func bomb(name, head, unit string, size int) func(*out, trap) {
	return func(w *out, t trap) {
		z := zip.NewWriter(w)
		z.RegisterCompressor(zip.Deflate, func(to io.Writer) (io.WriteCloser, error) { return flate.NewWriter(to, 9) })
		e, _ := z.Create(name)
		e.Write([]byte(head))
		block := []byte(strings.Repeat(unit, min(size, mega)/len(unit)))
		for n := 0; n < size; n += len(block) {
			e.Write(block)
		}
		z.Close()
	}
}

// zips are archives of messages and takeouts.
var zips = []hostileFile{
	{name: "names that lead outside", file: "a.zip", write: zipOf(func(add func(string, string, os.FileMode)) {
		add("messages.ndjson", smsieLine+`{"_id":"2","m_type":"132","date":"1600000000","msg_box":"1","__parts":[{"ct":"image/jpeg","_data":"/data/../../SECRET","cl":"../../x"},{"ct":"a/b","_data":"SECRET"},{"ct":"a/b","_data":"URL/part"}]}`+"\n", 0o644)
		for _, s := range slips {
			add(s, "x", 0o644)
			add("data/"+s, "x", 0o644)
		}
	})},
	{name: "a link", file: "a.zip", write: zipOf(func(add func(string, string, os.FileMode)) {
		add("messages.ndjson", "SECRET", os.ModeSymlink|0o777)
		add("data/link", "SECRET", os.ModeSymlink|0o777)
	})},
	{name: "a bomb", file: "a.zip", write: bomb("messages.ndjson", smsieLine, "a", sized(256*mega, 4096*mega))},
	{name: "a bomb of blank lines", file: "a.zip", write: bomb("messages.ndjson", smsieLine, "\n", sized(256*mega, 4096*mega))},
	{name: "a bomb of messages", known: "delivering 65,000 records with 450,000 changes takes 330 MiB", file: "a.zip", write: bomb("messages.ndjson", smsieLine, `{"a":1}`+"\n", sized(8*mega, 128*mega))},
	{name: "values in values", file: "a.zip", write: bomb("messages.ndjson", smsieLine, `{"__parts":[`, sized(8*mega, 64*mega))},
	{name: "many entries", file: "a.zip", write: zipOf(func(add func(string, string, os.FileMode)) {
		for i := range sized(20_000, 100_000) {
			add(fmt.Sprintf("data/%d", i), "", 0o644)
		}
		add("messages.ndjson", smsieLine, 0o644)
	})},
	{name: "the same name twice", file: "a.zip", write: zipOf(func(add func(string, string, os.FileMode)) {
		for range 3 {
			add("messages.ndjson", smsieLine, 0o644)
		}
	})},
	{name: "no zip", file: "a.zip", write: func(w *out, t trap) { w.f("PK\x03\x04"); w.repeat("\xff", sized(mega, mega)) }},
	{name: "a lying directory", file: "a.zip", write: func(w *out, t trap) {
		w.f("PK\x05\x06\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00\x00\x00")
	}},
}

// notes are directories.
var notesDirs = []hostileFile{
	{name: "front matter that laughs", dir: func(dir string, t trap) error {
		var b bytes.Buffer
		b.WriteString("---\na: &a [x,x,x,x,x,x,x,x,x]\n")
		for c := 'b'; c <= 'k'; c++ {
			fmt.Fprintf(&b, "%c: &%c [%s]\n", c, c, strings.Repeat("*"+string(c-1)+",", 9))
		}
		b.WriteString("title: !!python/object/apply:os.system [\"id\"]\n---\n" + marker + "\n![x](" + t.url + "/image.png) [y](file://" + t.secret + ")\n")
		return os.WriteFile(filepath.Join(dir, "laugh.md"), b.Bytes(), 0o600)
	}},
	{name: "front matter that nests", dir: func(dir string, t trap) error {
		return os.WriteFile(filepath.Join(dir, "nest.md"), []byte("---\na: "+strings.Repeat("[", 200_000)+"\n---\n"+marker+"\n"), 0o600)
	}},
	{name: "links", dir: func(dir string, t trap) error {
		for name, to := range map[string]string{"secret.md": t.secret, "loop": ".", "up": "..", "dev.md": "/dev/zero"} {
			if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		return os.WriteFile(filepath.Join(dir, "a.md"), []byte(marker+" ![[secret.md]] ![](../../../"+filepath.Base(t.secret)+")\n"), 0o600)
	}},
	{name: "a pipe", dir: func(dir string, t trap) error {
		if err := syscall.Mkfifo(filepath.Join(dir, "pipe.md"), 0o600); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "a.md"), []byte(marker), 0o600)
	}},
	{name: "Keep", dir: func(dir string, t trap) error {
		for name, text := range map[string]string{
			"outside.json": `{"title":"a","textContent":"` + marker + `","userEditedTimestampUsec":1600000000000000,"createdTimestampUsec":1,"isTrashed":false,"isPinned":false,"isArchived":false,"color":"DEFAULT","attachments":[{"filePath":"` + t.secret + `","mimetype":"image/jpeg"},{"filePath":"../../../../etc/passwd","mimetype":"a"},{"filePath":"..","mimetype":"a"},{"filePath":"","mimetype":""},{"filePath":"` + t.url + `","mimetype":"a"}],"annotations":[{"url":"` + t.url + `/annotation","source":"WEBLINK"}]}`,
			"odd.json":     `{"title":"../../../x\u0000\u202e","textContent":5,"listContent":[null,{"text":{}}],"userEditedTimestampUsec":1e300,"createdTimestampUsec":-99999999999999999999,"color":[],"labels":{"name":1}}`,
			"nest.json":    `{"title":` + strings.Repeat(`{"a":`, 100_000),
			"html.json":    `{"title":"a","textContentHtml":"<img src='` + t.url + `/html'><script>alert(1)</script>","textContent":"` + "---\\n!!x\\n---" + `","isTrashed":false,"isPinned":false,"isArchived":false,"color":"DEFAULT","userEditedTimestampUsec":1600000000000000,"createdTimestampUsec":1}`,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "ENEX", dir: func(dir string, t trap) error {
		head := prolog + "<!DOCTYPE en-export [<!ENTITY x SYSTEM \"file://" + t.secret + "\"><!ENTITY y SYSTEM \"" + t.url + "/enex\"><!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\"><!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\">]>\n<en-export>"
		note := func(title, content, more string) string {
			return "<note><title>" + title + "</title><content><![CDATA[<?xml version=\"1.0\"?><!DOCTYPE en-note SYSTEM \"" + t.url + "/enml2.dtd\"><en-note>" + content + "</en-note>]]></content><created>99999999T999999Z</created>" + more + "</note>"
		}
		for name, text := range map[string]string{
			"a.enex":    head + note("&x;&y;&c;", "&x;"+marker+"<img src=\""+t.url+"/img\"/><en-media hash=\"x\"/>", "<resource><data encoding=\"base64\">!!!!</data><mime>../../x</mime><resource-attributes><file-name>../../../../escaped</file-name></resource-attributes></resource>") + note("../../../escaped", "", "") + "</en-export>",
			"nest.enex": head + note("a", strings.Repeat("<div>", 100_000), "") + "</en-export>",
			"open.enex": head + strings.Repeat("<note><title>", 50_000),
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				return err
			}
		}
		return nil
	}},
	{name: "a huge note", dir: func(dir string, t trap) error {
		f, err := os.Create(filepath.Join(dir, "huge.md"))
		if err != nil {
			return err
		}
		defer f.Close()
		return f.Truncate(int64(sized(256*mega, 4096*mega)))
	}},
	{name: "directories in directories", dir: func(dir string, t trap) error {
		for range 900 {
			dir += "/d"
			if len(dir) > 3900 {
				break
			}
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "a.md"), []byte(marker), 0o600)
	}},
}

// pictures are RT-20's: what reads the time of a photo gets their first bytes.
var pictures = []hostileFile{
	{name: "a directory that leads to itself", file: "a.jpg", write: func(w *out, t trap) { w.Write(jpeg(exifLoop())) }},
	{name: "more entries than bytes", file: "a.jpg", write: func(w *out, t trap) {
		w.Write(jpeg([]byte("Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff\x32\x01\x02\x00\xff\xff\xff\x7f\xff\xff\xff\xff")))
	}},
	{name: "huge dimensions", file: "a.jpg", write: func(w *out, t trap) {
		w.f("\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\x00\x02\x11\x01\x03\x11\x01\xff\xda\x00\x0c")
		w.repeat("\x55", sized(mega, mega))
	}},
	{name: "segments without end", file: "a.jpg", write: func(w *out, t trap) { w.f("\xff\xd8"); w.repeat("\xff\xe1\x00\x02", sized(mega, mega)) }},
	{name: "fill bytes without end", file: "a.jpg", write: func(w *out, t trap) { w.f("\xff\xd8"); w.repeat("\xff", sized(4*mega, 4*mega)) }},
	{name: "a picture that is a page and a zip", file: "a.jpg", write: func(w *out, t trap) {
		w.f("\xff\xd8\xff\xfe\x01\x00<html><script src=\"%s\"></script>PK\x03\x04", t.url)
		w.repeat("PK\x05\x06", 1000)
	}},
	{name: "XMP with entities", file: "a.jpg", write: func(w *out, t trap) {
		w.Write(jpeg([]byte("http://ns.adobe.com/xap/1.0/\x00<!DOCTYPE x [<!ENTITY x SYSTEM \"" + t.url + "/xmp\"><!ENTITY a \"aaaa\">]><x:xmpmeta xmlns:x='adobe:ns:meta/'>&x;" + strings.Repeat("<a>", 10_000))))
	}},
	{name: "a film of size zero", file: "a.mp4", write: func(w *out, t trap) { w.repeat("\x00\x00\x00\x00moov", sized(mega/8, mega/8)) }},
	{name: "a film of 2 to the 64", file: "a.mp4", write: func(w *out, t trap) {
		w.f("\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom\x00\x00\x00\x01moov\xff\xff\xff\xff\xff\xff\xff\xff")
		w.repeat("\x00\x00\x00\x01mdat\xff\xff\xff\xff\xff\xff\xff\xf0", 1000)
	}},
	{name: "atoms in atoms", file: "a.mov", write: func(w *out, t trap) {
		w.f("\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  ")
		for i := range 100_000 {
			w.Write(binary.BigEndian.AppendUint32(nil, uint32(8*(100_000-i))))
			w.f("moov")
		}
	}},
	{name: "a film with dates of never", file: "a.mov", write: func(w *out, t trap) {
		w.f("\x00\x00\x00\x14ftypqt  \x00\x00\x00\x00qt  \x00\x00\x00\x28moov\x00\x00\x00\x20mvhd\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00")
	}},
	{name: "garbage of HEIC", file: "a.heic", write: func(w *out, t trap) {
		w.f("\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic\x00\x00\xff\xffmeta\x00\x00\x00\x00\x00\x00\x00\x20iinf\x02\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x20iloc\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff")
		w.repeat("\xff\x00iloc", sized(mega/6, mega/6))
	}},
	{name: "garbage of PNG", file: "a.png", write: func(w *out, t trap) {
		w.f("\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR\xff\xff\xff\xff\xff\xff\xff\xff")
		w.repeat("\x00\x00\x00\x00eXIf", sized(mega/8, mega/8))
	}},
	{name: "garbage of WebP", file: "a.webp", write: func(w *out, t trap) {
		w.f("RIFF\xff\xff\xff\xffWEBPVP8X\x00\x00\x00\x00")
		w.repeat("EXIF\x00\x00\x00\x00", sized(mega/8, mega/8))
	}},
	{name: "garbage of TIFF", file: "a.tif", write: func(w *out, t trap) {
		w.f("II*\x00\x08\x00\x00\x00\x01\x00\x69\x87\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00\x00")
		w.repeat("\x69\x87\x04\x00", sized(mega/4, mega/4))
	}},
	{name: "a time that is a command", file: "a.jpg", write: func(w *out, t trap) {
		text := "$(touch x)\x1b[2J:00\x00"
		b := append([]byte("Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x32\x01\x02\x00"), byte(len(text)), 0, 0, 0, 26, 0, 0, 0, 0, 0, 0, 0)
		w.Write(jpeg(append(b, text...)))
	}},
	{name: "nothing", file: "a.jpg", write: func(w *out, t trap) {}},
}

func jpeg(app1 []byte) []byte {
	n := len(app1) + 2
	return append(append([]byte("\xff\xd8\xff\xe1"), byte(n>>8), byte(n)), append(app1, "\xff\xd9"...)...)
}

// exifLoop is a directory whose only entry points to itself, and whose next directory is itself.
func exifLoop() []byte {
	return []byte("Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00\x69\x87\x04\x00\x01\x00\x00\x00\x08\x00\x00\x00\x08\x00\x00\x00")
}

// takeouts are archives of Google Takeout.
var takeouts = []hostileFile{
	{name: "names that lead outside", write: zipOf(func(add func(string, string, os.FileMode)) {
		for _, s := range slips {
			add("Takeout/Google Photos/Album/"+s+".jpg", "\xff\xd8\xff\xd9", 0o644)
			add("Takeout/Keep/"+s+".json", `{"title":"a","textContent":"b","userEditedTimestampUsec":1}`, 0o644)
			add(s, "x", 0o644)
		}
		add("Takeout/Google Photos/Album/link.jpg", "SECRET", os.ModeSymlink|0o777)
		add("Takeout/Contacts/All Contacts/All Contacts.vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:"+marker+"\r\nPHOTO;VALUE=uri:URL/photo\r\nEND:VCARD\r\n", 0o644)
	})},
	{name: "a bomb of a sidecar", write: bomb("Takeout/Google Photos/Album/a.jpg.json", `{"title":"a.jpg","photoTakenTime":{"timestamp":"1"},"x":"`, "a", sized(256*mega, 4096*mega))},
	{name: "a bomb of a sidecar that nests", write: bomb("Takeout/Google Photos/Album/a.jpg.json", `{"title":`, `{"a":`, sized(64*mega, 512*mega))},
	{name: "a bomb of contacts", write: bomb("Takeout/Contacts/All/All.vcf", "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:a\r\n", "NOTE:b\r\n", sized(256*mega, 4096*mega))},
	{name: "a calendar of as many events as are taken apart", write: bomb("Takeout/Calendar/a.ics", "BEGIN:VCALENDAR\r\n", "BEGIN:VEVENT\r\nEND:VEVENT\r\n", 4*mega-100)},
	{name: "a calendar of too many events", write: bomb("Takeout/Calendar/a.ics", "BEGIN:VCALENDAR\r\n", "BEGIN:VEVENT\r\nEND:VEVENT\r\n", 60*mega)},
	{name: "a bomb of a calendar", write: bomb("Takeout/Calendar/a.ics", "BEGIN:VCALENDAR\r\n", "BEGIN:VEVENT\r\nEND:VEVENT\r\n", sized(256*mega, 4096*mega))},
	{name: "a bomb of a note", write: bomb("Takeout/Keep/a.json", `{"title":"a","textContent":"`, "b", sized(256*mega, 4096*mega))},
	{name: "a bomb of a photo", write: bomb("Takeout/Google Photos/Album/a.jpg", "\xff\xd8", "\xff\xe1\x00\x02", sized(256*mega, 4096*mega))},
	{name: "odd sidecars", write: zipOf(func(add func(string, string, os.FileMode)) {
		for i, v := range []string{`"-99999999999999999999"`, `1e400`, `null`, `{}`, `"99999999999"`, `"NaN"`, `""`} {
			add(fmt.Sprintf("Takeout/Google Photos/Album/%d.jpg", i), "\xff\xd8\xff\xd9", 0o644)
			add(fmt.Sprintf("Takeout/Google Photos/Album/%d.jpg.json", i), `{"title":"../../escaped","photoTakenTime":{"timestamp":`+v+`},"geoData":{"latitude":1e999},"url":"URL/photo"}`, 0o644)
		}
	})},
	{name: "many entries", write: zipOf(func(add func(string, string, os.FileMode)) {
		for i := range sized(50_000, 300_000) {
			add(fmt.Sprintf("Takeout/Google Photos/Album/%d.jpg", i), "", 0o644)
		}
	})},
	{name: "many that want one sidecar", write: zipOf(func(add func(string, string, os.FileMode)) {
		for i := range sized(8_000, 50_000) {
			add(fmt.Sprintf("Takeout/Google Photos/Album/IMG(%d).jpg", i), "", 0o644)
			add(fmt.Sprintf("Takeout/Google Photos/Album/IMG.jpg(%d).json", i), `{"title":"IMG.jpg"}`, 0o644)
		}
	})},
}

// settings are what dconf dump prints.
var settings = []hostileFile{
	{name: "values in values", write: func(w *out, t trap) {
		w.f("[org/gnome/desktop/background]\npicture-uri='file://%s'\n[/]\nx=@a{sv} ", t.secret)
		w.repeat("{'a': <", sized(200_000, 1_000_000))
	}},
	{name: "keys that lead elsewhere", write: func(w *out, t trap) {
		w.f("[../../etc]\nx=1\n[org/gnome/settings-daemon/plugins/media-keys/custom-keybindings/custom0]\ncommand='touch /tmp/escaped'\n[system/proxy]\nautoconfig-url='%s/pac'\n[a\x00b]\n\x1b[2J=\x07\nno key\n[never ends\n", t.url)
	}},
	{name: "a value without end", write: func(w *out, t trap) {
		w.f("[org/gnome/desktop/interface]\nfont-name='")
		w.repeat("x", sized(24*mega, 100*mega))
	}},
	{name: "many groups", write: func(w *out, t trap) { w.repeat("[org/gnome/desktop/interface]\na=1\n", sized(200_000, 1_000_000)) }},
}

// mail are mailboxes.
var mail = []hostileFile{
	{name: "a line without end", write: func(w *out, t trap) {
		w.f("From a Thu Jan  1 00:00:00 1970\nSubject: ")
		w.repeat("x", sized(24*mega, 200*mega))
		w.f("\n\nFrom b Thu Jan  1 00:00:00 1970\nSubject: %s\n\nhello\n", marker)
	}},
	{name: "many that are empty", write: func(w *out, t trap) { w.repeat("From a\n\n", sized(200_000, 1_000_000)) }},
	{name: "headers without end", write: func(w *out, t trap) {
		w.f("From a Thu Jan  1 00:00:00 1970\n")
		w.repeat("X-A: b\n\tc\n", sized(400_000, 4_000_000))
	}},
	{name: "parts in parts", write: func(w *out, t trap) {
		w.f("From a Thu Jan  1 00:00:00 1970\nX-Android-Message: 1\n")
		for i := range sized(20_000, 100_000) {
			w.f("Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n", i, i)
		}
	}},
	{name: "lies about length", write: func(w *out, t trap) {
		w.f("From a Thu Jan  1 00:00:00 1970\nContent-Length: 99999999999999999999\nContent-Type: message/external-body; access-type=URL; URL=\"%s\"\nSubject: =?x?B?!!!!?= =?utf-7?Q?=00=1b[2J?=\nDate: never\nMessage-ID: <../../escaped>\n\nFrom \n>From \n", t.url)
	}},
}

// databases are of messages.
var databases = []hostileFile{
	{name: "garbage", write: func(w *out, t trap) {
		w.f("SQLite format 3\x00\x10\x00\x01\x01\x00\x40\x20\x20\x00\x00\x00\x01\x00\x00\x00\x02")
		w.repeat("\x0d\xff\xff\x7f", sized(mega, mega))
	}},
	{name: "nothing", write: func(w *out, t trap) {}},
}
