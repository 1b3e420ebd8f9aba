package ui

import (
	"encoding/base64"
	"time"
	"unicode/utf8"

	"github.com/decant-dev/decant/node"
	"github.com/decant-dev/decant/node/item"
)

// Event is one line of --json: docs/SPEC.md section 10. Exactly the field that
// Type names is set beside Time and Type.
type Event struct {
	Time     time.Time           `json:"time"`
	Type     string              `json:"type"`
	Stage    item.Stage          `json:"stage,omitempty"`
	Progress *item.Progress      `json:"progress,omitempty"`
	Loss     *Loss               `json:"loss,omitempty"`
	Notice   *item.Notice        `json:"notice,omitempty"`
	Session  *item.SessionNotice `json:"session,omitempty"`
	Pairing  *Pairing            `json:"pairing,omitempty"`
	Question *Question           `json:"question,omitempty"`
	Serving  *Serving            `json:"serving,omitempty"`
	Waiting  *Waiting            `json:"waiting,omitempty"`
	Check    *Check              `json:"check,omitempty"`
	Preview  *Preview            `json:"preview,omitempty"`
	Delivery *node.Delivery      `json:"delivery,omitempty"`
	Offers   []Offer             `json:"offers,omitempty"`
	Receipt  *node.Receipt       `json:"receipt,omitempty"`
	Result   any                 `json:"result,omitempty"`
	Error    *ErrorEvent         `json:"error,omitempty"`
}

// Pairing carries the secret that the person takes to the other device.
type Pairing struct {
	Code         string `json:"code,omitempty"`
	Link         string `json:"link,omitempty"`
	AttemptsLeft int    `json:"attempts_left,omitempty"`
	Ticket       string `json:"ticket,omitempty"`
	URI          string `json:"uri,omitempty"`
}

// Question says that the next line of stdin is awaited.
type Question struct {
	What    string `json:"what"` // "code", "ticket", "apply", "deliver", "conflict", "password", "choose" or "undo"
	Attempt int    `json:"attempt,omitempty"`
}

// Waiting says what a cache has still to bring.
type Waiting struct {
	Transfers int   `json:"transfers"` // with anything of it
	Kept      int   `json:"kept"`      // all that it keeps
	Bytes     int64 `json:"bytes"`
	Trouble   int   `json:"trouble"` // whose server can't be reached, or takes nothing
}

// Serving says where a server can be reached.
type Serving struct {
	Addresses []string `json:"addresses"`
	Metrics   string   `json:"metrics,omitempty"`
}

// Check is one thing that decant doctor has looked at.
type Check struct {
	Name    string   `json:"name"`
	Level   string   `json:"level"`   // "ok", "note" or "bad"
	Finding string   `json:"finding"` // a name for what Text says
	Text    string   `json:"text"`
	Hint    string   `json:"hint,omitempty"`
	Detail  string   `json:"detail,omitempty"`
	List    []string `json:"list,omitempty"`
	Bytes   *int64   `json:"bytes,omitempty"`
	Seconds *float64 `json:"seconds,omitempty"`
}

// ErrorEvent is the last line of a command that failed.
type ErrorEvent struct {
	Name    string `json:"name"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Exit    Code   `json:"exit"`
}

// Loss is item.Loss with names in place of numbers. A path that is not UTF-8 has
// its bytes in Base64 beside it.
type Loss struct {
	Path   string `json:"path"`
	Base64 string `json:"path_base64,omitempty"`
	Kind   string `json:"kind"`
	Reason string `json:"reason"`
	Text   string `json:"text"`
	Detail string `json:"detail,omitempty"`
}

// reasonCodes names each item.Reason by its number. They are part of --json: append only.
var reasonCodes = [...]string{"none", "unreadable", "vanished", "changing", "symlink", "special", "hard-link", "sparse", "xattr", "permissions",
	"name", "no-space", "write", "integrity", "malformed", "not-chosen", "too-long", "time", "removed"}

// NewLoss converts an item.Loss.
func NewLoss(l item.Loss) Loss {
	code := "other"
	if int(l.Reason) < len(reasonCodes) {
		code = reasonCodes[l.Reason]
	}
	out := Loss{Path: l.Path, Kind: l.Kind.String(), Reason: code, Text: l.Reason.String(), Detail: l.Detail}
	if !utf8.ValidString(l.Path) {
		out.Base64 = base64.StdEncoding.EncodeToString([]byte(l.Path))
	}
	return out
}

// NewLosses converts a list; the result is never nil, so that it is [] in JSON.
func NewLosses(ls []item.Loss) []Loss {
	out := make([]Loss, 0, len(ls))
	for _, l := range ls {
		out = append(out, NewLoss(l))
	}
	return out
}

// Preview is node.Preview with its losses in words.
type Preview struct {
	*node.Preview
	Losses []Loss `json:"losses"`
}

// NewPreview converts a preview.
func NewPreview(p *node.Preview) *Preview { return &Preview{Preview: p, Losses: NewLosses(p.Losses)} }

// fromItem converts what the engine reports.
func fromItem(e item.Event) Event {
	out := Event{Time: e.Time, Type: e.Type, Stage: e.Stage, Progress: e.Progress, Notice: e.Notice, Session: e.Session}
	if e.Loss != nil {
		l := NewLoss(*e.Loss)
		out.Loss = &l
	}
	return out
}

// Offer is one source that decant send has found on this device.
type Offer struct {
	Name   string  `json:"name"`
	Chosen bool    `json:"chosen"`
	Error  string  `json:"error,omitempty"`
	Found  []Found `json:"found"`
}

// Found is item.Found; -1 is unknown.
type Found struct {
	Kind  string `json:"kind"`
	Book  string `json:"book,omitempty"`
	Where string `json:"where,omitempty"`
	Items int64  `json:"items"`
	Bytes int64  `json:"bytes"`
	Can   bool   `json:"can"`
	Why   string `json:"why,omitempty"`
}
