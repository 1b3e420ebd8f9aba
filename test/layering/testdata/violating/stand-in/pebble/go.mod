module github.com/cockroachdb/pebble
