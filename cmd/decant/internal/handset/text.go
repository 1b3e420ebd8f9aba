package handset

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

var words = strings.Fields(`the a we they you it and or but so then after before while morning evening train bus ticket letter
garden kitchen window door river bridge market bread cheese tea coffee sugar shoes coat umbrella rain sun snow doctor school teacher
birthday present holiday beach mountain lake walk run swim read write call meet ask answer find lose keep give take bring buy sell pay
Müller Zürich naïve façade señor Ångström Łódź Привет мир 東京 京都 مرحبا שלום 🎂 🚲 ☕`)

// prose returns about n bytes of text.
func prose(r *rand.Rand, n int) string {
	var b strings.Builder
	for b.Len() < n {
		for range 6 + r.IntN(12) {
			b.WriteString(pick(r, words))
			b.WriteByte(' ')
		}
		b.WriteString("and so on.\n")
	}
	return b.String()
}

// small returns notes, chats, saved pages and settings of apps.
func small(o Options, count int) []file {
	files := make([]file, count)
	for i := range files {
		r := generator(o, "small", i)
		f := file{perm: 0o644, mtime: moment(r)}
		switch i % 4 {
		case 0:
			f.path = fmt.Sprintf("Documents/Notes/%d/note %04d.txt", 2015+i%12, i)
			f.data = func(r *rand.Rand) []byte { return []byte(prose(r, 200+r.IntN(4000))) }
		case 1:
			f.path = fmt.Sprintf("Documents/Chats/thread-%02d/%06d.json", i%40, i)
			f.data = chat
		case 2:
			f.path = fmt.Sprintf("Download/page%04d.html", i)
			f.data = page
		default:
			f.path = fmt.Sprintf("Android/data/org.example.app%02d/files/state-%05d.json", i%25, i)
			f.perm = 0o600
			f.data = func(r *rand.Rand) []byte {
				return fmt.Appendf(nil, `{"version":%d,"id":"%016x","seen":%t}`+"\n", r.IntN(40), r.Uint64(), r.IntN(2) == 0)
			}
		}
		files[i] = f
	}
	return files
}

func chat(r *rand.Rand) []byte {
	type message struct {
		At   int64  `json:"at"`
		From string `json:"from"`
		Text string `json:"text"`
	}
	var all []message
	for range 1 + r.IntN(12) {
		all = append(all, message{moment(r).UnixMilli(), pick(r, given), prose(r, 20+r.IntN(200))})
	}
	b, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		panic("handset: " + err.Error()) // strings and numbers always encode
	}
	return b
}

func page(r *rand.Rand) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "<!doctype html>\n<html lang=\"en\">\n<title>%s</title>\n", pick(r, words))
	for range 1 + r.IntN(8) {
		fmt.Fprintf(&b, "<p class=\"text\">%s</p>\n", prose(r, 300))
	}
	b.WriteString("</html>\n")
	return []byte(b.String())
}
