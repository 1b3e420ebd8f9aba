package smsie

import (
	"encoding/base64"
	"encoding/hex"
	"io"
	"strconv"
	"strings"

	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
)

// Data are bytes of a part that belong below data/.
type Data struct {
	Name   string
	Base64 []byte
}

// WriteTo writes the bytes.
func (d Data) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, base64.NewDecoder(base64.StdEncoding, strings.NewReader(string(d.Base64))))
}

// AppendMessage appends the line of an SMS or MMS, with its line break, and returns the
// bytes that belong below data/. taken tells which names are taken there; a part keeps
// the name that it had in the archive that it came from, if it is free.
func AppendMessage(dst []byte, m *message.Message, taken func(name string) bool) ([]byte, []Data) {
	r := m.Provider()
	var data []Data
	dst = append(dst, '{')
	dst = appendColumns(dst, r.Columns)
	dst = appendAddresses(dst, r.Addrs)
	if len(r.Parts) > 0 {
		dst = appendName(dst, partsName)
		dst = append(dst, '[')
		id := hex.EncodeToString(m.Identity()[1:17])
		for i, p := range r.Parts {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, '{')
			if r.Data[i] != nil {
				name := freeName(p, id, i, func(name string) bool { return taken(name) || has(data, name) })
				data = append(data, Data{name, r.Data[i]})
				p = withName(p, name)
			}
			dst = append(appendColumns(dst, p), '}')
		}
		dst = append(dst, ']')
	} else if r.MMS {
		dst = append(appendName(dst, partsName), "[]"...)
	}
	return append(dst, "}\n"...), data
}

func has(data []Data, name string) bool {
	for _, d := range data {
		if d.Name == name {
			return true
		}
	}
	return false
}

// ownPrefix begins the names that this package makes. A telephone's have a path before them.
const ownPrefix = "PART_decant_"

// freeName is a name for the bytes of part i.
func freeName(part []message.Column, id string, i int, taken func(string) bool) string {
	if path, ok := message.Get(part, dataColumn); ok {
		if name, plain := message.DataName(path); plain && !taken(name) {
			return name
		}
	}
	for k := 0; ; k++ {
		name := ownPrefix + id + "_" + strconv.Itoa(i)
		if k > 0 {
			name += "_" + strconv.Itoa(k)
		}
		if !taken(name) {
			return name
		}
	}
}

// withName gives a part the column that says where its bytes are.
func withName(part []message.Column, name string) []message.Column {
	out := make([]message.Column, 0, len(part)+1)
	path := name
	for _, c := range part {
		if c.Name == dataColumn {
			if old, ok := message.Get(part, dataColumn); ok {
				path = old[:strings.LastIndexByte(old, '/')+1] + name
			}
			continue
		}
		out = append(out, c)
	}
	return append(out, message.Column{Name: dataColumn, Value: rawjson.AppendString(nil, path)})
}

// appendAddresses writes the sender apart from the others, as the app does.
func appendAddresses(dst []byte, addrs [][]message.Column) []byte {
	sender := -1
	for i, a := range addrs {
		if t, _ := message.Get(a, "type"); t == "137" && sender < 0 {
			sender = i
			dst = append(appendColumns(append(appendName(dst, senderName), '{'), a), '}')
		}
	}
	n := 0
	for i, a := range addrs {
		if i == sender {
			continue
		}
		if n == 0 {
			dst = append(appendName(dst, recipientsName), '[')
		} else {
			dst = append(dst, ',')
		}
		n++
		dst = append(appendColumns(append(dst, '{'), a), '}')
	}
	if n > 0 {
		dst = append(dst, ']')
	}
	return dst
}

func appendName(dst []byte, name string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(rawjson.AppendString(dst, name), ':')
}

func appendColumns(dst []byte, columns []message.Column) []byte {
	for _, c := range columns {
		dst = append(appendName(dst, c.Name), c.Value...)
	}
	return dst
}

// AppendObject appends a row of the call log.
func AppendObject(dst []byte, columns []message.Column) []byte {
	return append(appendColumns(append(dst, '{'), columns), '}')
}
