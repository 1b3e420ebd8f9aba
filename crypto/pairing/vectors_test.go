package pairing

import (
	"bytes"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/decant-dev/decant/crypto/internal/vector"
	"github.com/decant-dev/decant/crypto/key"
	"github.com/decant-dev/decant/proto/id"
)

var update = flag.Bool("update", false, "write the test vectors again")

const codeDir, linkDir, ticketDir, exchangeDir = "testdata/code", "testdata/link", "testdata/ticket", "testdata/exchange"

func fixedParty(t testing.TB, n byte, role key.Role) party {
	t.Helper()
	d, err := key.DeviceFromSeed(bytes.Repeat([]byte{n}, 32))
	if err != nil {
		t.Fatal(err)
	}
	e, err := key.ParseExchange(bytes.Repeat([]byte{n}, key.ExchangeSize))
	if err != nil {
		t.Fatal(err)
	}
	p := party{d: d, e: e}
	p.card = p.sign(t, role)
	return p
}

// codeVectors give the typed text in hexadecimal, because some of it is not text at all.
func codeVectors() (out []vector.File) {
	add := func(name, comment, input string, fields ...vector.Field) {
		expect := "refuse"
		if fields != nil {
			expect = "ok"
		}
		out = append(out, vector.File{Name: name, Comment: comment, Expect: expect, Fields: append([]vector.Field{vector.Hex("input", []byte(input))}, fields...)})
	}
	ok := func(name, comment, input string) {
		add(name, comment, input, vector.Field{Name: "code-text", Value: "7-abandon-zoo-action"})
	}
	ok("ok-dashes", "as it is shown", "7-abandon-zoo-action")
	ok("ok-spaces", "blanks for dashes", "7 abandon zoo action")
	ok("ok-capitals", "capitals", "7-Abandon-ZOO-action")
	ok("ok-four-letters", "the first four letters of each word", "7-aban-zoo-acti")
	ok("ok-blanks-around", "blanks in front and behind", "  7-abandon-zoo-action ")
	add("empty", "nothing", "")
	add("no-dash", "no separators", "7abandonzooaction")
	add("two-dashes", "an empty word", "7--abandon-zoo-action")
	add("two-words", "a word is missing", "7-abandon-zoo")
	add("four-words", "a word too many", "7-abandon-zoo-action-zoo")
	add("no-number", "a word for the number", "zoo-abandon-zoo-action")
	add("number-0", "nameplate 0", "0-abandon-zoo-action")
	add("number-leading-0", "a number with a zero in front", "07-abandon-zoo-action")
	add("number-too-large", "a number of ten digits", "1000000007-abandon-zoo-action")
	add("three-letters", "three letters of a longer word", "7-aba-zoo-action")
	add("unknown-word", "a word that is not on the list", "7-decant-zoo-action")
	add("homoglyph", "a Cyrillic letter", "7-\u0430bandon-zoo-action")
	add("control", "a control character", "7-abandon-zoo-action\x00")
	add("not-utf8", "a byte that is not UTF-8", "7-abandon-zoo-\xff")
	add("too-long", "65 bytes", "7-abandon-zoo-action"+strings.Repeat(" ", 45))
	return out
}

func linkVectors() (out []vector.File) {
	link := Link{Server: testServer(), Scope: id.Scope(bytes.Repeat([]byte{0x5c}, 16)), Card: id.CardHash(bytes.Repeat([]byte{0xca}, 32)),
		Secret: [16]byte(bytes.Repeat([]byte{0x5e}, 16))}
	good := link.String()
	add := func(name, expect, comment, input string) {
		out = append(out, vector.File{Name: name, Comment: comment, Expect: expect, Fields: []vector.Field{vector.Hex("input", []byte(input)),
			{Name: "server-text", Value: link.Server.String()}, vector.Hex("scope", link.Scope[:]), vector.Hex("card", link.Card[:]), vector.Hex("secret", link.Secret[:])}})
	}
	add("ok", "ok", "a link", good)
	add("byte-cut", "refuse", "the last character is missing", good[:len(good)-1])
	add("newline", "refuse", "a line break inside, which base64 decoders pass over", good[:40]+"\n"+good[40:])
	add("padding", "refuse", "base64 padding", good+"=")
	add("version-2", "refuse", "another version", strings.Replace(good, ":v1#", ":v2#", 1))
	add("in-the-query", "refuse", "the secret where it would be sent to a server", strings.Replace(good, "#", "?", 1))
	bad := link
	bad.Server.Peer = id.Peer{1}
	add("server-small-order", "refuse", "the server's key is of small order", bad.String())
	bad = link
	bad.Server.Host = "a/b"
	add("host-with-path", "refuse", "a slash in the host", bad.String())
	return out
}

