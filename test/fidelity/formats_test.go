package fidelity

import (
	"strings"
	"testing"
)

// TestMessages compares SMS and MMS, whose emoji are pairs of surrogates.
func TestMessages(t *testing.T) {
	const mms = `<mms date="5" msg_box="1" sub="null"><parts><part seq="0" ct="text/plain" text="hi" cl="null"/><part seq="1" ct="image/jpeg" data="AQID"/></parts><addrs><addr address="+1" type="137"/></addrs></mms>`
	wrap := func(s string) string {
		return "<?xml version='1.0' encoding='UTF-8'?>\n<!-- made -->\n<smses count=\"1\">" + s + "</smses>"
	}
	for name, c := range map[string]struct{ before, after, want string }{
		"same":                     {`<sms address="+1" date="1" body="a&#10;b"/>`, `<sms  date='1' address="+1" body="a&#xA;b" ></sms>`, ""},
		"count is not the content": {`<sms body="a"/>`, `<sms body="a"/>`, ""},
		"emoji":                    {`<sms body="a &#55357;&#56832;"/>`, `<sms body="a 😀"/>`, ""},
		"emoji gone":               {`<sms body="a &#55357;&#56832;" date="1"/>`, "<sms body=\"a \ufffd\ufffd\" date=\"1\"/>", "+sms/BODY -sms/BODY"},
		"half an emoji":            {`<sms body="a &#55357;"/>`, `<sms body="a &#55357;"/>`, ""},
		"half an emoji gone":       {`<sms body="a &#55357;" date="1"/>`, `<sms body="a " date="1"/>`, "+sms/BODY -sms/BODY"},
		"control character":        {`<sms body="a&#0;b" date="1"/>`, `<sms body="ab" date="1"/>`, "+sms/BODY -sms/BODY"},
		"attribute gone":           {`<sms body="a" date="1"/>`, `<sms body="a"/>`, "-sms/DATE"},
		"null gone":                {`<sms body="a" toa="null"/>`, `<sms body="a"/>`, "~sms/TOA"},
		"null is a text":           {`<sms body="null" date="1"/>`, `<sms date="1"/>`, "-sms/BODY"},
		"unknown entity":           {`<sms body="&who; &amp;who;"/>`, `<sms body="&amp;who; &who;"/>`, ""},
		"greater inside quotes":    {`<sms body="a>b" date="1"/>`, `<sms body="a&gt;b" date="1"/>`, ""},
		"part":                     {mms, mms, ""},
		"part's bytes":             {mms, strings.Replace(mms, "AQID", "AQIE", 1), "+mms/parts[1]/part/DATA -mms/parts[1]/part/DATA"},
		"part gone": {mms, strings.Replace(mms, `<part seq="1" ct="image/jpeg" data="AQID"/>`, "", 1),
			"-mms/parts[1]/part/CT -mms/parts[1]/part/DATA -mms/parts[1]/part/SEQ"},
		"address's role": {mms, strings.Replace(mms, "137", "151", 1), "+mms/addrs[0]/addr/TYPE -mms/addrs[0]/addr/TYPE"},
		"call":           {`<call number="1" date="2" duration="3"/>`, `<call number="1" date="2"/>`, "-call/DURATION"},
	} {
		t.Run(name, func(t *testing.T) {
			a := parse(t, "a.xml", wrap(c.before))
			if len(a.Records) != 1 {
				t.Fatalf("%d records", len(a.Records))
			}
			r := Compare(a, parse(t, "a.xml", wrap(c.after)), Options{})
			if got := found(r); got != c.want {
				t.Errorf("found %q, want %q", got, c.want)
			}
		})
	}
}

const netscape = `<!DOCTYPE NETSCAPE-Bookmark-file-1>
<TITLE>Bookmarks</TITLE><H1>Bookmarks</H1>
<DL><p>
    <DT><A HREF="http://a/?x=1&amp;y" ADD_DATE="1">A &amp; B</A>
    <DT><H3 ADD_DATE="2">Folder</H3>
    <DL><p>
        <DT><A HREF="http://b/">B</A>
        <DD>about b
        <HR>
        <DT><A HREF="http://c/">C</A>
        <DT><A HREF="http://d/">D</A>
    </DL><p>
    <DT><H3 PERSONAL_TOOLBAR_FOLDER="true">Toolbar</H3>
    <DL><p>
        <DT><A HREF="http://t/">T</A>
    </DL><p>
</DL>`

