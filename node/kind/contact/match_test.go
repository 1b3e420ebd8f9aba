package contact

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"image/png"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

var germany = rule.Options{Profile: rule.Profile{Region: "DE"}}

func match(t testing.TB, existing, incoming []item.Record, opts rule.Options) []rule.Decision {
	t.Helper()
	before := append(join(existing), join(incoming)...)
	ds, err := Rules{}.Match(context.Background(), existing, incoming, opts)
	if err != nil || len(ds) != len(incoming) {
		t.Fatal(len(ds), err)
	}
	if !bytes.Equal(before, append(join(existing), join(incoming)...)) {
		t.Fatal("Match changed what it was given")
	}
	return ds
}

func TestVerdicts(t *testing.T) {
	switchboard := "TEL;TYPE=WORK:+49 30 555555"
	office := []item.Record{card("FN:A\n" + switchboard), card("FN:B\n" + switchboard), card("FN:C\n" + switchboard), card("FN:D\n" + switchboard)}
	for _, c := range []struct {
		name     string
		existing []item.Record
		incoming item.Record
		verdict  rule.Verdict
		why      string
	}{
		{"nobody", nil, card("FN:Ada"), rule.New, ""},
		{"UID in another form", []item.Record{card("UID:urn:uuid:4FBE8971-0BC3-424C-9C26-36C3E1EFF6B1\nFN:Ada")}, card("UID:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1\nFN:Ada\nTEL:1"), rule.Merge, "same UID"},
		{"the same in another order", []item.Record{card("UID:x\nFN:Ada\nN:L;Ada;;;\nTEL;TYPE=CELL:0171 1234567\nREV:1")}, card("TEL;TYPE=voice,Cell:+49 171 1234567\nFN:Ada\nN:L;Ada\nREV:2"), rule.Same, "it says the same"},
		{"name and number", []item.Record{card("UID:x\nFN:Ada Lovelace\nTEL:+49 171 1234567")}, card("UID:y\nFN:Lovelace, Ada\nTEL:0171/1234567\nEMAIL:a@b.example"), rule.Merge, "same name and +491711234567"},
		{"name and address", []item.Record{card("FN:Dr. Zoë Müller\nEMAIL:Z@b.example")}, card("FN:zoe muller\nEMAIL:z@B.example\nTEL:1"), rule.Merge, "same name and z@b.example"},
		{"name only", []item.Record{card("FN:Ada Lovelace")}, card("FN:Ada Lovelace\nTEL:1"), rule.New, ""},
		{"number only", []item.Record{card("FN:Ada\nTEL:+49 171 1234567")}, card("FN:Bob\nTEL:0171 1234567"), rule.Suggest, "same +491711234567, other name"},
		{"switchboard", office, card("FN:E\n" + switchboard), rule.New, ""},
		{"switchboard and name", office, card("FN:A\nTITLE:x\n" + switchboard), rule.New, ""},
		{"UID of somebody else", []item.Record{card("UID:1\nFN:Ada\nTEL:+49 171 1234567")}, card("UID:1\nFN:Bob\nTEL:+49 171 7654321"), rule.Conflict, "same UID, nothing else in common"},
		{"groups of one name", []item.Record{card("FN:Friends\nX-ADDRESSBOOKSERVER-KIND:group\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:a")},
			card("FN:Friends\nX-ADDRESSBOOKSERVER-KIND:group\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:b"), rule.Merge, "same group"},
		{"group and person", []item.Record{card("FN:Friends")}, card("FN:Friends\nX-ADDRESSBOOKSERVER-KIND:group"), rule.New, ""},
		{"short code", []item.Record{card("FN:Ada\nTEL:110")}, card("FN:Ada\nTEL:110\nNOTE:x"), rule.Merge, "same name and 110"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := match(t, c.existing, []item.Record{c.incoming}, germany)[0]
			if d.Verdict != c.verdict || d.Why != c.why {
				t.Errorf("%v, %q; want %v, %q", d.Verdict, d.Why, c.verdict, c.why)
			}
			target := apply(t, c.existing, []item.Record{c.incoming}, germany)
			if again := match(t, target, []item.Record{c.incoming}, germany)[0]; again.Verdict != rule.Same {
				t.Errorf("again: %v (%s)\n%s", again.Verdict, again.Why, again.Result)
			}
		})
	}
}

