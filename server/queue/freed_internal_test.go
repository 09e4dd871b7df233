package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// mostlyFree is a file of many times what is in use of it, closed: after an outage, all
// but a few records were delivered, and removed. It returns those that are left.
func mostlyFree(t *testing.T, disk *simdisk.Disk, dead bool) (pending int) {
	t.Helper()
	settings := simulatedSettings(disk)
	settings.RetentionDelivered = time.Hour
	f := openOn(t, settings)
	for disk.UsedBytes() < 8<<20 {
		f.append(t, 100)
	}
	for count := 0; dead && count < len(f.stored); {
		leased := lent(t, f.Queue)
		deadLetter(t, f.Queue, leased)
		count += len(leased)
	}
	if _, err := f.RequeueMatching(t.Context(), edge.DeadLetterFilter{}, false); err != nil {
		t.Fatal(err)
	}
	f.drain(t)
	<-time.After(2 * time.Hour)
	const left = 5
	for range left {
		f.append(t, 1)
	}
	f.stop()
	size, err := settings.Disk.Size(settings.Path)
	if err != nil {
		t.Fatal(err)
	}
	if used, err := sqlite.UsedBytes(settings.Disk, settings.Path); err != nil || used > size/10 {
		t.Fatalf("%d of %d bytes are in use, %v", used, size, err)
	}
	return left
}

// What was removed from a file lies in its free pages as it was. A salvage leaves it
// there: it has no room for that, and every start would fail.
func TestOpen_SalvageMostlyFree(t *testing.T) {
	for name, test := range map[string]struct {
		damage string
		lost   int
	}{
		"FrameIsGone":   {"DELETE FROM frame WHERE id = (SELECT max(id) FROM frame)", 1}, // its page is in use
		"SinkIsDamaged": {"UPDATE sink SET cursor = 7", 0},
	} {
		bubble(t, name, func(t *testing.T) {
			disk := simulated(t, 64<<20)
			pending := mostlyFree(t, disk, false)
			onDiskFile(t, disk, test.damage)
			salvageInTwice(t, disk, pending-test.lost)
		})
	}
	bubble(t, "DeadLetters", func(t *testing.T) {
		disk := simulated(t, 64<<20)
		pending := mostlyFree(t, disk, true)
		listFree(t, disk, rootOf(t, disk, "frame"))
		salvageInTwice(t, disk, pending)
	})
	// A page that is in use is listed as free. What a sink waits for is taken from it.
	bubble(t, "PageInUseIsListed", func(t *testing.T) {
		disk := simulated(t, 64<<20)
		pending := mostlyFree(t, disk, false)
		listFree(t, disk, rootOf(t, disk, "frame"))
		salvageInTwice(t, disk, pending)
	})
}

// salvageInTwice starts on a damaged file that has room for what is in use of it
// twice, and leases so many records.
func salvageInTwice(t *testing.T, disk *simdisk.Disk, want int) {
	t.Helper()
	settings := simulatedSettings(disk)
	if err := queuefile.MarkSuspect(settings.Disk, settings.Path, queuefile.ErrRow); err != nil {
		t.Fatal(err)
	}
	needs, err := sqlite.UsedBytes(settings.Disk, settings.Path)
	if err != nil {
		t.Fatal(err)
	}
	disk.SetCapacity(disk.UsedBytes() + 2*needs)
	f := openOn(t, settings)
	ctx, cancel := context.WithTimeout(t.Context(), edgetest.Patience)
	defer cancel()
	got, err := f.Lease(ctx, f.registry.all()[0].id, edge.LeaseLimit{Records: 2 * want, Bytes: 1 << 30})
	if err != nil || len(got) != want || f.Stats().Salvaged != 1 {
		t.Errorf("leased %d of %d, %v, %d files salvaged", len(got), want, err, f.Stats().Salvaged)
	}
}

// rootOf returns the first page of a table.
func rootOf(t *testing.T, disk *simdisk.Disk, table string) (page uint32) {
	t.Helper()
	settings := simulatedSettings(disk)
	db, err := queuefile.Open(t.Context(), settings.Disk, settings.Path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Read(t.Context(), func(conn *sqlite.Conn) error {
		_, err := conn.One("SELECT rootpage FROM sqlite_schema WHERE name = '"+table+"'", func(row sqlite.Row) { page = uint32(row.Int(0)) })
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return page
}

// listFree puts the last leaf below a page into the list of free pages, in place of
// one that is free.
func listFree(t *testing.T, disk *simdisk.Disk, page uint32) {
	t.Helper()
	settings := simulatedSettings(disk)
	content := make([]byte, disk.UsedBytes())
	file, err := settings.Disk.Open(settings.Path, os.O_RDONLY)
	if err != nil {
		t.Fatal(err)
	}
	size, err := file.ReadAt(content, 0)
	if err := errors.Join(file.Close(), err); !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	const firstTrunk, firstNamed, interior, lastChild = 32, 8, 0x05, 8
	for content[(page-1)*sqlite.PageBytes] == interior {
		page = binary.BigEndian.Uint32(content[(page-1)*sqlite.PageBytes+lastChild:])
	}
	trunk := int(binary.BigEndian.Uint32(content[firstTrunk:])-1) * sqlite.PageBytes
	binary.BigEndian.PutUint32(content[trunk+firstNamed:], page)
	if file, err = settings.Disk.Open(settings.Path, os.O_WRONLY); err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(content[:size])
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}
