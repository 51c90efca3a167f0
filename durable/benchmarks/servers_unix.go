//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// ownGroup puts the process that cmd will start into a process group of its
// own.
func ownGroup(cmd *exec.Cmd) { attributes(cmd).Setpgid = true }

// runAs makes cmd run as another user, which becomes the owner of dir.
func runAs(cmd *exec.Cmd, as *user.User, dir string) error {
	uid, err := strconv.ParseUint(as.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(as.Gid, 10, 32)
	if err != nil {
		return err
	}
	attributes(cmd).Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(dir, int(uid), int(gid))
}

func attributes(cmd *exec.Cmd) *syscall.SysProcAttr {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	return cmd.SysProcAttr
}
