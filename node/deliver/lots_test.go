package deliver

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
)

// texts makes messages of which many are alike, as lines of a container.
func texts(rng *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		box := []string{"received", "sent"}[rng.IntN(2)]
		if rng.IntN(5) == 0 {
			fmt.Fprintf(&b, `{"type":"mms","date":%d,"box":%q,"parts":[{"seq":0,"type":"text/plain","text":"%d"}],"addrs":[{"address":"+49170%d","role":"from"},{"address":"+4917199999","role":"to"}]}`+"\n",
				1_000_000_000_000+int64(rng.IntN(6))*500, box, rng.IntN(40), rng.IntN(3))
			continue
		}
		fmt.Fprintf(&b, `{"type":"sms","date":%d,"box":%q,"address":"+49170%d","body":"%d"}`+"\n", 1_000_000_000_000+int64(rng.IntN(6))*500, box, rng.IntN(3), rng.IntN(40))
	}
	return b.String()
}

// heap is a target that only holds.
type heap struct{ records []item.Record }

func (heap) Kinds() []item.Kind                                           { return []item.Kind{item.Message} }
func (heap) Profile(context.Context, item.Kind) (p rule.Profile, e error) { return p, e }
func (heap) Write(context.Context, item.Kind, []target.Write, func(int, target.Existing, error) error) error {
	panic("nothing is written while a delivery is prepared")
}
func (heap) Close() error { return nil }
func (h heap) Read(_ context.Context, _ item.Kind, each func(target.Existing) error) error {
	for i, r := range h.records {
		if err := each(target.Existing{Record: r, ID: fmt.Sprint(i), Version: "1"}); err != nil {
			return err
		}
	}
	return nil
}

// decisions brings messages together in lots of about some bytes, and says how many lots there were.
func decisions(t *testing.T, have, incoming []item.Record, bytes int64) (steps map[int]Step, lots int) {
	t.Helper()
	m, err := newMatcher(t.TempDir(), item.Message, rule.Options{Profile: rule.Profile{Region: "DE"}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.close()
	m.bytes = bytes
	for i, r := range incoming {
		if err := m.income(i, r, []item.Change{{Record: r.Label, Property: fmt.Sprint(i)}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.read(t.Context(), heap{have}); err != nil {
		t.Fatal(err)
	}
	steps = map[int]Step{}
	err = m.match(t.Context(), func(l *lot) error {
		lots++
		for i := range l.incoming {
			steps[l.numbers[i]] = *l.step(i)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return steps, lots
}

// TestLots brings the same messages together at once and in lots of every size: the same becomes of each.
func TestLots(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	have := message.Rules{}.Split("Messages/a.messages.ndjson", []byte(texts(rng, 150)))
	incoming := message.Rules{}.Split("Messages/b.messages.ndjson", []byte(texts(rng, 300)))
	want, one := decisions(t, have, incoming, 1<<30)
	if one != 1 || len(want) != len(incoming) {
		t.Fatalf("%d steps in %d lots", len(want), one)
	}
	verdicts := map[rule.Verdict]int{}
	for _, s := range want {
		verdicts[s.Verdict]++
	}
	if verdicts[rule.New] < 10 || verdicts[rule.Same] < 10 {
		t.Fatalf("the messages show too little: %v", verdicts)
	}
	for _, bytes := range []int64{20_000, 2_000, 100} {
		got, lots := decisions(t, have, incoming, bytes)
		if lots < 2 {
			t.Errorf("lots of %d bytes: there was one", bytes)
		}
		for i := range incoming {
			if g, w := got[i], want[i]; !reflect.DeepEqual(g, w) {
				t.Fatalf("lots of %d bytes, message %d:\n%+v\nat once\n%+v", bytes, i, g, w)
			}
		}
	}
}

// TestNoWorkingFileStays looks for what a delivery leaves in its directory, whether it succeeds or not.
func TestNoWorkingFileStays(t *testing.T) {
	dir := t.TempDir()
	goals := open(t, directory(t, annHere))
	if _, err := Prepare(t.Context(), MemLog{}, goals, records(annThere, bob), Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Prepare(ctx, MemLog{}, goals, records(annThere, bob), Options{Dir: dir}); err == nil {
		t.Error("it went on")
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := Prepare(t.Context(), MemLog{}, goals, records(bob), Options{Dir: filepath.Join(dir, "missing")}); err == nil {
		t.Error("it needs no directory")
	}
}

// picky refuses to create records, in their own words.
type picky struct{ target.Books }

func (p picky) Write(_ context.Context, _ item.Kind, all []target.Write, done func(int, target.Existing, error) error) error {
	for i := range all {
		if err := done(i, target.Existing{}, &target.RefusedError{Why: "no more room"}); err != nil {
			return err
		}
	}
	return nil
}

// TestRefusedTogether delivers two cards that become one record, which the target refuses: both are refused.
func TestRefusedTogether(t *testing.T) {
	goals := open(t, directory(t))
	goals[0].Target = picky{goals[0].Target}
	log := MemLog{}
	d := prepare(t, log, goals, records(annHere, annThere, bob))
	if p := d.Summary()[0]; p.New != 2 || p.Merge+p.Same != 1 {
		t.Fatalf("%+v", p)
	}
	for range 2 { // the second time everything is known
		if res := apply(t, d); *res != (Result{Failed: 3}) {
			t.Errorf("%+v", res)
		}
	}
	told := 0
	if err := d.Each(func(_ string, s *Step, o *Outcome) error {
		if o.State == Failed && strings.HasSuffix(o.Why, "no more room") {
			told++
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if told != 3 {
		t.Errorf("%d records are told of", told)
	}
}
