package smsie

import (
	"bytes"
	"errors"
	"io"

	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
)

// MaxCalls is the largest call log that is read, in bytes. Telephones keep some hundred calls.
const MaxCalls = 64 << 20

// ErrCalls is returned for a file that is no call log.
var ErrCalls = errors.New("it is no call log of SMS Import / Export")

// Calls reads a call log: the whole text, and the text of each row.
func Calls(in io.Reader) (text []byte, rows []rawjson.Value, err error) {
	text, err = io.ReadAll(io.LimitReader(in, MaxCalls+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > MaxCalls {
		return nil, nil, ErrCalls
	}
	rows, err = rawjson.Array(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	if err != nil {
		return nil, nil, ErrCalls
	}
	return text, rows, nil
}

// ParseCall parses a row of the call log.
func ParseCall(row rawjson.Value) ([]message.Column, []Flag, error) {
	p := rowParser{row: &message.Row{}}
	if _, err := rawjson.Object(row); err != nil {
		return nil, nil, err
	}
	columns, _ := p.columns(rawjson.Member{Name: "CALL", Value: row})
	return columns, p.flags, nil
}
