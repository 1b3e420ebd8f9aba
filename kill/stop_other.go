//go:build killpoints && !unix

package kill

// stop does nothing: there is no such signal here.
func stop() {}
