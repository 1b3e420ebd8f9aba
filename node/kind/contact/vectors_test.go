package contact

import (
	"context"
	"flag"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/internal/vector"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/rule"
)

var update = flag.Bool("update", false, "write the test vectors anew")

// shapeVector is one card and what a target gets of it.
type shapeVector struct {
	Comment string        `json:"comment"`
	Version string        `json:"version,omitempty"`
	Strict  bool          `json:"strict,omitempty"`
	Drops   []string      `json:"drops,omitempty"`
	Card    string        `json:"card"`
	Result  *string       `json:"result"` // null: the target can't take it
	Changes []item.Change `json:"changes"`
}

// matchVector is what a target has, what comes, and what becomes of it.
type matchVector struct {
	Comment   string     `json:"comment"`
	Region    string     `json:"region,omitempty"`
	Existing  []string   `json:"existing"`
	Incoming  []string   `json:"incoming"`
	Decisions []decision `json:"decisions"`
}

type decision struct {
	Verdict string        `json:"verdict"`
	With    int           `json:"with"`
	Result  string        `json:"result,omitempty"`
	Why     string        `json:"why,omitempty"`
	Changes []item.Change `json:"changes,omitempty"`
}

func text(version, body string) string { return string(lines(version, body)) }

var shapeInputs = []shapeVector{
	{Comment: "any target: nothing changes", Card: text("2.1", "N;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:M=FCller\nTEL;CELL:1")},
	{Comment: "any target: a card without an end gets one", Card: "BEGIN:VCARD\nFN:a\n"},
	{Comment: "any target: text outside of cards is refused", Card: "hello\r\n"},
	{Comment: "2.1 to 3.0", Version: "3.0", Card: text("2.1", "N;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:M=FCller;J\nTEL;CELL;PREF:1\nNOTE;ENCODING=QUOTED-PRINTABLE:a=0D=0A=\nb, c\nPHOTO;ENCODING=BASE64;PNG:\n iVBORw0KGgo=\n")},
	{Comment: "2.1 to 4.0: label, agent, phonetic name, a label of Android", Version: "4.0",
		Card: text("2.1", "ADR;WORK:;;Street\nLABEL;WORK;ENCODING=QUOTED-PRINTABLE:a=0D=0Ab\nAGENT:\nBEGIN:VCARD\nFN:x\nEND:VCARD\nSOUND;X-IRMC-N:k;n;;;\nTEL;X-CUSTOM(CHARSET=UTF-8,ENCODING=QUOTED-PRINTABLE,=C3=BC):1")},
	{Comment: "3.0 to 4.0", Version: "4.0", Card: text("3.0", "item1.TEL;type=HOME;type=pref:1\nitem1.X-ABLabel:boat\nBDAY;X-APPLE-OMIT-YEAR=1604:1604-02-03\nGEO:1.5;2.5\nLABEL:a\\nb\nPHOTO;VALUE=URL;TYPE=JPEG:http://a.example/b\nX-ADDRESSBOOKSERVER-KIND:group")},
	{Comment: "4.0 to 3.0", Version: "3.0", Card: text("4.0", "TEL;VALUE=uri;TYPE=\"work,voice\";PREF=1:tel:+1-555;ext=12\nADR;TYPE=home;LABEL=a^nb:;;Street\nBDAY:--0203\nPHOTO:data:image/png;base64,iVBORw0KGgo=\nGEO:geo:1.5,2.5\nMEMBER:urn:uuid:a")},
	{Comment: "3.0 to 2.1", Version: "2.1", Card: text("3.0", "N:Müller;J;;;\nTEL;TYPE=CELL,pref:1\nADR:;;a\\, b\\; c\nNOTE:a\\nb\nCATEGORIES:a,b")},
	{Comment: "a character set that is not UTF-8", Version: "3.0", Card: text("2.1", "N;CHARSET=SHIFT_JIS;ENCODING=QUOTED-PRINTABLE:=88=C0=93=A1;=83\\")},
	{Comment: "strict: what is missing is added", Strict: true, Card: text("3.0", "EMAIL:a@b.example")},
	{Comment: "strict: 2.1 becomes 3.0", Strict: true, Card: text("2.1", "UID:u\nFN:a\nN:a\nTEL;CELL:1")},
	{Comment: "strict: escapes", Strict: true, Card: text("3.0", "UID:u\nFN:a\nN:a;;;;\nNOTE:b, c\nURL:http\\://a.example/x,y\nNICKNAME:d,e\nORG:f, g;h")},
	{Comment: "strict: binary values", Strict: true, Card: text("4.0", "UID:u\nFN:a\nPHOTO:data:image/png;base64,QUI=\nLOGO;ENCODING=BASE64:QUI\nKEY;ENCODING=b:%")},
	{Comment: "strict: broken lines", Strict: true, Card: text("3.0", "UID:u\nFN:a\nN:a;;;;\nNOTE:b\nc\n# d\nTEL ;X = y:1\nX_A:2")},
	{Comment: "strict: too many", Strict: true, Card: text("3.0", "UID:u\nFN:a\nN:a;;;;;f\nN:b;;;;\nREV:1\nREV:1")},
	{Comment: "strict: Android's extensions", Strict: true, Card: text("3.0", "UID:u\nFN:a\nN:a;;;;\nX-ANDROID-CUSTOM:vnd.android.cursor.item/nickname;n;1;\nX-ANDROID-CUSTOM:vnd.android.cursor.item/relation;r;14;")},
	{Comment: "dropped properties", Drops: []string{"X-*", "PHOTO"}, Card: text("3.0", "FN:a\nX-A:1\nPHOTO;ENCODING=b:QUI=")},
}

