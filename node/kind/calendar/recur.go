package calendar

import (
	"slices"
	"strings"
)

// ruleParts are the parts of a recurrence rule (RFC 5545 3.3.10): what numbers each takes, without
// zero where the least is negative. None is ever expanded.
var ruleParts = map[string]struct{ least, most int }{
	"BYSECOND": {0, 60}, "BYMINUTE": {0, 59}, "BYHOUR": {0, 23}, "BYMONTH": {1, 12},
	"BYMONTHDAY": {-31, 31}, "BYYEARDAY": {-366, 366}, "BYWEEKNO": {-53, 53}, "BYSETPOS": {-366, 366},
	"INTERVAL": {1, 1<<31 - 1}, "COUNT": {1, 1<<31 - 1},
}

var frequencies = []string{"SECONDLY", "MINUTELY", "HOURLY", "DAILY", "WEEKLY", "MONTHLY", "YEARLY"}

// mendRule returns a recurrence rule without what no parser takes: empty parts, blanks, escapes,
// repeated parts, values out of range, extensions. ok is false if what is left would mean
// something else or nothing.
func mendRule(v string) (mended string, ok bool) {
	fields := strings.Split(strings.ReplaceAll(v, `\`, ""), ";")
	var out []string
	seen := map[string]bool{}
	for _, f := range fields {
		f = strings.Join(strings.Fields(f), "")
		if f == "" || strings.HasPrefix(f, "X-") || strings.HasPrefix(f, "x-") {
			continue
		}
		name, value, found := strings.Cut(f, "=")
		name = strings.ToUpper(name)
		if !found || seen[name] {
			continue
		}
		seen[name] = true
		upper := strings.ToUpper(value)
		good, drop := rulePart(name, upper)
		if !good {
			return "", false
		}
		if drop {
			continue
		}
		if upper != value && name != "UNTIL" || name == "UNTIL" {
			f = name + "=" + untilForm(name, upper)
		}
		out = append(out, f)
	}
	if !seen["FREQ"] {
		return "", false
	}
	return strings.Join(out, ";"), true
}

func untilForm(name, value string) string {
	if name == "UNTIL" {
		if m, ok := mendMoment(value); ok {
			return m.String()
		}
	}
	return value
}

// rulePart reports whether a part can stand, and whether it says nothing and can go.
func rulePart(name, value string) (good, drop bool) {
	switch name {
	case "FREQ":
		return slices.Contains(frequencies, value), false
	case "UNTIL":
		_, ok := mendMoment(value)
		return ok, false
	case "WKST":
		return value == "" || slices.Contains(weekdays[:], value), value == ""
	case "BYDAY":
		return value == "" || allOf(value, validDay), value == ""
	case "RSCALE":
		return value == "GREGORIAN", true
	case "SKIP":
		return value == "OMIT", true
	case "INTERVAL":
		if value == "0" || value == "" {
			return true, true
		}
	}
	limit, known := ruleParts[name]
	if !known {
		return false, false
	}
	if value == "" {
		return true, true
	}
	single := name == "INTERVAL" || name == "COUNT"
	if single && strings.Contains(value, ",") {
		return false, false
	}
	return allOf(value, func(s string) bool { return inRange(s, limit.least, limit.most) }), false
}

func allOf(list string, valid func(string) bool) bool {
	for v := range strings.SplitSeq(list, ",") {
		if !valid(v) {
			return false
		}
	}
	return true
}

func validDay(s string) bool {
	if len(s) < 2 || !slices.Contains(weekdays[:], s[len(s)-2:]) {
		return false
	}
	n := s[:len(s)-2]
	return n == "" || inRange(n, -53, 53)
}

func inRange(s string, least, most int) bool {
	bare := strings.TrimLeft(s, "+-")
	if len(s)-len(bare) > 1 || len(bare) > 10 {
		return false
	}
	n := 0
	for _, c := range []byte(bare) {
		if c < '0' || c > '9' {
			return false
		}
		n = n*10 + int(c-'0')
	}
	if strings.HasPrefix(s, "-") {
		n = -n
	}
	return bare != "" && n >= least && n <= most && (n != 0 || least == 0)
}
