package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// damagedOnDisk is a file with so many records, none of them delivered, whose row
// of the ledger is damaged, and whose header is, too, when it is to be salvaged.
func damagedOnDisk(t *testing.T, disk *simdisk.Disk, records int, headless bool) {
	t.Helper()
	settings := simulatedSettings(disk)
	f := openOn(t, settings)
	for range records {
		f.append(t, 1) // a frame each: many pages
	}
	f.stop()
	onDiskFile(t, disk, "UPDATE ledger SET counted = 3")
	if headless {
		behead(t, disk)
	}
}

// onDiskFile is inFile on a simulated disk.
func onDiskFile(t *testing.T, disk *simdisk.Disk, statement string) {
	t.Helper()
	settings := simulatedSettings(disk)
	db, err := queuefile.Open(t.Context(), settings.Disk, settings.Path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error { return conn.Exec(statement) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// behead clears the header of a database that is closed.
func behead(t *testing.T, disk *simdisk.Disk) {
	t.Helper()
	settings := simulatedSettings(disk)
	file, err := settings.Disk.Open(settings.Path, os.O_WRONLY)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.Write(make([]byte, 100))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestOpen_SalvageWithoutRoom salvages a file on disks with more and more room. A
// start fails as long as there is not enough, and nothing is lost by that.
func TestOpen_SalvageWithoutRoom(t *testing.T) {
	const records = 12
	failed, opened := 0, 0
	for room := int64(96 << 10); opened < 2; room += 3 * simdisk.BlockBytes {
		bubble(t, fmt.Sprint(room), func(t *testing.T) {
			disk := simulated(t, 0)
			damagedOnDisk(t, disk, records, true)
			disk.SetCapacity(disk.UsedBytes() + room)
			for range 2 {
				q, err := Open(t.Context(), simulatedSettings(disk), observe.NewDiscard())
				if err == nil {
					opened++
					_ = q.Close()
					break
				}
				if failed++; !strings.Contains(err.Error(), "full") && !strings.Contains(err.Error(), "are free") {
					t.Errorf("a start without room fails with: %v", err)
				}
				disk.Kill()
			}
			disk.SetCapacity(0)
			serveAll(t, disk, records)
		})
	}
	if failed == 0 {
		t.Error("there was always room")
	}
}

// TestOpen_SalvageUnreadable lets one call of a start that salvages fail, or every
// call from that one on: the disk is away. Nothing is lost by that.
func TestOpen_SalvageUnreadable(t *testing.T) {
	once := simdisk.Fault{Calls: simdisk.Read | simdisk.Open, Times: 1, Err: syscall.EIO}
	away := simdisk.Fault{Calls: simdisk.Read, Path: "queue.db", Err: syscall.EIO}
	written := simdisk.Fault{Calls: simdisk.Write | simdisk.Sync, Times: 1, Err: syscall.EIO}
	t.Run("Once", func(t *testing.T) { salvageUnreadable(t, once, true) })
	t.Run("Away", func(t *testing.T) { salvageUnreadable(t, away, true) })
	t.Run("MendOnce", func(t *testing.T) { salvageUnreadable(t, once, false) })
	t.Run("MendAway", func(t *testing.T) { salvageUnreadable(t, away, false) })
	t.Run("MendWriteFails", func(t *testing.T) { salvageUnreadable(t, written, false) })
}

func salvageUnreadable(t *testing.T, fault simdisk.Fault, headless bool) {
	const records = 4
	failed := 0
	for skip, struck := 0, true; struck; skip += 5 {
		bubble(t, fmt.Sprint(skip), func(t *testing.T) {
			disk := simulated(t, 0)
			damagedOnDisk(t, disk, records, headless)
			fault.Skip = skip
			disk.Inject(fault)
			q, err := Open(t.Context(), simulatedSettings(disk), observe.NewDiscard())
			struck = len(disk.Fired()) > 0
			disk.Heal()
			if err == nil {
				_ = q.Close()
			} else {
				failed++
				disk.Kill()
			}
			serveAll(t, disk, records)
		})
	}
	if failed == 0 {
		t.Error("no start failed")
	}
}

// serveAll opens what is on a disk and leases so many records.
func serveAll(t *testing.T, disk *simdisk.Disk, records int) {
	t.Helper()
	f := openOn(t, simulatedSettings(disk))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := f.Lease(ctx, 1, edge.LeaseLimit{Records: 2 * records, Bytes: 1 << 30})
	if err != nil || len(got) != records {
		t.Errorf("%d of %d records are left, %v", len(got), records, err)
	}
}

// Positions of a file that nothing is known of are not given again.
func TestSalvageFile_NothingIsKnown(t *testing.T) {
	path := stopped(t)
	before := edge.Position(time.Now().Unix()) << 16
	var heads []edge.Position
	for range 2 {
		rewrite(t, path, func(b []byte) []byte { return make([]byte, len(b)) })
		if _, _, err := queuefile.SalvageFile(t.Context(), sqlite.Disk{}, path); err != nil {
			t.Fatal(err)
		}
		q, stop := run(t, Settings{Path: path})
		heads = append(heads, q.Head())
		if stats := q.Stats(); stats.Salvaged != 1 || stats.Quarantined == 0 {
			t.Errorf("nothing says that a file is gone: %+v", stats)
		}
		losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 9)
		if err != nil || len(losses) != 1 || losses[0].Sink != edge.Ingress || losses[0].Kind != edge.LossQuarantined || losses[0].Reason != "damaged_file" || losses[0].Count != 1 {
			t.Errorf("the loss report is %+v, %v; want a line for the whole file", losses, err)
		}
		accepted(t, q, large(0, 2))
		expectBalance(t, q, 2)
		stop()
	}
	if heads[0] < before || heads[1] < before || max(heads[0], heads[1])-min(heads[0], heads[1]) < 1<<20 || max(heads[0], heads[1]) > 1<<47 {
		t.Errorf("new files begin behind %d, the old one may have come to %d", heads, before)
	}
}

// A damaged file that takes more than half of its disk cannot be salvaged there. A
// start says what is missing and changes nothing; the reserve is room as well.
func TestOpen_SalvageOfMostOfTheDisk(t *testing.T) {
	disk := simulated(t, 16<<20)
	settings := simulatedSettings(disk)
	records := storeMuch(t, disk, settings)
	behead(t, disk)
	names, used := disk.Names(), disk.UsedBytes()
	for range 2 {
		q, err := Open(t.Context(), settings, observe.NewDiscard())
		if err == nil {
			t.Fatal("there was room", q.Close())
		}
		if _, ok := errors.AsType[*sqlite.RoomError](err); !ok || !strings.Contains(err.Error(), "make so much room") {
			t.Errorf("a start without room fails with: %v", err)
		}
		if diff := cmp.Diff(names, disk.Names()); diff != "" || disk.UsedBytes() > used {
			t.Errorf("it has left something: %s%d bytes, %d before", diff, disk.UsedBytes(), used)
		}
	}
	needs, err := sqlite.UsedBytes(settings.Disk, settings.Path)
	if err != nil {
		t.Fatal(err)
	}
	// So much room is enough, the WAL of the new file included, and the reserve is a
	// part of it.
	reserve, err := settings.Disk.Size(settings.Path + "-reserve")
	if err != nil || reserve == 0 {
		t.Fatalf("a reserve of %d bytes, %v", reserve, err)
	}
	disk.SetCapacity(disk.UsedBytes() + 2*needs - reserve/2)
	q, stop := run(t, settings)
	defer stop()
	if got := leaseAll(t, q, 1); len(got) != records || q.Stats().Salvaged != 1 {
		t.Errorf("leased %d of %d, %d files salvaged", len(got), records, q.Stats().Salvaged)
	}
}

// storeMuch stores messages until a copy of the file needs room that counts, and returns
// how many.
func storeMuch(t *testing.T, disk *simdisk.Disk, settings Settings) (records int) {
	t.Helper()
	q, stop := run(t, settings)
	for ; disk.UsedBytes() < 11<<20; records += 100 {
		accepted(t, q, random(records, 100))
	}
	stop()
	return records
}

// A repair needs room for what is in use, as a start does, and not for free pages in
// which there is nothing. It gives the reserve when it has to; a dry run does not.
func TestRepair_MostlyFree(t *testing.T) {
	disk := simulated(t, 64<<20)
	settings := simulatedSettings(disk)
	storeMuch(t, disk, settings)
	wipeFrames(t, disk, 100)
	before := disk.UsedBytes()
	reserve, err := settings.Disk.Size(settings.Path + "-reserve")
	if err != nil || reserve < 64<<10 {
		t.Fatalf("a reserve of %d bytes, %v", reserve, err)
	}
	needs, err := sqlite.UsedBytes(settings.Disk, settings.Path)
	if err != nil {
		t.Fatal(err)
	}
	disk.SetCapacity(before + 2*needs - 64<<10)
	if dry, err := queuefile.Repair(t.Context(), settings.Disk, settings.Path, false); !isRoomError(err) || disk.UsedBytes() != before {
		t.Errorf("a dry run: %+v, %v, and %d bytes, %d before", dry, err, disk.UsedBytes(), before)
	}
	disk.SetCapacity(before + 2*needs + 256<<10)
	if dry, err := queuefile.Repair(t.Context(), settings.Disk, settings.Path, false); err != nil || disk.UsedBytes() != before {
		t.Errorf("a dry run with room: %+v, %v, and %d bytes, %d before", dry, err, disk.UsedBytes(), before)
	}
	disk.SetCapacity(before + 2*needs - 64<<10)
	if done, err := queuefile.Repair(t.Context(), settings.Disk, settings.Path, true); err != nil || done.Kept == "" {
		t.Errorf("got %+v, %v", done, err)
	}
}

// Where only rows are wrong a repair mends them without a copy. A look builds one, and
// says so when it has no room for that.
func TestRepair_RowsWithoutRoom(t *testing.T) {
	disk := simulated(t, 64<<20)
	settings := simulatedSettings(disk)
	storeMuch(t, disk, settings)
	db, err := queuefile.Open(t.Context(), settings.Disk, settings.Path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error { return conn.Exec("UPDATE sink SET delivered = delivered + 1") })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	disk.SetCapacity(disk.UsedBytes() + 2<<20)
	dry, err := queuefile.Repair(t.Context(), settings.Disk, settings.Path, false)
	if !isRoomError(err) || !strings.Contains(err.Error(), "mended where they are") {
		t.Errorf("a look: %+v, %v; want to know that a repair needs no copy", dry, err)
	}
	if done, err := queuefile.Repair(t.Context(), settings.Disk, settings.Path, true); err != nil || done.Kept != "" || done.Lost != 0 {
		t.Errorf("got %+v, %v; want it mended in place", done, err)
	}
}

// wipeFrames removes the frames behind a position, but the last one, and leaves
// nothing of them in the pages that are free then.
func wipeFrames(t *testing.T, disk *simdisk.Disk, behind edge.Position) {
	t.Helper()
	settings := simulatedSettings(disk)
	db, err := queuefile.Open(t.Context(), settings.Disk, settings.Path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
		if err := conn.Query("PRAGMA secure_delete = ON", func(sqlite.Row) error { return nil }); err != nil {
			return err
		}
		return conn.Exec("DELETE FROM frame WHERE id > ? AND id < (SELECT max(id) FROM frame)", int64(behind))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