func ticketVectors(t *testing.T) (out []vector.File) {
	ticket, err := TicketFromBytes(bytes.Repeat([]byte{0x7f}, TicketSize))
	if err != nil {
		t.Fatal(err)
	}
	share := bytes.Repeat([]byte{0x53}, ShareSize)
	k, err := ticket.Key(share)
	if err != nil {
		t.Fatal(err)
	}
	locator, public, peer, card := ticket.Locator(), ticket.ClaimPublic(), testServer().Peer, id.CardHash(bytes.Repeat([]byte{0xca}, 32))
	out = append(out, vector.File{Name: "ok", Expect: "ok", Comment: "all that comes from a ticket", Fields: []vector.Field{
		vector.Hex("input", []byte(ticket.Words())), vector.Hex("ticket", ticket.Bytes()),
		{Name: "server-text", Value: testServer().String()}, {Name: "uri-text", Value: ticket.URI(testServer())},
		vector.Hex("locator", locator[:]), vector.Hex("claim-public", public[:]), vector.Hex("share", share), vector.Hex("key", k.Bytes()),
		vector.Hex("peer", peer[:]), vector.Hex("card", card[:]), vector.Hex("claim", SignClaim(ticket, peer, card))}})
	words := strings.Fields(ticket.Words())
	add := func(name, comment, input string) {
		out = append(out, vector.File{Name: name, Expect: "refuse", Comment: comment, Fields: []vector.Field{vector.Hex("input", []byte(input))}})
	}
	add("empty", "nothing", "")
	add("eleven-words", "a word is missing", strings.Join(words[:11], " "))
	add("thirteen-words", "a word too many", strings.Join(append(slices.Clone(words), "zoo"), " "))
	add("checksum", "the last word is wrong", strings.Join(append(slices.Clone(words[:11]), "zoo"), " "))
	add("unknown-word", "a word that is not on the list", strings.Join(append(slices.Clone(words[:11]), "decant"), " "))
	add("homoglyph", "a Cyrillic letter", strings.Replace(ticket.Words(), "a", "\u0430", 1))
	add("two-blanks", "an empty word", strings.Replace(ticket.Words(), " ", "  ", 1))
	return out
}

