package contact

import (
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	cl "github.com/decant-dev/decant/node/kind/contentline"
	"github.com/decant-dev/decant/node/kind/rule"
)

// lines makes a card of lines that are divided by LF.
func lines(version, body string) []byte {
	return []byte("BEGIN:VCARD\r\nVERSION:" + version + "\r\n" + strings.ReplaceAll(body, "\n", "\r\n") + "\r\nEND:VCARD\r\n")
}

// body is the reverse of lines, without folds.
func body(t *testing.T, card []byte, version string) string {
	t.Helper()
	s := strings.ReplaceAll(string(card), "\r\n ", "")
	s = strings.ReplaceAll(s, "\r\n", "\n")
	s, head := strings.CutPrefix(s, "BEGIN:VCARD\nVERSION:"+version+"\n")
	s, tail := strings.CutSuffix(s, "\nEND:VCARD\n")
	if !head || !tail {
		t.Fatalf("%q is no card of version %s", card, version)
	}
	return s
}

func TestConvert(t *testing.T) {
	const png = "iVBORw0KGgo="
	for _, c := range []struct{ name, from, before, to, after string }{
		{"quoted-printable", "2.1", "FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:=4D=C3=BC=6C=6C=65=72", "3.0", "FN:Müller"},
		{"and back", "3.0", "FN:Müller", "2.1", "FN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:M=C3=BCller"},
		{"line breaks and separators", "2.1", "NOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab, c; d\\e", "4.0", `NOTE:a\nb\, c\; d\\e`},
		{"and back", "4.0", `NOTE:a\nb\, c\; d\\e`, "2.1", `NOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab, c; d\e`},
		{"bare types", "2.1", "TEL;CELL;PREF:1", "3.0", "TEL;TYPE=CELL,PREF:1"},
		{"preference", "2.1", "TEL;CELL;PREF:1", "4.0", "TEL;TYPE=CELL;PREF=1:1"},
		{"types of 3.0", "3.0", "TEL;TYPE=work,pref;TYPE=VOICE:1", "4.0", "TEL;TYPE=work;TYPE=VOICE;PREF=1:1"},
		{"types of 4.0", "4.0", `TEL;TYPE="work,voice";PREF=1:1`, "2.1", "TEL;WORK;VOICE;PREF:1"},
		{"quoted types of 4.0", "4.0", `TEL;TYPE="work,voice";PREF=2:1`, "3.0", "TEL;TYPE=work,voice;PREF=2:1"},
		{"structured", "2.1", `N:Doe;Richter, James;a\;b`, "3.0", `N:Doe;Richter\, James;a\;b`},
		{"structured to 2.1", "3.0", `ADR;TYPE=HOME:;;1 Main St\, Apt\; 2;City`, "2.1", `ADR;HOME:;;1 Main St, Apt\; 2;City`},
		{"picture", "2.1", "PHOTO;ENCODING=BASE64;PNG:\n " + png + "\n", "3.0", "PHOTO;ENCODING=b;TYPE=PNG:" + png},
		{"picture to 4.0", "3.0", "PHOTO;ENCODING=b;TYPE=PNG:" + png, "4.0", "PHOTO:data:image/png;base64," + png},
		{"picture of unknown type", "3.0", "PHOTO;ENCODING=b:" + png, "4.0", "PHOTO:data:image/png;base64," + png},
		{"picture from 4.0", "4.0", "PHOTO:data:image/png;base64," + png, "3.0", "PHOTO;ENCODING=b;TYPE=PNG:" + png},
		{"picture elsewhere", "3.0", "PHOTO;VALUE=uri;TYPE=JPEG:http://a.example/b,c", "4.0", "PHOTO;VALUE=uri;MEDIATYPE=image/jpeg:http://a.example/b,c"},
		{"key", "2.1", "KEY;X509;ENCODING=BASE64:\n QUJD\n", "4.0", "KEY:data:application/pkix-cert;base64,QUJD"},
		{"broken picture", "3.0", "PHOTO;ENCODING=b:%%%", "4.0", "PHOTO;ENCODING=b:%%%"},
		{"label of an address", "2.1", "ADR;WORK:;;Street\nLABEL;WORK;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab", "4.0", "ADR;TYPE=WORK;LABEL=a^nb:;;Street"},
		{"and back", "4.0", "ADR;TYPE=work;LABEL=a^nb:;;Street", "3.0", "ADR;TYPE=work:;;Street\nLABEL;TYPE=work:a\\nb"},
		{"label without an address", "3.0", "LABEL;TYPE=home:a\\nb", "4.0", "ADR;TYPE=home;LABEL=a^nb:;;;;;;"},
		{"and back", "4.0", "ADR;TYPE=home;LABEL=a^nb:;;;;;;", "3.0", "LABEL;TYPE=home:a\\nb"},
		{"agent", "2.1", "AGENT:\nBEGIN:VCARD\nN:B;A\nEND:VCARD\nTEL:1", "3.0", `AGENT:BEGIN:VCARD\nN:B\;A\nEND:VCARD` + "\nTEL:1"},
		{"agent to 2.1", "3.0", `AGENT:BEGIN:VCARD\nN:B\;A\nEND:VCARD` + "\nTEL:1", "2.1", "AGENT:\nBEGIN:VCARD\nN:B;A\nEND:VCARD\nTEL:1"},
		{"agent to 4.0", "3.0", `AGENT:BEGIN:VCARD\nFN:A\nEND:VCARD`, "4.0", "RELATED;TYPE=agent;VALUE=uri:data:text/vcard;charset=utf-8;base64,QkVHSU46VkNBUkQKRk46QQpFTkQ6VkNBUkQ="},
		{"agent from 4.0", "4.0", "RELATED;TYPE=agent;VALUE=uri:data:text/vcard;charset=utf-8;base64,QkVHSU46VkNBUkQKRk46QQpFTkQ6VkNBUkQ=", "3.0", `AGENT:BEGIN:VCARD\nFN:A\nEND:VCARD`},
		{"agent as text", "2.1", "AGENT:My agent", "4.0", "RELATED;TYPE=agent;VALUE=text:My agent"},
		{"date", "3.0", "BDAY:1980-03-22", "4.0", "BDAY:19800322"},
		{"and back", "4.0", "BDAY:19800322", "3.0", "BDAY:1980-03-22"},
		{"Apple's date without a year", "3.0", "BDAY;X-APPLE-OMIT-YEAR=1604:1604-02-03", "4.0", "BDAY:--0203"},
		{"and back", "4.0", "BDAY:--0203", "3.0", "BDAY;X-APPLE-OMIT-YEAR=1604:1604-02-03"},
		{"date without a year in 2.1", "4.0", "BDAY:--0203", "2.1", "BDAY:--02-03"},
		{"date in words", "3.0", "BDAY:in spring", "4.0", "BDAY;VALUE=text:in spring"},
		{"position", "3.0", "GEO:37.386013;-122.082932", "4.0", "GEO:geo:37.386013,-122.082932"},
		{"and back", "4.0", "GEO:geo:37.386013,-122.082932", "3.0", "GEO:37.386013;-122.082932"},
		{"number with extension", "4.0", "TEL;VALUE=uri;TYPE=home:tel:+1-555;ext=12", "3.0", "TEL;TYPE=home:+1-555 ext. 12"},
		{"group", "3.0", "X-ADDRESSBOOKSERVER-KIND:group\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:a", "4.0", "KIND:group\nMEMBER:urn:uuid:a"},
		{"and back", "4.0", "KIND:group\nMEMBER:urn:uuid:a", "3.0", "X-ADDRESSBOOKSERVER-KIND:group\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:a"},
		{"Apple's labels", "3.0", "item1.TEL:1\nitem1.X-ABLabel:_$!<HomeFAX>!$_\nitem2.X-ABRELATEDNAMES;type=pref:Jane\nX-SOCIALPROFILE;type=twitter:http://x.example/a", "4.0",
			"item1.TEL:1\nitem1.X-ABLabel:_$!<HomeFAX>!$_\nitem2.X-ABRELATEDNAMES;PREF=1:Jane\nX-SOCIALPROFILE;type=twitter:http://x.example/a"},
		{"Apple's groups in 2.1", "3.0", "item1.TEL:1\nitem1.X-ABLabel:Zoë", "2.1", "item1.TEL:1\nitem1.X-ABLabel;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Zo=C3=AB"},
		{"phonetic name of Japanese phones", "2.1", "SOUND;X-IRMC-N:a;b;;;", "3.0", "SOUND;TYPE=X-IRMC-N:a;b;;;\nX-PHONETIC-LAST-NAME;X-IRMC-N=TRUE:a\nX-PHONETIC-FIRST-NAME;X-IRMC-N=TRUE:b"},
		{"and back", "3.0", "SOUND;TYPE=X-IRMC-N:a;b;;;\nX-PHONETIC-LAST-NAME;X-IRMC-N=TRUE:a\nX-PHONETIC-FIRST-NAME;X-IRMC-N=TRUE:b", "2.1", "SOUND;X-IRMC-N:a;b;;;"},
		{"Android's extensions", "2.1", "X-ANDROID-CUSTOM:vnd.android.cursor.item/nickname;A\\;b, c;1;;", "3.0", "X-ANDROID-CUSTOM:vnd.android.cursor.item/nickname;A\\;b, c;1;;"},
		{"Android's labels", "2.1", "TEL;X-CUSTOM(CHARSET=UTF-8,ENCODING=QUOTED-PRINTABLE,=C3=BC):1", "3.0", "item1.TEL:1\nitem1.X-ABLabel:ü"},
		{"URL with escapes", "3.0", `URL:http\://x.example/a\,b`, "4.0", "URL:http://x.example/a,b"},
		{"lists", "3.0", `CATEGORIES:A,B\,C`, "2.1", `CATEGORIES:A,B\,C`},
		{"related in words", "4.0", `RELATED;TYPE=spouse;VALUE=text:Jane\, Q`, "3.0", `RELATED;TYPE=spouse;VALUE=text:Jane\, Q`},
		{"broken lines stay", "3.0", "FN:a\n# comment\nTEL:1", "4.0", "FN:a\n# comment\nTEL:1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := item.Record{Kind: item.Contact, Data: lines(c.from, c.before)}
			out, _, ok := Rules{}.Shape(r, rule.Profile{Version: c.to})
			if got := body(t, out.Data, c.to); got != c.after || !ok {
				t.Errorf("got\n%s\nwant\n%s", got, c.after)
			}
			if same, changes, _ := (Rules{}).Shape(out, rule.Profile{Version: c.to}); string(same.Data) != string(out.Data) || len(changes) > 0 {
				t.Errorf("converted twice: %q %v", same.Data, changes)
			}
		})
	}
}

