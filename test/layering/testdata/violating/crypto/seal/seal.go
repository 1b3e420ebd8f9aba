// Package seal stands in for what can decrypt.
package seal
