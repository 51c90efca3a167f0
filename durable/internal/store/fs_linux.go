package store

import (
	"fmt"
	"path/filepath"
	"syscall"
)

// fileSystems are the types of file systems by their numbers; network is
// whether SQLite's log cannot be trusted there.
var fileSystems = map[int64]struct {
	name    string
	network bool
}{
	0xef53:     {"ext4", false},
	0x58465342: {"xfs", false},
	0x9123683e: {"btrfs", false},
	0x2fc12fc1: {"zfs", false},
	0x01021994: {"tmpfs", false},
	0x794c7630: {"overlayfs", false},
	0xf2f52010: {"f2fs", false},
	0x6969:     {"nfs", true},
	0x517b:     {"smb", true},
	0xff534d42: {"cifs", true},
	0xfe534d42: {"smb2", true},
	0x01021997: {"9p", true},
	0x65735546: {"fuse", false}, // virtiofs, but also local ones
}

// checkFileSystem returns the type of the file system, and an error if it is
// one of a network.
func checkFileSystem(path string, anyType bool) (string, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &st); err != nil {
		return "", nil
	}
	fs := fileSystems[int64(st.Type)&0xffffffff]
	if fs.network && !anyType {
		return fs.name, fmt.Errorf("durable: %s is on a network file system (%s), which SQLite's log does not work on", path, fs.name)
	}
	return fs.name, nil
}
