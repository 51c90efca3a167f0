//go:build unix

package store

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// fileLock is the lock that makes this process the owner of a file. It is on a
// file of its own, beside the queue's, and not lost when another descriptor of
// that is closed, as SQLite's locks are.
type fileLock struct{ f *os.File }

// lockFile takes the lock, and waits for it at most that long.
func lockFile(path string, wait time.Duration) (*fileLock, error) {
	name := path + "-owner"
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("durable: %w", err)
	}
	for end := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			break
		}
		if errors.Is(err, syscall.EWOULDBLOCK) && time.Now().Before(end) || errors.Is(err, syscall.EINTR) {
			continue
		}
		owner := readOwner(f)
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
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return l, nil
}

// readOwner is the process that has the lock, 0 if it is not known.
func readOwner(f *os.File) int {
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0)
	line, _, _ := strings.Cut(string(b[:n]), "\n")
	pid, _ := strconv.Atoi(line)
	return pid
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
