package report

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/item/show"
	"github.com/decant-dev/decant/node/kind/rule"
)

// hostile are names and values that somebody might put into an address book.
var hostile = []string{
	"=cmd|' /C calc'!A0", "<script>alert(1)</script>", "</bdi></code></style><img src=x onerror=alert(1)>", "rtl \u202egpj.exe", "\x1b]0;pwn\x07\x1b[2J", "c1 \u009b2J", "\x9b",
	`"><a href="javascript:alert(1)">x</a>`, "{{.}}", "https://example.org/fetch.png", "url(https://example.org/a.css)", "zero\u200bwidth\ufeff", "line\nbreak\r\n\u2028\u2029",
	"not UTF-8 \xff\xfe", "NUL \x00", "tag \U000e0041", "]}", "\\u202e", strings.Repeat("long ", 1000), "-->", "@import 'x'",
}

func sample() *Report {
	r := &Report{What: "import", When: time.Date(2026, 3, 1, 9, 30, 0, 0, time.UTC), Source: []string{"vcf:contacts.vcf"}, Target: []string{"dav:https://dav.example.org/"},
		Notes: []string{"photos were left out"}}
	for range 1234 {
		r.Add(Entry{Kind: item.Contact, Record: "somebody", Verdict: rule.New})
	}
	r.Add(Entry{Kind: item.Contact, Record: "Jane Doe", UID: "u1", From: "contacts.vcf:12", Verdict: rule.Merge, With: "Doe, Jane", Why: "same name and +49 30 1234567", Changes: []item.Change{
		{Property: "PHOTO", Effect: item.EffectDropped, Why: "the target keeps no pictures", Before: "9,301 bytes"},
		{Property: "TEL", Effect: item.EffectAltered, Why: "the target writes numbers as URIs", Before: "+49 30 1234567", After: "tel:+49-30-1234567"},
	}})
	r.Add(Entry{Kind: item.Contact, Record: "Ann", Verdict: rule.Conflict, Why: "same UID, other birthday", Decided: "both are kept"})
	r.Add(Entry{Kind: item.Calendar, Book: "Work", Record: "Standup", Verdict: rule.New, Changes: []item.Change{{Property: "VEVENT/VALARM/TRIGGER", Effect: item.EffectRepaired, Why: "it had no unit", Before: "-P15", After: "-PT15M"}}})
	r.Add(Entry{Kind: item.Calendar, Record: "Broken", Verdict: rule.New, Refused: "409 Conflict"})
	r.Add(Entry{Kind: item.Contact, Record: "Bob", Verdict: rule.Suggest, With: "Robert", Why: "same number"})
	r.Change(item.Change{Kind: item.Bookmark, Record: "http://", Property: "", Effect: item.EffectFlagged, Why: "it has no address"})
	return r
}

func hostileReport() *Report {
	r := &Report{What: "receive", Source: hostile, Target: hostile, Notes: hostile}
	for i, a := range hostile {
		b := hostile[(i+1)%len(hostile)]
		e := Entry{Kind: item.Kinds[i%len(item.Kinds)], Book: a, Record: b, UID: a, From: b, Verdict: rule.Verdict(i % 6), With: a, Why: b, Decided: a,
			Changes: []item.Change{{Property: a, Effect: item.Effect(i % 7), Why: b, Before: a, After: b}}}
		r.Add(e)
		e.Changes, e.Refused = nil, a
		r.Add(e)
	}
	return r
}

func TestCounts(t *testing.T) {
	r := sample()
	if len(r.Kinds) != 3 || r.Kinds[0].Kind != item.Contact || r.Kinds[2].Kind != item.Bookmark {
		t.Fatalf("kinds %+v", r.Kinds)
	}
	c := r.Kinds[0]
	if c.New != 1234 || c.Merged != 1 || c.Conflicts != 1 || c.Suggested != 1 || c.Dropped != 1 || c.Altered != 1 || c.Changes() != 2 || c.Records() != 1237 {
		t.Errorf("%+v", c)
	}
	if c := r.Kinds[1]; c.Refused != 1 || c.New != 1 || c.Repaired != 1 {
		t.Errorf("%+v", c)
	}
	if len(r.Entries) != 6 {
		t.Errorf("%d entries were kept", len(r.Entries))
	}
	if got := r.Entries[0].Changes[1]; got.Record != "Jane Doe" || got.UID != "u1" || got.From != "contacts.vcf:12" || got.Kind != item.Contact {
		t.Errorf("the change is of %+v", got)
	}
	groups := r.Groups(item.Contact)
	if len(groups) != 2 || groups[0].Effect != item.EffectDropped {
		t.Errorf("groups %+v", groups)
	}
}

