package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// ownerSuffix is what the name of the owner's file has more than that of the
// queue's.
const ownerSuffix = "-owner"

// Owner is what the file beside that of the queue says of the process that has
// the queue open. After a process was killed, the file says what it said.
type Owner struct {
	Process int    // 0 if it is not known
	Address string // where it listens, Off or Tool; "" if it does not yet
	Token   string // for requests to it
}

// Addresses of owners that do not listen.
const (
	Off  = "off"  // as an option says so
	Tool = "tool" // as it is a command, which ends soon
)

// toolWait is how long at least Open waits for a command that has the file.
const toolWait = 10 * time.Second

func (o Owner) text() []byte {
	return fmt.Appendf(nil, "%d\n%s\n%s\n", o.Process, o.Address, o.Token)
}

func parseOwner(text string) (o Owner) {
	lines := strings.Split(text, "\n")
	o.Process, _ = strconv.Atoi(lines[0])
	if len(lines) > 3 { // all of it is written
		o.Address, o.Token = lines[1], lines[2]
	}
	return o
}

// Announce writes where this process, which has the file open, listens.
func (s *Store) Announce(address, token string) error {
	if err := s.lock.write(Owner{os.Getpid(), address, token}); err != nil {
		return fmt.Errorf("durable: %w", err)
	}
	return nil
}

// ReadOwner returns what is known of the owner of the queue's file at path. It
// does not touch that file.
func ReadOwner(path string) (Owner, error) {
	path, err := resolve(path)
	if err != nil {
		return Owner{}, err
	}
	f, err := os.Open(path + ownerSuffix)
	if err != nil {
		return Owner{}, fmt.Errorf("durable: %w", err)
	}
	defer f.Close()
	return readOwner(f), nil
}

// checkHeader returns an error that is ErrNotQueue if the file cannot be that
// of a queue, before SQLite changes anything in it. It must be called while
// nothing in this process has the file open.
func checkHeader(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("durable: %w", err)
	}
	defer f.Close()
	var head [100]byte
	n, err := io.ReadFull(f, head[:])
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return fmt.Errorf("durable: %w", err)
	}
	app := binary.BigEndian.Uint32(head[68:])
	switch log, err := os.Stat(path + "-wal"); {
	case n == len(head) && string(head[:16]) == "SQLite format 3\x00" && app == appID:
		return nil
	case (n == 0 || app == 0 && string(head[:16]) == "SQLite format 3\x00") && err == nil && log.Size() > 0:
		return nil // a new one, which is in the log
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("durable: %w", err)
	case n == 0:
		return fmt.Errorf("%w: %s: file is empty", ErrNotQueue, path)
	}
	return fmt.Errorf("%w: %s", ErrNotQueue, path)
}
