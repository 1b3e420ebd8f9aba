// Package kill stands in for the kill points.
package kill