// exchangeVectors are one whole exchange with fixed scalars, and messages that end it.
func exchangeVectors(t *testing.T) (out []vector.File) {
	cryptotest.SetGlobalRandom(t, 4)
	old, newer, third := fixedParty(t, 1, key.Sender), fixedParty(t, 2, key.Receiver), fixedParty(t, 3, key.Sender)
	code, server, scope := Code{7, [3]string{"abandon", "zoo", "action"}}, testServer().Peer, id.Scope(bytes.Repeat([]byte{0x5c}, 16))
	p := code.Params(server, scope)
	ya, yb := bytes.Repeat([]byte{0xa1}, 32), bytes.Repeat([]byte{0xb2}, 32)
	o, m1, err := startOld(p, old.card, scalar(ya))
	if err != nil {
		t.Fatal(err)
	}
	n, m2, err := answerNew(p, newer.card, m1, scalar(yb))
	if err != nil {
		t.Fatal(err)
	}
	paired, err := o.Finish(m2)
	if err != nil {
		t.Fatal(err)
	}
	m3 := paired.Message3([]byte("a grant"))
	base := []vector.Field{{Name: "code-text", Value: code.String()}, vector.Hex("server", server[:]), vector.Hex("scope", scope[:]),
		vector.Hex("old-scalar", ya), vector.Hex("new-scalar", yb), vector.Hex("old-card", old.card), vector.Hex("new-card", newer.card)}
	add := func(name, expect, comment string, number int, message []byte, more ...vector.Field) {
		out = append(out, vector.File{Name: name, Expect: expect, Comment: comment, Body: message, Fields: slices.Concat(base, []vector.Field{vector.Num("message-size", number)}, more)})
	}
	add("ok-1", "ok", "message 1, its generator, and the state for the journal", 1, m1, vector.Hex("generator", p.generator()), vector.Hex("state", o.Bytes()))
	add("ok-2", "ok", "message 2, and the state for the journal", 2, m2, vector.Hex("state", n.Bytes()))
	add("ok-3", "ok", "message 3 with a grant of seven bytes", 3, m3, vector.Hex("grant", []byte("a grant")))

	with := func(m []byte, at int, b ...byte) []byte { m = bytes.Clone(m); copy(m[at:], b); return m }
	weak := draft(t, "X25519_points")["Invalid Y3"]
	refuse := func(name, comment string, number int, message []byte) {
		add(name, "unacceptable", comment, number, message)
	}
	refuse("1-empty", "no bytes at all", 1, nil)
	refuse("1-kind", "message 1 with the tag of message 2", 1, with(m1, 0, 2))
	refuse("1-weak-point", "Ya of low order", 1, with(m1, 1, weak...))
	refuse("1-not-canonical", "the top bit of Ya", 1, with(m1, 32, m1[32]|0x80))
	refuse("1-byte-added", "a byte too many", 1, append(bytes.Clone(m1), 0))
	refuse("1-receiver-card", "a receiver's card", 1, appendMessage(message1, m1[1:33], nil, third.sign(t, key.Receiver)))
	refuse("1-own-device", "the new device's own peer", 1, appendMessage(message1, m1[1:33], nil, newer.sign(t, key.Sender)))
	refuse("2-weak-point", "Yb of low order", 2, with(m2, 1, weak...))
	refuse("2-reflected", "Yb is Ya", 2, with(m2, 1, m1[1:33]...))
	refuse("2-sender-card", "a sender's card", 2, appendMessage(message2, m2[1:33], m2[33:33+tagSize], third.card))
	refuse("2-own-device", "the old device's own peer", 2, appendMessage(message2, m2[1:33], m2[33:33+tagSize], old.sign(t, key.Receiver)))
	refuse("3-cut", "no room for a grant", 3, m3[:1+tagSize+boxNonceSize])
	mismatch := func(name, comment string, number int, message []byte) {
		add(name, "mismatch", comment, number, message)
	}
	mismatch("2-tag", "a bit of Tb", 2, with(m2, 33, m2[33]^1))
	mismatch("2-share", "another good point for Yb", 2, with(m2, 1, append([]byte{9}, make([]byte, 31)...)...))
	mismatch("2-card", "a third device's card", 2, appendMessage(message2, m2[1:33], m2[33:33+tagSize], third.sign(t, key.Receiver)))
	mismatch("3-tag", "a bit of Ta", 3, with(m3, 1, m3[1]^1))
	mismatch("3-tag-of-new", "Tb for Ta", 3, with(m3, 1, m2[33:33+tagSize]...))
	mismatch("3-grant", "a bit of the wrapped grant", 3, with(m3, len(m3)-1, m3[len(m3)-1]^1))
	return out
}

func TestVectorsAreCurrent(t *testing.T) {
	vector.Current(t, codeDir, codeVectors(), *update)
	vector.Current(t, linkDir, linkVectors(), *update)
	vector.Current(t, ticketDir, ticketVectors(t), *update)
	vector.Current(t, exchangeDir, exchangeVectors(t), *update)
}

func TestCodeVectors(t *testing.T) {
	for _, f := range vector.Read(t, codeDir) {
		c, err := ParseCode(string(f.Bytes(t, "input")))
		if f.Expect != "ok" {
			if !errors.Is(err, ErrCode) {
				t.Errorf("%s: %v, %v", f.Name, c, err)
			}
		} else if err != nil || c.String() != f.Text(t, "code-text") {
			t.Errorf("%s: %v, %v", f.Name, c, err)
		}
	}
}

