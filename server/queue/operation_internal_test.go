package queue

import (
	"context"
	"errors"
	flags "flag" // the package has a flag of its own
	"fmt"
	"hash/maphash"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

var operationStates = flags.Int("operation-states", 60, "how many distinct crash states of each operation on files TestOperations_PowerCut opens")

// TestCompact gives back what was delivered, and changes nothing else.
func TestCompact(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := run(t, settings)
	for i := range 40 {
		accepted(t, q, large(10*i, 10))
	}
	leased := leaseAll(t, q, 1)
	if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: leased[:390]}); err != nil {
		t.Fatal(err)
	}
	stop()
	inFile(t, settings.Path, "DELETE FROM frame WHERE id < 380")
	crashed := filepath.Join(t.TempDir(), "queue.db")
	if err := os.Rename(settings.Path, crashed); err != nil {
		t.Fatal(err)
	}
	before := dump(t, crashed)
	done, err := queuefile.Compact(t.Context(), sqlite.Disk{}, crashed)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(crashed)
	if err != nil || done.After*4 > done.Before || info.Size() != done.After || info.Mode().Perm() != 0o600 {
		t.Errorf("got %+v, %v, %v; want a small file that only its owner reads", done, info, err)
	}
	if diff := cmp.Diff(before, dump(t, crashed)); diff != "" {
		t.Errorf("the rows are others now: %s", diff)
	}
	if diff := cmp.Diff([]string{"queue.db"}, leftBeside(t, crashed)); diff != "" {
		t.Error(diff)
	}
	q, stop = run(t, Settings{Path: crashed})
	defer stop()
	if diff := cmp.Diff(PositionsOf(leased[390:]), PositionsOf(leaseAll(t, q, 1))); diff != "" {
		t.Error(diff)
	}
}

// dump reads every row of a file.
func dump(t *testing.T, path string) (rows []string) {
	t.Helper()
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Read(t.Context(), func(conn *sqlite.Conn) error {
		var tables []string
		err := conn.Query("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", func(row sqlite.Row) error {
			tables = append(tables, row.Text(0))
			return nil
		})
		for _, table := range tables {
			err = errors.Join(err, conn.Query("SELECT * FROM "+table+" ORDER BY 1, 2", func(row sqlite.Row) error {
				rows = append(rows, fmt.Sprintf("%s %v", table, row))
				return nil
			}))
		}
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestCompact_Refused(t *testing.T) {
	path := stopped(t)
	damageIn(t, path, 3)
	before := filesOf(t, path)
	done, err := queuefile.Compact(t.Context(), sqlite.Disk{}, path)
	if failure, ok := errors.AsType[*queuefile.DamagedError](err); !ok || failure.Verification.Found != 1 {
		t.Errorf("got %+v, %v; want one problem", done, err)
	}
	if diff := cmp.Diff(before, filesOf(t, path)); diff != "" {
		t.Error(diff)
	}
	disk := simdisk.New(simdisk.Settings{Files: onSimulated(t, stopped(t), "/data/queue.db"), Capacity: 1 << 20})
	defer disk.Close()
	disk.SetCapacity(disk.UsedBytes() + 8<<10)
	if done, err := queuefile.Compact(t.Context(), disk.Port(), "/data/queue.db"); !isRoomError(err) {
		t.Errorf("got %+v, %v; want no room", done, err)
	}
}

func isRoomError(err error) bool {
	_, ok := errors.AsType[*sqlite.RoomError](err)
	return ok
}

func TestRepair(t *testing.T) {
	path := stopped(t)
	damageIn(t, path, 5)
	inFile(t, path, "UPDATE ledger SET counted = 2")
	before := filesOf(t, path)
	dry, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, false)
	if err != nil || dry.Before.Structural != 1 || dry.Records != 4 || dry.Lost != 2 || dry.DeadLetters != 1 || dry.Kept != "" {
		t.Errorf("got %+v, %v", dry, err)
	}
	if diff := cmp.Diff(before, filesOf(t, path)); diff != "" {
		t.Errorf("a dry run has changed something: %s", diff)
	}
	done, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, true)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(dry.Salvaged, done.Salvaged); diff != "" {
		t.Errorf("a dry run tells something else: %s", diff)
	}
	if kept, err := os.ReadFile(done.Kept); err != nil || string(kept) != before["queue.db"] {
		t.Errorf("%q is not the old file: %v", done.Kept, err)
	}
	again, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, true)
	if err != nil || again.Before.Found != 0 || again.Kept != "" {
		t.Errorf("a repaired file: got %+v, %v", again, err)
	}
	q, stop := run(t, Settings{Path: path})
	defer stop()
	if diff := cmp.Diff([]edge.Position{4}, PositionsOf(leaseAll(t, q, 1))); diff != "" {
		t.Error(diff)
	}
	expectBalance(t, q, 4)
}

