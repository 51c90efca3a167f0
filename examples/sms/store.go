package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
)

const (
	stateVersion = 1
	maxStateFile = 64 << 20
)

// Saved is a message in the state file: one that still has to be sent, or one
// that failed and that nobody has dismissed.
type Saved struct {
	Message
	Failure string `json:"failure,omitempty"`
}

// state is the content of the file.
type state struct {
	Version  int     `json:"version"`
	Messages []Saved `json:"messages"`
}

// Store is the state file. It belongs to one process at a time, and is replaced
// as a whole: whoever reads it finds the old state or the new one.
type Store struct {
	path string
	name string   // of the file in dir
	dir  *os.Root // nothing outside of it is read or written, whatever links there are
	lock io.Closer
}

// OpenStore opens the state file at path, which need not exist yet. A missing
// directory is made, for this user alone.
func OpenStore(path string) (*Store, error) {
	folder, name := filepath.Split(path)
	folder = filepath.Clean(folder)
	if name == "" {
		return nil, fmt.Errorf("state file %q: the path names a directory", path)
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("state file: %w", err)
	}
	dir, err := os.OpenRoot(folder)
	if err != nil {
		return nil, fmt.Errorf("state file: %w", err)
	}
	s := &Store{path: path, name: name, dir: dir}
	if err := s.own(); err != nil {
		_ = dir.Close()
		return nil, fmt.Errorf("state file %s: %w", path, err)
	}
	return s, nil
}

// own checks the directory and takes the lock.
func (s *Store) own() error {
	info, err := s.dir.Stat(".")
	if err != nil {
		return err
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 && info.Mode()&fs.ModeSticky == 0 {
		return errors.New("everybody may write to its directory; choose another with -state")
	}
	s.lock, err = lockFile(s.dir, s.name+".lock")
	return err
}

// Close lets another process have the file.
func (s *Store) Close() error {
	return errors.Join(s.lock.Close(), s.dir.Close())
}

// Load returns the messages in the file, in its order. There are none if there is no file. A file that cannot be
// understood is an error, and stays as it is.
func (s *Store) Load() ([]Saved, error) {
	content, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var messages []Saved
	if err == nil {
		messages, err = decode(content)
	}
	if err != nil {
		return nil, fmt.Errorf("state file %s: %w; it was left as it is: repair it, or move it away to start without it", s.path, err)
	}
	return messages, nil
}

func (s *Store) read() ([]byte, error) {
	info, err := s.dir.Lstat(s.name) // before opening: a named pipe would block
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > maxStateFile {
		return nil, fmt.Errorf("larger than %d bytes", maxStateFile)
	}
	return s.dir.ReadFile(s.name)
}

func decode(content []byte) ([]Saved, error) {
	var st state
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&st); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil, errors.New("there is more after its end")
	}
	if st.Version != stateVersion {
		return nil, fmt.Errorf("version %d, this program knows %d", st.Version, stateVersion)
	}
	seen := map[string]bool{}
	for i, m := range st.Messages {
		_, err := Draft{m.To, m.Text, m.Priority}.Check()
		switch {
		case err != nil:
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		case !validID.MatchString(m.ID), seen[m.ID], m.Number < 1:
			return nil, fmt.Errorf("message %d: bad id or number", i+1)
		}
		seen[m.ID] = true
	}
	return st.Messages, nil
}

// Save replaces the file. When it returns nil, the messages are on the disk.
//
// They are written by number: put into the queue one after the other, they are
// dispatched as before, and one whose priority changes later still finds its
// place among its equals.
func (s *Store) Save(messages []Saved) error {
	slices.SortFunc(messages, func(a, b Saved) int { return cmp.Compare(a.Number, b.Number) })
	content, err := json.MarshalIndent(state{stateVersion, messages}, "", "\t")
	if err == nil {
		err = s.replace(append(content, '\n'))
	}
	if err != nil {
		return fmt.Errorf("state file %s: %w", s.path, err)
	}
	return nil
}
