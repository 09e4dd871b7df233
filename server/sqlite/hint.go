package sqlite

import (
	"errors"
	"path/filepath"
	"syscall"

	sqlite3 "modernc.org/sqlite/lib"
)

// Hint tells an operator what to check after an error of this package; empty when
// there is nothing to say.
func Hint(err error) string {
	switch {
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only: dmesg says why, fsck repairs it, mount -o remount,rw makes it writable"
	case errors.Is(err, syscall.EDQUOT):
		return "a disk quota is used up: raise it (quota -v), or lower queue.max_bytes below it"
	case errors.Is(err, syscall.EFBIG):
		return "a file may not become longer: look at ulimit -f and at the file system, or lower queue.max_bytes"
	case errors.Is(err, syscall.ENOSPC):
		return "the disk is full: df says which, and docs/runbooks/disk-full.md what to do"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		return "the files belong to somebody else: chown them to the gateway's user"
	case errors.Is(err, syscall.EIO):
		return diskHint
	}
	if room, ok := errors.AsType[*RoomError](err); ok {
		return "make so much room on the file system of " + room.Folder + "; nothing was changed"
	}
	if taken, ok := errors.AsType[*TakenAwayError](err); ok {
		return "nothing but the gateway may touch " + filepath.Dir(taken.Path) + ": see what did (a cleaner, a backup or reset script), and start the gateway again; a database that was only moved can be moved back before, with its -wal"
	}
	if wal, ok := errors.AsType[*WALUnreadableError](err); ok {
		return "look at dmesg, and start again when the disk is back; only when it stays, gatewayctl queue repair " + wal.Path + " shows what is left without these pages; docs/runbooks/disk-errors.md"
	}
	if link, ok := errors.AsType[*LinkError](err); ok {
		return "name the file itself; a gateway's queue lies in its data folder: stop the gateway, move the file that " + link.Path +
			" leads to there together with its -wal file, or let --data-dir lead to that volume"
	}
	if special, ok := errors.AsType[*SpecialError](err); ok {
		return "no gateway makes one: ls -l " + special.Path + " shows what it is, and what was put there by mistake can be moved away or removed; where it took the place of a file, put the file back"
	}
	failure, ok := errors.AsType[*Error](err)
	if !ok {
		return ""
	}
	switch failure.Code & 0xFF {
	case sqlite3.SQLITE_IOERR:
		return diskHint
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		return "a read may have failed: look at dmesg and start again; if it stays, stop the gateway and run gatewayctl queue verify"
	}
	return ""
}

const diskHint = "the disk reports errors: look at dmesg and smartctl; starting again is safe, see docs/runbooks/disk-errors.md"
