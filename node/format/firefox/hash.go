package firefox

import (
	"crypto/sha256"
	"encoding/base64"
	"math/bits"
	"strings"
)

// maxHashed is how many bytes of an address the hash sees.
const maxHashed = 1500

// URLHash is what Firefox indexes addresses by (toolkit/components/places/Helpers.cpp,
// HashURL): 16 bits of the hash of the scheme before 32 of that of the whole.
func URLHash(url string) int64 {
	h := int64(hash(url[:min(len(url), maxHashed)]))
	if i := strings.IndexByte(url[:min(len(url), 50)], ':'); i >= 0 {
		h += int64(hash(url[:i])&0xffff) << 32
	}
	return h
}

// hash is mozilla::HashString (mfbt/HashFunctions.h).
func hash(s string) (h uint32) {
	for i := range len(s) {
		h = 0x9e3779b9 * (bits.RotateLeft32(h, 5) ^ uint32(s[i]))
	}
	return h
}

// GUID makes a GUID as Firefox has them of any text, always the same.
func GUID(of string) string {
	sum := sha256.Sum256([]byte("decant/firefox/" + of))
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}

// origin splits an address into what moz_origins has of it.
func origin(url string) (prefix, host string) {
	i := strings.IndexByte(url, ':')
	if i < 0 {
		return "", ""
	}
	prefix, rest := url[:i+1], url[i+1:]
	if !strings.HasPrefix(rest, "//") {
		return prefix, ""
	}
	host = rest[2:]
	if i := strings.IndexAny(host, "/?#"); i >= 0 {
		host = host[:i]
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return prefix + "//", host
}

// reversed is the server's name from behind, with a dot at its end.
func reversed(url string) string {
	_, host := origin(url)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && !strings.HasSuffix(host, "]") {
		host = host[:i]
	}
	r := []rune(strings.ToLower(host))
	for i, j := 0, len(r)-1; i < j; i, j = i+1, j-1 {
		r[i], r[j] = r[j], r[i]
	}
	return string(r) + "."
}
