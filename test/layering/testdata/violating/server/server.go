// Package server reaches into the engine, and through it into what decrypts.
package server

import _ "github.com/decant-dev/decant/node/remote"
