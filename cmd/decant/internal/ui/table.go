package ui

import (
	"strings"
	"unicode/utf8"
)

// table lines up cells. The first column is text, the others are numbers.
type table struct {
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// lines returns the rows, indented, with columns at least two spaces apart.
func (t *table) lines(indent string) []string {
	var widths []int
	for _, row := range t.rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var lines []string
	for _, row := range t.rows {
		var b strings.Builder
		b.WriteString(indent)
		for i, cell := range row {
			if i > 0 {
				b.WriteString("  ")
			}
			b.WriteString(pad(cell, widths[i], i > 0))
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	return lines
}
