package gather

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/decant-dev/decant/node/item"
	"github.com/decant-dev/decant/node/kind/calendar"
)

// maxCalendars is how many files with one VCALENDAR each a book becomes; what fits into none of them comes into one more,
// object by object.
const maxCalendars = 8

// agenda is a calendar while its objects come. Many programs read the first VCALENDAR of a file and no other, so each
// file has one: a book whose objects can't stand in one VCALENDAR becomes several files. Time zones stand before the
// components, and are known at the end only, so that components wait in a file of their own.
type agenda struct {
	parts []*agendaPart
	rest  *agendaPart // objects with a VCALENDAR each
}

type agendaPart struct {
	calendar.Container
	name string
	f    *os.File
	w    *bufio.Writer
}

// waiting is where components wait, below the directory that is gathered into.
const waiting = ".waiting"

func (g *gatherer) newPart() (*agendaPart, error) {
	if err := g.root.MkdirAll(waiting, 0o700); err != nil {
		return nil, err
	}
	g.waits++
	p := &agendaPart{name: fmt.Sprintf("%s/%d", waiting, g.waits)}
	f, err := g.root.OpenFile(p.name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	p.f, p.w = f, bufio.NewWriterSize(f, 16<<10)
	return p, nil
}

// event takes one object of a calendar.
func (g *gatherer) event(r item.Record) error {
	b := book{r.Kind, r.Book}
	a := g.agendas[b]
	if a == nil {
		a = &agenda{}
		g.agendas[b], g.order = a, append(g.order, b)
	}
	o := calendar.NewObject(r.Data)
	for _, p := range a.parts {
		if part, ok := p.Take(o); ok {
			_, err := p.w.Write(part)
			return err
		}
	}
	p, err := a.rest, error(nil)
	if p == nil {
		if p, err = g.newPart(); err != nil {
			return err
		}
	}
	part, ok := []byte(nil), false
	if p != a.rest && len(a.parts) < maxCalendars {
		part, ok = p.Take(o)
	}
	if ok {
		a.parts = append(a.parts, p)
		_, err = p.w.Write(part)
		return err
	}
	a.rest = p
	return writeRecord(p.w, r)
}

// closeCalendars writes the calendars of a source under their names.
func (g *gatherer) closeCalendars() (err error) {
	for _, b := range g.order {
		a, n, base := g.agendas[b], 0, ""
		for _, p := range append(a.parts, a.rest) {
			if p == nil || err != nil {
				continue
			}
			name := partName(b, 1)
			if n++; n > 1 {
				name = fmt.Sprintf("%s_%03d", base, n)
			}
			if name, err = g.place(b.kind, name, p, p != a.rest); n == 1 {
				base = numbered.ReplaceAllString(name, "")
			}
		}
	}
	for _, a := range g.agendas {
		for _, p := range append(a.parts, a.rest) {
			if p != nil {
				err = errors.Join(err, p.f.Close())
			}
		}
	}
	return errors.Join(err, g.root.RemoveAll(waiting))
}

// place writes a file of a book under a free name, which it returns without extension.
func (g *gatherer) place(k item.Kind, name string, p *agendaPart, one bool) (string, error) {
	if err := p.w.Flush(); err != nil {
		return "", err
	}
	if _, err := p.f.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	f, file, err := g.create(tops[k], name, extensions[k])
	if err != nil {
		return "", err
	}
	var head, tail []byte
	if one {
		head, tail = p.Head(), p.Tail()
	}
	_, err1 := f.Write(head)
	_, err2 := io.Copy(f, p.f)
	_, err3 := f.Write(tail)
	return strings.TrimSuffix(path.Base(file), extensions[k]), errors.Join(err1, err2, err3, f.Close())
}

var numbered = regexp.MustCompile(`_[0-9]{3}$`)

// partName is the name of a book's n-th file. A book whose own name ends like a number gets one in any case.
func partName(b book, n int) string {
	name := clean(b.name)
	if name == "" {
		name = strings.ToLower(tops[b.kind])
	}
	if n > 1 || b.kind == item.Calendar && numbered.MatchString(name) {
		name += fmt.Sprintf("_%03d", n) // behind the first in the order of names
	}
	return name
}
