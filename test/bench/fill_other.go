//go:build !linux

package main

import "errors"

type filler struct{}

func newFiller(string) (*filler, error) { return nil, errors.New("-fill works on Linux only") }

func (*filler) fill() error { return nil }

func (*filler) remove() {}
