package queuefile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"combotto.io/gateway/server/sqlite"
)

// suspectSuffix names the mark that the next start looks at the whole file.
const suspectSuffix = ".suspect"

// MarkSuspect leaves the mark. When that fails, the next start meets the damage again.
func MarkSuspect(disk sqlite.Disk, path string, why error) error {
	file, err := disk.Open(path+suspectSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, why)
	return errors.Join(err, file.Sync(), file.Close(), disk.SyncFolder(filepath.Dir(path)))
}

// IsSuspect reports whether there is the mark. Nobody may have the database open
// meanwhile.
func IsSuspect(disk sqlite.Disk, path string) (bool, error) { return exists(disk, path+suspectSuffix) }

// ClearSuspect removes the mark.
func ClearSuspect(disk sqlite.Disk, path string) error { return disk.Remove(path + suspectSuffix) }
