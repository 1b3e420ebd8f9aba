//go:build unix

package env

import (
	"os/exec"
	"syscall"
)

// become makes cmd run as another user.
func become(cmd *exec.Cmd, uid int) {
	if uid != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(uid)}}
	}
}
