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
	"unicode/utf8"

	"github.com/twillgo/twill"
)

const (
	stateVersion = 2
	maxStateFile = 64 << 20
)

// State is the content of the state file.
type State struct {
	Version int `json:"version"`
	Settings
	Messages []Saved `json:"messages"` // by number
}

// Settings are the settings of the operator. They survive a restart: a pipeline
// that was paused stays paused.
type Settings struct {
	Width     int  `json:"width"`     // messages underway at once; 0 starts none
	PerSecond int  `json:"perSecond"` // messages started in a second; 0 sets no limit
	Paused    bool `json:"paused"`
}

// Saved is a message in the state file, as the record of its job: a message
// that still has to be sent, or one that failed and was not dismissed.
type Saved struct {
	twill.JobRecord[Message]
	Failure string `json:"failure,omitempty"`
}

// check returns the mistake in s, if there is one. The program neither reads
// nor writes a state with a mistake.
func (s *State) check() error {
	if s.Version != stateVersion {
		return fmt.Errorf("version %d, this program knows %d", s.Version, stateVersion)
	}
	if err := s.Settings.check(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, m := range s.Messages {
		_, err := Draft{m.Arg.To, m.Arg.Text, m.Priority}.Check()
		switch {
		case err != nil:
			return fmt.Errorf("message %d: %w", i+1, err)
		case !validID.MatchString(m.Arg.ID), seen[m.Arg.ID], m.Arg.Number < 1:
			return fmt.Errorf("message %d: bad id or number", i+1)
		case m.Attempts < 0:
			return fmt.Errorf("message %d: %d attempts", i+1, m.Attempts)
		}
		seen[m.Arg.ID] = true
	}
	return nil
}

func (s Settings) check() error {
	var wrong Invalid
	if s.Width < 0 || s.Width > maxWidth {
		wrong.note("width", fmt.Errorf("a width is a number from 0 to %d", maxWidth))
	}
	if s.PerSecond < 0 || s.PerSecond > maxPerSecond {
		wrong.note("perSecond", fmt.Errorf("a rate is a number from 0 to %d", maxPerSecond))
	}
	if wrong != nil {
		return wrong
	}
	return nil
}

func decode(content []byte) (State, error) {
	var s State
	if !utf8.Valid(content) {
		return s, errInvalidUTF8
	}
	decoder := json.NewDecoder(bytes.NewReader(content))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return s, err
	}
	if _, err := decoder.Token(); err != io.EOF {
		return s, errors.New("there is more after its end")
	}
	return s, s.check()
}

// encode returns the file for s, which decode accepts.
//
// The messages are sorted by number: restored in this order, they are started
// as before, and one whose priority changes later still finds its place among
// its equals.
func encode(s State) ([]byte, error) {
	slices.SortFunc(s.Messages, func(a, b Saved) int { return cmp.Compare(a.Arg.Number, b.Arg.Number) })
	if err := s.check(); err != nil {
		return nil, err
	}
	content, err := json.MarshalIndent(s, "", "\t")
	if err == nil && len(content) >= maxStateFile {
		err = errTooLarge
	}
	return append(content, '\n'), err
}

var errTooLarge = fmt.Errorf("larger than %d bytes", maxStateFile)

// Store is the state file. It belongs to one process at a time and is replaced
// as a whole: a reader finds the old state or the new one.
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
		return errors.New("every user may write to its directory; choose another with -state")
	}
	s.lock, err = lockFile(s.dir, s.name+".lock")
	return err
}

// Close releases the file for another process.
func (s *Store) Close() error {
	return errors.Join(s.lock.Close(), s.dir.Close())
}

// Load returns the state in the file, or the first one if there is no file. A
// file that cannot be understood is an error and stays as it is.
func (s *Store) Load() (State, error) {
	content, err := s.read()
	if errors.Is(err, fs.ErrNotExist) {
		return State{Version: stateVersion, Settings: Settings{Width: firstWidth}}, nil
	}
	var state State
	if err == nil {
		state, err = decode(content)
	}
	if err != nil {
		return State{}, fmt.Errorf("state file %s: %w; it was left as it is: repair it, or move it away to start without it", s.path, err)
	}
	return state, nil
}

func (s *Store) read() ([]byte, error) {
	info, err := s.dir.Lstat(s.name) // before opening: a named pipe would block
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("not a regular file")
	case info.Size() > maxStateFile:
		return nil, errTooLarge
	}
	return s.dir.ReadFile(s.name)
}

// Save replaces the file. When it returns nil, the state is on the disk.
func (s *Store) Save(state State) error {
	content, err := encode(state)
	if err == nil {
		err = s.replace(content)
	}
	if err != nil {
		return fmt.Errorf("state file %s: %w", s.path, err)
	}
	return nil
}

// replace writes the content to a file beside the state file, forces it to the
// disk and gives it the state file's name. If it fails on the way, the old file
// is still there.
func (s *Store) replace(content []byte) error {
	temp := s.name + ".tmp"
	// A file that a crash left, or a link, is not written through.
	if err := s.dir.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	file, err := s.dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	if err == nil {
		err = file.Sync()
	}
	if closing := file.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = s.dir.Rename(temp, s.name)
	}
	if err != nil {
		_ = s.dir.Remove(temp)
		return err
	}
	return s.syncDir()
}

// syncDir forces the new name to the disk. Windows cannot, and need not.
func (s *Store) syncDir() error {
	if runtime.GOOS == "windows" {
		return nil
	}
	dir, err := s.dir.Open(".")
	if err != nil {
		return err
	}
	err = dir.Sync()
	if closing := dir.Close(); err == nil {
		err = closing
	}
	return err
}
