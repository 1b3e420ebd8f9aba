//go:build linux

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/test/env"
	"github.com/decant-dev/decant/test/env/corpus"
	"github.com/decant-dev/decant/test/natlab"
)

// world is a lab with a server in it.
type world struct {
	options
	lab     *natlab.Lab
	at      string // directory of collections and runs
	server  *natlab.Device
	address string        // of the server, as devices are told
	runs    *atomic.Int64 // transfers so far
	making  *sync.Mutex   // held while a collection is made
}

func newWorld(ctx context.Context, o options) (*world, error) {
	w := &world{options: o, runs: new(atomic.Int64), making: new(sync.Mutex)}
	if err := w.open(ctx); err != nil {
		w.close()
		return nil, err
	}
	return w, nil
}

func (w *world) open(ctx context.Context) (err error) {
	if w.lab, err = natlab.New(); err != nil {
		return err
	}
	if w.at, err = os.MkdirTemp(w.dir, "decant-lab-"); err != nil {
		return err
	}
	if w.bin == "" {
		if w.bin, err = env.Binary(env.Plain); err != nil {
			return err
		}
	}
	return w.serve(ctx)
}

func (w *world) close() {
	if w.lab != nil {
		w.lab.Close()
	}
	os.RemoveAll(w.at)
}

// serve starts the server on the internet itself.
func (w *world) serve(ctx context.Context) (err error) {
	if w.server, err = w.lab.Public(natlab.Cable{}); err != nil {
		return err
	}
	p, err := w.server.Start(ctx, env.Command{Path: w.bin, Args: append(w.log("server"), "serve", "--data", filepath.Join(w.at, "server"),
		"--host", w.server.Addr().String(), "--ballast", "1MiB", "--watermark", "1MiB")})
	if err != nil {
		return err
	}
	line, err := p.WaitFor(ctx, "the server's address", func(e env.Event) bool { return strings.Contains(e.Raw, "@") })
	w.address = strings.TrimSpace(line.Raw)
	return err
}

// log returns the flag that makes a process write a log, if that is wanted.
func (w *world) log(name string) []string {
	if w.logs == "" {
		return nil
	}
	return []string{"--log", filepath.Join(w.logs, name+".log")}
}

// collection makes files of that many bytes altogether, which no compression makes smaller.
func (w *world) collection(bytes int64) (dir string, err error) {
	w.making.Lock()
	defer w.making.Unlock()
	const file = 1 << 20
	part := corpus.Part{Dir: "photos", Ext: ".jpg", Count: int(max(1, bytes/file)), PerDir: 200, Fill: corpus.JPEG}
	part.Min = bytes / int64(part.Count)
	part.Max = part.Min
	dir = filepath.Join(w.at, fmt.Sprintf("collection-%d", bytes))
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	_, err = corpus.Generate(dir, corpus.Spec{Name: "lab", Parts: []corpus.Part{part}}, w.seed)
	return dir, err
}

// size is that of the collection: what the table has if the command line says nothing else.
func (w *world) size(mebi int) int64 {
	if w.mebi > 0 {
		mebi = w.mebi
	}
	return int64(mebi) << 20
}

// transfer is one collection on its way from one device to another.
type transfer struct {
	sender, receiver *env.Process
	typed            time.Time // when the sender was given the code
	source, at, name string
	w                *world
}

// begin starts both sides, with state of their own, and gives the sender the receiver's code.
func (w *world) begin(ctx context.Context, source string, from, to *natlab.Device) (*transfer, error) {
	name := fmt.Sprintf("%02d", w.runs.Add(1))
	t := &transfer{w: w, source: source, name: name, at: filepath.Join(w.at, "run-"+name)}
	var err error
	if t.receiver, err = to.Start(ctx, t.device("new", "receive", "--yes", "--to", filepath.Join(t.at, "to"))); err != nil {
		return nil, err
	}
	code, err := t.receiver.WaitFor(ctx, "a code", func(e env.Event) bool { return e.Pairing != nil && e.Pairing.Code != "" })
	if err != nil {
		return nil, err
	}
	send := t.device("old", "send", "--code-fd", "3", source)
	send.Secret = code.Pairing.Code
	t.typed = time.Now()
	t.sender, err = from.Start(ctx, send)
	return t, err
}

// device is a command of one side.
func (t *transfer) device(name string, args ...string) env.Command {
	w := t.w
	flags := append([]string{"--json", "--state", filepath.Join(t.at, name)}, w.log(t.name+"-"+name)...)
	if w.route != string(node.RouteDirect) {
		flags = append(flags, "--server", w.address)
	}
	return env.Command{Path: w.bin, Env: []string{"DECANT_ROUTE=" + w.route}, Args: append(flags, args...)}
}

