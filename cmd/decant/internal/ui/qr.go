package ui

import (
	"fmt"
	"strings"

	"rsc.io/qr"
)

// QRMode says when a QR code is drawn.
type QRMode string

// The modes.
const (
	QRAuto   QRMode = "auto"   // on a terminal in which it fits
	QRAlways QRMode = "always" // in any case
	QRNever  QRMode = "never"
)

// Set implements pflag.Value.
func (m *QRMode) Set(s string) error {
	switch QRMode(s) {
	case QRAuto, QRAlways, QRNever:
		*m = QRMode(s)
		return nil
	}
	return fmt.Errorf("want auto, always or never")
}

// String implements pflag.Value.
func (m *QRMode) String() string { return string(*m) }

// Type implements pflag.Value.
func (m *QRMode) Type() string { return "auto|always|never" }

// quiet is the margin, in modules, that the standard asks for around a QR code.
const quiet = 4

// QRLines draws text as a QR code, two modules a character cell. Every cell is
// drawn, light modules as blocks: right side up on a dark terminal; paint gives
// it its colours where the terminal's are not known.
func QRLines(text string) ([]string, error) {
	code, err := qr.Encode(text, qr.L)
	if err != nil {
		return nil, fmt.Errorf("qr: %w", err)
	}
	dark := func(x, y int) bool {
		x, y = x-quiet, y-quiet
		return x >= 0 && y >= 0 && x < code.Size && y < code.Size && code.Black(x, y)
	}
	size := code.Size + 2*quiet
	var lines []string
	for y := 0; y < size; y += 2 {
		var b strings.Builder
		for x := range size {
			b.WriteRune(cell(dark(x, y), dark(x, y+1)))
		}
		lines = append(lines, b.String())
	}
	return lines, nil
}

func cell(top, bottom bool) rune {
	switch {
	case top && bottom:
		return ' '
	case top:
		return '▄'
	case bottom:
		return '▀'
	}
	return '█'
}

// paint makes light modules white and dark ones black whatever the terminal's theme.
func paint(line string) string { return "\x1b[0;97;40m" + line + "\x1b[0m" }
