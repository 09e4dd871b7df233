package crash_test

import (
	"bytes"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"combotto.io/gateway/test/harness"
	"combotto.io/gateway/test/verify"
)

// backlogMin is how many messages wait for a sink when the file is spoilt.
const backlogMin = 3000

// damagePoints are the places at which a gateway dies that finds its file damaged:
// while it sets a frame aside, while it puts a new file in the old one's place, and
// while it mends rows where they are. It dies there at every pass.
var damagePoints = []point{
	{name: "before-quarantine", file: "server/queue/quarantine.go", text: "\treturn conn.Exec(\"DELETE FROM frame WHERE id = ?\", int64(row.First))\n", passes: 1},
	{
		name: "before-quarantine-commit", file: "server/queue/transaction.go", text: "\tif tx.written, err = conn.WALWritten(); err != nil {\n",
		instead: "\tif tx.damaged != nil {\nKILL\t}\n\tif tx.written, err = conn.WALWritten(); err != nil {\n", passes: 1,
	},
	{
		name: "after-quarantine", file: "server/queue/quarantine.go",
		text: "\tif err == nil && report.unmoved {\n", passes: 1,
	},
	{name: "salvage-building", file: "server/queuefile/salvage.go", text: "\tif found.flush(); found.err != nil {\n", passes: 1, when: duringStart},
	{name: "salvage-built", file: "server/queuefile/salvage.go", text: "\trebuild.report.Unreadable, ", passes: 1, when: duringStart},
	{name: "salvage-whole", file: "server/queuefile/replace.go", text: "\tif err := disk.Rename(path+suffixBuilding, path+r.suffix); err != nil {\n", passes: 1, when: duringStart},
	{name: "salvage-named", file: "server/queuefile/replace.go", text: "\treturn r.finish(disk, path)\n", passes: 1, when: duringStart},
	{name: "setting-aside", file: "server/queuefile/aside.go", text: "\t\terr := disk.Rename(path+suffix, kept+suffix)\n", passes: 2, when: duringStart},
	{name: "set-aside", file: "server/queuefile/replace.go", text: "\t\terr = disk.Rename(path+r.suffix, path)\n", passes: 1, when: duringStart},
	{name: "repaired", file: "server/queue/damage.go", text: "\tif err := queuefile.ClearSuspect(disk, path); err != nil {\n", passes: 1, when: duringStart},
	{name: "mend-emptied", file: "server/queuefile/mend.go", text: "\tif err := inOrder(conn, r.openSinks, r.recount); err != nil {\n", passes: 1, when: duringStart},
	{name: "before-mend-commit", file: "server/queuefile/mend.go", text: "\tafter := Verification{Path: path}\n", passes: 1, when: duringStart},
	{name: "after-mend", file: "server/queuefile/mend.go", text: "\treturn rebuild.report, nil\n", passes: 1, when: duringStart},
}

// spoiling damages the file of a gateway that was killed under load, and says
// which messages are gone by that.
type spoiling func(r *rig) verify.Damage

// damageDeaths says what a gateway is about to repair when it dies at a point, and
// whether the start after that comes to the same point again.
var damageDeaths = []struct {
	point, spoilt string
	spoil         spoiling
	again         bool
}{
	{"before-quarantine", "Frame", spoilFrame, true},
	{"before-quarantine", "NewestFrame", spoilNewestFrame, true},
	{"before-quarantine-commit", "Frame", spoilFrame, true},
	{"after-quarantine", "Frame", spoilFrame, false},
	{"after-quarantine", "NewestFrame", spoilNewestFrame, false},
	{"salvage-building", "Header", spoilHeader, true},
	{"salvage-building", "Page", spoilPage, true},
	{"salvage-built", "Page", spoilPage, true},
	{"salvage-whole", "Header", spoilHeader, true},
	{"salvage-named", "Page", spoilPage, false},
	{"setting-aside", "Page", spoilPage, false},
	{"set-aside", "Page", spoilPage, false},
	{"repaired", "Header", spoilHeader, false},
	{"repaired", "Page", spoilPage, false},
	{"mend-emptied", "Row", spoilRow, true},
	{"before-mend-commit", "Row", spoilRow, true},
	{"after-mend", "Row", spoilRow, false},
}