func TestLinkVectors(t *testing.T) {
	for _, f := range vector.Read(t, linkDir) {
		l, err := ParseLink(string(f.Bytes(t, "input")))
		if f.Expect != "ok" {
			if err != ErrLink {
				t.Errorf("%s: %v", f.Name, err)
			}
			continue
		}
		server, err2 := id.ParseServer(f.Text(t, "server-text"))
		if err != nil || err2 != nil || l.Server != server || l.Scope != id.Scope(f.Bytes(t, "scope")) ||
			l.Card != id.CardHash(f.Bytes(t, "card")) || l.Secret != [16]byte(f.Bytes(t, "secret")) {
			t.Errorf("%s: %v, %v", f.Name, err, err2)
		}
	}
}

func TestTicketVectors(t *testing.T) {
	for _, f := range vector.Read(t, ticketDir) {
		ticket, err := ParseTicket(string(f.Bytes(t, "input")))
		if f.Expect != "ok" {
			if !errors.Is(err, ErrTicket) {
				t.Errorf("%s: %v", f.Name, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		k, err := ticket.Key(f.Bytes(t, "share"))
		if err != nil {
			t.Fatal(err)
		}
		locator, public := ticket.Locator(), ticket.ClaimPublic()
		for name, got := range map[string][]byte{"ticket": ticket.Bytes(), "locator": locator[:], "claim-public": public[:], "key": k.Bytes()} {
			if !bytes.Equal(got, f.Bytes(t, name)) {
				t.Errorf("%s: %s = %x", f.Name, name, got)
			}
		}
		if again, server, err := ParseTicketURI(f.Text(t, "uri-text")); err != nil || !again.Equal(ticket) || server.String() != f.Text(t, "server-text") {
			t.Errorf("%s: URI: %v", f.Name, err)
		}
		if err := key.VerifyClaim(public, locator, id.Peer(f.Bytes(t, "peer")), id.CardHash(f.Bytes(t, "card")), f.Bytes(t, "claim")); err != nil {
			t.Errorf("%s: claim: %v", f.Name, err)
		}
	}
}

func TestExchangeVectors(t *testing.T) {
	for _, f := range vector.Read(t, exchangeDir) {
		t.Run(f.Name, func(t *testing.T) {
			code, err := ParseCode(f.Text(t, "code-text"))
			if err != nil {
				t.Fatal(err)
			}
			p := code.Params(id.Peer(f.Bytes(t, "server")), id.Scope(f.Bytes(t, "scope")))
			o, m1, err := startOld(p, f.Bytes(t, "old-card"), scalar(f.Bytes(t, "old-scalar")))
			if err != nil {
				t.Fatal(err)
			}
			n, m2, err := answerNew(p, f.Bytes(t, "new-card"), m1, scalar(f.Bytes(t, "new-scalar")))
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]error{"ok": nil, "unacceptable": ErrExchange, "mismatch": ErrMismatch}[f.Expect]
			switch f.Num(t, "message-size") {
			case 1:
				_, _, err = answerNew(p, f.Bytes(t, "new-card"), f.Body, scalar(f.Bytes(t, "new-scalar")))
				if want == nil && (!bytes.Equal(m1, f.Body) || !bytes.Equal(o.Bytes(), f.Bytes(t, "state")) || !bytes.Equal(p.generator(), f.Bytes(t, "generator"))) {
					t.Error("another message 1")
				}
			case 2:
				_, err = o.Finish(f.Body)
				if want == nil && (!bytes.Equal(m2, f.Body) || !bytes.Equal(n.Bytes(), f.Bytes(t, "state"))) {
					t.Error("another message 2")
				}
			case 3:
				var grant []byte
				grant, _, err = n.Confirm(f.Body)
				if want == nil && !bytes.Equal(grant, f.Bytes(t, "grant")) {
					t.Errorf("grant %x", grant)
				}
			}
			if err != want {
				t.Errorf("%v, want %v", err, want)
			}
		})
	}
}

func FuzzParseCode(f *testing.F) {
	for _, v := range vector.Read(f, codeDir) {
		f.Add(string(v.Bytes(f, "input")))
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCode(s)
		if err != nil {
			if !errors.Is(err, ErrCode) || c != (Code{}) {
				t.Errorf("%v, %v", c, err)
			}
			return
		}
		if again, err := ParseCode(c.String()); err != nil || again != c {
			t.Errorf("%q gives %s, which gives %s, %v", s, c, again, err)
		}
	})
}

func FuzzParseTicket(f *testing.F) {
	for _, v := range vector.Read(f, ticketDir) {
		f.Add(string(v.Bytes(f, "input")))
	}
	f.Fuzz(func(t *testing.T, s string) {
		ticket, err := ParseTicket(s)
		if err != nil {
			if !errors.Is(err, ErrTicket) || ticket != nil {
				t.Error(err)
			}
			return
		}
		if again, err := ParseTicket(ticket.Words()); err != nil || !again.Equal(ticket) {
			t.Errorf("%q: %v", s, err)
		}
	})
}

func FuzzParseURI(f *testing.F) {
	for _, v := range vector.Read(f, linkDir) {
		f.Add(string(v.Bytes(f, "input")))
	}
	f.Add(NewTicket().URI(testServer()))
	f.Fuzz(func(t *testing.T, s string) {
		if l, err := ParseLink(s); err == nil && l.String() != s {
			t.Errorf("%q gives %q", s, l)
		}
		if ticket, server, err := ParseTicketURI(s); err == nil && ticket.URI(server) != s {
			t.Errorf("%q gives %q", s, ticket.URI(server))
		}
	})
}

// FuzzExchange feeds all three messages to states that wait for them. Only the true ones pass.
func FuzzExchange(f *testing.F) {
	old, newer := fixedParty(f, 1, key.Sender), fixedParty(f, 2, key.Receiver)
	p := Code{7, [3]string{"abandon", "zoo", "action"}}.Params(testServer().Peer, id.Scope{1})
	o, m1, err := StartOld(p, old.card)
	if err != nil {
		f.Fatal(err)
	}
	n, m2, err := AnswerNew(p, newer.card, m1)
	if err != nil {
		f.Fatal(err)
	}
	paired, err := o.Finish(m2)
	if err != nil {
		f.Fatal(err)
	}
	m3 := paired.Message3([]byte("grant"))
	f.Add(m1)
	f.Add(m2)
	f.Add(m3)
	for _, v := range vector.Read(f, exchangeDir) {
		f.Add(v.Body)
	}
	f.Fuzz(func(t *testing.T, m []byte) {
		if n, m2, err := AnswerNew(p, newer.card, m); err == nil {
			if paired, err := o.Finish(m2); (err == nil) != bytes.Equal(m, m1) {
				t.Errorf("message 1 %x: %v, %v, %v", m, n, paired, err)
			}
		} else if err != ErrExchange {
			t.Error(err)
		}
		if _, err := o.Finish(m); (err == nil) != bytes.Equal(m, m2) || err != nil && err != ErrExchange && err != ErrMismatch {
			t.Errorf("message 2 %x: %v", m, err)
		}
		if _, _, err := n.Confirm(m); (err == nil) != bytes.Equal(m, m3) || err != nil && err != ErrExchange && err != ErrMismatch {
			t.Errorf("message 3 %x: %v", m, err)
		}
	})
}

func FuzzParseState(f *testing.F) {
	for _, v := range vector.Read(f, exchangeDir) {
		if v.Expect == "ok" && v.Name != "ok-3" {
			f.Add(v.Bytes(f, "state"))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := ParseOld(b); err == nil && !bytes.Equal(o.Bytes(), b) {
			t.Error("two encodings of one old state")
		}
		if n, err := ParseNew(b); err == nil && !bytes.Equal(n.Bytes(), b) {
			t.Error("two encodings of one new state")
		}
	})
}
