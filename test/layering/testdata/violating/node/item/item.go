// Package item imports more than the standard library.
package item

import _ "github.com/decant-dev/decant/kill"
