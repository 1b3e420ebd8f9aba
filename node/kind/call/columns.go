package call

import (
	"strconv"
	"time"

	"github.com/decant-dev/decant/node/kind/message"
	"github.com/decant-dev/decant/node/kind/message/rawjson"
)

const (
	null     = "null"
	nameless = "(Unknown)"
)

// take sets the field that a column is bound to; false leaves it to X.
func (c *Call) take(name, v string) {
	switch name {
	case "number":
		c.Number = message.Known(v)
	case "date":
		whole(&c.Date, v)
	case "duration":
		whole(&c.Duration, v)
	case "type":
		if len(v) == 1 && '1' <= v[0] && v[0] <= '7' {
			c.Direction = directions[v[0]-'0']
		}
	case "subscription_id":
		c.SubID = message.Known(v)
	case "contact_name", "name":
		c.Name = message.Known(v)
	}
}

// whole takes a number that is written in the usual way, and that JSON can hold.
func whole(i *message.Int, v string) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err == nil && strconv.FormatInt(n, 10) == v && n <= 1<<53 && n >= -1<<53 {
		*i = message.Int{N: n, Known: true}
	}
}

// FromSBR makes a call of the attributes of <call>, which have different names. Call.SBR gives them back.
func FromSBR(attrs []message.Attr) *Call {
	c := &Call{Form: FormSBR}
	for _, a := range attrs {
		if a.Value != null && a.Name != "name" && !(a.Name == "contact_name" && a.Value == nameless) {
			c.take(a.Name, a.Value)
		}
	}
	c.X, c.Order = message.Differ(c.sbr(), attrs)
	return c
}

func (c *Call) number() string {
	for i, d := range directions {
		if d != "" && d == c.Direction {
			return strconv.Itoa(i)
		}
	}
	return ""
}

// sbr is what the fields say as attributes, in the order in which the app writes them.
func (c *Call) sbr() []message.Attr {
	or := func(s string, known bool, otherwise string) string {
		if known {
			return s
		}
		return otherwise
	}
	n := c.number()
	return append(make([]message.Attr, 0, 12), message.Attr{Name: "number", Value: or(c.Number.S, c.Number.Known, null)},
		message.Attr{Name: "duration", Value: strconv.FormatInt(c.Duration.N, 10)},
		message.Attr{Name: "date", Value: strconv.FormatInt(c.Date.N, 10)},
		message.Attr{Name: "type", Value: or(n, n != "", null)},
		message.Attr{Name: "presentation", Value: null},
		message.Attr{Name: "subscription_id", Value: or(c.SubID.S, c.SubID.Known, null)},
		message.Attr{Name: "readable_date", Value: time.UnixMilli(c.Date.N).UTC().Format("Jan 2, 2006 3:04:05 PM")},
		message.Attr{Name: "contact_name", Value: or(c.Name.S, c.Name.Known, nameless)})
}

// SBR returns the attributes of the call in an archive of SMS Backup & Restore.
func (c *Call) SBR() []message.Attr {
	x := c.X
	if c.Form != FormSBR {
		x = nil
		for _, col := range c.X {
			if message.IsAttribute(col.Name) && !col.Value.IsNull() {
				x = append(x, col)
			}
		}
	}
	return message.Override(c.sbr(), x, c.Order)
}

// FromProvider makes a call of a row of the provider's call log, whose columns have different names.
func FromProvider(columns []message.Column) *Call {
	c := &Call{Form: FormProvider}
	for _, name := range []string{"number", "date", "duration", "type", "subscription_id", "name"} {
		if v, ok := message.Get(columns, name); ok {
			c.take(name, v)
		}
	}
	c.X = message.Beyond(c.provider(), columns)
	return c
}

func (c *Call) provider() (out []message.Attr) {
	put := func(name, v string, known bool) {
		if known {
			out = append(out, message.Attr{Name: name, Value: v})
		}
	}
	put("number", c.Number.S, c.Number.Known)
	put("date", strconv.FormatInt(c.Date.N, 10), c.Date.Known)
	put("duration", strconv.FormatInt(c.Duration.N, 10), c.Duration.Known)
	put("type", c.number(), c.Direction != "")
	put("subscription_id", c.SubID.S, c.SubID.Known)
	put("name", c.Name.S, c.Name.Known)
	return out
}

// Provider returns the columns of the call that have a value.
func (c *Call) Provider() []message.Column {
	var out []message.Column
	for _, d := range c.provider() {
		out = append(out, message.Column{Name: d.Name, Value: rawjson.AppendString(nil, d.Value)})
	}
	for _, x := range c.X {
		at := -1
		for i := range out {
			if out[i].Name == x.Name {
				at = i
			}
		}
		switch {
		case at >= 0 && c.Form == FormSBR && x.Value.IsNull():
		case at >= 0:
			out[at].Value = x.Value
		default:
			out = append(out, x)
		}
	}
	kept := out[:0]
	for _, o := range out {
		if !o.Value.IsNull() {
			kept = append(kept, o)
		}
	}
	return kept
}