// TestThereAndBack is bar B5: from 2.1 and 3.0 to 4.0 and back, value by value.
func TestThereAndBack(t *testing.T) {
	for _, version := range []string{"2.1", "3.0"} {
		total, kept := 0, 0
		public(t, func(name string, data []byte) {
			for _, r := range (Rules{}).Split(name, data) {
				_, before := open(r.Data)
				if before == nil || before.Dialect.String() != version {
					continue
				}
				var notes []item.Change
				there, changes, _ := Rules{}.Shape(r, rule.Profile{Version: "4.0"})
				notes = append(notes, changes...)
				back, changes, _ := Rules{}.Shape(there, rule.Profile{Version: version})
				notes = append(notes, changes...)
				_, after := open(back.Data)
				n, lost := difference(before, after)
				total += n
				kept += n - len(lost)
				for _, name := range lost {
					if !said(notes, name) {
						t.Errorf("%s: %s is lost silently", r.From, name)
					}
				}
			}
		})
		t.Logf("%s: %d of %d values kept (%.2f %%)", version, kept, total, 100*float64(kept)/float64(total))
		if total == 0 || float64(kept) < 0.98*float64(total) {
			t.Errorf("%s: %d of %d values kept", version, kept, total)
		}
	}
}

// difference counts a card's properties and returns the names of those that the other one
// has not with the same decoded value.
func difference(a, b *cl.Component) (total int, lost []string) {
	have := map[string]int{}
	for p := range b.Properties() {
		have[decoded(p)]++
	}
	for p := range a.Properties() {
		if p.Blank() || p.Name() == "VERSION" {
			continue
		}
		total++
		if k := decoded(p); have[k] > 0 {
			have[k]--
		} else {
			lost = append(lost, p.Name())
		}
	}
	return total, lost
}