func TestNoFuzzy(t *testing.T) {
	existing := []item.Record{card("UID:x\nFN:Ada\nTEL:+49 171 1234567")}
	opts := germany
	opts.NoFuzzy = true
	for _, c := range []struct {
		card string
		want rule.Verdict
	}{{"UID:y\nFN:Ada\nTEL:+49 171 1234567\nNOTE:n", rule.New}, {"UID:x\nFN:Ada\nNOTE:n", rule.Merge}, {"FN:Bob\nTEL:+49 171 1234567", rule.New}} {
		if d := match(t, existing, []item.Record{card(c.card)}, opts)[0]; d.Verdict != c.want {
			t.Errorf("%q: %v, want %v", c.card, d.Verdict, c.want)
		}
	}
}

func picture(side int) string {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, side, side))); err != nil {
		panic(err)
	}
	return "PHOTO;ENCODING=b;TYPE=PNG:" + base64.StdEncoding.EncodeToString(b.Bytes())
}

func TestMergeOfCards(t *testing.T) {
	const who = "UID:x\nFN:Ada\n"
	for _, c := range []struct{ name, mine, theirs, want, effects string }{
		{"union", "TEL:+491711234567", "TEL:+491711234567\nTEL:+491711234568\nEMAIL:a@b.example", "TEL:+491711234567\nTEL:+491711234568\nEMAIL:a@b.example", ""},
		{"numbers stay as written", "TEL;TYPE=CELL:0171 1234567", "TEL;TYPE=CELL:+49 (171) 123-4567\nTITLE:t", "TEL;TYPE=CELL:0171 1234567\nTITLE:t", ""},
		{"more specific label", "TEL;TYPE=VOICE:+491711234567", "TEL;TYPE=CELL:+491711234567", "TEL;TYPE=VOICE,cell:+491711234567", "altered"},
		{"other label", "TEL;TYPE=HOME:+491711234567", "TEL;TYPE=WORK:+491711234567\nTITLE:t", "TEL;TYPE=HOME:+491711234567\nTITLE:t", "dropped"},
		{"label in words", "TEL:+491711234567", "item1.TEL:+491711234567\nitem1.X-ABLabel:boat", "item1.TEL:+491711234567\nitem1.X-ABLabel:boat", "altered"},
		{"group of the same name", "item1.EMAIL:a@b.example\nitem1.X-ABLabel:one", "item1.TEL:+491711234567\nitem1.X-ABLabel:two",
			"item1.EMAIL:a@b.example\nitem1.X-ABLabel:one\nitem2.TEL:+491711234567\nitem2.X-ABLabel:two", ""},
		{"both notes", "NOTE:one", "NOTE:two", `NOTE:one\n\ntwo`, "altered"},
		{"note that is a part", "NOTE:one two", "NOTE:two\nTITLE:t", "NOTE:one two\nTITLE:t", ""},
		{"categories", "CATEGORIES:a", "CATEGORIES:b,a", "CATEGORIES:a,b", ""},
		{"name that is more complete", "N:Lovelace;;;;", "N:Lovelace;Ada;;;", "N:Lovelace;Ada;;;", "altered"},
		{"name that is less complete", "N:Lovelace;Ada;;;", "N:Lovelace;;;;\nTITLE:t", "N:Lovelace;Ada;;;\nTITLE:t", ""},
		{"other name", "N:Lovelace;Ada;;;", "N:King;Ada;;;", "N:Lovelace;Ada;;;\nX-DECANT-N:King;Ada;;;", "moved"},
		{"other birthday", "BDAY:1815-12-10", "BDAY:1816-12-10", "BDAY:1815-12-10\nX-DECANT-BDAY:1816-12-10", "moved"},
		{"birthday in another form", "BDAY:1815-12-10", "BDAY:18151210\nTITLE:t", "BDAY:1815-12-10\nTITLE:t", ""},
		{"larger picture", picture(4), picture(8), picture(8), "altered"},
		{"smaller picture", picture(8), picture(4) + "\nTITLE:t", picture(8) + "\nTITLE:t", "dropped"},
		{"empty values", "TITLE:t", "ORG:\nNOTE:\nADR:;;;;;;\nROLE:r", "TITLE:t\nROLE:r", ""},
		{"empty value of the target", "NOTE:\nN:;;;;", "NOTE:n\nN:L;A;;;", "NOTE:n\nN:L;A;;;", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			existing, incoming := []item.Record{card(who + c.mine)}, []item.Record{card(who + c.theirs)}
			d := match(t, existing, incoming, germany)[0]
			if d.Verdict != rule.Merge {
				t.Fatalf("%v: %s", d.Verdict, d.Result)
			}
			if got, _ := strings.CutPrefix(body(t, d.Result, "3.0"), who); got != c.want {
				t.Errorf("got\n%s\nwant\n%s", got, c.want)
			}
			var effects []string
			for _, ch := range d.Changes {
				effects = append(effects, ch.Effect.String())
			}
			if s := strings.Join(effects, " "); s != c.effects {
				t.Errorf("effects %q, want %q: %+v", s, c.effects, d.Changes)
			}
			target := apply(t, existing, incoming, germany)
			if again := match(t, target, incoming, germany)[0]; again.Verdict != rule.Same {
				t.Errorf("again: %v\n%s", again.Verdict, again.Result)
			}
		})
	}
}

