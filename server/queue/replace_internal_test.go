package queue

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// damagedOnDisk is a file with so many records, none of them delivered, whose row
// of the sink is damaged.
func damagedOnDisk(t *testing.T, disk *simdisk.Disk, records int) {
	t.Helper()
	f := openOn(t, simulatedSettings(disk))
	for range records {
		f.append(t, 1) // a frame each: many pages
	}
	f.stop()
	db, err := openFresh(t.Context(), disk.Port(), "/data/queue.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(conn *sqlite.Conn) error { return conn.Exec("UPDATE ledger SET counted = 3") }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
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
			damagedOnDisk(t, disk, records)
			disk.SetCapacity(disk.UsedBytes() + room)
			for range 2 {
				q, err := Open(t.Context(), simulatedSettings(disk), observe.NewDiscard())
				if err == nil {
					opened++
					_ = q.Close()
					break
				}
				if failed++; !strings.Contains(err.Error(), "full") {
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

// TestOpen_SalvageUnreadable lets one call of a start that salvages fail: nothing
// is lost by that.
func TestOpen_SalvageUnreadable(t *testing.T) {
	const records = 4
	failed := 0
	for skip, struck := 0, true; struck; skip += 3 {
		bubble(t, fmt.Sprint(skip), func(t *testing.T) {
			disk := simulated(t, 0)
			damagedOnDisk(t, disk, records)
			disk.Inject(simdisk.Fault{Calls: simdisk.Read | simdisk.Open, Skip: skip, Times: 1, Err: syscall.EIO})
			q, err := Open(t.Context(), simulatedSettings(disk), observe.NewDiscard())
			struck = len(disk.Fired()) > 0
			if err == nil {
				_ = q.Close()
			} else {
				failed++
				disk.Kill()
			}
			disk.Heal()
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
