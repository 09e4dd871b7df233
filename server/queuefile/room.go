package queuefile

import (
	"errors"
	"io/fs"
	"path/filepath"

	"combotto.io/gateway/server/sqlite"
)

// roomToSalvage makes sure that there is room for a salvage: for all that is in
// use, and for the WAL of the new file, which holds a step of it at a time. What comes
// back out of free pages is left there when there is no room for it. Without give, the
// reserve is left as it is.
func roomToSalvage(disk sqlite.Disk, path string, give bool) error {
	used, err := sqlite.UsedBytes(disk, path)
	if errors.Is(err, fs.ErrNotExist) {
		used, err = 0, nil
	}
	if err != nil {
		return err
	}
	needs := used + min(used, 2*findingsBytes)
	if give {
		return makeRoom(disk, path, needs)
	}
	return checkRoom(disk, path, needs, 0)
}

// makeRoom makes sure that so much can be written beside a damaged file, and gives
// the reserve for that when it has to. Otherwise every start would fill the disk,
// and fail.
func makeRoom(disk sqlite.Disk, path string, needs int64) error {
	err := checkRoom(disk, path, needs, 0)
	if _, missing := errors.AsType[*sqlite.RoomError](err); !missing {
		return err
	}
	kept, err := disk.Size(path + reserveSuffix)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := checkRoom(disk, path, needs, kept); err != nil {
		return err
	}
	return (&Reserve{disk: disk, Path: path + reserveSuffix, Size: kept}).Resize(0)
}

// checkRoom makes sure that so much can be written beside a file once the bytes of
// the reserve are given for it.
func checkRoom(disk sqlite.Disk, path string, needs, reserve int64) error {
	folder := filepath.Dir(path)
	system, err := disk.Stat(folder)
	if err != nil {
		return err
	}
	if free := system.Free + reserve; needs > free {
		return &sqlite.RoomError{Path: path, Folder: folder, Needs: needs, Free: free}
	}
	return nil
}
