//go:build !windows

package client

import (
	"os"
	"syscall"
)

// lock locks a file until it is closed, or says at once that somebody else has.
func lock(file *os.File) error { return syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }
