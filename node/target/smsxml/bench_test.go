package smsxml

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/rule"
	source "github.com/decant-dev/decant/node/source/smsxml"
	"github.com/decant-dev/decant/node/target"
)

// peak is the most memory that the process had at once, in MiB; 0 where the system does not tell.
func peak() float64 {
	text, _ := os.ReadFile("/proc/self/status")
	var kib float64
	if _, after, ok := strings.Cut(string(text), "VmHWM:"); ok {
		fmt.Sscan(after, &kib)
	}
	return kib / 1024
}

// generate writes an archive of messages from..to, every 50th an MMS.
func generate(b *testing.B, path string, from, to int) {
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "<?xml version='1.0' encoding='UTF-8' standalone='yes' ?>\n<smses count=\"%d\">\n", to-from)
	for i := from; i < to; i++ {
		number, at := fmt.Sprintf("+4917%08d", i%300), 1500000000000+int64(i)*61_007
		if i%50 == 49 {
			fmt.Fprintf(w, "  <mms date=\"%d\" ct_t=\"application/vnd.wap.multipart.related\" msg_box=\"1\" rr=\"129\" sub=\"null\" read_status=\"null\" address=\"%s\" m_id=\"m%d@x\" read=\"1\" m_size=\"0\" m_type=\"132\" text_only=\"0\" date_sent=\"0\" seen=\"1\" v=\"18\" locked=\"0\" sub_id=\"1\" readable_date=\"2 Jan 2021 3:04:05 pm\" contact_name=\"A B\"><parts><part seq=\"0\" ct=\"text/plain\" name=\"text.txt\" chset=\"106\" cid=\"&lt;text&gt;\" text=\"hello %d\" /></parts><addrs><addr address=\"%s\" type=\"137\" charset=\"106\" /><addr address=\"+491799999999\" type=\"151\" charset=\"106\" /></addrs></mms>\n",
				at/1000*1000, number, i, i, number)
			continue
		}
		fmt.Fprintf(w, "  <sms protocol=\"0\" address=\"%s\" date=\"%d\" type=\"%d\" subject=\"null\" body=\"%s %d &#55357;&#56832;\" toa=\"null\" sc_toa=\"null\" service_center=\"+491710760000\" read=\"1\" status=\"-1\" locked=\"0\" date_sent=\"%d\" sub_id=\"1\" readable_date=\"2 Jan 2021 3:04:05 pm\" contact_name=\"Alice Müller\" />\n",
			number, at, 1+i%2, strings.Repeat("wir gehen heute nach Hause ", 1+i%5), i, at/1000*1000-1000)
	}
	w.WriteString("</smses>")
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	f.Close()
}

// BenchmarkTwoHundredThousand brings 200,000 messages into an archive that has 200,000,
// half of which are the same: reading the source, shaping, reading the target, matching
// and writing.
func BenchmarkTwoHundredThousand(b *testing.B) {
	const n = 200_000
	dir := b.TempDir()
	generate(b, filepath.Join(dir, "in.xml"), n/2, n+n/2)
	ctx := context.Background()
	for b.Loop() {
		b.StopTimer()
		path := filepath.Join(dir, "sms.xml")
		generate(b, path, 0, n)
		b.StartTimer()
		step := time.Now()
		done := func(name string) {
			b.ReportMetric(time.Since(step).Seconds(), name+"-s")
			step = time.Now()
		}
		in, err := source.Open(filepath.Join(dir, "in.xml"))
		if err != nil {
			b.Fatal(err)
		}
		s := &sink{}
		if err := in.Read(ctx, s); err != nil {
			b.Fatal(err)
		}
		in.Close()
		done("source")
		a, err := Open(path)
		if err != nil {
			b.Fatal(err)
		}
		profile, _ := a.Profile(ctx, item.Message)
		for i := range s.records {
			s.records[i], _, _ = message.Rules{}.Shape(s.records[i], profile)
		}
		done("shape")
		var have []item.Record
		if err := a.Read(ctx, item.Message, func(e target.Existing) error { have = append(have, e.Record); return nil }); err != nil {
			b.Fatal(err)
		}
		done("read")
		decisions, err := message.Rules{}.Match(ctx, have, s.records, rule.Options{Profile: profile})
		if err != nil {
			b.Fatal(err)
		}
		done("match")
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "live-MiB")
		step = time.Now()
		var changes []target.Write
		for i, d := range decisions {
			if d.Verdict == rule.New {
				changes = append(changes, target.Write{Record: s.records[i]})
			}
		}
		if len(changes) != n/2 {
			b.Fatalf("%d are new", len(changes))
		}
		if err := a.Write(ctx, item.Message, changes, func(_ int, _ target.Existing, err error) error { return err }); err != nil {
			b.Fatal(err)
		}
		done("write")
	}
	b.ReportMetric(peak(), "peak-MiB")
}
