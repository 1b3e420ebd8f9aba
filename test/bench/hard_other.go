//go:build !linux

package main

import (
	"context"
	"errors"
)

func hard(context.Context, options) error { return errors.New("only on Linux") }