// decoded is a property's value without its encoding. Dates are compared as dates.
func decoded(p *cl.Property) string {
	switch formOf(p.Name()) {
	case formComponents, formFields:
		return p.Name() + componentsKey(p)
	case formDate:
		return p.Name() + dateKey(p)
	case formBinary:
		if b, _, ok := p.Binary(); ok && p.Encoding() == "BASE64" {
			return p.Name() + string(b)
		}
		return p.Name() + strings.TrimRight(p.Text(), "; ")
	case formGeo:
		return p.Name() + strings.ReplaceAll(p.Text(), ";", ",")
	}
	return p.Name() + p.Text()
}

func said(changes []item.Change, property string) bool {
	for _, c := range changes {
		if c.Property == property || c.Property == "" {
			return true
		}
	}
	return false
}

func TestShapeStrict(t *testing.T) {
	const head = "UID:u\nFN:A\nN:A;;;;\n"
	for _, c := range []struct{ name, version, before, after, effects string }{
		{"nothing to do", "3.0", head + `NOTE:a\, b`, head + `NOTE:a\, b`, ""},
		{"comma", "3.0", head + "NOTE:a, b", head + `NOTE:a\, b`, ""},
		{"comma in a URI", "4.0", head + "URL:http://x.example/a,b", head + `URL:http://x.example/a\,b`, ""},
		{"escapes that are none", "3.0", head + `URL:http\://x.example`, head + "URL:http://x.example", ""},
		{"comma of an organisation", "3.0", head + "ORG:a, b;c", head + `ORG:a\, b;c`, ""},
		{"list of nicknames", "3.0", head + "NICKNAME:a,b", head + "NICKNAME:a\nNICKNAME:b", "altered"},
		{"data: URI", "4.0", head + "PHOTO:data:image/png;base64,QUJD", head + "PHOTO;TYPE=PNG;ENCODING=b:QUJD", "altered"},
		{"base64 in another spelling", "3.0", head + "PHOTO;ENCODING=BASE64:QUI", head + "PHOTO;ENCODING=b:QUI=", ""},
		{"no base64", "3.0", head + "PHOTO;ENCODING=b:A", head + "X-DECANT-PHOTO:A", "moved"},
		{"an encoding that is none", "3.0", head + "NOTE;ENCODING=8BIT:a", head + "NOTE:a", ""},
		{"bare parameters", "3.0", head + "TEL;HOME;VOICE:1", head + "TEL;TYPE=HOME,VOICE:1", ""},
		{"empty parameter", "3.0", head + "NOTE;LANGUAGE=:a", head + "NOTE:a", "dropped"},
		{"blanks", "3.0", head + "NOTE ;A = b:c", head + "NOTE;A=b:c", ""},
		{"phonetic name of Japanese phones", "3.0", head + "SOUND;TYPE=X-IRMC-N:a;;;;", head + "SOUND;TYPE=X-IRMC-N:a", "altered"},
		{"Android's nickname", "3.0", head + "X-ANDROID-CUSTOM:vnd.android.cursor.item/nickname;x;1;;", head + "NICKNAME:x", "moved"},
		{"Android's event", "3.0", head + "X-ANDROID-CUSTOM:vnd.android.cursor.item/contact_event;1999-07-10;1;;", head + "item1.X-ABDATE:1999-07-10\nitem1.X-ABLabel:_$!<Anniversary>!$_", "moved"},
		{"Android's relation", "3.0", head + "X-ANDROID-CUSTOM:vnd.android.cursor.item/relation;Bob;0;pal;;", head + "item1.X-ABRELATEDNAMES:Bob\nitem1.X-ABLabel:pal", "moved"},
		{"something else of Android", "3.0", head + "X-ANDROID-CUSTOM:vnd.x/y;1;2", head + "X-ANDROID-CUSTOM:vnd.x/y;1;2", "altered"},
		{"two names", "3.0", head + "N:B;;;;", head + "X-DECANT-N:B;;;;", "moved"},
		{"the same twice", "3.0", head + "N:A;;;;", strings.TrimSuffix(head, "\n"), "dropped"},
		{"too many parts", "3.0", "UID:u\nFN:A\nN:A;;;;;X", "UID:u\nFN:A\nN:A;;;;\nX-DECANT-N:A;;;;;X", "moved"},
		{"comment", "3.0", head + "# a,b", head + `X-DECANT-LINE:# a\,b`, "moved"},
		{"line without a blank before it", "3.0", head + "NOTE:a\nb", head + `NOTE:a\nb`, "repaired"},
		{"name with strange characters", "3.0", head + "X_A:b", head + "X-A:b", "moved"},
		{"control character", "3.0", head + "NOTE:a\x01b", head + "NOTE:ab", "repaired"},
		{"not in its character set", "3.0", head + "NOTE:M\xfcller", head + "NOTE:Müller", "repaired"},
		{"no UID", "3.0", "FN:A\nN:A;;;;", "UID:6b4f0ac7-19a7-8413-8d6b-3f0d04d7e5f0\nFN:A\nN:A;;;;", "added"},
		{"no name", "4.0", "UID:u\nEMAIL:a@b.example", "FN:a@b.example\nUID:u\nEMAIL:a@b.example", "added"},
		{"no end", "3.0", head + "END:VCAR", head + "X-DECANT-LINE:END:VCAR", "moved"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := item.Record{Kind: item.Contact, Data: lines(c.version, c.before)}
			out, changes, ok := Rules{}.Shape(r, rule.Profile{Strict: true})
			got := body(t, out.Data, c.version)
			if c.name == "no UID" {
				again, _, _ := Rules{}.Shape(r, rule.Profile{Strict: true})
				if string(again.Data) != string(out.Data) || !strings.HasPrefix(got, "UID:") {
					t.Errorf("%s and %s", out.Data, again.Data)
				}
				got = c.after[:4+36] + got[4+36:]
			}
			if got != c.after || !ok {
				t.Errorf("got\n%s\nwant\n%s", got, c.after)
			}
			var effects []string
			for _, ch := range changes {
				effects = append(effects, ch.Effect.String())
			}
			if s := strings.Join(effects, " "); s != c.effects {
				t.Errorf("effects %q, want %q: %+v", s, c.effects, changes)
			}
		})
	}
}

