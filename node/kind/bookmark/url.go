package bookmark

import (
	"net/url"
	"strings"

	"golang.org/x/net/idna"
)

// defaultPorts are the schemes whose addresses browsers bring into one form.
var defaultPorts = map[string]string{"http": "80", "https": "443", "ftp": "21", "ws": "80", "wss": "443"}

// Canonical returns the form of a URL that browsers store: scheme and name of the server
// in small letters, that name in ASCII, no default port, a path, and what is not ASCII
// percent-encoded (url.spec.whatwg.org). It is for comparing only. Of a URL that has no
// server it returns the bytes, without blanks around them.
func Canonical(s string) string {
	s = strings.Trim(s, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	s = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(s)
	scheme, rest, ok := strings.Cut(s, ":")
	low := strings.ToLower(scheme)
	port, special := defaultPorts[low]
	if !ok || !special {
		if ok && isScheme(scheme) {
			return low + ":" + rest
		}
		return s
	}
	rest = strings.TrimLeft(rest, `/\`)
	end := strings.IndexAny(rest, `/\?#`)
	if end < 0 {
		end = len(rest)
	}
	host, tail := authority(rest[:end], port), rest[end:]
	path, query := tail, ""
	if i := strings.IndexAny(tail, "?#"); i >= 0 {
		path, query = tail[:i], tail[i:]
	}
	query, fragment, ok := strings.Cut(query, "#")
	if ok {
		fragment = "#" + fragment
	}
	return low + "://" + host + escape(dots(strings.ReplaceAll(path, `\`, "/")), " \"<>`{}") + escape(query, " \"'<>") + escape(fragment, " \"<>`")
}

func isScheme(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || i > 0 && ('0' <= c && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

func authority(s, port string) string {
	user := ""
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		user, s = s[:i+1], s[i+1:]
	}
	s = strings.TrimSuffix(s, ":"+port)
	s = strings.TrimSuffix(s, ":")
	host, at := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		host, at = s[:i], s[i:]
	}
	if un, err := url.PathUnescape(host); err == nil {
		host = un
	}
	if ascii, err := idna.Lookup.ToASCII(host); err == nil {
		host = ascii
	}
	return user + strings.ToLower(host) + at
}

// dots resolves "." and ".." in a path.
func dots(path string) string {
	if !strings.Contains(path, "/.") && !strings.Contains(strings.ToLower(path), "/%2e") {
		if path == "" {
			return "/"
		}
		return path
	}
	var out []string
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, p := range parts {
		last := i == len(parts)-1
		switch strings.ReplaceAll(strings.ToLower(p), "%2e", ".") {
		case "..":
			out = out[:max(0, len(out)-1)]
			if last {
				out = append(out, "")
			}
		case ".":
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, p)
		}
	}
	return "/" + strings.Join(out, "/")
}

// escape percent-encodes what is not ASCII or stands in also.
func escape(s, also string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c < 0x20 || c >= 0x7f || strings.IndexByte(also, c) >= 0 {
			const hex = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
