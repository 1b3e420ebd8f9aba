package link

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/decant-dev/decant/proto/id"
)

// The messages of multicast DNS (RFC 6762, RFC 6763) that Decant sends and believes (docs/SPEC.md section 7.7).

const (
	mdnsService = "_decant._udp.local."
	mdnsVersion = "v=1" // of the text record

	maxNotes   = 8   // entries of a note
	maxNoteKey = 16  // bytes of a key, of a-z, 0-9 and -
	maxNote    = 128 // bytes of a value, printable ASCII
	maxRecords = 64  // records that are looked at in one message

	adTTL       = 120 // seconds that others may remember an advert
	adTTLLegacy = 10  // the same, for an asker that is no multicast DNS speaker

	classMask  = 1<<15 - 1
	cacheFlush = dnsmessage.Class(1 << 15) // in an answer: forget what you knew of this name
	wantDirect = dnsmessage.Class(1 << 15) // in a question: answer me alone
)

var (
	errNote     = errors.New("link: a note has at most 8 entries with keys of a-z, 0-9 and -, and values of printable ASCII")
	errNoAdvert = errors.New("no advert of this version")
)

// advert is what a device announces: names that mean nothing, a port, an identity, and a note.
type advert struct {
	instance, host string // fully qualified
	port           uint16
	peer           id.Peer
	note           map[string]string
	addrs          []netip.Addr
}

// newAdvert draws fresh names. The addresses are left out.
func newAdvert(peer id.Peer, port uint16, note map[string]string) (*advert, error) {
	if len(note) > maxNotes {
		return nil, errNote
	}
	for k, v := range note {
		if !noteOK(k, v) {
			return nil, errNote
		}
	}
	var b [16]byte
	rand.Read(b[:])
	return &advert{instance: hex.EncodeToString(b[:8]) + "." + mdnsService, host: hex.EncodeToString(b[8:]) + ".local.",
		port: port, peer: peer, note: note}, nil
}

func noteOK(k, v string) bool {
	key := func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	value := func(r rune) bool { return r < ' ' || r > '~' }
	return k != "" && k != "v" && k != "peer" && len(k) <= maxNoteKey && len(v) <= maxNote &&
		!strings.ContainsFunc(k, key) && !strings.ContainsFunc(v, value)
}

// text is the text record: version, identity, then the note in order.
func (a *advert) text() []string {
	out := []string{mdnsVersion, "peer=" + a.peer.String()}
	keys := make([]string, 0, len(a.note))
	for k := range a.note {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		out = append(out, k+"="+a.note[k])
	}
	return out
}

// question is what somebody wants to know.
type question struct {
	id     uint16
	q      dnsmessage.Question
	direct bool // the answer is for the asker alone
}

// pack is the answer: everything in one message. asked is nil for an announcement, and for an answer to all; ttl 0 takes
// the advert back.
func (a *advert) pack(asked *question, ttl uint32) ([]byte, error) {
	h := dnsmessage.Header{Response: true, Authoritative: true}
	unique := dnsmessage.ClassINET | cacheFlush
	if asked != nil {
		h.ID, unique = asked.id, dnsmessage.ClassINET
	}
	b := dnsmessage.NewBuilder(nil, h)
	b.EnableCompression()
	if asked != nil {
		q := asked.q
		q.Class &= classMask
		if err := errors.Join(b.StartQuestions(), b.Question(q)); err != nil {
			return nil, err
		}
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	service, err1 := dnsmessage.NewName(mdnsService)
	instance, err2 := dnsmessage.NewName(a.instance)
	host, err3 := dnsmessage.NewName(a.host)
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	head := func(n dnsmessage.Name, c dnsmessage.Class) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: n, Class: c, TTL: ttl}
	}
	err := errors.Join(
		b.PTRResource(head(service, dnsmessage.ClassINET), dnsmessage.PTRResource{PTR: instance}),
		b.SRVResource(head(instance, unique), dnsmessage.SRVResource{Port: a.port, Target: host}),
		b.TXTResource(head(instance, unique), dnsmessage.TXTResource{TXT: a.text()}))
	for _, ip := range a.addrs {
		if ip.Is4() {
			err = errors.Join(err, b.AResource(head(host, unique), dnsmessage.AResource{A: ip.As4()}))
		} else {
			err = errors.Join(err, b.AAAAResource(head(host, unique), dnsmessage.AAAAResource{AAAA: ip.As16()}))
		}
	}
	if err != nil {
		return nil, err
	}
	return b.Finish()
}

// packQuery is the question for all devices.
func packQuery() []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{})
	name, err := dnsmessage.NewName(mdnsService)
	if err == nil {
		err = errors.Join(b.StartQuestions(),
			b.Question(dnsmessage.Question{Name: name, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET | wantDirect}))
	}
	msg, ferr := b.Finish()
	if err = errors.Join(err, ferr); err != nil {
		panic(fmt.Sprintf("link: a constant question can't be written: %v", err))
	}
	return msg
}

