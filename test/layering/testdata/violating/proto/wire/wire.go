// Package wire stands in for the words of the wire.
package wire
