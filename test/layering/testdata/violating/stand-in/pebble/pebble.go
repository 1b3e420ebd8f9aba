// Package pebble stands in for the database.
package pebble

// NoSync stands in for the write option.
var NoSync = 0
