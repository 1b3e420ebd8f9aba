package redteam

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/decant-dev/decant/crypto/pairing"
	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/proto/id"
	"github.com/decant-dev/decant/test/env"
)

// TestC1Pairing pairs two devices by code and by link, with secret words in names, contents, an address book and the devices'
// labels. Neither they nor the code's words or the link's secret are in what crossed the network, in requests and answers inside
// of TLS, or in what the server keeps, at the time when it keeps the most.
func TestC1Pairing(t *testing.T) {
	for _, by := range []string{"code", "link"} {
		t.Run(by, func(t *testing.T) { canaries(t, by) })
	}
}

func canaries(t *testing.T, by string) {
	w := newWorld(t)
	c := env.NewCanaries(6)
	src := w.path("src")
	w.write(filepath.Join(src, c.Words[0]+".txt"), strings.Repeat(c.Words[1]+"\n", 100))
	w.write(filepath.Join(src, c.Words[2], "book.vcf"), "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:"+c.Words[3]+"\r\nFN:"+c.Words[3]+"\r\nEND:VCARD\r\n")

	wire := w.path("wire")
	proxy, err := env.StartProxy(w.address.HostPort(), wire)
	w.must(err)
	defer proxy.Close()
	via, err := id.ParseServer(strings.Replace(w.address.String(), w.address.HostPort(), proxy.Address, 1))
	w.must(err)
	direct := w.address
	w.address = via
	var mu sync.Mutex // guards inside
	var inside [][]byte
	w.layer.tell(func(x *exchange) {
		mu.Lock()
		defer mu.Unlock()
		inside = append(inside, x.request, x.body)
	})

	j := w.journey()
	j.old.Node = labelled(w, "labelled", c.Words[4])
	s := j.code()
	code, err := pairing.ParseCode(s.code)
	w.must(err)
	c.Watch(strings.Join(code.Words[:], "-"))
	c.Watch(strings.Join(code.Words[:], " "))
	c.Watch(strings.Join(code.Words[:], ""))
	l, err := pairing.ParseLink(s.link)
	w.must(err)
	_, fragment, _ := strings.Cut(s.link, "#")
	c.Watch(fragment)
	c.Watch(fragment[len(fragment)-20:]) // the secret is at its end
	c.Watch(string(l.Params().PRS[len(l.Params().PRS)-16:]))
	typed := map[string]string{"code": s.code, "link": s.link}[by]

	// Just before the end the server holds everything that it ever will.
	finishing := make(chan struct{})
	release := make(chan struct{})
	var once sync.Once
	w.layer.keep(func(x *exchange) <-chan struct{} {
		if x.call != "Finish" {
			return nil
		}
		once.Do(func() { close(finishing) })
		return release
	})
	j.send(src)
	j.typed <- typed
	select {
	case <-finishing:
	case <-j.sending:
		t.Fatalf("the sender ended: %v", j.sendErr)
	}
	hits, kept, err := c.SearchTree(w.config.Dir)
	w.must(err)
	close(release)
	j.arrives(src)
	proxy.Close()
	w.address = direct

	more, crossed, err := c.SearchTree(wire)
	w.must(err)
	hits = append(hits, more...)
	more, _, err = c.SearchTree(w.config.Dir)
	w.must(err)
	hits = append(hits, more...)
	for i, b := range inside {
		hits = append(hits, c.SearchBytes("inside", b)...)
		if i > 0 && len(hits) > 10 {
			break
		}
	}
	for _, h := range hits {
		t.Error(h)
	}
	if kept < 256<<10 || crossed < 512<<10 || len(inside) < 20 {
		t.Errorf("too little was looked at: %d bytes kept, %d crossed, %d bodies", kept, crossed, len(inside))
	}
	// The same search finds all of it where it has to be.
	found, _, err := c.SearchTree(src)
	if err != nil || len(found) < 4 {
		t.Errorf("the search finds %d words in the collection, %v", len(found), err)
	}
}

// labelled is a device with a name.
func labelled(w *world, dir, label string) *node.Node {
	w.t.Helper()
	n, err := node.Open(node.Config{StateDir: w.path(dir), Server: w.address, Carrier: node.CarrierFast, Route: node.RouteStored, Label: label})
	w.must(err)
	w.t.Cleanup(func() { n.Close() })
	return n
}
