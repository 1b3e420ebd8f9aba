package fidelity

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func parse(t *testing.T, name, text string) *Document {
	t.Helper()
	d, err := Parse(name, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// found lists losses as "-NAME" if the value is gone, "~NAME" if more or less than it, and "+NAME" for what is new.
func found(r *Result) string {
	var out []string
	for _, l := range r.Lost {
		out = append(out, "-"+l.FullName())
	}
	for _, l := range r.Changed {
		out = append(out, "~"+l.FullName())
	}
	for _, p := range r.Extra {
		out = append(out, "+"+p.FullName())
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}

func card(version string, lines ...string) string {
	return "BEGIN:VCARD\r\nVERSION:" + version + "\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VCARD\r\n"
}

func event(lines ...string) string {
	return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\n" + strings.Join(lines, "\r\n") + "\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
}

// TestLosses has every class of loss once, and what is none.
func TestLosses(t *testing.T) {
	const pixel = "/9j/4AAQSkZJRgABAQEAYABgAAD/2wBD"
	for name, c := range map[string]struct{ before, after, want string }{
		"nothing":                              {card("3.0", "FN:A", "TEL;TYPE=cell:1"), card("3.0", "FN:A", "TEL;TYPE=cell:1"), ""},
		"order of lines":                       {card("3.0", "FN:A", "TEL:1"), card("3.0", "TEL:1", "FN:A"), ""},
		"line ends":                            {card("3.0", "FN:A", "NOTE:b"), strings.ReplaceAll(card("3.0", "FN:A", "NOTE:b"), "\r", ""), ""},
		"byte order mark":                      {"\ufeff" + card("3.0", "FN:A"), card("3.0", "FN:A"), ""},
		"UTF-16":                               {"\xff\xfe" + utf16le(card("3.0", "FN:Å")), card("3.0", "FN:Å"), ""},
		"folding":                              {card("3.0", "FN:A", "NOTE:one t", " wo"), card("3.0", "FN:A", "NOTE:one two"), ""},
		"folding amid a character":             {card("3.0", "NOTE:caf\xc3\r\n \xa9"), card("3.0", "NOTE:café"), ""},
		"excluded":                             {card("3.0", "FN:A", "PRODID:x", "REV:2020"), card("4.0", "FN:A"), ""},
		"property gone":                        {card("3.0", "FN:A", "NOTE:b"), card("3.0", "FN:A"), "-NOTE"},
		"property doubled":                     {card("3.0", "FN:A"), card("3.0", "FN:A", "FN:A"), "+FN"},
		"one of two gone":                      {card("3.0", "FN:A", "TEL:1", "TEL:1"), card("3.0", "FN:A", "TEL:1"), "-TEL"},
		"value changed":                        {card("3.0", "FN:A"), card("3.0", "FN:a"), "+FN -FN"},
		"blank gone":                           {card("3.0", "NOTE:a b"), card("3.0", "NOTE:ab"), "+NOTE -NOTE"},
		"parameter gone":                       {card("3.0", "TEL;TYPE=cell:1"), card("3.0", "TEL:1"), "~TEL"},
		"parameter changed":                    {card("3.0", "TEL;TYPE=cell:1"), card("3.0", "TEL;TYPE=home:1"), "~TEL"},
		"one of two types gone":                {card("3.0", "TEL;TYPE=cell,pref:1"), card("3.0", "TEL;TYPE=cell:1"), "~TEL"},
		"types otherwise written":              {card("3.0", "TEL;TYPE=CELL;TYPE=pref:1"), card("3.0", `TEL;type="pref,cell":1`), ""},
		"group gone":                           {card("3.0", "item1.TEL:1", "item1.X-ABLabel:Boat"), card("3.0", "TEL:1", "X-ABLabel:Boat"), "~TEL ~X-ABLABEL"},
		"categories become one":                {card("3.0", "CATEGORIES:a,b"), card("3.0", `CATEGORIES:a\,b`), "+CATEGORIES -CATEGORIES"},
		"categories in other order":            {card("3.0", "CATEGORIES:a,b"), card("3.0", "CATEGORIES:b,a"), ""},
		"component of a name moved":            {card("3.0", "N:Doe;;Jane"), card("3.0", "N:Doe;Jane"), "+N -N"},
		"empty components":                     {card("3.0", "N:Doe;Jane;;;"), card("3.0", "N:Doe;Jane"), ""},
		"separator became text":                {card("3.0", "ADR:;;1 Road;Town"), card("3.0", `ADR:;;1 Road\;Town`), "+ADR -ADR"},
		"list in a name":                       {card("3.0", "N:Doe;Jane;Ann,Sue"), card("3.0", `N:Doe;Jane;Ann\,Sue`), "~N"},
		"escapes in text":                      {card("3.0", `NOTE:a;b\nc`), card("3.0", `NOTE:a\;b\Nc`), ""},
		"line break lost":                      {card("3.0", `NOTE:a\nb`), card("3.0", `NOTE:a\\nb`), "+NOTE -NOTE"},
		"separators of the unknown":            {card("3.0", "X-FOO:a;b"), card("3.0", `X-FOO:a\;b`), "~X-FOO"},
		"picture gone":                         {card("3.0", "PHOTO;ENCODING=b:"+pixel), card("3.0", "FN:A"), "+FN -PHOTO"},
		"picture recoded":                      {card("3.0", "PHOTO;ENCODING=b:"+pixel), card("3.0", "PHOTO;ENCODING=b:/9j/4AAQ"), "+PHOTO -PHOTO"},
		"picture folded":                       {card("3.0", "PHOTO;ENCODING=b:"+pixel), card("3.0", "PHOTO;ENCODING=b:"+pixel[:9], " "+pixel[9:]), ""},
		"AGENT gone":                           {card("2.1", "AGENT:", card("2.1", "FN:B")+"N:A"), card("2.1", "N:A"), "-AGENT -VCARD/FN"},
		"broken line gone":                     {card("3.0", "FN:A", "this is no property"), card("3.0", "FN:A"), "-"},
		"text outside gone":                    {"hello: world\r\n" + card("3.0", "FN:A"), card("3.0", "FN:A"), "-HELLO"},
		"card gone":                            {card("3.0", "FN:A") + card("3.0", "FN:B", "TEL:2"), card("3.0", "FN:A"), "-FN -TEL"},
		"card made up":                         {card("3.0", "FN:A"), card("3.0", "FN:A") + card("3.0", "FN:B", "TEL:2"), "+FN +TEL"},
		"one card gone, its neighbour changed": {card("3.0", "FN:A", "NOTE:x", "ROLE:c") + card("3.0", "FN:B", "NOTE:y", "ROLE:c"), card("3.0", "FN:B", "NOTE:z", "ROLE:c"), "+NOTE -FN -NOTE -NOTE -ROLE"},
		"properties swapped":                   {card("3.0", "UID:1", "FN:A", "TEL:1") + card("3.0", "UID:2", "FN:B", "TEL:2"), card("3.0", "UID:1", "FN:A", "TEL:2") + card("3.0", "UID:2", "FN:B", "TEL:1"), "+TEL +TEL -TEL -TEL"},
		"mojibake":                             {card("3.0", "FN:Å"), card("3.0", "FN:Ã…"), "+FN -FN"},
		"emoji gone":                           {card("3.0", "FN:🎂"), card("3.0", "FN:?"), "+FN -FN"},
		"bare Windows-1252":                    {card("2.1", "FN:\x80 M\xfcller"), card("2.1", "FN:€ Müller"), ""},
		"cut quoted-printable":                 {card("2.1", "NOTE;QUOTED-PRINTABLE:a=\r\nb"), card("2.1", "NOTE;QUOTED-PRINTABLE:a"), "+NOTE -NOTE"},
		"bare number after a type":             {card("2.1", "TEL;CELL:+1"), card("2.1", "TEL;CELL="), "+ -TEL"},
		"year of a birthday":                   {card("4.0", "BDAY:--0203"), card("4.0", "BDAY:0203"), "+BDAY -BDAY"},
		"alarm gone":                           {event("BEGIN:VALARM", "TRIGGER:-PT5M", "END:VALARM"), event("SUMMARY:x"), "+VEVENT/SUMMARY -VEVENT/VALARM/TRIGGER"},
		"alarm's property moved up":            {event("BEGIN:VALARM", "TRIGGER:-PT5M", "END:VALARM"), event("TRIGGER:-PT5M"), "+VEVENT/TRIGGER -VEVENT/VALARM/TRIGGER"},
		"zone of a time gone":                  {event("DTSTART;TZID=Europe/Berlin:20200101T120000"), event("DTSTART:20200101T120000"), "~VEVENT/DTSTART"},
		"time became UTC":                      {event("DTSTART:20200101T120000"), event("DTSTART:20200101T120000Z"), "+VEVENT/DTSTART -VEVENT/DTSTART"},
		"one of the exceptions gone":           {event("EXDATE:20200101,20200102"), event("EXDATE:20200101"), "+VEVENT/EXDATE -VEVENT/EXDATE"},
		"parts of a rule reordered":            {event("RRULE:FREQ=DAILY;COUNT=2"), event("RRULE:COUNT=2;FREQ=DAILY"), ""},
		"count of a rule gone":                 {event("RRULE:FREQ=DAILY;COUNT=2"), event("RRULE:FREQ=DAILY"), "+VEVENT/RRULE -VEVENT/RRULE"},
		"override gone": {event("SUMMARY:x", "END:VEVENT", "BEGIN:VEVENT", "UID:1", "RECURRENCE-ID:20200102", "SUMMARY:y"), event("SUMMARY:x"),
			"-VEVENT[20200102]/RECURRENCE-ID -VEVENT[20200102]/SUMMARY -VEVENT[20200102]/UID"},
		"attendee's parameter gone": {event("ATTENDEE;CN=\"A: B\";RSVP=TRUE:mailto:a@b"), event("ATTENDEE;CN=\"A: B\":mailto:a@b"), "~VEVENT/ATTENDEE"},
		"caret escapes":             {event("ATTENDEE;CN=a^'b^'^nc:mailto:a@b"), event("ATTENDEE;CN=\"a^'b^'^nc\":mailto:a@b"), ""},
		"empty component gone":      {event("BEGIN:VALARM", "END:VALARM"), event("X-A:1"), "+VEVENT/X-A -VEVENT/VALARM/(EMPTY)"},
		"calendar's name gone":      {strings.Replace(event(), "PRODID:x", "X-WR-CALNAME:Mine", 1), event(), "-X-WR-CALNAME"},
		"calendar split in two objects": {event("DTSTART:1", "END:VEVENT", "BEGIN:VTODO", "UID:2", "SUMMARY:t", "END:VTODO", "BEGIN:VEVENT", "UID:1", "RECURRENCE-ID:2"),
			event("DTSTART:1", "END:VEVENT", "BEGIN:VEVENT", "UID:1", "RECURRENCE-ID:2") + "BEGIN:VCALENDAR\nVERSION:2.0\nBEGIN:VTODO\nUID:2\nSUMMARY:t\nEND:VTODO\nEND:VCALENDAR", ""},
	} {
		t.Run(name, func(t *testing.T) {
			file := "f.vcf"
			if strings.Contains(c.before, "VCALENDAR") {
				file = "f.ics"
			}
			a, b := parse(t, file, c.before), parse(t, file, c.after)
			r := Compare(a, b, Options{})
			if got := found(r); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
			if n := len(r.Lost) + len(r.Changed); n != r.StrictProperties-r.StrictKept || n != len(r.Silent()) {
				t.Errorf("%d losses, %d of %d kept, %d silent", n, r.StrictKept, r.StrictProperties, len(r.Silent()))
			}
			if back := Compare(a, a, Options{}); !back.Perfect() || back.Invented != 0 {
				t.Errorf("against itself: %s", found(back))
			}
		})
	}
}

func utf16le(s string) string {
	var b strings.Builder
	for _, r := range s {
		b.WriteByte(byte(r))
		b.WriteByte(byte(r >> 8))
	}
	return b.String()
}

// TestTranslations has what differs between versions and means the same.
func TestTranslations(t *testing.T) {
	const pixel = "/9j/4AAQSkZJRgABAQEAYABgAAD/2wBD"
	for name, c := range map[string]struct{ before, after, want string }{
		"quoted-printable":         {card("2.1", "NOTE;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:caf=C3=A9=0D=0A=\r\nbar"), card("3.0", `NOTE:café\nbar`), ""},
		"Latin-1":                  {card("2.1", "NOTE;CHARSET=ISO-8859-1;QUOTED-PRINTABLE:caf=E9"), card("4.0", "NOTE:café"), ""},
		"bare types":               {card("2.1", "TEL;CELL;PREF:1"), card("3.0", "TEL;TYPE=cell,pref:1"), ""},
		"commas in text":           {card("2.1", "NOTE:a,b;c"), card("3.0", `NOTE:a\,b\;c`), ""},
		"commas in a name":         {card("2.1", "N:Doe, Jr;Jane"), card("3.0", `N:Doe\, Jr;Jane`), ""},
		"backslash as it stands":   {card("2.1", `NOTE:C:\temp`), card("3.0", `NOTE:C:\\temp`), ""},
		"backslash as an escape":   {card("2.1", `NOTE:a\nb`), card("3.0", `NOTE:a\nb`), ""},
		"folding keeps the blank":  {card("2.1", "NOTE:one", " two"), card("3.0", "NOTE:one two"), ""},
		"folding drops the blank":  {card("2.1", "NOTE:one", " two"), card("3.0", "NOTE:onetwo"), ""},
		"picture as a URI":         {card("3.0", "PHOTO;ENCODING=b;TYPE=JPEG:"+pixel), card("4.0", "PHOTO:data:image/jpeg;base64,"+pixel), ""},
		"picture of 2.1":           {card("2.1", "PHOTO;BASE64;JPEG:", " "+pixel, ""), card("3.0", "PHOTO;ENCODING=b;TYPE=jpeg:"+pixel), ""},
		"picture's type gone":      {card("2.1", "PHOTO;BASE64;JPEG:", " "+pixel, ""), card("3.0", "PHOTO;ENCODING=b:"+pixel), "~PHOTO"},
		"number as a URI":          {card("3.0", "TEL;TYPE=cell:+1-5"), card("4.0", "TEL;VALUE=uri;TYPE=cell:tel:+1-5"), ""},
		"UUID":                     {card("3.0", "UID:6BA7B810-9DAD-11D1-80B4-00C04FD430C8"), card("4.0", "UID:urn:uuid:6ba7b810-9dad-11d1-80b4-00c04fd430c8"), ""},
		"birthday":                 {card("3.0", "BDAY:1990-02-03T10:20:30Z"), card("4.0", "BDAY:19900203T102030Z"), ""},
		"position":                 {card("3.0", "GEO:1.5;2.5"), card("4.0", "GEO:geo:1.5,2.5"), ""},
		"preference is not a type": {card("3.0", "TEL;TYPE=pref:1"), card("4.0", "TEL;PREF=1:1"), "~TEL"},
		"a copy has no readings":   {card("2.1", `NOTE:a\\b`), card("2.1", `NOTE:a\b`), "+NOTE -NOTE"},
		"unknown charset as bytes": {card("2.1", "FN;CHARSET=SHIFT_JIS:\x83\x65"), card("2.1", "FN;CHARSET=SHIFT_JIS;ENCODING=QUOTED-PRINTABLE:=83=65"), ""},
		"unknown charset garbled":  {card("2.1", "FN;CHARSET=SHIFT_JIS:\x83\x65"), card("3.0", "FN:?e"), "+FN -FN"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Compare(parse(t, "f.vcf", c.before), parse(t, "f.vcf", c.after), Options{})
			if got := found(r); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

// TestMerged lets two records have one partner, which has more besides.
func TestMerged(t *testing.T) {
	before := card("3.0", "FN:A", "TEL:1") + card("3.0", "FN:A", "EMAIL:a@b")
	after := card("3.0", "FN:A", "TEL:1", "EMAIL:a@b", "NOTE:old")
	r := Compare(parse(t, "f.vcf", before), parse(t, "f.vcf", after), Options{Merged: true})
	if found(r) != "" || r.Missing != 0 {
		t.Errorf("found %q, %d missing", found(r), r.Missing)
	}
}

func TestTable(t *testing.T) {
	a := Compare(parse(t, "a.vcf", card("3.0", "FN:A", "NOTE:b")), parse(t, "a.vcf", card("3.0", "FN:A")), Options{})
	b := Compare(parse(t, "b.vcf", card("3.0", "FN:A")), parse(t, "b.vcf", card("3.0", "FN:A")), Options{})
	table := Table{a, b}
	if s := table.Sum(); s.Properties != 3 || s.Kept != 2 {
		t.Errorf("sum %+v", s)
	}
	if r, s := table.Macro(); r != 0.75 || s != 0.75 {
		t.Errorf("macro %v %v", r, s)
	}
	if w, p := table.Perfect(); w != 1 || p != 1 {
		t.Errorf("perfect %d %d", w, p)
	}
	var out strings.Builder
	if err := table.Write(&out); err != nil || !strings.Contains(out.String(), "silent losses: 1") {
		t.Errorf("%v\n%s", err, &out)
	}
	a.WriteLosses(&out, 1)
	if !strings.Contains(out.String(), "silently lost") {
		t.Errorf("%s", &out)
	}
}

// TestFixtures compares every file with itself, and with itself lacking each of its first records' properties.
func TestFixtures(t *testing.T) {
	n := 0
	for _, path := range fixtures(t) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		d, err := Parse(path, data)
		if err != nil {
			continue
		}
		n++
		r := Compare(d, d, Options{})
		if !r.Perfect() || r.Invented != 0 || r.Missing != 0 {
			t.Errorf("%s against itself: %s", path, found(r))
		}
		for i := range min(len(d.Records), 2) {
			rec := d.Records[i]
			for k := range min(len(rec.Properties), 6) {
				less := *rec
				less.Properties = slices.Delete(slices.Clone(rec.Properties), k, k+1)
				other := &Document{Format: d.Format, Records: slices.Clone(d.Records)}
				other.Records[i] = &less
				if r := Compare(d, other, Options{}); r.StrictProperties-r.StrictKept != 1 || r.Invented != 0 {
					t.Fatalf("%s without %s: %s", path, rec.Properties[k], found(r))
				}
			}
		}
	}
	if n < 190 {
		t.Errorf("only %d files were read", n)
	}
}

// fixtures lists the files that lie beside the repository.
func fixtures(t *testing.T) (out []string) {
	dir := filepath.Join("..", "..", "..", "shared", "fixtures")
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the fixtures are not beside the repository")
	}
	for _, sub := range []string{"vcard", "ics", "sms", "bookmarks"} {
		filepath.WalkDir(filepath.Join(dir, sub), func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".txt") && !strings.HasSuffix(path, ".db") {
				out = append(out, path)
			}
			return err
		})
	}
	return out
}

func FuzzParse(f *testing.F) {
	f.Add("a.vcf", []byte(card("2.1", "NOTE;QUOTED-PRINTABLE:a=\r\n b", "AGENT:", "BEGIN:VCARD")))
	f.Add("a.ics", []byte(event("RRULE:FREQ=DAILY", "BEGIN:VALARM")))
	f.Add("a.xml", []byte(`<smses><sms a="&#55357;&#56832;"/></smses>`))
	f.Add("a.html", []byte(`<DL><DT><H3>x</H3><DL><DT><A HREF="b">c</A><DD>d</DL>`))
	f.Add("a.nmconnection", []byte("[wifi]\nssid=65;66;\n"))
	f.Add("a.json", []byte(`{"children":[{"title":"a","uri":"b"}]}`))
	f.Fuzz(func(t *testing.T, name string, data []byte) {
		d, err := Parse(name, data)
		if err != nil {
			return
		}
		r := Compare(d, d, Options{})
		if !r.Perfect() || r.Invented != 0 {
			t.Errorf("against itself: %s", found(r))
		}
	})
}

func ExampleCompare() {
	before, _ := Parse("a.vcf", []byte("BEGIN:VCARD\nVERSION:3.0\nFN:Jane\nTEL;TYPE=CELL:1\nNOTE:x\nEND:VCARD\n"))
	after, _ := Parse("a.vcf", []byte("BEGIN:VCARD\nVERSION:3.0\nFN:Jane\nTEL:1\nEND:VCARD\n"))
	r := Compare(before, after, Options{Report: []Change{{Record: "Jane", Property: "NOTE", Effect: "dropped"}}})
	fmt.Printf("%.2f %.2f, silent: %v\n", r.Recall(), r.Strict(), r.Silent()[0].Name)
	// Output: 0.67 0.33, silent: TEL
}