func TestShapeForStrictConverts21(t *testing.T) {
	r := item.Record{Kind: item.Contact, Data: lines("2.1", "UID:u\nN;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:M=FCller\nFN:M\nTEL;CELL:1")}
	out, _, ok := Rules{}.Shape(r, rule.Profile{Strict: true})
	if got := body(t, out.Data, "3.0"); !ok || got != "UID:u\nN:Müller\nFN:M\nTEL;TYPE=CELL:1" {
		t.Errorf("%s", got)
	}
}

func TestShapeDropsAndShrinks(t *testing.T) {
	r := item.Record{Kind: item.Contact, Data: lines("3.0", "FN:A\nX-A:1\nX-B:2\nPHOTO;ENCODING=b:"+strings.Repeat("QUJD", 500))}
	out, changes, ok := Rules{}.Shape(r, rule.Profile{Drops: []string{"X-*"}, Keeps: []string{"X-B"}, MaxSize: 1000})
	if got := body(t, out.Data, "3.0"); !ok || got != "FN:A\nX-B:2" || len(changes) != 2 || changes[0].Property != "X-A" || changes[1].Property != "PHOTO" {
		t.Errorf("%s %+v", got, changes)
	}
	if _, changes, ok := (Rules{}).Shape(r, rule.Profile{MaxSize: 10}); ok || len(changes) == 0 {
		t.Errorf("a card of more than 10 bytes was taken")
	}
	if _, changes, ok := (Rules{}).Shape(item.Record{Data: []byte("hello\r\n")}, rule.Profile{}); ok || len(changes) != 1 {
		t.Errorf("text was taken: %+v", changes)
	}
}