// What a first salvage has skipped was never stored, and a second one does not
// count it as damaged.
func TestRepair_Twice(t *testing.T) {
	path := stopped(t)
	for range 2 {
		inFile(t, path, "UPDATE ledger SET counted = counted - 1")
		if done, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, true); err != nil || done.Lost != 0 {
			t.Fatalf("got %+v, %v", done, err)
		}
	}
	v, err := queuefile.Verify(t.Context(), sqlite.Disk{}, path)
	if err != nil || v.Quarantined != 0 || v.Found != 0 {
		t.Errorf("got %+v, %v; want nothing quarantined", v, err)
	}
}

// A counter of a sink that is not what was written is counted anew.
func TestRepair_Counter(t *testing.T) {
	for _, column := range []string{"owed", "delivered", "dead", "held", "discarded", "expired"} {
		for _, change := range []int{1, -1000} {
			t.Run(fmt.Sprint(column, change), func(t *testing.T) {
				path := stopped(t)
				inFile(t, path, fmt.Sprintf("UPDATE sink SET %s = %s + %d", column, column, change))
				done, err := queuefile.Repair(t.Context(), sqlite.Disk{}, path, true)
				if err != nil || done.Before.Found == 0 || done.Kept != "" || done.Lost != 0 {
					t.Fatalf("got %+v, %v; want a file that is mended where it is", done, err)
				}
				q, stop := run(t, Settings{Path: path})
				defer stop()
				if diff := cmp.Diff([]edge.Position{4, 5, 6}, PositionsOf(leaseAll(t, q, 1))); diff != "" {
					t.Error(diff)
				}
				expectBalance(t, q, 6)
			})
		}
	}
}

// onSimulated returns the files of a database as a simulated disk holds them.
func onSimulated(t *testing.T, path, name string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, suffix := range []string{"", "-wal"} {
		if content, err := os.ReadFile(path + suffix); err == nil {
			files[name+suffix] = content
		}
	}
	return files
}

// TestOperations_PowerCut cuts the power at any moment of an operation on files.
// Whatever the disk has kept, the next start serves what was waiting before, or
// what waits after it.
func TestOperations_PowerCut(t *testing.T) {
	const path, backup = "/data/queue.db", "/backup/queue.db"
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	for i := range 4 {
		accepted(t, q, large(3*i, 3))
	}
	leased := leaseAll(t, q, 1)
	deadLetter(t, q, leased[:1])
	if err := q.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole := crashed(t, q)
	stop()
	damaged := stopped(t)
	damageIn(t, damaged, 5)
	inFile(t, damaged, "UPDATE ledger SET counted = 2")
	restoring := onSimulated(t, stopped(t), path)
	maps.Copy(restoring, onSimulated(t, whole, backup))
	all := PositionsOf(leased[1:])
	for name, test := range map[string]operation{
		"Compact": {onSimulated(t, whole, path), func(disk sqlite.Disk) error {
			_, err := queuefile.Compact(context.Background(), disk, path)
			return err
		}, [][]edge.Position{all}},
		"Repair": {onSimulated(t, damaged, path), func(disk sqlite.Disk) error {
			_, err := queuefile.Repair(context.Background(), disk, path, true)
			return err
		}, [][]edge.Position{{4}}},
		"Restore": {restoring, func(disk sqlite.Disk) error {
			_, err := queuefile.Restore(context.Background(), disk, backup, path, true, Renew)
			return err
		}, [][]edge.Position{{4, 5, 6}, all}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			disk := simdisk.New(simdisk.Settings{Seed: 1, Files: test.files})
			defer disk.Close()
			disk.Record()
			if err := test.run(disk.Port()); err != nil {
				t.Fatal(err)
			}
			seen, err := states(disk.History(), path, test.want)
			if err != nil {
				t.Fatal(err)
			}
			hit := 0
			for n, count := range seen {
				if count > 0 {
					hit++
				}
				t.Logf("%d states with %v waiting", count, test.want[n])
			}
			if hit != len(test.want) {
				t.Error("not every outcome was seen")
			}
		})
	}
}

