package nonce

import (
	"strings"
	"testing"
)

func TestRepeats(t *testing.T) {
	for text, want := range map[string][2]int{
		"":                       {0, 0},
		"k1 n1\n":                {1, 0},
		"k1 n1\nk1 n2\nk2 n1\n":  {3, 0},
		"k1 n1\nk1 n2\nk1 n1\n":  {3, 1},
		"k1 n1\nk1 n1\nk1 n1\n":  {3, 2},
		"k1 n1\nk2 n2\nk2 n2\n ": {4, 1},
	} {
		lines, repeats, err := Repeats(strings.NewReader(text))
		if err != nil || lines != want[0] || repeats != want[1] {
			t.Errorf("%q: %d lines, %d repeats, %v; want %v", text, lines, repeats, err, want)
		}
	}
}
