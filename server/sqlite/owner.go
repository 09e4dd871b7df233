package sqlite

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// GiveAway gives a file that root has made to whoever has another one, or its folder
// where there is none: the gateway is not root, and could not open its own file any
// more. What anybody but root has made is the gateway's already, or cannot be given.
func (d Disk) GiveAway(path, like string) error {
	if d.Files != nil || os.Geteuid() != 0 {
		return nil
	}
	owner, err := os.Stat(like)
	if errors.Is(err, fs.ErrNotExist) {
		owner, err = os.Stat(filepath.Dir(like))
	}
	if err == nil {
		err = giveAway(path, owner)
	}
	if err != nil {
		return fmt.Errorf("give %s the owner of %s: %w", path, like, err)
	}
	return nil
}

// giveAway follows no link, of either kind: somebody else may write to the folder,
// and would be given what lies elsewhere.
func giveAway(path string, owner fs.FileInfo) error {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	made, err := file.Stat()
	if err != nil {
		return errors.Join(err, file.Close())
	}
	has, wants := made.Sys().(*syscall.Stat_t), owner.Sys().(*syscall.Stat_t)
	if has.Uid == wants.Uid && has.Gid == wants.Gid {
		return file.Close()
	}
	if !made.Mode().IsRegular() || has.Nlink != 1 {
		return errors.Join(errors.New("it has other names, or is no file"), file.Close())
	}
	return errors.Join(file.Chown(int(wants.Uid), int(wants.Gid)), file.Close())
}
