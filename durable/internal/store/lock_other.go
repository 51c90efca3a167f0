//go:build !unix

package store

import (
	"errors"
	"os"
	"time"
)

// fileLock is no lock here: SQLite's own makes this process the owner. The file
// says where the owner listens.
type fileLock struct{ path string }

func lockFile(path string, _ time.Duration) (*fileLock, error) {
	return &fileLock{path + ownerSuffix}, nil
}

func (l *fileLock) write(o Owner) error { return os.WriteFile(l.path, o.text(), 0o600) }

func (l *fileLock) release() {}

func readOwner(f *os.File) Owner {
	b := make([]byte, 256)
	n, _ := f.ReadAt(b, 0)
	return parseOwner(string(b[:n]))
}

// errNoSync is what a folder returns that cannot be synced.
var errNoSync = errors.ErrUnsupported