// end waits for both sides and compares what arrived with what was sent. Where one fails, the other need not go on.
func (t *transfer) end() (*result, error) {
	defer os.RemoveAll(t.at)
	first, second := t.sender, t.receiver
	select {
	case <-t.sender.Done():
	case <-t.receiver.Done():
		first, second = t.receiver, t.sender
	}
	err := first.Wait().Err()
	if err != nil {
		second.Kill()
	}
	sent, received := t.sender.Wait(), t.receiver.Wait()
	t.keep("old", sent)
	t.keep("new", received)
	if err != nil {
		return nil, err
	}
	if err := second.Wait().Err(); err != nil {
		return nil, err
	}
	if err := corpus.Compare(t.source, filepath.Join(t.at, "to", filepath.Base(t.source))); err != nil {
		return nil, err
	}
	return newResult(t.typed, sent, received), nil
}

// pair runs a whole transfer from the first device to the second, within the limit.
func (w *world) pair(ctx context.Context, source string, devices [2]*natlab.Device) (*result, error) {
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	t, err := w.begin(ctx, source, devices[0], devices[1])
	if err != nil {
		return nil, err
	}
	heard := t.hear(ctx)
	r, err := t.end()
	return r, errors.Join(heard(), err)
}

// keep writes down what a process said, if logs are wanted.
func (t *transfer) keep(name string, r *env.Result) {
	if t.w.logs == "" {
		return
	}
	var b strings.Builder
	for _, e := range r.Events {
		fmt.Fprintln(&b, e.Raw)
	}
	os.WriteFile(filepath.Join(t.w.logs, t.name+"-"+name+".jsonl"), []byte(b.String()+r.Stderr), 0o600)
}

// result is what both sides' events say about a transfer that worked.
type result struct {
	first  time.Duration    // from the typed code to the first sealed bytes at the new device
	moving time.Duration    // from the beginning of sending to the receipt at the old device, see heard
	all    time.Duration    // from the typed code to the receipt at the old device
	sealed int64            // bytes that the old device put, padding included
	before int64            // of them, before it began sending: the catalog
	routes map[string]int64 // of them, by the route that it said
	cpu    time.Duration    // of both processes
	met    time.Duration    // from the typed code to the first pack that was not for the store; 0: there was none
}

func newResult(typed time.Time, sent, received *env.Result) *result {
	r := &result{sealed: sent.WireBytes(), all: ended(sent).Sub(typed), cpu: sent.User + sent.System + received.User + received.System}
	for _, e := range received.Events {
		if e.Progress != nil && e.Progress.WireBytes > 0 {
			r.first = e.Time.Sub(typed)
			break
		}
	}
	for _, e := range sent.Events {
		if e.Stage == "sending" && r.moving == 0 {
			r.moving = heard(sent, received).Sub(e.Time)
		}
		if e.Progress != nil && r.moving > 0 && r.before == 0 {
			r.before = e.Progress.WireBytes
		}
		if e.Progress != nil && r.met == 0 && route(e) != "stored" && route(e) != "" {
			r.met = e.Time.Sub(typed)
		}
	}
	r.routes = routesOf(sent)
	return r
}

// content is the sealed bytes that were put in the time moving.
func (r *result) content() int64 { return r.sealed - r.before }

// routesOf sums up what a sender put, by the route that it said.
func routesOf(sent *env.Result) map[string]int64 {
	routes, before := map[string]int64{}, int64(0)
	for _, e := range sent.Events {
		if e.Progress == nil {
			continue
		}
		if e.Progress.WireBytes < before { // another stage counts from nothing
			before = 0
		}
		routes[route(e)] += e.Progress.WireBytes - before
		before = e.Progress.WireBytes
	}
	return routes
}

// heard is when the old device had the receipt for certain, and the new one knew it: when either of them was done. The old one may then wait for a
// second for the other's answer, which has gone already.
func heard(sent, received *env.Result) time.Time {
	at := ended(sent)
	if end := ended(received); received.Outcome().Acked && end.Before(at) {
		at = end
	}
	return at
}

func ended(r *env.Result) time.Time { return r.Events[len(r.Events)-1].Time }

func route(e env.Event) string {
	var line struct {
		Progress struct {
			Route string `json:"route"`
		} `json:"progress"`
	}
	json.Unmarshal([]byte(e.Raw), &line) // it was read once already
	return line.Progress.Route
}

// went says whether anything went over a way, alone or beside others.
func (r *result) went(way string) bool {
	for name, n := range r.routes {
		if n > 0 && slices.Contains(strings.Split(name, " + "), way) {
			return true
		}
	}
	return false
}

// shares lists the routes with what part each carried, the largest first.
func (r *result) shares() string {
	var names []string
	var sum int64
	for name, n := range r.routes {
		if n > 0 {
			names = append(names, name)
			sum += n
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Compare(r.routes[b], r.routes[a]) })
	for i, name := range names {
		if len(names) > 1 {
			names[i] = fmt.Sprintf("%s %.0f %%", name, 100*float64(r.routes[name])/float64(sum))
		}
	}
	return strings.Join(names, ", ")
}

// perSecond is a rate for people.
func perSecond(bytes int64, d time.Duration) string {
	rate := float64(bytes) / d.Seconds()
	if rate < 1e6 {
		return fmt.Sprintf("%.1f kB/s", rate/1e3)
	}
	return fmt.Sprintf("%.1f MB/s", rate/1e6)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }
