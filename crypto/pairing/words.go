package pairing

import (
	_ "embed"
	"slices"
	"strings"
)

// The word list is the English one of BIP-39, © 2013 Marek Palatinus, Pavol Rusnak, Aaron
// Voisine and Sean Bowe, MIT licence (words.LICENSE): 2,048 lower-case words of 3 to 8 letters, sorted, no
// two with the same first four letters.
//
//go:embed words.txt
var wordText string

var wordList = strings.Fields(wordText)

const (
	wordBits = 11
	wordMax  = 8 // letters of the longest word
)

// Complete returns the words that begin with prefix, for completion at a prompt. The list
// is public: what it returns tells nothing about a code.
func Complete(prefix string) []string {
	i, _ := slices.BinarySearch(wordList, prefix)
	j := i
	for j < len(wordList) && strings.HasPrefix(wordList[j], prefix) {
		j++
	}
	return slices.Clone(wordList[i:j])
}

// lookup finds a word by its full spelling or by a prefix of four letters or more, which
// is always unique.
func lookup(s string) (int, bool) {
	i, exact := slices.BinarySearch(wordList, s)
	if exact {
		return i, true
	}
	return i, len(s) >= 4 && i < len(wordList) && strings.HasPrefix(wordList[i], s)
}

// split cuts typed words at single spaces or dashes, and folds ASCII capitals. It accepts
// n fields of ASCII letters and digits and nothing else.
func split(s string, n, limit int) ([]string, bool) {
	if len(s) > limit {
		return nil, false
	}
	b := []byte(strings.Trim(s, " "))
	for i, c := range b {
		switch {
		case c >= 'A' && c <= 'Z':
			b[i] = c + 'a' - 'A'
		case c == ' ':
			b[i] = '-'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-':
		default:
			return nil, false
		}
	}
	f := strings.Split(string(b), "-")
	return f, len(f) == n && !slices.Contains(f, "")
}
