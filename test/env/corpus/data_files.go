package corpus

import (
	"bufio"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"os"
	"path/filepath"
)

// Bookmarks writes n bookmarks as a Netscape bookmark file: folders in folders, separators, titles in every alphabet, and the
// same address in several folders.
func Bookmarks(w io.Writer, n int, seed uint64) (Contents, error) {
	b := bufio.NewWriterSize(w, 1<<16)
	c := Contents{Records: n}
	b.WriteString("<!DOCTYPE NETSCAPE-Bookmark-file-1>\n<META HTTP-EQUIV=\"Content-Type\" CONTENT=\"text/html; charset=UTF-8\">\n<TITLE>Bookmarks</TITLE>\n<H1>Bookmarks Menu</H1>\n\n<DL><p>\n")
	depth := 0
	for i := range n {
		r := numbered(seed, "bookmark", i)
		added := instant(r).Unix()
		switch {
		case i%25 == 3 && depth < 6:
			title := fmt.Sprintf("%s %d", some(r, labels), i)
			attr := ""
			if i == 3 {
				attr = ` PERSONAL_TOOLBAR_FOLDER="true"`
			}
			fmt.Fprintf(b, "<DT><H3 ADD_DATE=\"%d\" LAST_MODIFIED=\"%d\"%s>%s</H3>\n<DL><p>\n", added, added+60, attr, html.EscapeString(title))
			depth++
			c.Parts++
		case i%25 == 20 && depth > 0:
			b.WriteString("</DL><p>\n")
			depth--
		case i%25 == 12:
			b.WriteString("<HR>\n")
		}
		address := fmt.Sprintf("https://example.org/%d?q=%d&r=%s#part", i, r.IntN(100), "%20x")
		if i%40 == 39 {
			address = "https://example.org/again?x=1&y=2"
		}
		fmt.Fprintf(b, "<DT><A HREF=\"%s\" ADD_DATE=\"%d\" LAST_MODIFIED=\"%d\" TAGS=\"a,b\">%s</A>\n", html.EscapeString(address), added, added+1, html.EscapeString(say(r, 1+r.IntN(6))))
		if i%15 == 0 {
			fmt.Fprintf(b, "<DD>%s\n", html.EscapeString(say(r, 8)))
		}
	}
	for ; depth > 0; depth-- {
		b.WriteString("</DL><p>\n")
	}
	b.WriteString("</DL>\n")
	return c, b.Flush()
}

// KeepNotes makes n notes of a Google Keep takeout in dir, which must exist: text, lists, labels, colours, and a picture beside
// every eighth.
func KeepNotes(dir string, n int, seed uint64) (c Contents, err error) {
	c.Records = n
	for i := range n {
		r := numbered(seed, "keep", i)
		at := instant(r).UnixMicro()
		note := map[string]any{"title": fmt.Sprintf("%s %d", say(r, r.IntN(4)), i), "color": some(r, []string{"DEFAULT", "YELLOW", "BLUE"}), "isTrashed": i%30 == 29, "isPinned": i%12 == 0,
			"isArchived": i%9 == 0, "createdTimestampUsec": at, "userEditedTimestampUsec": at + 1e6}
		if i%3 == 0 {
			var list []map[string]any
			for k := range 1 + r.IntN(6) {
				list = append(list, map[string]any{"text": say(r, 3), "isChecked": k%2 == 0})
			}
			note["listContent"] = list
		} else {
			note["textContent"] = say(r, r.IntN(80)) + "\n" + say(r, 5)
		}
		if i%4 == 0 {
			note["labels"] = []map[string]string{{"name": some(r, labels)}}
		}
		if i%8 == 0 {
			name := fmt.Sprintf("picture%d.jpg", i)
			note["attachments"] = []map[string]string{{"filePath": name, "mimetype": "image/jpeg"}}
			if err := os.WriteFile(filepath.Join(dir, name), append([]byte("\xff\xd8\xff\xe0"), say(r, 200)...), 0o600); err != nil {
				return c, err
			}
			c.Parts++
		}
		text, err := json.MarshalIndent(note, "", "  ")
		if err != nil {
			return c, err
		}
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("note %d.json", i)), text, 0o600); err != nil {
			return c, err
		}
	}
	return c, nil
}

// Networks makes n networks of NetworkManager in dir, which must exist: with passwords, open, hidden, of a company, and with
// names that are no text.
func Networks(dir string, n int, seed uint64) (Contents, error) {
	for i := range n {
		r := numbered(seed, "network", i)
		id := fmt.Sprintf("%s %d", some(r, []string{"Home", "Café", "東京", "Guest; free", "Boat"}), i)
		text := fmt.Sprintf("[connection]\nid=%s\nuuid=%s\ntype=wifi\ntimestamp=%d\n\n[wifi]\nmode=infrastructure\n", id, identifier(r), instant(r).Unix())
		if i%4 == 3 {
			text += "ssid=67;97;102;195;169;" + fmt.Sprintf("%d;", 48+i%10) + "\nhidden=true\n"
		} else {
			text += fmt.Sprintf("ssid=net %d\n", i)
		}
		switch i % 3 {
		case 0:
			text += fmt.Sprintf("\n[wifi-security]\nkey-mgmt=wpa-psk\npsk=secret %08x\n", r.Uint32())
		case 1:
			text += fmt.Sprintf("\n[wifi-security]\nkey-mgmt=wpa-eap\n\n[802-1x]\neap=peap;\nidentity=user%d\npassword=pw%08x\nphase2-auth=mschapv2\n", i, r.Uint32())
		}
		text += "\n[ipv4]\nmethod=auto\n\n[ipv6]\naddr-gen-mode=stable-privacy\nmethod=auto\n\n[proxy]\n"
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("net %d.nmconnection", i)), []byte(text), 0o600); err != nil {
			return Contents{}, err
		}
	}
	return Contents{Records: n}, nil
}
