package queue

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// stopped returns the path of a queue that was closed: six records, the first
// three of them delivered, refused and lost to nobody.
func stopped(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, stop := run(t, Settings{Path: path})
	defer stop()
	for i := range 3 {
		accepted(t, q, large(2*i, 2))
	}
	decideThree(t, q)
	return path
}

// rewrite changes the bytes of a file.
func rewrite(t *testing.T, path string, change func(content []byte) []byte) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, change(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// inFile runs a statement on a file that nobody serves.
func inFile(t *testing.T, path, statement string, arguments ...any) {
	t.Helper()
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Write(t.Context(), func(conn *sqlite.Conn) error { return conn.Exec(statement, arguments...) }); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// leftBeside lists the files that stand beside a database.
func leftBeside(t *testing.T, path string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

// TestOpen_WholeFile starts on files that no database is found in any more, or
// whose most important rows are damaged.
func TestOpen_WholeFile(t *testing.T) {
	all, undecided := []edge.Position{1, 2, 3, 4, 5, 6}, []edge.Position{4, 5, 6}
	for name, test := range map[string]struct {
		damage func(t *testing.T, path string)
		want   []edge.Position // leased after the start
		kept   string          // how the old file is called when it was salvaged; else it was mended in place
	}{
		"ZeroFilled": {func(t *testing.T, path string) {
			rewrite(t, path, func(b []byte) []byte { return make([]byte, len(b)) })
		}, nil, "damaged-1"},
		"NotADatabase": {func(t *testing.T, path string) {
			rewrite(t, path, func([]byte) []byte { return bytes.Repeat([]byte("no database "), 999) })
		}, nil, "damaged-1"},
		"HeaderDamaged": {func(t *testing.T, path string) { rewrite(t, path, func(b []byte) []byte { clear(b[:100]); return b }) }, undecided, "damaged-spent-1"},
		"FirstPageGone": {func(t *testing.T, path string) { rewrite(t, path, func(b []byte) []byte { clear(b[:4096]); return b }) }, undecided, "damaged-spent-1"},
		"SinkRow":       {func(t *testing.T, path string) { inFile(t, path, "UPDATE sink SET cursor = 7") }, all, "damaged-1"},
		"LedgerRow":     {func(t *testing.T, path string) { inFile(t, path, "UPDATE ledger SET counted = 3") }, undecided, ""},
		"LedgerLog":     {func(t *testing.T, path string) { inFile(t, path, "UPDATE ledger SET log = log + 1") }, undecided, ""},
		"LedgerGone":    {func(t *testing.T, path string) { inFile(t, path, "DELETE FROM ledger") }, undecided, ""},
		"OwedSet":       {func(t *testing.T, path string) { inFile(t, path, "UPDATE owed SET sinks = '2'") }, undecided, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := stopped(t)
			test.damage(t, path)
			q, stop := run(t, Settings{Path: path})
			defer stop()
			// Rows that a statement has changed may still stand in free space, so what
			// is known of a sink may be more than the damage has left.
			got := leaseAll(t, q, q.registry.all()[0].id)
			if positions := PositionsOf(got); !slices.Equal(positions, test.want) && !(name == "SinkRow" && slices.Equal(positions, undecided)) {
				t.Errorf("leased %v, want %v", positions, test.want)
			}
			for _, delivery := range got {
				if want := large(int(delivery.Record.Position)-1, 1)[0].Record.Payload; !bytes.Equal(want, delivery.Record.Payload) {
					t.Errorf("the payload at %d was altered", delivery.Record.Position)
				}
			}
			if q.ledger.read().Salvaged != 1 || q.Head() < 1<<20 {
				t.Errorf("ledger %+v, head %d: want a salvaged file that goes on far above", q.ledger.read(), q.Head())
			}
			want := []string{"queue.db", "queue.db-reserve", "queue.db-running", "queue.db-shm", "queue.db-wal"}
			if test.kept != "" {
				want = append(want, "queue.db."+test.kept)
			}
			if diff := cmp.Diff(want, leftBeside(t, path)); diff != "" {
				t.Error(diff)
			}
			accepted(t, q, owedTo(large(20, 2), q.registry.all()[0].id))
			if more := leaseAll(t, q, q.registry.all()[0].id); len(more) != 2 {
				t.Errorf("leased %v of what came after", PositionsOf(more))
			}
			if verification, err := queuefile.VerifyOpen(t.Context(), path, q.db); err != nil || verification.Found > 0 {
				t.Errorf("verify: %+v, %v", verification, err)
			}
			recount, err := q.Recount(t.Context())
			if err != nil || !recount.Balanced() {
				t.Errorf("recount: %+v, %v", recount, err)
			}
			if stats := q.Stats(); stats.Stored != recount.Stored {
				t.Errorf("%d records are said to be stored, there are %d", stats.Stored, recount.Stored)
			}
		})
	}
}

// No correlation id is given twice, and the old ones still lead to their records.
func TestOpen_WholeFile_Correlation(t *testing.T) {
	path := stopped(t)
	q, stop := run(t, Settings{Path: path})
	before := leaseAll(t, q, 1)
	log := q.logs.Current
	stop()
	rewrite(t, path, func(b []byte) []byte { clear(b[:100]); return b })
	q, stop = run(t, Settings{Path: path})
	defer stop()
	after := leaseAll(t, q, 1)
	if diff := cmp.Diff(before, after); diff != "" || len(after) != 3 {
		t.Errorf("the records are others now: %s", diff)
	}
	if q.logs.Current == log {
		t.Errorf("log %d is used on", log)
	}
	if journey, err := q.Journey(t.Context(), before[0].Record.Correlation); err != nil || journey.Record.Position != 4 {
		t.Errorf("journey of an old id: %+v, %v", journey.Record, err)
	}
	reply := answers(t, q, large(0, 1))[0] // its device sends it again
	if !reply.Receipt.Duplicate || reply.Receipt.Correlation.Log() != log {
		t.Errorf("got %+v, want a duplicate with its first id", reply)
	}
}

// What the ledger says of the file's log is written twice: a message that waits keeps the
// id that its device was answered, whatever becomes of the ledger.
func TestOpen_LogOfALostLedger(t *testing.T) {
	path := stopped(t)
	for round := range 3 {
		q, stop := run(t, Settings{Path: path})
		before := leaseAll(t, q, 1)
		stop()
		inFile(t, path, "DELETE FROM ledger")
		path = withoutFree(t, path)
		q, stop = run(t, Settings{Path: path})
		if diff := cmp.Diff(before, leaseAll(t, q, 1)); diff != "" || len(before) != 3 {
			t.Errorf("round %d: the records are others now: %s", round, diff)
		}
		stop()
	}
}

// A replacement that a crash interrupts is finished by the next start.
func TestReplacement_Interrupted(t *testing.T) {
	steps := []func(path string) error{
		func(path string) error { return os.Rename(path+".building", path+".salvaged") },
		func(path string) error { return os.Rename(path+"-wal", path+".damaged-1-wal") },
		func(path string) error { return os.Rename(path, path+".damaged-1") },
	}
	for done := range len(steps) + 1 {
		path := stopped(t)
		q, stop := run(t, Settings{Path: path})
		source := crashed(t, q) // with a WAL
		stop()
		other := Crashed(t, source)
		if _, _, err := queuefile.SalvageFile(t.Context(), sqlite.Disk{}, other); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(other, source+".building"); err != nil {
			t.Fatal(err)
		}
		for _, step := range steps[:done] {
			if err := step(source); err != nil {
				t.Fatal(err)
			}
		}
		q, stop = run(t, Settings{Path: source})
		if got := PositionsOf(leaseAll(t, q, 1)); !slices.Equal(got, []edge.Position{4, 5, 6}) {
			t.Errorf("after %d steps: leased %v", done, got)
		}
		if salvaged := q.ledger.read().Salvaged; (salvaged == 1) != (done > 0) {
			t.Errorf("after %d steps: %d files were salvaged", done, salvaged)
		}
		stop()
		if isThere(t, source+".damaged-2") || done > 0 && !(isThere(t, source+".damaged-1") && isThere(t, source+".damaged-1-wal")) {
			t.Errorf("after %d steps: the old file and its WAL are not kept under one name: %v", done, leftBeside(t, source))
		}
	}
}

// SQLite's complaint about a running file ends the process and moves nothing. The
// next start looks at the whole file, and serves it when there is nothing.
func TestQueue_SuspectIsLookedAt(t *testing.T) {
	path := stopped(t)
	if err := queuefile.MarkSuspect(sqlite.Disk{}, path, queuefile.ErrRow); err != nil {
		t.Fatal(err)
	}
	q, stop := run(t, Settings{Path: path})
	if q.ledger.read().Salvaged != 0 || isThere(t, path+".suspect") {
		t.Errorf("a whole file was not left as it is")
	}
	stop()
	inFile(t, path, "DELETE FROM frame WHERE id = 3") // messages are gone, and nothing says why
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	account := q.registry.all()[0]
	account.cursor, account.next, account.frontier = 3, 3, 3
	if _, err := q.leaseNow(t.Context(), account, edge.LeaseLimit{Records: 9, Bytes: 1 << 20}); err == nil {
		t.Error("messages that are gone were passed over without a word")
	}
	q.suspect(<-q.broken)
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
	q, stop = run(t, Settings{Path: path})
	defer stop()
	if q.ledger.read().Salvaged != 1 || isThere(t, path+".suspect") {
		t.Errorf("ledger %+v, want a salvaged file", q.ledger.read())
	}
}

func isThere(t *testing.T, path string) bool {
	t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// A policy and a deletion come to a gap before the lane does. What the file has
// lost is not passed over: the process ends, and the next start salvages it and
// reports the loss.
func TestQueue_GivesUpOverAGap(t *testing.T) {
	for name, giveUp := range map[string]func(t *testing.T, q *Queue) error{
		"Expired": func(t *testing.T, q *Queue) error { return q.expireAll(t.Context()) },
		"Deleted": func(t *testing.T, q *Queue) error {
			account := q.registry.all()[0]
			account.removed, account.deleted = true, true
			return q.discardFor(t.Context(), account)
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := stopped(t)
			inFile(t, path, "DELETE FROM frame WHERE id = 3")
			q, err := Open(t.Context(), Settings{Path: path, RetentionUndelivered: time.Nanosecond}, observe.NewDiscard())
			if err != nil {
				t.Fatal(err)
			}
			if err := giveUp(t, q); !errors.Is(err, queuefile.ErrRow) || len(q.broken) != 1 {
				t.Errorf("got %v, %d failures that end the process; want one that says what is missing", err, len(q.broken))
			}
			q.suspect(queuefile.ErrRow)
			if err := q.Close(); err != nil {
				t.Fatal(err)
			}
			q, stop := run(t, Settings{Path: path})
			defer stop()
			rows := lossRows(t, q)
			if len(rows) != 1 || rows[0].Kind != int64(edge.LossQuarantined) || rows[0].First != 4 || rows[0].Count != 1 {
				t.Errorf("the loss report is %+v, want the one record that was pending in the gap", rows)
			}
		})
	}
}

// Frames that the ledger counts are not in the file any more: a write that the disk
// has lost. The start says so, whether a part of them is gone or all.
func TestOpen_EndIsGone(t *testing.T) {
	for name, test := range map[string]struct {
		gone string
		want []edge.Position
	}{"Last": {"id = 5", []edge.Position{4}}, "All": {"id > 0", nil}} {
		t.Run(name, func(t *testing.T) {
			path := stopped(t)
			inFile(t, path, "UPDATE frame SET body = zeroblob(length(body)) WHERE "+test.gone) // nor in free space
			inFile(t, path, "DELETE FROM frame WHERE "+test.gone)
			q, stop := run(t, Settings{Path: path})
			defer stop()
			if diff := cmp.Diff(test.want, PositionsOf(leaseAll(t, q, 1))); diff != "" {
				t.Error(diff)
			}
			if stats := q.Stats(); stats.Salvaged != 1 || stats.Quarantined == 0 {
				t.Errorf("salvaged %d, quarantined %d: nothing says that messages are gone", stats.Salvaged, stats.Quarantined)
			}
		})
	}
}

// One bit of the head of a page says how many rows it lists. The rows are whole, and
// all of them are served, whether something comes behind them or not.
func TestOpen_RowIsHidden(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	q, stop := run(t, Settings{Path: path})
	const records = 7 // in one leaf, which no other table fills as far
	for i := range records {
		accepted(t, q, []edge.Entry{{Record: edgetest.Record("dev", i), Owed: []edge.SinkID{1}}})
	}
	stop()
	flips := 0
	rewrite(t, path, func(b []byte) []byte {
		for page := sqlite.PageBytes; page < len(b); page += sqlite.PageBytes {
			if b[page] == 0x0D && b[page+3] == 0 && b[page+4] == records {
				b[page+4] ^= 1
				flips++
			}
		}
		return b
	})
	if flips != 1 {
		t.Fatalf("%d pages have %d rows", flips, records)
	}
	q, stop = run(t, Settings{Path: path})
	defer stop()
	if got := leaseAll(t, q, 1); len(got) != records || q.Stats().Salvaged != 1 {
		t.Errorf("leased %v of %d, %d files salvaged", PositionsOf(got), records, q.Stats().Salvaged)
	}
}

// TestOpen_QuarantinedOnce replaces a file again and again that has lost a frame: the
// frame is counted when it is found, and never again.
func TestOpen_QuarantinedOnce(t *testing.T) {
	spoilHeader := func(t *testing.T, path string) {
		rewrite(t, path, func(content []byte) []byte {
			copy(content, bytes.Repeat([]byte{0xFF}, 64))
			return content
		})
	}
	for name, spoil := range map[string]func(t *testing.T, path string){
		"FoundByALane": func(*testing.T, string) {}, "FoundByTheSalvage": spoilHeader,
	} {
		t.Run(name, func(t *testing.T) {
			path := stopped(t)
			inFile(t, path, "UPDATE frame SET body = zeroblob(length(body)) WHERE id = 5")
			spoil(t, path)
			for range 3 {
				q, stop := run(t, Settings{Path: path})
				leased := leaseAll(t, q, 1)
				if quarantined := q.Stats().Quarantined; quarantined != 2 || len(leased) != 1 {
					t.Errorf("%d records are quarantined and %d leased, want 2 and 1", quarantined, len(leased))
				}
				stop()
				spoilHeader(t, path)
			}
		})
	}
}
