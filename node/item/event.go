package item

import "time"

// Stage is what a transfer is doing, in the order in which it happens.
type Stage string

// The stages.
const (
	StageConnecting Stage = "connecting"
	StageLooking    Stage = "looking" // for the other device nearby
	StageScanning   Stage = "scanning"
	StagePairing    Stage = "pairing"
	StageSending    Stage = "sending"
	StageWaiting    Stage = "waiting" // for the other device
	StageReceiving  Stage = "receiving"
	StageApplying   Stage = "applying"
	StageDone       Stage = "done"
)

// Event is one thing that happened, sent to Config.Events from any goroutine but one
// at a time. A receiver must not block. Exactly one of the pointer fields is set,
// named by Type; the JSON form is the line format of --json (docs/SPEC.md section 10).
type Event struct {
	Time     time.Time      `json:"time"`
	Type     string         `json:"type"` // "stage", "progress", "loss", "notice", "pairing", "preview", "receipt", "session"
	Stage    Stage          `json:"stage,omitempty"`
	Progress *Progress      `json:"progress,omitempty"`
	Loss     *Loss          `json:"loss,omitempty"`
	Notice   *Notice        `json:"notice,omitempty"`
	Session  *SessionNotice `json:"session,omitempty"`
}

// Progress is cumulative for the present stage.
type Progress struct {
	ItemsDone  int64   `json:"items_done"`
	ItemsTotal int64   `json:"items_total"` // 0 while unknown
	BytesDone  int64   `json:"bytes_done"`
	BytesTotal int64   `json:"bytes_total"` // 0 while unknown
	Rate       float64 `json:"rate"`        // bytes a second of content, over the last few seconds
	WireBytes  int64   `json:"wire_bytes"`  // sealed bytes sent or received, padding included
	Route      string  `json:"route"`       // "stored"; "direct" and "folder" follow
}

// Notice is something a person should know; Code is stable, the words are the command's business.
type Notice struct {
	Code   string `json:"code"` // "retrying", "connection-restored", "resumed", "claimed-by", "already-sent", "rollback-alarm", "attempt-failed", …
	Detail string `json:"detail,omitempty"`
}

// SessionNotice names the session once it is known.
type SessionNotice struct {
	ID   string `json:"id"`
	Peer string `json:"peer,omitempty"` // the other device's short fingerprint, once paired
}