// operation is one operation on files.
type operation struct {
	files map[string][]byte
	run   func(disk sqlite.Disk) error
	want  [][]edge.Position // that may wait
}

// A disk that does not sync the copy is found out: the states are looked at.
func TestOperations_PowerCut_Mutant(t *testing.T) {
	const path = "/data/queue.db"
	disk := simdisk.New(simdisk.Settings{Seed: 1, Files: onSimulated(t, stopped(t), path)})
	defer disk.Close()
	disk.Inject(simdisk.Fault{Calls: simdisk.Sync, Path: ".building", Lie: true})
	disk.Record()
	if _, err := queuefile.Compact(t.Context(), disk.Port(), path); err != nil {
		t.Fatal(err)
	}
	if seen, err := states(disk.History(), path, [][]edge.Position{{4, 5, 6}}); err == nil {
		t.Errorf("a copy that is not synced is not caught in %v states", seen)
	}
}

// states opens what power cuts leave, and counts the outcomes.
func states(history simdisk.History, path string, want [][]edge.Position) (seen []int, err error) {
	seen = make([]int, len(want))
	known := map[uint64]bool{}
	seed := maphash.MakeSeed()
	replay := history.Replay(1)
	survivals := simdisk.Survivals()
	stride := max(1, replay.Len()*len(survivals)/(2**operationStates))
	for at := 0; ; at++ {
		for n, survives := range survivals {
			last := at == replay.Len()
			if (at*len(survivals)+n)%stride != 0 && !last {
				continue
			}
			files := replay.Crash(survives)
			var hash maphash.Hash
			hash.SetSeed(seed)
			for _, name := range slices.Sorted(maps.Keys(files)) {
				_, _ = hash.WriteString(name)
				_, _ = hash.Write(files[name])
			}
			if sum := hash.Sum64(); known[sum] {
				continue
			} else {
				known[sum] = true
			}
			found, err := servedFrom(files, path)
			outcome := slices.IndexFunc(want, func(positions []edge.Position) bool { return slices.Equal(positions, found) })
			if err != nil || outcome < 0 {
				return seen, fmt.Errorf("after change %d of %d, %s survives: %v waits, %w; files %v", at, replay.Len(), survives, found, err, slices.Sorted(maps.Keys(files)))
			}
			seen[outcome]++
		}
		if !replay.Next() {
			return seen, nil
		}
	}
}

// servedFrom looks at files as an operator does, and starts on them.
func servedFrom(files map[string][]byte, path string) (waiting []edge.Position, err error) {
	disk := simdisk.New(simdisk.Settings{Files: files})
	defer disk.Close()
	ctx := context.Background()
	if _, err := queuefile.Verify(ctx, disk.Port(), path); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if gone, err := sqlite.IsGone(disk.Port(), path); gone || err != nil {
		return nil, fmt.Errorf("a WAL is missed that nobody has removed: %v, %w", gone, err)
	}
	q, err := Open(ctx, Settings{Path: path, Disk: disk.Port()}, observe.NewDiscard())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, q.Close()) }()
	for sinks := q.registry.all(); len(sinks) > 0; {
		leased, err := q.leaseNow(ctx, sinks[0], edge.LeaseLimit{Records: 100, Bytes: 1 << 20})
		if err != nil || len(leased) == 0 {
			return waiting, err
		}
		waiting = append(waiting, PositionsOf(leased)...)
	}
	return nil, errors.New("the sink is gone")
}