func TestText(t *testing.T) {
	var b bytes.Buffer
	if err := sample().WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Jane Doe: with “Doe, Jane”; same name and +49 30 1234567", "PHOTO dropped: the target keeps no pictures", "after  tel:+49-30-1234567",
		"Calendar, refused", "409 Conflict", "both are kept", "1234", "the record flagged"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, &b)
		}
	}
	var s bytes.Buffer
	if err := sample().WriteSummary(&s); err != nil || !strings.HasPrefix(b.String(), s.String()) {
		t.Errorf("%v, the summary is not how the text begins:\n%s", err, &s)
	}
}

// TestRT4RT5RT18Inert puts hostile names and values everywhere.
func TestRT4RT5RT18Inert(t *testing.T) {
	r := hostileReport()
	for form, write := range map[string]func(*bytes.Buffer) error{
		"text": func(b *bytes.Buffer) error { return r.WriteText(b) },
		"JSON": func(b *bytes.Buffer) error { return r.WriteJSON(b) },
		"HTML": func(b *bytes.Buffer) error { return r.WriteHTML(b) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		for i, c := range b.String() {
			if c == '\n' || c == '\t' && form == "HTML" || c == '\u202f' {
				continue
			}
			if unicode.In(c, unicode.Cc, unicode.Cf, unicode.Co, unicode.Zl, unicode.Zp) || c == '\ufffd' && form != "JSON" {
				t.Errorf("%s has %U in %.40q", form, c, b.String()[max(0, i-20):])
				break
			}
		}
		if form == "HTML" {
			checkPage(t, b.String())
		}
	}
}

var (
	tag  = regexp.MustCompile(`(?i)<\s*/?\s*([a-z0-9!]+)`)
	href = regexp.MustCompile(`(?i)\b(href|src|srcset|action|style|on[a-z]+)\s*=\s*"?([^">\s]*)`)
)

// checkPage accepts only the elements and attributes that the template has.
func checkPage(t *testing.T, s string) {
	t.Helper()
	known := map[string]bool{}
	for _, n := range strings.Fields("!doctype html head meta title style body h1 h2 h3 dl dt dd bdi div table thead tbody tr th td a p details summary strong span code footer") {
		known[n] = true
	}
	for _, m := range tag.FindAllStringSubmatch(s, -1) {
		if !known[strings.ToLower(m[1])] {
			t.Errorf("the page has an element %q", m[1])
		}
	}
	// Attributes are looked for inside of tags; what was escaped has no tags.
	for _, m := range regexp.MustCompile(`<[^>]*>`).FindAllString(s, -1) {
		for _, a := range href.FindAllStringSubmatch(m, -1) {
			if !strings.EqualFold(a[1], "href") || !strings.HasPrefix(a[2], "#") {
				t.Errorf("the page has %q", a[0])
			}
		}
	}
	if n := strings.Count(s, "<style>"); n != 1 {
		t.Errorf("%d styles", n)
	}
	if i, j := strings.Index(s, "<style>"), strings.Index(s, "</style>"); s[i+len("<style>"):j] != style {
		t.Error("the style is not the one whose hash the policy names")
	}
	if !strings.Contains(s, `content="default-src &#39;none&#39;; style-src &#39;sha256-`) {
		t.Error("no policy")
	}
}

func TestJSONRoundTrip(t *testing.T) {
	for _, r := range []*Report{sample(), {What: "undo"}, hostileReport()} {
		var b bytes.Buffer
		if err := r.WriteJSON(&b); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(b.Bytes()) {
			t.Fatalf("not JSON:\n%s", &b)
		}
		back, err := ReadJSON(bytes.NewReader(b.Bytes()))
		if err != nil {
			t.Fatal(err)
		}
		var again bytes.Buffer
		if err := back.WriteJSON(&again); err != nil || !bytes.Equal(b.Bytes(), again.Bytes()) {
			t.Errorf("%v, the second is not the first:\n%s\n%s", err, &b, &again)
		}
		if r.Kinds != nil && !reflect.DeepEqual(r.Kinds, back.Kinds) {
			t.Errorf("%+v came back as %+v", r.Kinds, back.Kinds)
		}
	}
	for _, s := range []string{"", "[]", "{}", `{"format":"decant-report/2"}`} {
		if _, err := ReadJSON(strings.NewReader(s)); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// TestJSONForm pins the form on which other programs rely.
func TestJSONForm(t *testing.T) {
	r := &Report{What: "import", Source: []string{"vcf:a.vcf"}}
	r.Add(Entry{Kind: item.Contact, Record: "A\u202e", UID: "1", Verdict: rule.Merge, Changes: []item.Change{{Property: "TEL", Effect: item.EffectDropped, Why: "w", Before: "1"}}})
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	const want = `{"format":"decant-report/1","what":"import","source":["vcf:a.vcf"],"kinds":[{"kind":"contact","new":0,"same":0,"merged":1,"conflicts":0,"suggested":0,"refused":0,` +
		`"changes":{"dropped":1,"altered":0,"repaired":0,"added":0,"moved":0,"flagged":0}}],"entries":[` + "\n" +
		`{"kind":"contact","record":"A\u202e","uid":"1","verdict":"merge","changes":[{"record":"A\u202e","uid":"1","property":"TEL","effect":"dropped","why":"w","before":"1"}]}` + "\n]}\n"
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", &b, want)
	}
}

// TestManyEntries keeps the page at a size that a browser takes, and says so.
func TestManyEntries(t *testing.T) {
	r := &Report{What: "import"}
	for i := range maxPage + 500 {
		r.Add(Entry{Kind: item.Message, Record: fmt.Sprint(i), Verdict: rule.New, Changes: []item.Change{{Property: fmt.Sprint("P", i), Effect: item.EffectFlagged, Why: "w"}}})
	}
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(b.String(), "500 more are not on this page") || strings.Count(b.String(), "<summary>") != maxPage+1 {
		t.Errorf("%d details", strings.Count(b.String(), "<summary>"))
	}
	if n := len(r.Groups(item.Message)); n > maxGroups+1 {
		t.Errorf("%d groups", n)
	}
}

func TestEmpty(t *testing.T) {
	var r Report
	var b bytes.Buffer
	if err := errors.Join(r.WriteText(&b), r.WriteJSON(&b), r.WriteHTML(&b)); err != nil {
		t.Error(err)
	}
}

func FuzzWrite(f *testing.F) {
	for _, s := range hostile {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		r := &Report{What: a, Source: []string{b}}
		r.Add(Entry{Kind: item.Note, Record: a, Why: b, Verdict: rule.Conflict, Changes: []item.Change{{Property: b, Effect: item.EffectMoved, Why: a, Before: b, After: a}}})
		var page, text, j bytes.Buffer
		if err := errors.Join(r.WriteHTML(&page), r.WriteText(&text), r.WriteJSON(&j)); err != nil {
			t.Fatal(err)
		}
		checkPage(t, page.String())
		for line := range strings.SplitSeq(text.String(), "\n") {
			if show.Name(line) != line && len(line) < 4096 {
				t.Errorf("text has %q", line)
			}
		}
		if _, err := ReadJSON(&j); err != nil {
			t.Error(err)
		}
	})
}

// TestSave writes the page where DECANT_REPORT_PAGE says, for a look at it.
func TestSave(t *testing.T) {
	path := os.Getenv("DECANT_REPORT_PAGE")
	if path == "" {
		t.Skip("DECANT_REPORT_PAGE names no file")
	}
	r := sample()
	if os.Getenv("DECANT_REPORT_HOSTILE") != "" {
		r = hostileReport()
	}
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}