func TestMergeIntoAnotherVersion(t *testing.T) {
	existing := []item.Record{{Kind: item.Contact, Data: lines("4.0", "UID:x\nFN:Ada")}}
	incoming := []item.Record{{Kind: item.Contact, Data: bytes.ReplaceAll(lines("2.1", "UID:x\nFN:Ada\nTEL;CELL;PREF:1\nNOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab"), []byte("\r\n"), []byte("\n"))}}
	d := match(t, existing, incoming, germany)[0]
	if got := body(t, d.Result, "4.0"); got != "UID:x\nFN:Ada\nTEL;TYPE=CELL;PREF=1:1\nNOTE:a\\nb" {
		t.Error(got)
	}
}

func TestIncomingAmongThemselves(t *testing.T) {
	incoming := []item.Record{
		card("UID:1\nFN:Ada\nTEL:+49 171 1234567"), card("UID:1\nFN:Ada\nTEL:+49 171 1234567"),
		card("UID:2\nFN:Ada\nTEL:+49 171 1234567\nNOTE:n"), card("UID:3\nFN:Ada\nTEL:+49 171 1234567\nTITLE:t"),
	}
	ds := match(t, nil, incoming, germany)
	for i, want := range []rule.Verdict{rule.New, rule.Same, rule.Suggest, rule.Suggest} { // a book keeps the entries that it has
		if ds[i].Verdict != want || i > 0 && ds[i].With != 0 {
			t.Errorf("%d: %v with %d, want %v", i, ds[i].Verdict, ds[i].With, want)
		}
	}
	if got := body(t, ds[3].Result, "3.0"); got != "UID:3\nFN:Ada\nTEL:+49 171 1234567\nTITLE:t" {
		t.Error(got)
	}
}

