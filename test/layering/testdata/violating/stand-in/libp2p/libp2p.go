// Package libp2p stands in for the network library.
package libp2p
