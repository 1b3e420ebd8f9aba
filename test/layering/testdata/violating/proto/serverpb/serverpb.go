// Package serverpb stands in for generated code.
package serverpb
