package key

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is what every secret of this package shows of itself, whatever the verb.
type redacted string

// Format implements fmt.Formatter, so that no verb, %x and %#v included, reaches the fields.
func (r redacted) Format(s fmt.State, _ rune) { io.WriteString(s, string(r)) }

// String implements fmt.Stringer.
func (r redacted) String() string { return string(r) }

// LogValue implements slog.LogValuer.
func (r redacted) LogValue() slog.Value { return slog.StringValue(string(r)) }

const (
	redactedDevice   = redacted("device key (redacted)")
	redactedExchange = redacted("exchange key (redacted)")
)
