//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// fileLock is the lock that makes this process the owner of a file. It is on a
// file of its own, beside the queue's, and not lost when another descriptor of
// that is closed, as SQLite's locks are.
type fileLock struct{ f *os.File }

// lockFile takes the lock, and waits for it at most that long.
func lockFile(path string, wait time.Duration) (*fileLock, error) {
	name := path + ownerSuffix
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("durable: %w", err)
	}
	for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		text := readOwner(f)
		if text.Address == Tool {
			wait = max(wait, toolWait)
		}
		if errors.Is(err, syscall.EWOULDBLOCK) && time.Since(began) < wait {
			continue
		}
		owner := text.Process
		f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("durable: locking %s: %w", name, err)
		}
		if owner == os.Getpid() {
			return nil, fmt.Errorf("%w by this process: %s", ErrInUse, path)
		}
		if owner > 0 {
			return nil, fmt.Errorf("%w by process %d: %s", ErrInUse, owner, path)
		}
		return nil, fmt.Errorf("%w: %s", ErrInUse, path)
	}
	l := &fileLock{f}
	_ = l.write(Owner{Process: os.Getpid()})
	return l, nil
}

// write says in the file who the owner is.
func (l *fileLock) write(o Owner) error {
	if err := l.f.Chmod(0o600); err != nil { // there may be a token in it
		return err
	}
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt(o.text(), 0)
	return err
}

// readOwner reads what the owner has written.
func readOwner(f *os.File) Owner {
	b := make([]byte, 256)
	n, _ := f.ReadAt(b, 0)
	return parseOwner(string(b[:n]))
}

// release gives the lock back. The file stays: deleting it would let two
// processes lock two files of that name.
func (l *fileLock) release() {
	if l == nil || l.f == nil {
		return
	}
	_ = l.f.Truncate(0)
	_ = l.f.Close()
	l.f = nil
}

var errNoSync = syscall.EINVAL
