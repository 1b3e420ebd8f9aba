package main

import "github.com/decant-dev/decant/node"

// openEngine opens the real engine.
func openEngine(cfg node.Config) (engine, error) { return node.Open(cfg) }
