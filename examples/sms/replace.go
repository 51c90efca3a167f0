package main

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
)

// replace writes the content to a file beside the state file, forces it to the
// disk and gives it the state file's name. Whatever fails on the way, the old
// file is still there.
func (s *Store) replace(content []byte) error {
	temp := s.name + ".tmp"
	// One that a crash left, or somebody else's link, is not written through.
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
