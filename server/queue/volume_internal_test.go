//go:build linux

package queue

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"combotto.io/gateway/server/sqlite"
)

// volume mounts a file system of so many bytes.
func volume(t *testing.T, size string) (folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := syscall.Mount("queue-test", folder, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a small volume cannot be mounted here (it takes root): %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, 0); err != nil {
			t.Error(err)
		}
	})
	return folder
}

// hog takes room on a volume, all but so many bytes, as somebody else would.
func hog(t *testing.T, folder string, leave int64) (path string) {
	t.Helper()
	path = filepath.Join(folder, "hog")
	free := freeBytes(t, folder)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Write(make([]byte, max(0, free-leave))); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return path
}

func freeBytes(t *testing.T, folder string) int64 {
	t.Helper()
	stat, err := sqlite.Disk{}.Stat(folder)
	if err != nil {
		t.Fatal(err)
	}
	return stat.Free
}

func TestQueue_Volume(t *testing.T) {
	t.Run("SomebodyElseGivesRoom", volumeSomebodyElse)
	t.Run("TheSinkReturns", volumeSinkReturns)
	t.Run("AWriteFindsNoRoom", volumeWriteFindsNone)
	t.Run("TheReserveIsTakenToo", volumeReserveTaken)
	t.Run("StartsFull", volumeStartsFull)
	t.Run("StopsFull", volumeStopsFull)
	t.Run("SixtyFourMebibytes", volumeSmall)
}

func volumeSomebodyElse(t *testing.T) {
	folder := volume(t, "24m")
	f := openOn(t, Settings{Path: filepath.Join(folder, "queue.db")})
	path := hog(t, folder, 8<<20)
	f.fill(t)
	if room := f.Room(); room.Refusal == nil || room.Refusal.Details["sink"] != "analytics" {
		t.Errorf("got %+v, want the sink named", room.Refusal)
	}
	f.balanced(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.resumes(t)
	f.drain(t)
	f.balanced(t)
}

func volumeSinkReturns(t *testing.T) {
	folder := volume(t, "24m")
	f := openOn(t, Settings{Path: filepath.Join(folder, "queue.db")})
	f.fill(t)
	first := len(f.stored)
	f.drain(t)
	f.resumes(t)
	f.drain(t)
	f.fill(t) // the pages that were freed are room
	if len(f.stored) < first/2 {
		t.Errorf("%d records at first, then only %d", first, len(f.stored))
	}
	f.drain(t)
	f.resumes(t)
	f.balanced(t)
}

func volumeWriteFindsNone(t *testing.T) {
	folder := volume(t, "24m")
	f := openOn(t, Settings{Path: filepath.Join(folder, "queue.db")})
	f.append(t, 500)
	path := hog(t, folder, 0) // between two looks
	f.fill(t)
	if reserve := f.Stats().ReserveBytes; reserve != 0 {
		t.Errorf("the reserve holds %d bytes on a full disk", reserve)
	}
	f.drain(t) // what the reserve held is enough to remove what is delivered
	f.balanced(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.resumes(t)
	if reserve := f.Stats().ReserveBytes; reserve != f.bounds.reserve {
		t.Errorf("the reserve holds %d bytes, want %d", reserve, f.bounds.reserve)
	}
	f.balanced(t)
}

func volumeReserveTaken(t *testing.T) {
	folder := volume(t, "24m")
	f := openOn(t, Settings{Path: filepath.Join(folder, "queue.db")})
	f.append(t, 500)
	hog(t, folder, 0)
	f.fill(t)
	path := hog(t, folder, 0)
	f.drain(t) // in memory, and on disk when there is room
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.resumes(t)
	f.drain(t)
	f.balanced(t)
}

func volumeStartsFull(t *testing.T) {
	folder := volume(t, "24m")
	settings := Settings{Path: filepath.Join(folder, "queue.db")}
	before := openOn(t, settings)
	before.append(t, 500)
	before.stop()
	path := hog(t, folder, 0)
	f := openOn(t, settings)
	f.stored, f.next = before.stored, before.next
	f.intake.waitUntil(t, false)
	f.drain(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.resumes(t)
	f.drain(t)
	f.balanced(t)
}

func volumeStopsFull(t *testing.T) {
	folder := volume(t, "24m")
	settings := Settings{Path: filepath.Join(folder, "queue.db")}
	before := openOn(t, settings)
	before.append(t, 500)
	hog(t, folder, 0)
	before.fill(t)
	path := hog(t, folder, 0) // what the reserve held, too
	before.stop()
	f := openOn(t, settings)
	f.stored, f.next = before.stored, before.next
	f.drain(t)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.resumes(t)
	f.drain(t)
	f.balanced(t)
}

// volumeSmall fills and empties a small volume by turns. Whatever happens, the
// files stay within the limit.
func volumeSmall(t *testing.T) {
	folder := volume(t, "64m")
	const limit = 64 << 20 / 100 * 80
	f := openOn(t, Settings{Path: filepath.Join(folder, "queue.db"), MaxBytes: limit, RetentionDelivered: time.Hour})
	largest := int64(0)
	observe := func() {
		sum := int64(0)
		entries, err := os.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range entries {
			if info, err := entry.Info(); err == nil {
				sum += info.Size()
			}
		}
		largest = max(largest, sum)
	}
	accepted, refused := 0, 0
	for round := range 3 {
		for range 750 {
			refused += f.append(t, 20)
			observe()
		}
		accepted += len(f.stored)
		f.drain(t)
		f.resumes(t)
		if stats := f.Stats(); round == 0 && stats.Bytes > limit {
			t.Errorf("%+v", stats)
		}
		observe()
	}
	t.Logf("%d accepted, %d refused, %d of %d bytes at most", accepted, refused, largest, int64(limit))
	if largest > limit/100*105 || largest < limit/100*90 {
		t.Errorf("the files took %d bytes, want about %d", largest, int64(limit))
	}
	if accepted < 3*limit/100*80/4100 || refused == 0 {
		t.Errorf("%d records found room, %d did not", accepted, refused)
	}
	f.drain(t)
	f.balanced(t)
}
