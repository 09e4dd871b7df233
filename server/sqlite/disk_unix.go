//go:build unix

package sqlite

import (
	"os"
	"syscall"
)

// openNow is a flag for which nobody waits who opens a pipe.
const openNow = syscall.O_NONBLOCK

func (systemFiles) Stat(path string) (Stat, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Stat{}, err
	}
	var system syscall.Statfs_t
	if err := syscall.Statfs(path, &system); err != nil {
		return Stat{}, &os.PathError{Op: "statfs", Path: path, Err: err}
	}
	block := int64(system.Bsize)
	return Stat{Size: info.Size(), Free: int64(system.Bavail) * block, Capacity: int64(system.Blocks) * block, Special: !info.Mode().IsRegular()}, nil
}
