package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/quotedprintable"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/japanese"

	"github.com/decant-dev/decant/node/format/dav"
	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind"
	"github.com/decant-dev/decant/node/kind/calendar"
	"github.com/decant-dev/decant/node/kind/contact"
	"github.com/decant-dev/decant/node/kind/rule"
	"github.com/decant-dev/decant/node/target"
	targetdav "github.com/decant-dev/decant/node/target/dav"
	"github.com/decant-dev/decant/test/fidelity"
	"github.com/decant-dev/decant/test/peers/server"
)

// rules are those of the kinds that DAV servers hold.
var rules = map[item.Kind]rule.Rules{item.Contact: contact.Rules{}, item.Calendar: calendar.Rules{}}

// file is one address book or calendar of the corpus, cut into records.
type file struct {
	name    string
	kind    item.Kind
	records []item.Record
}

// corpus reads the address books and calendars below a directory, at most most records of each; 0 is all.
func corpus(dir string, most int) (out []file, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		k := kind.Of(path)
		if err != nil || d.IsDir() || rules[k] == nil {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		records := slices.DeleteFunc(rules[k].Split(filepath.ToSlash(name), data), nothing)
		if most > 0 && len(records) > most {
			records = records[:most]
		}
		if len(records) > 0 {
			out = append(out, file{name: filepath.ToSlash(name), kind: k, records: records})
		}
		return nil
	})
	return out, err
}

// nothing reports whether what Split has cut off is no record of anything: text outside of cards, or nothing but time zones.
func nothing(r item.Record) bool {
	return r.Kind == item.Contact && !dav.Holds(r.Kind, r.Data) || r.Kind == item.Calendar && len(dav.Components(r.Data)) == 0
}

// score is what became of the records of one kind on one server.
type score struct {
	Records, Accepted  int
	Explained          int // of those not accepted, those that Shape gave up with a reason
	Properties, Kept   int // of all records
	OfAccepted         int // properties of the accepted
	Strict, StrictKept int
	Silent             int // properties of the accepted that are lost or differ in form, without a Change
	SilentLost         int // of these, the lost ones

	refused []string
	lost    []string
}

// measure puts files on a server, each into a collection of its own, and compares what comes back. profile nil is raw.
func measure(ctx context.Context, s *server.Server, files []file, k item.Kind, profile *rule.Profile) (*score, error) {
	total := &score{}
	for i, f := range files {
		if f.kind != k {
			continue
		}
		mode := "raw"
		if profile != nil {
			mode = "shaped"
		}
		url, err := s.Make(ctx, fmt.Sprintf("m-%s-%d", mode, i), k == item.Contact)
		if err != nil {
			return nil, err
		}
		if err := total.file(ctx, s, url, f, profile); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return total, nil
}

// config is how Decant is to speak to a server.
func config(s *server.Server, url string) dav.Config {
	c := dav.Config{URL: url}
	if s.Auth {
		c.User = server.User
		c.Password = func(context.Context) (string, error) { return server.Password, nil }
	}
	return c
}

// journey is what becomes of one record of a file.
type journey struct {
	said  []item.Change
	gone  string // why Shape gave it up
	write int    // the write that carries it; -1 is none
}

func (sc *score) file(ctx context.Context, s *server.Server, url string, f file, profile *rule.Profile) error {
	to, err := targetdav.Open(ctx, config(s, url))
	if err != nil {
		return err
	}
	defer to.Close()
	journeys, writes := raw(f)
	if profile != nil {
		if journeys, writes, err = shaped(ctx, f, *profile); err != nil {
			return err
		}
	}
	held, refused := make([]target.Existing, len(writes)), make([]string, len(writes))
	err = to.Write(ctx, f.kind, writes, func(i int, now target.Existing, err error) error {
		var no *target.RefusedError
		if errors.As(err, &no) {
			path := strings.TrimPrefix(url, strings.TrimSuffix(s.URL, "/")) + writes[i].Key + map[item.Kind]string{item.Contact: ".vcf", item.Calendar: ".ics"}[f.kind]
			refused[i] = s.Why(path, no.Why) + "\n" + indent(writes[i].Record.Data)
			return nil
		}
		held[i] = now
		return err
	})
	if err != nil {
		return err
	}
	for i, j := range journeys {
		switch {
		case j.gone != "":
			sc.Explained++
			sc.give(f.name, f.records[i], "given up: "+j.gone)
		case refused[j.write] != "":
			sc.give(f.name, f.records[i], refused[j.write])
		default:
			said := append(j.said, targetdav.Altered(f.kind, writes[j.write].Record.Data, held[j.write].Data)...)
			if err := sc.compare(f.name, f.records[i], held[j.write], said); err != nil {
				return err
			}
		}
	}
	return nil
}

// raw sends every record as it is.
func raw(f file) (journeys []journey, writes []target.Write) {
	for i, r := range f.records {
		journeys = append(journeys, journey{write: i})
		writes = append(writes, target.Write{Key: fmt.Sprintf("r-%d", i), Record: r})
	}
	return journeys, writes
}

// shaped sends what Decant would send to an empty collection: shaped, and brought together by identity.
func shaped(ctx context.Context, f file, profile rule.Profile) (journeys []journey, writes []target.Write, err error) {
	var incoming []item.Record
	var of []int
	for i, r := range f.records {
		out, said, ok := rules[f.kind].Shape(r, profile)
		j := journey{said: said, write: -1}
		if !ok {
			j.gone = last(said)
		} else {
			incoming, of = append(incoming, out), append(of, i)
		}
		journeys = append(journeys, j)
	}
	decisions, err := rules[f.kind].Match(ctx, nil, incoming, rule.Options{Profile: profile, NoFuzzy: true})
	if err != nil {
		return nil, nil, err
	}
	for n, d := range decisions {
		j := &journeys[of[n]]
		j.said = append(j.said, d.Changes...)
		switch d.Verdict {
		case rule.Same, rule.Merge:
			with := &journeys[of[d.With]]
			j.write = with.write
			with.said = append(with.said, d.Changes...) // they are of either
			if d.Verdict == rule.Merge {
				writes[j.write].Record.Data = d.Result
			}
		default:
			r := incoming[n]
			r.Data = d.Result
			j.write = len(writes)
			writes = append(writes, target.Write{Key: fmt.Sprintf("r-%d", n), Record: r})
		}
	}
	return journeys, writes, nil
}

func last(changes []item.Change) string {
	if len(changes) == 0 {
		return "without a reason"
	}
	return changes[len(changes)-1].Why
}

func indent(data []byte) string {
	const most = 1500
	return "    " + strings.ReplaceAll(string(data[:min(len(data), most)]), "\n", "\n    ")
}

// give counts a record that is not on the server.
func (sc *score) give(name string, r item.Record, why string) {
	sc.Records++
	sc.refused = append(sc.refused, fmt.Sprintf("%s: %s: %s", name, r.Label, why))
	if before, err := fidelity.Parse(name, r.Data); err == nil {
		all := fidelity.Compare(before, &fidelity.Document{}, fidelity.Options{})
		sc.Properties += all.Properties
		sc.Strict += all.StrictProperties
	}
}

// compare counts a record that is on the server.
func (sc *score) compare(name string, r item.Record, now target.Existing, said []item.Change) error {
	before, err := fidelity.Parse(name, r.Data)
	if err != nil {
		return err
	}
	after, err := fidelity.Parse(name, now.Data)
	if err != nil {
		return err
	}
	result := fidelity.Compare(before, after, fidelity.Options{Report: report(said), Merged: true})
	sc.Records++
	sc.Accepted++
	sc.Properties += result.Properties
	sc.OfAccepted += result.Properties
	sc.Kept += result.Kept
	sc.Strict += result.StrictProperties
	sc.StrictKept += result.StrictKept
	sc.Silent += len(result.Silent())
	for _, l := range result.Changed {
		if l.Reported == nil {
			sc.lost = append(sc.lost, fmt.Sprintf("unexplained form: %s: %s: %+v", name, r.Label, l.Property))
		}
	}
	for _, l := range result.Lost {
		text, foreign := shiftJIS(l)
		if foreign && l.Reported == nil && (holds(after, l.FullName(), text) || explained(said, l.FullName(), text)) {
			sc.Silent--
		}
		if foreign && holds(after, l.FullName(), text) {
			sc.Kept++
			continue
		}
		mark := "reported"
		if l.Reported == nil && !(foreign && explained(said, l.FullName(), text)) {
			mark = "SILENT"
			sc.SilentLost++
		}
		sc.lost = append(sc.lost, fmt.Sprintf("%s: %s: %s: %+v", mark, name, r.Label, l.Property))
	}
	return nil
}

// report gives changes to package fidelity in the form in which it reads them, which is that of Decant's report.
func report(changes []item.Change) []fidelity.Change {
	b, err := json.Marshal(changes)
	if err != nil {
		panic("peers: " + err.Error())
	}
	var out []fidelity.Change
	if err := json.Unmarshal(b, &out); err != nil {
		panic("peers: " + err.Error())
	}
	return out
}

// shiftJIS translates what test/fidelity, which knows the standard library only, can't compare; ok is whether it is text
// in Shift_JIS. Raw is looked at, because the second byte of some characters is a backslash there.
func shiftJIS(l fidelity.Loss) (text string, ok bool) {
	raw, err := io.ReadAll(quotedprintable.NewReader(strings.NewReader(l.Raw)))
	if err != nil || utf8.Valid(raw) {
		return "", false
	}
	text, err = japanese.ShiftJIS.NewDecoder().String(string(raw))
	return strings.TrimRight(text, ";"), err == nil
}

// holds reports whether a property with a text has arrived, empty parts at its end aside.
func holds(d *fidelity.Document, name, text string) bool {
	for _, r := range d.Records {
		if slices.ContainsFunc(r.Properties, func(p fidelity.Property) bool { return p.FullName() == name && strings.TrimRight(p.Raw, ";") == text }) {
			return true
		}
	}
	return false
}

// explained reports whether it was said that a text has become something else. That it was translated is no explanation.
func explained(said []item.Change, name, text string) bool {
	return slices.ContainsFunc(said, func(c item.Change) bool {
		return c.Property == name && c.Effect != item.EffectAdded && strings.TrimRight(c.After, ";") != text
	})
}