var matchInputs = []matchVector{
	{Comment: "nobody", Incoming: []string{text("3.0", "FN:Ada")}},
	{Comment: "the same in another form", Region: "DE", Existing: []string{text("3.0", "UID:1\nFN:Ada\nTEL;TYPE=cell:0171 1234567")}, Incoming: []string{text("2.1", "TEL;CELL:+49 171 1234567\nFN:Ada\nREV:2")}},
	{Comment: "UID", Existing: []string{text("3.0", "UID:urn:uuid:4FBE8971-0BC3-424C-9C26-36C3E1EFF6B1\nFN:Ada\nN:L;;;;\nNOTE:one\nBDAY:1815-12-10")}, Incoming: []string{text("3.0", "UID:4fbe8971-0bc3-424c-9c26-36c3e1eff6b1\nFN:Ada\nN:L;Ada;;;\nNOTE:two\nBDAY:1816-12-10\nCATEGORIES:x")}},
	{Comment: "UID of somebody else", Existing: []string{text("3.0", "UID:1\nFN:Ada\nEMAIL:a@x.example")}, Incoming: []string{text("3.0", "UID:1\nFN:Bob\nEMAIL:b@x.example")}},
	{Comment: "name and number, labels", Region: "DE", Existing: []string{text("3.0", "FN:Dr. Zoë Müller\nTEL:0171 1234567\nitem1.URL:http://a.example\nitem1.X-ABLabel:one")},
		Incoming: []string{text("3.0", "FN:muller, zoe\nTEL;TYPE=CELL:+491711234567\nitem1.URL:http://b.example\nitem1.X-ABLabel:two")}},
	{Comment: "number only", Existing: []string{text("3.0", "FN:Ada\nTEL:+491711234567")}, Incoming: []string{text("3.0", "FN:Bob\nTEL:+491711234567")}},
	{Comment: "name only", Existing: []string{text("3.0", "FN:Ada\nTEL:1")}, Incoming: []string{text("3.0", "FN:Ada\nTEL:2")}},
	{Comment: "says no more", Existing: []string{text("3.0", "FN:Ada\nTEL:1")}, Incoming: []string{text("3.0", "FN:Ada")}},
	{Comment: "groups of one name", Existing: []string{text("4.0", "FN:F\nKIND:group\nMEMBER:urn:uuid:a")}, Incoming: []string{text("3.0", "FN:F\nX-ADDRESSBOOKSERVER-KIND:group\nX-ADDRESSBOOKSERVER-MEMBER:urn:uuid:b")}},
	{Comment: "among themselves", Incoming: []string{text("3.0", "UID:1\nFN:Ada\nTEL:+491711234567"), text("3.0", "UID:1\nFN:Ada\nTEL:+491711234567\nNOTE:n"), text("3.0", "UID:2\nFN:Ada\nTEL:+491711234567\nTITLE:t")}},
}

func TestVectors(t *testing.T) {
	shapes, matches := shapeInputs, matchInputs
	for i := range shapes {
		v := &shapes[i]
		r := item.Record{Kind: item.Contact, Label: label([]byte(v.Card)), From: "a.vcf:1", Data: []byte(v.Card)}
		out, changes, ok := Rules{}.Shape(r, rule.Profile{Version: v.Version, Strict: v.Strict, Drops: v.Drops})
		v.Changes = plain(changes)
		if ok {
			s := string(out.Data)
			v.Result = &s
		}
	}
	for i := range matches {
		v := &matches[i]
		records := func(cards []string) (out []item.Record) {
			for _, c := range cards {
				out = append(out, item.Record{Kind: item.Contact, Label: label([]byte(c)), Data: []byte(c)})
			}
			return out
		}
		ds, err := Rules{}.Match(context.Background(), records(v.Existing), records(v.Incoming), rule.Options{Profile: rule.Profile{Region: v.Region}})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range ds {
			v.Decisions = append(v.Decisions, decision{d.Verdict.String(), d.With, string(d.Result), d.Why, plain(d.Changes)})
		}
	}
	vector.Pinned(t, *update, "testdata/shape.json", "9.4", shapes)
	vector.Pinned(t, *update, "testdata/match.json", "9.4", matches)
}

// plain are changes as JSON has them.
func plain(changes []item.Change) []item.Change {
	out := []item.Change{}
	for _, c := range changes {
		c.Kind = item.KindNone
		c.Before, c.After = strings.ToValidUTF8(c.Before, "\ufffd"), strings.ToValidUTF8(c.After, "\ufffd")
		out = append(out, c)
	}
	return out
}
