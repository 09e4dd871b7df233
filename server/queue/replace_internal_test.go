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

// TestOpen_SalvageUnreadable lets one call of a start that salvages fail, or every
// call from that one on: the disk is away. Nothing is lost by that.
func TestOpen_SalvageUnreadable(t *testing.T) {
	t.Run("Once", func(t *testing.T) {
		salvageUnreadable(t, simdisk.Fault{Calls: simdisk.Read | simdisk.Open, Times: 1, Err: syscall.EIO})
	})
	t.Run("Away", func(t *testing.T) {
		salvageUnreadable(t, simdisk.Fault{Calls: simdisk.Read, Path: "queue.db", Err: syscall.EIO})
	})
}

func salvageUnreadable(t *testing.T, fault simdisk.Fault) {
	const records = 4
	failed := 0
	for skip, struck := 0, true; struck; skip += 5 {
		bubble(t, fmt.Sprint(skip), func(t *testing.T) {
			disk := simulated(t, 0)
			damagedOnDisk(t, disk, records)
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
func TestSalvageFile_nothingIsKnown(t *testing.T) {
	path := stopped(t)
	rewrite(t, path, func(b []byte) []byte { return make([]byte, len(b)) })
	before := edge.Position(time.Now().Unix()) * positionsPerSecond
	var heads []edge.Position
	for range 2 {
		if err := buildEmpty(t.Context(), sqlite.Disk{}, path); err != nil {
			t.Fatal(err)
		}
		q, stop := run(t, Settings{Path: path})
		heads = append(heads, q.Head())
		if stats := q.Stats(); stats.Salvaged != 1 || stats.Quarantined == 0 {
			t.Errorf("nothing says that a file is gone: %+v", stats)
		}
		accepted(t, q, large(0, 2))
		expectBalance(t, q, 2)
		stop()
	}
	if heads[0] < before || heads[1] < before || max(heads[0], heads[1])-min(heads[0], heads[1]) < 1<<20 || max(heads[0], heads[1]) > maxPosition/2 {
		t.Errorf("new files begin behind %d, the old one may have come to %d", heads, before)
	}
}
