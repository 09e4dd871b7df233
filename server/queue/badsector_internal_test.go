package queue

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// TestOpen_BadSectorInWAL starts where the disk does not give back a part of the
// WAL. A start changes nothing and says what an operator can decide: when the disk
// comes back, nothing was lost. A repair keeps what is whole, in front of the bad
// part and behind it, and says that something is missing.
func TestOpen_BadSectorInWAL(t *testing.T) {
	const frame, header = 4096 + 24, 32
	for name, from := range map[string]int64{
		"Header": 0, "First": header + 100, "Middle": header + 21*frame, "Last": -frame,
	} {
		bubble(t, name, func(t *testing.T) { badSector(t, from) })
	}
}

func badSector(t *testing.T, from int64) {
	const records = 12
	disk := simulated(t, 0)
	settings := simulatedSettings(disk)
	crashedOn(t, disk, records)
	size, err := disk.Port().Size(settings.Path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if from < 0 {
		from += size
	}
	bad := simdisk.Fault{Calls: simdisk.Read, Path: "queue.db-wal", Err: syscall.EIO, From: from, To: from + 512}
	disk.Inject(bad)
	before, names := contents(t, disk), disk.Names()
	for range 3 {
		_, err := Open(t.Context(), simulatedSettings(disk), observe.NewDiscard())
		if _, ok := errors.AsType[*sqlite.WALUnreadableError](err); !ok || !strings.Contains(err.Error(), "hint: look at dmesg") || !strings.Contains(err.Error(), "gatewayctl queue repair") {
			t.Fatalf("a start on a bad sector ends with: %v", err)
		}
	}
	dry, err := queuefile.Repair(t.Context(), disk.Port(), settings.Path, false)
	if err != nil || dry.Before.Structural != 1 || dry.Unreadable == 0 || dry.Complete {
		t.Errorf("got %+v, %v", dry, err)
	}
	if diff := cmp.Diff(before, contents(t, disk)); diff != "" || !cmp.Equal(names, disk.Names()) {
		t.Errorf("starts and a dry run have changed something: %v, %v before", disk.Names(), names)
	}
	done, err := queuefile.Repair(t.Context(), disk.Port(), settings.Path, true)
	if err != nil || done.Kept != settings.Path+".damaged-1" || done.Unreadable == 0 {
		t.Fatalf("got %+v, %v", done, err)
	}
	disk.Heal() // that name is another file now
	f := openOn(t, simulatedSettings(disk))
	got, err := f.Lease(t.Context(), 1, edge.LeaseLimit{Records: 2 * records, Bytes: 1 << 30})
	if err != nil || len(got) < records-2 {
		t.Errorf("%d of %d records are left, %v", len(got), records, err)
	}
	if stats := f.Stats(); stats.Salvaged != 1 {
		t.Errorf("%d files were salvaged", stats.Salvaged)
	}
}

// A disk that is back has lost nothing.
func TestOpen_BadSectorPasses(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const records = 4
		disk := simulated(t, 0)
		crashedOn(t, disk, records)
		disk.Inject(simdisk.Fault{Calls: simdisk.Read, Path: "queue.db-wal", Err: syscall.EIO})
		for range 5 {
			if _, err := Open(t.Context(), simulatedSettings(disk), observe.NewDiscard()); err == nil || queuefile.IsDamage(err) {
				t.Fatalf("a disk that is away: %v", err)
			}
		}
		if _, err := queuefile.Repair(t.Context(), disk.Port(), "/data/queue.db", true); err == nil {
			t.Error("a repair has given up a whole WAL")
		}
		disk.Heal()
		serveAll(t, disk, records)
	})
}

// A whole file stays where it is, though both looks at it have misread it.
func TestOpen_Misread(t *testing.T) {
	bubble(t, "", func(t *testing.T) {
		const records, starts = 4, 300
		disk := simulated(t, 0)
		q, stop := run(t, simulatedSettings(disk))
		for i := range records {
			accepted(t, q, owedTo(large(i, 1), 1))
		}
		stop()
		random := rand.New(rand.NewPCG(1, 2))
		for range starts {
			for range 2 {
				disk.Inject(simdisk.Fault{Calls: simdisk.Read, Skip: random.IntN(60), Times: 1, Flip: true})
			}
			if q, err := Open(t.Context(), simulatedSettings(disk), observe.NewDiscard()); err != nil {
				t.Errorf("two wrong bits: %v", err)
			} else if err := q.Close(); err != nil {
				t.Error(err)
			}
			disk.Heal()
		}
		if kept, err := queuefile.KeptFiles(disk.Port(), simulatedSettings(disk).Path); err != nil || len(kept) > 0 {
			t.Errorf("a whole file was set aside: %v, %v", kept, err)
		}
		serveAll(t, disk, records)
	})
}

// contents returns what a disk holds.
func contents(t *testing.T, disk *simdisk.Disk) map[string]string {
	t.Helper()
	held := map[string]string{}
	for _, name := range disk.Names() {
		content, err := disk.Content(name)
		if err != nil {
			t.Fatal(err)
		}
		held[name] = string(content)
	}
	return held
}

// crashedOn leaves a WAL with so many records.
func crashedOn(t *testing.T, disk *simdisk.Disk, records int) {
	t.Helper()
	q, _ := opened(t, simulatedSettings(disk))
	for i := range records {
		accepted(t, q, owedTo(large(i, 1), 1))
	}
	disk.Kill()
}
