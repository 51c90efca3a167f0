//go:build !unix

package store

import (
	"errors"
	"time"
)

// fileLock is nothing here: SQLite's own lock makes this process the owner.
type fileLock struct{}

func lockFile(string, time.Duration) (*fileLock, error) { return &fileLock{}, nil }

func (l *fileLock) release() {}

// errNoSync is what a folder returns that cannot be synced.
var errNoSync = errors.ErrUnsupported