// TestPoint_Damage kills a gateway while it repairs its file. The start after it
// serves, and no message is lost but those that were damaged.
func TestPoint_Damage(t *testing.T) {
	harness.SkipShort(t, "half a minute")
	binary, err := buildPoints()
	harness.Must(t, err)
	for _, death := range damageDeaths {
		point := pointNamed(t, death.point)
		for pass := 1; pass <= point.passes; pass++ {
			t.Run(fmt.Sprintf("%s/%s/%d", point.name, death.spoilt, pass), func(t *testing.T) {
				r := newRig(t, binary)
				r.spoil(death.spoil)
				r.dieAtPass(&point, pass)
				if death.again {
					r.dieAtPass(&point, pass)
				}
				r.cycle()
				r.begin()
				r.drain()
				if err := r.verify("when all was delivered", false).Err(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func pointNamed(t *testing.T, name string) point {
	t.Helper()
	for _, point := range damagePoints {
		if point.name == name {
			return point
		}
	}
	t.Fatalf("no point is called %s", name)
	return point{}
}

// spoil kills the gateway under load, when messages wait for a sink that is away,
// and damages its file.
func (r *rig) spoil(spoil spoiling) {
	r.t.Helper()
	harness.Must(r.t, r.receiver.Kill())
	r.begin()
	r.awaitAcknowledged(0, backlogMin)
	r.kill()
	damage := spoil(r)
	r.damage = &damage
	r.startReceiver()
}

func (r *rig) queueFile() string { return filepath.Join(r.gateway.DataDir(), "queue.db") }

// byHand works on the file, and leaves no WAL beside it, nor the mark by which a
// start would notice that: everything was moved.
func (r *rig) byHand(work func(db *sql.DB) error) {
	r.t.Helper()
	db, err := sql.Open("sqlite", r.queueFile())
	harness.Must(r.t, err)
	harness.Must(r.t, errors.Join(work(db), db.Close()))
	if err := os.Remove(r.queueFile() + "-running"); !errors.Is(err, fs.ErrNotExist) {
		harness.Must(r.t, err)
	}
}

// spoilFrame flips a bit of a frame that waits for the sink that is away.
func spoilFrame(r *rig) verify.Damage {
	frames := r.waiting()
	positions := slices.Sorted(maps.Keys(frames))
	return r.flipBit(frames, positions[r.random.IntN(len(positions))])
}

// spoilNewestFrame flips a bit of the frame that a start reads first.
func spoilNewestFrame(r *rig) verify.Damage {
	frames := r.waiting()
	return r.flipBit(frames, slices.Max(slices.Collect(maps.Keys(frames))))
}

func (r *rig) waiting() map[int64]verify.Damage {
	r.t.Helper()
	frames, err := verify.Frames(r.queueFile(), "analytics")
	harness.Must(r.t, err)
	if len(frames) == 0 {
		r.t.Fatal("no frame waits")
	}
	return frames
}

func (r *rig) flipBit(frames map[int64]verify.Damage, first int64) verify.Damage {
	r.t.Helper()
	r.byHand(func(db *sql.DB) error {
		var body []byte
		if err := db.QueryRow("SELECT body FROM frame WHERE id = ?", first).Scan(&body); err != nil {
			return err
		}
		body[r.random.IntN(len(body))] ^= 1 << r.random.IntN(8)
		_, err := db.Exec("UPDATE frame SET body = ? WHERE id = ?", body, first)
		return err
	})
	damage := frames[first]
	r.t.Logf("frame %d of %d messages is spoilt; still owed %v", first, len(damage.Messages), damage.Undecided)
	return damage
}

// spoilRow changes a row that follows from others, and not its checksum.
func spoilRow(r *rig) verify.Damage {
	r.byHand(func(db *sql.DB) error {
		_, err := db.Exec("UPDATE ledger SET replay_from = replay_from + 1")
		return err
	})
	return verify.Damage{}
}

// spoilHeader overwrites the beginning of the file, which holds no message.
func spoilHeader(r *rig) verify.Damage {
	r.byHand(intoFile)
	r.overwrite(0, bytes.Repeat([]byte{0xFF}, 64))
	return verify.Damage{}
}

// intoFile moves everything from the WAL into the file.
func intoFile(db *sql.DB) error {
	_, err := db.Exec("PRAGMA wal_checkpoint(TRUNCATE)")
	return err
}

// spoilPage spoils the byte that says what kind of page it is, in a page that lists
// frames and of which the WAL has no newer version. The WAL stays where it is. The
// mark says that a gateway has met it.
func spoilPage(r *rig) verify.Damage {
	t := r.t
	t.Helper()
	r.byHand(intoFile)
	r.begin()
	r.awaitAcknowledged(r.load.Progress().Acknowledged, backlogMin)
	r.kill()
	if info, err := os.Stat(r.queueFile() + "-wal"); err != nil || info.Size() == 0 {
		t.Fatalf("there is no WAL: %v", err)
	}
	pages, size := r.listing()
	page := pages[r.random.IntN(len(pages))]
	t.Logf("page %d is spoilt", page)
	r.overwrite((page-1)*size, []byte{0xFF})
	harness.Must(t, os.WriteFile(r.queueFile()+".suspect", []byte("database disk image is malformed\n"), 0o600))
	return verify.Damage{}
}

// listing returns the pages that list frames and of which the WAL has no newer
// version, in the order of frames, and how large a page is.
func (r *rig) listing() (pages []int64, size int64) {
	t := r.t
	t.Helper()
	newer := pagesOfWAL(t, r.queueFile()+"-wal")
	harness.Must(t, verify.WithCopy(r.queueFile(), func(db *sql.DB) error {
		if err := db.QueryRow("PRAGMA page_size").Scan(&size); err != nil {
			return err
		}
		rows, err := db.Query("SELECT pageno FROM dbstat WHERE name = 'frame' AND pagetype = 'leaf' ORDER BY path")
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var page int64
			if err := rows.Scan(&page); err != nil {
				return err
			}
			if !newer[page] {
				pages = append(pages, page)
			}
		}
		return rows.Err()
	}))
	if len(pages) == 0 {
		t.Fatal("the WAL has every page that lists frames")
	}
	return pages, size
}

// pagesOfWAL returns the pages that a WAL holds; none when there is no WAL.
func pagesOfWAL(t *testing.T, path string) map[int64]bool {
	t.Helper()
	const headerBytes, frameBytes = 32, 24
	wal, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		harness.Must(t, err)
	}
	pages := map[int64]bool{}
	if len(wal) < headerBytes {
		return pages
	}
	size := int(binary.BigEndian.Uint32(wal[8:]))
	for rest := wal[headerBytes:]; len(rest) >= frameBytes+size; rest = rest[frameBytes+size:] {
		pages[int64(binary.BigEndian.Uint32(rest))] = true
	}
	return pages
}

func (r *rig) overwrite(offset int64, with []byte) {
	r.t.Helper()
	file, err := os.OpenFile(r.queueFile(), os.O_RDWR, 0)
	harness.Must(r.t, err)
	_, err = file.WriteAt(with, offset)
	harness.Must(r.t, errors.Join(err, file.Close()))
}