// asks finds the first question in msg that a answers; false if there is none.
func (a *advert) asks(msg []byte) (question, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || h.Response || h.OpCode != 0 {
		return question{}, false
	}
	for range maxRecords {
		q, err := p.Question()
		if err != nil {
			return question{}, false
		}
		if q.Class&classMask == dnsmessage.ClassINET && a.answers(q) {
			return question{id: h.ID, q: q, direct: q.Class&wantDirect != 0}, true
		}
	}
	return question{}, false
}

func (a *advert) answers(q dnsmessage.Question) bool {
	types := []dnsmessage.Type{dnsmessage.TypeALL}
	switch name := strings.ToLower(q.Name.String()); name {
	case mdnsService:
		types = append(types, dnsmessage.TypePTR)
	case a.instance:
		types = append(types, dnsmessage.TypeSRV, dnsmessage.TypeTXT)
	case a.host:
		types = append(types, dnsmessage.TypeA, dnsmessage.TypeAAAA)
	default:
		return false
	}
	return slices.Contains(types, q.Type)
}

// parseAdvert reads an answer to packQuery. Everything must be in the one message, as pack makes it: exactly one text
// record of this version, one service record beside it, and addresses of that record's host, of which the first MaxAddrs
// count. An advert that is taken back is none.
func parseAdvert(msg []byte) (*advert, error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || !h.Response {
		return nil, errNoAdvert
	}
	if err := p.SkipAllQuestions(); err != nil {
		return nil, errNoAdvert
	}
	r, err := readRecords(&p)
	if err != nil {
		return nil, err
	}
	if r.services != 1 || r.texts != 1 || r.service.instance != r.text.instance || r.service.port == 0 {
		return nil, errNoAdvert
	}
	a := &r.service
	for _, ip := range r.addrs {
		if ip.host == a.host && len(a.addrs) < MaxAddrs && !slices.Contains(a.addrs, ip.addr) {
			a.addrs = append(a.addrs, ip.addr)
		}
	}
	if a.peer, a.note, err = parseText(r.text.strings); err != nil {
		return nil, err
	}
	return a, nil
}

// records are the parts of an advert as they stand in a message.
type records struct {
	service  advert // instance, host, port
	services int
	text     struct {
		instance string
		strings  []string
	}
	texts int
	addrs []struct {
		host string
		addr netip.Addr
	}
}

func readRecords(p *dnsmessage.Parser) (r records, err error) {
	next := p.AnswerHeader
	for range maxRecords {
		h, err := next()
		if err == dnsmessage.ErrSectionDone { // authorities are for others; additional records count like answers
			if err := p.SkipAllAuthorities(); err != nil {
				return r, errNoAdvert
			}
			next = p.AdditionalHeader
			if h, err = next(); err == dnsmessage.ErrSectionDone {
				return r, nil
			}
		}
		if err != nil || h.TTL == 0 || h.Class&classMask != dnsmessage.ClassINET {
			return r, errNoAdvert
		}
		if err := r.read(p, h); err != nil {
			return r, errNoAdvert
		}
	}
	return r, errNoAdvert
}

func (r *records) read(p *dnsmessage.Parser, h dnsmessage.ResourceHeader) error {
	name := strings.ToLower(h.Name.String())
	addr := func(a netip.Addr) {
		r.addrs = append(r.addrs, struct {
			host string
			addr netip.Addr
		}{name, a})
	}
	switch h.Type {
	case dnsmessage.TypeSRV:
		b, err := p.SRVResource()
		if !strings.HasSuffix(name, "."+mdnsService) {
			return errNoAdvert
		}
		r.services++
		r.service = advert{instance: name, host: strings.ToLower(b.Target.String()), port: b.Port}
		return err
	case dnsmessage.TypeTXT:
		b, err := p.TXTResource()
		r.texts++
		r.text.instance, r.text.strings = name, b.TXT
		return err
	case dnsmessage.TypeA:
		b, err := p.AResource()
		addr(netip.AddrFrom4(b.A))
		return err
	case dnsmessage.TypeAAAA:
		b, err := p.AAAAResource()
		addr(netip.AddrFrom16(b.AAAA))
		return err
	}
	_, err := p.UnknownResource()
	return err
}

// parseText reads what text writes; entries of a key that no note can have are an error, keys that come twice too.
func parseText(lines []string) (peer id.Peer, note map[string]string, err error) {
	if len(lines) < 2 || len(lines) > 2+maxNotes || lines[0] != mdnsVersion {
		return peer, nil, errNoAdvert
	}
	text, ok := strings.CutPrefix(lines[1], "peer=")
	if !ok {
		return peer, nil, errNoAdvert
	}
	if peer, err = id.ParsePeer(text); err != nil {
		return peer, nil, errNoAdvert
	}
	note = make(map[string]string, len(lines)-2)
	for _, l := range lines[2:] {
		k, v, ok := strings.Cut(l, "=")
		if _, twice := note[k]; !ok || twice || !noteOK(k, v) {
			return peer, nil, errNoAdvert
		}
		note[k] = v
	}
	return peer, note, nil
}