const firefox = `{"guid":"root________","children":[
 {"guid":"menu________","title":"menu","children":[
  {"title":"A & B","uri":"http://a/?x=1&y","type":"text/x-moz-place","dateAdded":1000000},
  {"title":"Folder","type":"text/x-moz-place-container","dateAdded":2000000,"children":[
   {"title":"B","uri":"http://b/","type":"text/x-moz-place"},{"type":"text/x-moz-place-separator"},
   {"title":"C","uri":"http://c/","type":"text/x-moz-place"},{"title":"D","uri":"http://d/","type":"text/x-moz-place"}]}]},
 {"guid":"toolbar_____","title":"toolbar","children":[{"title":"T","uri":"http://t/","type":"text/x-moz-place"}]}]}`

const chromium = `{"checksum":"x","roots":{
 "bookmark_bar":{"type":"folder","name":"Bookmarks bar","children":[{"type":"url","name":"T","url":"http://t/"}]},
 "other":{"type":"folder","name":"Other","children":[
  {"type":"url","name":"A & B","url":"http://a/?x=1&y","date_added":"11644473601000000"},
  {"type":"folder","name":"Folder","date_added":"11644473602000000","children":[
   {"type":"url","name":"B","url":"http://b/"},{"type":"url","name":"C","url":"http://c/"},{"type":"url","name":"D","url":"http://d/"}]}]},
 "synced":{"type":"folder","name":"m","children":[]}}}`

// TestBookmarks compares the three forms with one another.
func TestBookmarks(t *testing.T) {
	swap := strings.NewReplacer("http://c/", "http://d/", "http://d/", "http://c/", ">C<", ">D<", ">D<", ">C<")
	const c = `        <DT><A HREF="http://c/">C</A>` + "\n"
	for name, v := range map[string]struct{ before, after, want string }{
		"itself":                       {netscape, netscape, ""},
		"Firefox":                      {netscape, firefox, "~DESCRIPTION"},
		"Firefox and back":             {firefox, netscape, ""},
		"Chromium":                     {firefox, chromium, "-ORDER -TYPE -FOLDER"},
		"Chromium and back":            {chromium, netscape, "+FOLDER +TYPE"},
		"order":                        {netscape, swap.Replace(netscape), "-ORDER"},
		"title":                        {netscape, strings.Replace(netscape, "A &amp; B", "A", 1), "+TITLE -TITLE"},
		"address":                      {netscape, strings.Replace(netscape, "http://t/", "http://t", 1), "+URL -URL"},
		"date":                         {netscape, strings.Replace(netscape, `ADD_DATE="1"`, "", 1), "~ADDED"},
		"gone, order is kept":          {netscape, strings.Replace(netscape, c, "", 1), "-FOLDER -ORDER -TITLE -TYPE -URL"},
		"one gone beside many like it": {netscape, strings.Replace(netscape, `<A HREF="http://a/?x=1&amp;y" ADD_DATE="1">A &amp; B</A>`, `<A HREF="http://z">T2</A>`, 1), "+TITLE -TITLE +URL -URL ~ADDED"},
		"in another folder":            {netscape, strings.Replace(strings.Replace(netscape, c, "", 1), "    <DT><H3 PER", c+"    <DT><H3 PER", 1), "+FOLDER -FOLDER -ORDER"},
	} {
		t.Run(name, func(t *testing.T) {
			r := Compare(parse(t, "a", v.before), parse(t, "a", v.after), Options{})
			want := strings.Fields(v.want)
			if got := strings.Fields(found(r)); strings.Join(sorted(got), " ") != strings.Join(sorted(want), " ") {
				t.Errorf("found %q, want %q", got, want)
			}
		})
	}
	if d := parse(t, "a", netscape); len(d.Records) != 7 {
		t.Errorf("%d records", len(d.Records))
	}
}

func sorted(s []string) []string {
	out := append([]string{}, s...)
	for i := range out {
		for k := i; k > 0 && out[k] < out[k-1]; k-- {
			out[k], out[k-1] = out[k-1], out[k]
		}
	}
	return out
}

func TestNetworks(t *testing.T) {
	const before = "[connection]\nid=Caf\\s1\nuuid=1\ntype=802-11-wireless\n\n[802-11-wireless]\nssid=67;97;102;\n[802-11-wireless-security]\npsk=a b\n"
	same := strings.NewReplacer("67;97;102;", "Caf", "[802-11-wireless]", "[wifi]", "[802-11-wireless-security]", "[wifi-security]", `Caf\s1`, "Caf 1")
	for after, want := range map[string]string{
		before:               "",
		same.Replace(before): "",
		strings.Replace(before, "psk=a b\n", "", 1):     "-wifi-security/psk",
		strings.Replace(before, "67;", "68;", 1):        "+wifi/ssid -wifi/ssid",
		before + "[ipv4]\nmethod=auto\n":                "+ipv4/method",
		strings.Replace(before, "psk=a b", "psk=ab", 1): "+wifi-security/psk -wifi-security/psk",
	} {
		r := Compare(parse(t, "a.nmconnection", before), parse(t, "a.nmconnection", after), Options{})
		if got := found(r); got != want {
			t.Errorf("found %q, want %q after\n%s", got, want, after)
		}
	}
}

