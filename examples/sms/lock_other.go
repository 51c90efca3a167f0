//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package main

import (
	"io"
	"os"
)

// lockFile only marks the file as used: the standard library has no lock for
// this system, so that it is up to the user not to start two programs on it.
func lockFile(dir *os.Root, name string) (io.Closer, error) {
	return dir.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
}
