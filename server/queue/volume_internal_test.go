package queue

import (
	"os"
	"testing"
	"time"

	"combotto.io/gateway/server/sqlite/simdisk"
)

const (
	volumeBytes = 24 << 20
	hogPath     = "/data/hog"
)

// hog takes room on a volume, all but so many bytes, as somebody else would. It
// may be called again when there is more.
func hog(t *testing.T, disk *simdisk.Disk, free int64) {
	t.Helper()
	port := disk.Port()
	file, err := port.Open(hogPath, os.O_CREATE|os.O_RDWR)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	found, err := port.Stat(hogPath)
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Allocate(found.Size + max(0, found.Free-free)); err != nil {
		t.Fatal(err)
	}
}

// leave gives back what hog has taken.
func leave(t *testing.T, disk *simdisk.Disk) {
	t.Helper()
	if err := disk.Port().Remove(hogPath); err != nil {
		t.Fatal(err)
	}
}

// TestQueue_Volume lives on small volumes, which somebody else fills and empties.
func TestQueue_Volume(t *testing.T) {
	bubble(t, "SomebodyElseGivesRoom", volumeSomebodyElse)
	bubble(t, "TheSinkReturns", volumeSinkReturns)
	bubble(t, "TheReserveIsTakenToo", volumeReserveTaken)
	bubble(t, "StartsFull", volumeStartsFull)
	bubble(t, "StopsFull", volumeStopsFull)
	bubble(t, "SixtyFourMebibytes", volumeSmall)
}

func volumeSomebodyElse(t *testing.T) {
	disk := simulated(t, volumeBytes)
	f := openOn(t, simulatedSettings(disk))
	hog(t, disk, 8<<20)
	f.fill(t)
	if room := f.Room(); room.Refusal == nil || room.Refusal.Details["sink"] != "sink-1" {
		t.Errorf("got %+v, want the sink named", room.Refusal)
	}
	f.balanced(t)
	leave(t, disk)
	f.resumes(t)
	f.drain(t)
	f.balanced(t)
}

func volumeSinkReturns(t *testing.T) {
	disk := simulated(t, volumeBytes)
	f := openOn(t, simulatedSettings(disk))
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

func volumeReserveTaken(t *testing.T) {
	disk := simulated(t, volumeBytes)
	f := openOn(t, simulatedSettings(disk))
	f.append(t, 500)
	hog(t, disk, 0)
	f.fill(t)
	hog(t, disk, 0)
	f.drain(t) // in memory, and on disk when there is room
	leave(t, disk)
	f.resumes(t)
	f.drain(t)
	f.balanced(t)
}

func volumeStartsFull(t *testing.T) {
	disk := simulated(t, volumeBytes)
	settings := simulatedSettings(disk)
	before := openOn(t, settings)
	before.append(t, 500)
	before.stop()
	hog(t, disk, 0)
	f := openOn(t, settings)
	f.stored, f.next = before.stored, before.next
	f.intake.waitUntil(t, false)
	f.drain(t)
	leave(t, disk)
	f.resumes(t)
	f.drain(t)
	f.balanced(t)
}

func volumeStopsFull(t *testing.T) {
	disk := simulated(t, volumeBytes)
	settings := simulatedSettings(disk)
	before := openOn(t, settings)
	before.append(t, 500)
	hog(t, disk, 0)
	before.fill(t)
	hog(t, disk, 0) // what the reserve held, too
	before.stop()
	f := openOn(t, settings)
	f.stored, f.next = before.stored, before.next
	f.drain(t)
	leave(t, disk)
	f.resumes(t)
	f.drain(t)
	f.balanced(t)
}

// volumeSmall fills and empties a small volume by turns. Whatever happens, the
// files stay within the limit.
func volumeSmall(t *testing.T) {
	disk := simulated(t, 64<<20)
	const limit = 64 << 20 / 100 * 80
	settings := simulatedSettings(disk)
	settings.MaxBytes, settings.RetentionDelivered = limit, time.Hour
	f := openOn(t, settings)
	largest := int64(0)
	observe := func() { largest = max(largest, disk.UsedBytes()) }
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