// TestReport says which losses which words explain.
func TestReport(t *testing.T) {
	before := card("3.0", "UID:u1", "FN:Jane Doe", "N:Doe;Jane", "TEL:1", "TEL:2", "PHOTO;ENCODING=b:AQID", "NOTE:x") + card("3.0", "FN:John", "TEL:1")
	after := card("3.0", "UID:u1", "FN:Jane Doe", "N:Doe;Jane", "NOTE:x") + card("3.0", "FN:John", "TEL:1")
	for _, c := range []struct {
		name, report string
		silent       string
	}{
		{"nothing said", ``, "TEL TEL PHOTO"},
		{"one of two said", `{"record":"Jane Doe","property":"TEL","effect":"dropped","before":"2"}`, "TEL PHOTO"},
		{"all said", `{"record":"Jane Doe","property":"TEL","effect":"dropped"}
{"record":"jane  doe","property":"TEL","effect":"altered"}
{"uid":"u1","record":"?","property":"VCARD/PHOTO","effect":"moved"}`, ""},
		{"of another record", `{"record":"John","property":"PHOTO","effect":"dropped"}`, "TEL TEL PHOTO"},
		{"of another record, same value", `{"record":"Somebody","property":"TEL","effect":"dropped","before":"1"}`, "TEL PHOTO"},
		{"of another UID", `{"record":"Jane Doe","uid":"u2","property":"PHOTO","effect":"dropped"}`, "TEL TEL PHOTO"},
		{"an addition explains no loss", `{"record":"Jane Doe","property":"TEL","effect":"added"}`, "TEL TEL PHOTO"},
		{"the whole record", `{"record":"Jane Doe","property":"","effect":"dropped"}`, ""},
		{"Decant's own", `{"format":"decant-report/1","entries":[{"kind":"contact","changes":[{"record":"Jane Doe","property":"PHOTO","effect":"dropped"}]}]}`, "TEL TEL"},
		{"inside an object", `{"kinds":[{"entries":[{"changes":[{"record":"Jane Doe","property":"PHOTO","effect":"dropped"}]}]}]}`, "TEL TEL"},
	} {
		t.Run(c.name, func(t *testing.T) {
			changes, err := ReadReport(strings.NewReader(c.report))
			if err != nil {
				t.Fatal(err)
			}
			r := Compare(parse(t, "a.vcf", before), parse(t, "a.vcf", after), Options{Report: changes})
			var got []string
			for _, l := range r.Silent() {
				got = append(got, l.Name)
			}
			if strings.Join(got, " ") != c.silent {
				t.Errorf("silent are %q, want %q", got, c.silent)
			}
		})
	}
	if _, err := ReadReport(strings.NewReader("{}\nno JSON\n")); err == nil {
		t.Error("a report that is none was read")
	}
}

func TestReportOfComponents(t *testing.T) {
	before := event("SUMMARY:s", "BEGIN:VALARM", "TRIGGER:-PT5M", "ACTION:AUDIO", "END:VALARM")
	for report, silent := range map[string]int{
		``: 2,
		`{"record":"s","property":"VEVENT/VALARM","effect":"dropped"}`:                     0,
		`{"record":"s","property":"VCALENDAR/VEVENT/VALARM/TRIGGER","effect":"dropped"}`:   1,
		`{"record":"s","property":"TRIGGER","effect":"dropped"}`:                           1,
		`{"record":"other","property":"VEVENT/VALARM","effect":"dropped"}`:                 2,
		`{"record":"1","property":"VEVENT/VALARM/TRIGGER;RELATED=END","effect":"altered"}`: 1,
	} {
		changes, err := ReadReport(strings.NewReader(report))
		if err != nil {
			t.Fatal(err)
		}
		r := Compare(parse(t, "a.ics", before), parse(t, "a.ics", event("SUMMARY:s")), Options{Report: changes})
		if n := len(r.Silent()); n != silent {
			t.Errorf("%s: %d silent, want %d", report, n, silent)
		}
	}
}

// TestUnknown leaves alone what no format here is.
func TestUnknown(t *testing.T) {
	for _, s := range []string{"", "hello", "<html></html>", `{"a":1}`, `[1]x`[:3]} {
		if _, err := Parse("a", []byte(s)); err == nil && s != "[1]" {
			t.Errorf("%q was read", s)
		}
	}
}
