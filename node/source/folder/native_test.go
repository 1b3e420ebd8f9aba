//go:build !portable

package folder

// identifies says whether this build knows files by device and inode, and their attributes.
const identifies = true
