package sqlite_test

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

func TestDB_NoRoom(t *testing.T) {
	for name, test := range map[string]struct {
		fault simdisk.Fault
		want  error
	}{
		"Full":           {simdisk.Fault{Calls: simdisk.Write, Err: syscall.ENOSPC}, syscall.ENOSPC},
		"FullOnce":       {simdisk.Fault{Calls: simdisk.Write, Err: syscall.ENOSPC, Times: 1}, syscall.ENOSPC},
		"Quota":          {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EDQUOT}, syscall.EDQUOT},
		"ReadOnly":       {simdisk.Fault{Calls: simdisk.AnyCall &^ simdisk.Read, Err: syscall.EROFS}, syscall.EROFS},
		"FileTooLarge":   {simdisk.Fault{Calls: simdisk.Write | simdisk.Truncate, Err: syscall.EFBIG}, syscall.EFBIG},
		"QuotaThatIsOff": {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EDQUOT, Times: 1}, nil},
		"Broken":         {simdisk.Fault{Calls: simdisk.Write, Err: syscall.EIO}, nil},
		"SyncFails":      {simdisk.Fault{Calls: simdisk.Sync, Err: syscall.EDQUOT}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			disk := simdisk.New(simdisk.Settings{Seed: 1})
			t.Cleanup(disk.Close)
			db := open(t, sqlite.Settings{Path: "/data/notes.db", Migrations: notes, Disk: disk.Port()})
			disk.Inject(test.fault)
			failure := db.Write(t.Context(), insert("second"))
			if failure == nil {
				t.Fatal("the write went well")
			}
			if got := db.NoRoom(failure); !errors.Is(got, test.want) {
				t.Errorf("%v: got %v, want %v", failure, got, test.want)
			}
			disk.Heal()
			if _, err := disk.Content("/data/notes.db-probe"); test.fault.Calls&simdisk.Remove == 0 && !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the probe was left behind: %v", err)
			}
		})
	}
}
