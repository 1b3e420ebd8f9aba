//go:build !killpoints

package kill

// Enabled reports whether this build can be killed at a point.
const Enabled = false

// Point does nothing in this build.
func Point(Name) {}