func TestNormalForms(t *testing.T) {
	tel := &phones{region: "DE", seen: map[string]string{}}
	for in, want := range map[string]string{
		"0171 1234567": "+491711234567", "+49 (0)171 1234567": "+491711234567", "0049-171-1234567": "+491711234567", "tel:+49-171-1234567": "+491711234567",
		"+1 418 656 9254;ext=102": "+14186569254x102", "110": "raw:110", "*#06#": "raw:*#06#", "0301234,,5": "raw:0301234,,5", "1-800-FLOWERS": "raw:1800flowers", "sip:a@b": "raw:sip:a@b",
	} {
		if got := tel.E164(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"Lovelace, Ada": "ada lovelace", "Dr. Ada  LOVELACE": "ada lovelace", "Zoë Müller": "muller zoe", "Strauß": "strauss", "O'Neil": "oneil", "安藤 ロイド": "ロイト 安藤", "Dr.": "dr", "": "",
	} {
		if got := foldName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestMatchIsIdempotent brings random books together, twice.
func TestMatchIsIdempotent(t *testing.T) {
	property := rapid.SampledFrom([]string{"TEL;TYPE=CELL:0171 1234567", "TEL:+49 171 1234567", "TEL;TYPE=WORK:+49 30 1", "EMAIL:a@b.example", "EMAIL;TYPE=HOME:A@b.example", "NOTE:one", "NOTE:two, three",
		"CATEGORIES:a,b", "CATEGORIES:b,c", "N:L;A;;;", "N:L;;;;", "N:K;A;;;", "BDAY:1815-12-10", "BDAY:18151211", "item1.URL:http://x.example\r\nitem1.X-ABLabel:one", "item1.URL:http://y.example/\r\nitem1.X-ABLabel:two",
		"PHOTO;ENCODING=b:QUJD", "PHOTO;VALUE=uri:http://x.example/p", "ORG:a;b", "ADR;TYPE=HOME:;;s;t", "X-FOO:1", "TEL;CELL:0171 1234568", "garbage", "AGENT:\r\nBEGIN:VCARD\r\nFN:in\r\nEND:VCARD", "NICKNAME:x,y"})
	one := rapid.Custom(func(t *rapid.T) item.Record {
		parts := []string{"VERSION:" + rapid.SampledFrom([]string{"2.1", "3.0", "4.0"}).Draw(t, "version")}
		if uid := rapid.SampledFrom([]string{"", "1", "2", "3"}).Draw(t, "uid"); uid != "" {
			parts = append(parts, "UID:"+uid)
		}
		parts = append(parts, "FN:"+rapid.SampledFrom([]string{"Ada", "ada", "Bob", "Lovelace, Ada", "Ada Lovelace"}).Draw(t, "name"))
		parts = append(parts, rapid.SliceOfN(property, 0, 6).Draw(t, "properties")...)
		return item.Record{Kind: item.Contact, Data: []byte("BEGIN:VCARD\r\n" + strings.Join(parts, "\r\n") + "\r\nEND:VCARD\r\n")}
	})
	rapid.Check(t, func(r *rapid.T) {
		existing := rapid.SliceOfN(one, 0, 5).Draw(r, "existing")
		incoming := rapid.SliceOfN(one, 0, 5).Draw(r, "incoming")
		target := apply(t, slices.Clone(existing), incoming, germany)
		for i, d := range match(t, target, incoming, germany) {
			if d.Verdict != rule.Same {
				r.Fatalf("card %d again: %v (%s)\n%s\nbecomes\n%s\namong\n%s", i, d.Verdict, d.Why, incoming[i].Data, d.Result, join(target))
			}
		}
	})
}

// TestTenThousand brings two books of ten thousand together; what is quadratic does not end.
func TestTenThousand(t *testing.T) {
	const n = 10_000
	book := func(uid, more string) (out []item.Record) {
		for i := range n {
			out = append(out, card(fmt.Sprintf("UID:%s%d\nFN:Given%d Family%d\nTEL;TYPE=WORK:+49 30 1234567\nTEL;TYPE=CELL:+49 171 %07d%s", uid, i, i, i, i, more)))
		}
		return out
	}
	existing, incoming := book("a", ""), book("b", "\nNOTE:more")
	target := apply(t, existing, incoming, germany)
	if len(target) != n {
		t.Fatalf("%d cards", len(target))
	}
	for i, d := range match(t, target, incoming, germany) {
		if d.Verdict != rule.Same {
			t.Fatalf("card %d again: %v", i, d.Verdict)
		}
	}
}

func FuzzShapeAndMatch(f *testing.F) {
	public(f, func(name string, data []byte) {
		if len(data) < 1<<10 {
			f.Add(data, []byte(ada2), uint8(len(data)))
		}
	})
	f.Add([]byte(ada), []byte("BEGIN:VCARD\nVERSION:2.1\nAGENT:\nBEGIN:VCARD\nEND:VCARD\nLABEL;QUOTED-PRINTABLE:a=\nEND:VCARD"), uint8(3))
	profiles := []rule.Profile{{Strict: true}, {Version: "2.1"}, {Version: "3.0"}, {Version: "4.0"}, {Version: "4.0", Strict: true}, {Drops: []string{"X-*"}, MaxSize: 200}}
	f.Fuzz(func(t *testing.T, a, b []byte, which uint8) {
		p := profiles[int(which)%len(profiles)]
		var incoming []item.Record
		for _, r := range (Rules{}).Split("a.vcf", a) {
			out, changes, ok := Rules{}.Shape(r, p)
			if !ok {
				if len(changes) == 0 {
					t.Fatal("refused without a word")
				}
				continue
			}
			again, _, ok := Rules{}.Shape(out, p)
			if !ok || !bytes.Equal(again.Data, out.Data) {
				t.Fatalf("%.700q\nshaped\n%.700q\nand again\n%.700q", r.Data, out.Data, again.Data)
			}
			incoming = append(incoming, out)
		}
		existing := Rules{}.Split("b.vcf", b)
		target := apply(t, existing, incoming, rule.Options{Profile: p})
		for i, d := range match(t, target, incoming, rule.Options{Profile: p}) {
			if d.Verdict != rule.Same {
				t.Fatalf("card %d again: %v (%s)\n%q\nbecomes\n%q\namong\n%q", i, d.Verdict, d.Why, incoming[i].Data, d.Result, join(target))
			}
		}
	})
}
