package pairing

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
)

func TestWordList(t *testing.T) {
	if len(wordList) != 1<<wordBits || !slices.IsSorted(wordList) {
		t.Fatalf("%d words, sorted %v", len(wordList), slices.IsSorted(wordList))
	}
	seen := map[string]bool{}
	for _, w := range wordList {
		if len(w) < 3 || len(w) > wordMax || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("%q", w)
		}
		if p := w[:min(4, len(w))]; seen[p] {
			t.Errorf("two words begin with %q", p)
		} else {
			seen[p] = true
		}
	}
	if got := Complete("aba"); !slices.Equal(got, []string{"abandon"}) {
		t.Errorf("Complete(aba) = %q", got)
	}
	if got := Complete("zo"); !slices.Equal(got, []string{"zone", "zoo"}) {
		t.Errorf("Complete(zo) = %q", got)
	}
	if got := Complete("xx"); len(got) != 0 || len(Complete("")) != 2048 {
		t.Errorf("Complete(xx) = %q", got)
	}
}

func TestParseCode(t *testing.T) {
	want := Code{7, [3]string{"abandon", "zoo", "action"}}
	for _, s := range []string{"7-abandon-zoo-action", "7 abandon zoo action", " 7-abandon zoo-action  ", "7-aban-zoo-acti", "7-ABANDON-Zoo-aCtIoN"} {
		if got, err := ParseCode(s); err != nil || got != want {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
	if got := want.String(); got != "7-abandon-zoo-action" {
		t.Errorf("String = %q", got)
	}
	for range 50 {
		c := NewCode(MaxNameplate)
		if got, err := ParseCode(c.String()); err != nil || got != c || len(c.String()) > MaxCode {
			t.Errorf("%s: %v, %v", c, got, err)
		}
	}
}

// badWords are ways to spoil three words after a number, and twelve words.
var badWords = map[string]string{
	"cyrillic a":        "\u0430bandon",
	"fullwidth":         "\uff41bandon",
	"combining accent":  "a\u0301bandon",
	"zero-width joiner": "aban\u200ddon",
	"right-to-left":     "\u202eabandon",
	"long s":            "\u017foap",
	"Kelvin sign":       "\u212aeep",
	"dotless i":         "\u0131cy",
	"NUL":               "abandon\x00",
	"newline":           "abandon\n",
	"tab":               "\tabandon",
	"escape":            "\x1b[2Jabandon",
	"invalid UTF-8":     "abandon\xff",
	"three letters":     "aba",
	"too long a word":   "abandonx",
	"not on the list":   "decant",
	"digit":             "abandon1",
	"underscore":        "aban_don",
	"empty":             "",
	"en dash":           "abandon\u2013zoo",
}

func TestRT15ParseCodeRefuses(t *testing.T) {
	bad := []string{
		"", "7", "7-", "-", "----", "7-abandon", "7-abandon-zoo", "7-abandon-zoo-action-zoo", "abandon-zoo-action",
		"7abandonzooaction", "7abandon-zoo-action", "7--abandon-zoo-action", "7  abandon zoo action", "7-abandon-zoo-action-",
		"0-abandon-zoo-action", "07-abandon-zoo-action", "-7-abandon-zoo-action", "+7-abandon-zoo-action", "7.0-abandon-zoo-action",
		"1000000000-abandon-zoo-action", "4294967303-abandon-zoo-action", "18446744073709551623-abandon-zoo-action", "0x7-abandon-zoo-action",
		"\u0667-abandon-zoo-action", "abandon-7-zoo-action", "7-" + strings.Repeat("a", MaxCode) + "-zoo-action",
		strings.Repeat(" ", MaxCode) + "7-abandon-zoo-action",
	}
	for _, w := range badWords {
		bad = append(bad, "7-"+w+"-zoo-action", "7-zoo-action-"+w)
	}
	for _, s := range bad {
		c, err := ParseCode(s)
		if !errors.Is(err, ErrCode) || c != (Code{}) {
			t.Errorf("%q: %v, %v", s, c, err)
		}
		if err != nil && (strings.Contains(err.Error(), "abandon") || strings.Contains(err.Error(), "action")) {
			t.Errorf("%q: the error repeats the input: %v", s, err)
		}
	}
}

// RT-15: hostile sizes are refused before they are looked at.
func TestRT15TenMegabytes(t *testing.T) {
	huge := "7-abandon-zoo-" + strings.Repeat("a", 10<<20)
	hugeLink, hugeURI := linkPrefix+huge, ticketPrefix+huge
	for name, f := range map[string]func(){
		"code":   func() { ParseCode(huge) },
		"ticket": func() { ParseTicket(huge) },
		"link":   func() { ParseLink(hugeLink) },
		"URI":    func() { ParseTicketURI(hugeURI) },
	} {
		if n := testing.AllocsPerRun(10, f); n > 4 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// The mnemonics of BIP-39 for these entropies.
func TestTicketWords(t *testing.T) {
	for b, want := range map[byte]string{
		0x00: "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon about",
		0x7f: "legal winner thank year wave sausage worth useful legal winner thank yellow",
		0x80: "letter advice cage absurd amount doctor acoustic avoid letter advice cage above",
		0xff: "zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo wrong",
	} {
		ticket, err := TicketFromBytes(bytes.Repeat([]byte{b}, TicketSize))
		if err != nil {
			t.Fatal(err)
		}
		if got := ticket.Words(); got != want {
			t.Errorf("%x: %q, want %q", b, got, want)
		}
		for _, s := range []string{want, strings.ReplaceAll(want, " ", "-"), strings.ToUpper(want), short(want)} {
			if got, err := ParseTicket(s); err != nil || !got.Equal(ticket) {
				t.Errorf("%q: %v", s, err)
			}
		}
	}
}

// short cuts every word to four letters.
func short(words string) string {
	f := strings.Fields(words)
	for i, w := range f {
		f[i] = w[:min(4, len(w))]
	}
	return strings.Join(f, " ")
}

func TestRT15ParseTicketRefuses(t *testing.T) {
	good := strings.Fields("legal winner thank year wave sausage worth useful legal winner thank yellow")
	bad := []string{"", strings.Join(good[:11], " "), strings.Join(append(slices.Clone(good), "zoo"), " "), strings.Join(good, "  "), strings.Join(good, "")}
	for _, w := range badWords {
		words := slices.Clone(good)
		words[5] = w
		bad = append(bad, strings.Join(words, " "))
	}
	swapped := slices.Clone(good)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	bad = append(bad, strings.Join(swapped, " "))
	for _, s := range bad {
		ticket, err := ParseTicket(s)
		if !errors.Is(err, ErrTicket) || ticket != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	// One wrong last word in sixteen keeps the checksum.
	passed := 0
	for _, w := range wordList {
		if _, err := ParseTicket(strings.Join(append(slices.Clone(good[:11]), w), " ")); err == nil {
			passed++
		}
	}
	if passed != 2048/16 {
		t.Errorf("%d of 2048 last words pass", passed)
	}
}

func testServer() id.Server {
	d, err := key.DeviceFromSeed(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		panic(err)
	}
	return id.Server{Peer: d.Peer(), Host: "decant.example", Port: id.DefaultPort}
}

func TestURIs(t *testing.T) {
	for _, host := range []string{"decant.example", "192.0.2.7", "2001:db8::7", "h", strings.Repeat("a", 253)} {
		server := testServer()
		server.Host = host
		link := NewLink(server, id.NewScope(), id.CardHash{1, 2, 3})
		if got, err := ParseLink(link.String()); err != nil || got != link {
			t.Errorf("%s: %v", link, err)
		}
		ticket := NewTicket()
		got, at, err := ParseTicketURI(ticket.URI(server))
		if err != nil || !got.Equal(ticket) || at != server {
			t.Errorf("%s: %v", ticket.URI(server), err)
		}
	}
}

// Secrets stand behind the "#", where no browser and no proxy passes them on (A3, E-3).
func TestE3SecretsInTheFragment(t *testing.T) {
	ticket := NewTicket()
	for _, s := range []string{NewLink(testServer(), id.NewScope(), id.CardHash{}).String(), ticket.URI(testServer())} {
		front, _, ok := strings.Cut(s, "#")
		if !ok || front != "decant:v1" && front != "decant-ticket:v1" {
			t.Errorf("%s: %q before the fragment", s, front)
		}
	}
}

func TestRT15ParseURIRefuses(t *testing.T) {
	link := NewLink(testServer(), id.NewScope(), id.CardHash{}).String()
	uri := NewTicket().URI(testServer())
	frag := link[len(linkPrefix):]
	raw := func(change func(b []byte) []byte) string {
		b, ok := decodeURI(link, linkPrefix)
		if !ok {
			t.Fatal("own link")
		}
		return encodeURI(linkPrefix, change(b))
	}
	bad := []string{
		"", "#", linkPrefix, "decant:v2#" + frag, "DECANT:v1#" + frag, "decant:v1?" + frag, "https://decant.example/#" + frag, ticketPrefix + frag,
		link + "A", link + "=", link[:len(link)-1], " " + link, link + "\n", linkPrefix + "\n" + frag, linkPrefix + frag[:8] + "\r\n" + frag[8:],
		linkPrefix + strings.NewReplacer("-", "+", "_", "/").Replace("-_") + frag, linkPrefix + frag + frag, uri,
		raw(func(b []byte) []byte { clear(b[:32]); return b }),                                       // a server of small order
		raw(func(b []byte) []byte { b[32], b[33] = 0, 0; return b }),                                 // port 0
		raw(func(b []byte) []byte { b[34] = 1; return b }),                                           // host longer than the rest
		raw(func(b []byte) []byte { b[35]++; return b }),                                             // host takes a byte of the scope
		raw(func(b []byte) []byte { b[36] = '/'; return b }),                                         // host with a path
		raw(func(b []byte) []byte { b[36] = '@'; return b }),                                         // host with a user
		raw(func(b []byte) []byte { b[36] = ' '; return b }),                                         // host with a blank
		raw(func(b []byte) []byte { b[36] = 0x1b; return b }),                                        // host with an escape
		raw(func(b []byte) []byte { b[36] = 0xff; return b }),                                        // host that is not ASCII
		raw(func(b []byte) []byte { return slices.Concat(b[:34], []byte{0, 0}, b[36+int(b[35]):]) }), // no host
		raw(func(b []byte) []byte { return b[:20] }),
		raw(func(b []byte) []byte { return nil }),
	}
	for _, s := range bad {
		if l, err := ParseLink(s); err != ErrLink || l != (Link{}) {
			t.Errorf("link %q: %v, %v", s, l.Server, err)
		}
	}
	frag = uri[len(ticketPrefix):]
	for _, s := range []string{"", ticketPrefix, linkPrefix + frag, link, uri + "A", uri[:len(uri)-1], uri[:len(uri)-4], uri + "\n", ticketPrefix + "A" + frag} {
		if ticket, _, err := ParseTicketURI(s); err != ErrTicket || ticket != nil {
			t.Errorf("ticket %q: %v", s, err)
		}
	}
}

func TestTicketDerivations(t *testing.T) {
	a, b := NewTicket(), NewTicket()
	share, share2 := NewShare(), NewShare()
	key1, err := a.Key(share[:])
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func() ([]byte, error){
		"another ticket": func() ([]byte, error) { k, err := b.Key(share[:]); return k.Bytes(), err },
		"another share":  func() ([]byte, error) { k, err := a.Key(share2[:]); return k.Bytes(), err },
	} {
		if k, err := f(); err != nil || bytes.Equal(k, key1.Bytes()) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := a.Key(make([]byte, n)); !errors.Is(err, ErrTicket) {
			t.Errorf("share of %d bytes: %v", n, err)
		}
	}
	if a.Locator() == b.Locator() || a.ClaimPublic() == b.ClaimPublic() {
		t.Error("two tickets derive alike")
	}
	if l := a.Locator(); bytes.Contains(a.Bytes(), l[:]) {
		t.Error("the locator is the ticket")
	}
	peer, card := key.NewDevice().Peer(), id.CardHash{4}
	sig := SignClaim(a, peer, card)
	if err := key.VerifyClaim(a.ClaimPublic(), a.Locator(), peer, card, sig); err != nil {
		t.Error(err)
	}
	if err := key.VerifyClaim(b.ClaimPublic(), b.Locator(), peer, card, sig); err != key.ErrSignature {
		t.Errorf("claim on another ticket: %v", err)
	}
	for _, n := range []int{0, 15, 17} {
		if _, err := TicketFromBytes(make([]byte, n)); !errors.Is(err, ErrTicket) {
			t.Errorf("ticket of %d bytes: %v", n, err)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	ticket, err := TicketFromBytes(bytes.Repeat([]byte{0x61}, TicketSize))
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.params.PRS = bytes.Repeat([]byte{0x61}, 16)
	o, _, err := StartOld(w.params, w.old.card)
	if err != nil {
		t.Fatal(err)
	}
	n, _, err := answer(w)
	if err != nil {
		t.Fatal(err)
	}
	n.wrap = [keySize]byte(bytes.Repeat([]byte{0x61}, keySize))
	for _, secret := range []any{ticket, *ticket, w.params, &w.params, o, n, &Paired{secrets: secrets{wrap: n.wrap}}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%X", "%q", "%d"} {
			if s := fmt.Sprintf(verb, secret); !strings.Contains(s, "redacted") {
				t.Errorf("%s of %T prints %q", verb, secret, s)
			}
		}
	}
	code, link := Code{7, [3]string{"abandon", "zoo", "action"}}, NewLink(testServer(), id.Scope{}, id.CardHash{})
	var out strings.Builder
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "a", code, "b", link, "c", ticket, "d", w.params, "e", o, "f", n)
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "a", code, "b", link, "c", ticket, "d", w.params, "e", o, "f", n)
	for _, leak := range []string{"abandon", link.String()[len(linkPrefix):], "aaaa", "6161", "97 97", "YWFh"} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("logs hold %q:\n%s", leak, out.String())
		}
	}
	if reflect.TypeOf(*ticket).Comparable() {
		t.Error("tickets can be compared with ==")
	}
}
