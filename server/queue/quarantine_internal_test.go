package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// lossRow is what a row of loss says about damage.
type lossRow struct{ Sink, Kind, First, Last, Count int64 }

func lossRows(t *testing.T, q *Queue) (rows []lossRow) {
	t.Helper()
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Query("SELECT sink, kind, first, last, count FROM loss ORDER BY first, sink", func(row sqlite.Row) error {
			rows = append(rows, lossRow{row.Int(0), row.Int(1), row.Int(2), row.Int(3), row.Int(4)})
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestQueue_Quarantine(t *testing.T) {
	bubble(t, "EverythingElseIsServed", func(t *testing.T) {
		q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
		for i := range 5 {
			accepted(t, q, owedTo(large(2*i, 2), 1, 2))
		}
		damage(t, q, 5)
		q.cache = frameCache{}
		want := []edge.Position{1, 2, 3, 4, 7, 8, 9, 10}
		leased := leaseAll(t, q, 1)
		if diff := cmp.Diff(want, PositionsOf(leased)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]lossRow{{1, int64(edge.LossQuarantined), 5, 6, 2}, {2, int64(edge.LossQuarantined), 5, 6, 2}}, lossRows(t, q)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff(want, PositionsOf(leaseAll(t, q, 2))); diff != "" {
			t.Error(diff)
		}
		if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: leased}); err != nil {
			t.Fatal(err)
		}
		accepted(t, q, owedTo(large(10, 2), 1, 2)) // the doors stay open
		expectBalance(t, q, 10)
		stats := q.Stats()
		if sink := stats.Sinks[0]; stats.Quarantined != 2 || sink.Discarded != 2 || sink.Delivered != 8 || sink.Pending != 2 {
			t.Errorf("%d quarantined, sink %+v", stats.Quarantined, sink)
		}
		if records, _, err := q.Read(t.Context(), 4, 10); err != nil || len(records) != 6 {
			t.Errorf("read %d records behind the damage, %v; want 6", len(records), err)
		}
	})
	bubble(t, "MixedFrameIsCountedExactly", func(t *testing.T) {
		q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
		accepted(t, q, owedTo(large(0, 2), 1, 2))
		mixed := append(owedTo(large(2, 3), 1), owedTo(large(5, 1), 2)...) // in one commit
		accepted(t, q, mixed)
		accepted(t, q, append(owedTo(large(6, 1), 2), owedTo(large(7, 1), 1)...))
		damage(t, q, 3)
		q.cache = frameCache{}
		leased := leaseAll(t, q, 1)
		if diff := cmp.Diff([]edge.Position{1, 2, 8}, PositionsOf(leased)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]lossRow{{1, int64(edge.LossQuarantined), 3, 6, 3}, {2, int64(edge.LossQuarantined), 3, 6, 1}}, lossRows(t, q)); diff != "" {
			t.Error(diff)
		}
		expectBalance(t, q, 4)
	})
}

// What is leased was read before the damage, and is still delivered.
func TestQueue_Quarantine_Leased(t *testing.T) { synctest.Test(t, quarantineLeased) }

func quarantineLeased(t *testing.T) {
	q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	accepted(t, q, owedTo(large(0, 4), 1, 2))
	leased, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 2, Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	damage(t, q, 1)
	q.cache = frameCache{}
	if more := leaseAll(t, q, 2); len(more) > 0 {
		t.Errorf("leased %v of a damaged frame", PositionsOf(more))
	}
	if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: leased[:1]}); err != nil {
		t.Fatal(err)
	}
	q.Release(1, leased[1:]) // its bytes are gone
	if more := leaseAll(t, q, 1); len(more) > 0 {
		t.Errorf("leased %v of a damaged frame", PositionsOf(more))
	}
	expectBalance(t, q, 0)
	if sink := q.Stats().Sinks[0]; sink.Delivered != 1 || sink.Discarded != 3 || sink.Pending != 0 || sink.Cursor != 5 {
		t.Errorf("sink %+v, want 1 delivered, 3 lost", sink)
	}
	if diff := cmp.Diff([]lossRow{{1, 3, 1, 4, 3}, {2, 3, 1, 4, 4}}, lossRows(t, q)); diff != "" {
		t.Error(diff)
	}
}

// TestOpen_Damage starts on damage in what a start reads: once when everything
// was counted before, and once when the damaged frames have to be counted.
func TestOpen_Damage(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := run(t, settings)
	for i := range 3 {
		accepted(t, q, large(2*i, 2))
	}
	uncounted := crashed(t, q)
	stop()
	for _, path := range []string{settings.Path, uncounted} {
		damageIn(t, path, 3, 5)
		q, stop = run(t, Settings{Path: path})
		accepted(t, q, large(6, 2))
		if diff := cmp.Diff([]edge.Position{1, 2, 7, 8}, PositionsOf(leaseAll(t, q, 1))); diff != "" {
			t.Error(diff)
		}
		expectBalance(t, q, 4)
		if stats := q.Stats(); stats.Quarantined != 4 || stats.Accepted != 8 || stats.Sinks[0].Discarded != 4 {
			t.Errorf("got %+v, want 4 of 8 quarantined", stats)
		}
		stop()
	}
}

func TestQueue_Quarantine_DeadLetters(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	defer stop()
	accepted(t, q, large(0, 4))
	deadLetter(t, q, leaseAll(t, q, 1))
	refusal := edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "metrics", "too many")
	answers(t, q, []edge.Entry{{Record: edgetest.Record("dev-1", 9), Refusal: refusal}})
	if got := listed(t, q, edge.DeadLetterKey{}, 10); len(got) != 5 {
		t.Fatalf("listed %v, want 5", got)
	}
	spoilLetters(t, q, "sink = 1 AND position = 2")
	spoilLetters(t, q, "sink = 0")
	want := []edge.DeadLetterKey{{Sink: 1, Position: 1}, {Sink: 1, Position: 3}, {Sink: 1, Position: 4}}
	if diff := cmp.Diff(want, listed(t, q, edge.DeadLetterKey{}, 10)); diff != "" {
		t.Error(diff)
	}
	sendBack(t, q, 3)
	spoilLetters(t, q, "sink = 1 AND position = 3")
	if diff := cmp.Diff([]edge.Position{1, 4}, PositionsOf(leaseAll(t, q, 1))); diff != "" {
		t.Error(diff)
	}
	expectBalance(t, q, 4)
	stats := q.Stats()
	if sink := stats.Sinks[0]; sink.Dead != 2 || sink.Discarded != 2 || sink.Requeueing != 2 || stats.Quarantined != 3 || stats.IngressEvicted != 1 {
		t.Errorf("%d quarantined, sink %+v", stats.Quarantined, sink)
	}
	if diff := cmp.Diff([]lossRow{{0, int64(edge.LossQuarantined), 1, 1, 1}}, lossRows(t, q)[:1]); diff != "" {
		t.Error(diff)
	}
}

// A record that comes back is leased again and delivered, when the records behind
// it, which the sink is not owed, were passed over before. The ranges must not
// reach below the cursor: a start would take them for damaged.
func TestAccount_Release_PassedOver(t *testing.T) {
	q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	accepted(t, q, owedTo(large(0, 1), 1))
	accepted(t, q, owedTo(large(1, 2), 2))
	first := leaseAll(t, q, 1)
	if got := len(first); got != 1 {
		t.Fatalf("leased %d, want 1", got)
	}
	q.Release(1, first)
	again, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 1, Bytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: again}); err != nil {
		t.Fatal(err)
	}
	leaseAll(t, q, 1)
	accepted(t, q, owedTo(large(3, 1), 1))
	leaseAll(t, q, 1)
	expectBalance(t, q, 4)
}

// TestQueue_Quarantine_BodyIsNoBlob meets a row whose type says that its body is
// text, the only other type that is as long. Its bytes are still there, and served.
func TestQueue_Quarantine_BodyIsNoBlob(t *testing.T) {
	path := fiveFrames(t)
	inSecondRow(t, path, func(row []byte) {
		types := row[2 : 1+row[1]] // of the columns, behind the key and their own length
		types[len(types)-1] ^= 1
	})
	q, stop := run(t, Settings{Path: path})
	defer stop()
	if diff := cmp.Diff([]edge.Position{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, PositionsOf(leaseAll(t, q, 1))); diff != "" {
		t.Error(diff)
	}
	if totals := q.ledger.read(); totals.Quarantined != 0 || totals.Salvaged != 0 {
		t.Errorf("ledger %+v, want the file served as it is", totals)
	}
}

// TestQueue_Quarantine_RowIsHidden meets a row whose position in the tree of the
// table is damaged: whoever reads along finds it, and whoever looks for it does
// not. It cannot be set aside; the process ends, and the next start salvages.
func TestQueue_Quarantine_RowIsHidden(t *testing.T) {
	path := fiveFrames(t)
	inSecondRow(t, path, func(row []byte) { row[0] = 100 })
	q, err := Open(t.Context(), Settings{Path: path}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- q.Run(context.Background()) }()
	for err == nil {
		_, err = q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 3, Bytes: 1 << 30})
	}
	fatal, ended := errors.AsType[*FatalError](<-done)
	if !ended || !errors.Is(fatal, queuefile.ErrRow) {
		t.Fatalf("Run ends with %v, a lease with %v; want an end of the process", fatal, err)
	}
	if err := q.db.Close(); err != nil { // the process is gone
		t.Fatal(err)
	}
	q, stop := run(t, Settings{Path: path})
	defer stop()
	if diff := cmp.Diff([]edge.Position{1, 2, 5, 6, 7, 8, 9, 10}, PositionsOf(leaseAll(t, q, 1))); diff != "" {
		t.Error(diff)
	}
	// The position in the row is all that is known of where it stood, so those in
	// front of it count as missing too.
	if got := q.ledger.read(); got.Salvaged != 1 || got.Quarantined < 2 {
		t.Errorf("ledger %+v, want one file salvaged and its two messages quarantined", got)
	}
	// What is in no frame any more can be brought back, too.
	gone := edgetest.Entries(1, 1, 1)
	gone[0].Record = edgetest.Record("dev", 2)
	if got := answers(t, q, gone)[0]; got.Err != nil || got.Receipt.Duplicate {
		t.Errorf("a lost message that is sent again: %+v, %v; want it stored", got.Receipt, got.Err)
	}
}

// fiveFrames returns the path of a queue that was closed: five frames of two small
// records each, in one page, and all of them wait.
func fiveFrames(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue.db")
	q, stop := run(t, Settings{Path: path})
	defer stop()
	for i := range 5 {
		entries := edgetest.Entries(2, 1, 1)
		for j := range entries {
			entries[j].Record = edgetest.Record("dev", 2*i+j)
		}
		accepted(t, q, entries)
	}
	return path
}

// inSecondRow changes the second of five frames where it stands in the file,
// which no statement can: from its key on, which is 3.
func inSecondRow(t *testing.T, path string, change func(row []byte)) {
	t.Helper()
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	root := int64(0)
	err = db.Read(t.Context(), func(conn *sqlite.Conn) error {
		_, err := conn.One("SELECT rootpage FROM sqlite_schema WHERE name = 'frame'", func(row sqlite.Row) { root = row.Int(0) })
		return err
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	rewrite(t, path, func(content []byte) []byte {
		const leaf, header = 13, 8 // the kind of a page that holds rows, and where the places of its rows begin
		page := content[(root-1)*sqlite.PageBytes:][:sqlite.PageBytes]
		cell := page[binary.BigEndian.Uint16(page[header+2:]):]
		_, length := binary.Uvarint(cell) // SQLite's are as long as these
		if page[0] != leaf || cell[length] != 3 {
			t.Fatalf("the second row of a page of kind %d has key %d, want 3", page[0], cell[length])
		}
		change(cell[length:])
		return content
	})
}

// TestQueue_Quarantine_SentAgain sends messages again that are in quarantine, before
// and after a start: they are stored, and recognised from then on. What is whole is
// recognised all the time.
func TestQueue_Quarantine_SentAgain(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := run(t, settings)
	named := large(4, 2)
	for i := range named {
		named[i].Record.Identity = edge.Identity{MessageID: fmt.Sprint("message-", i), Explicit: true}
	}
	batches := [][]edge.Entry{large(0, 2), large(2, 2), named}
	for _, batch := range batches {
		accepted(t, q, batch)
	}
	damage(t, q, 3)
	damage(t, q, 5)
	q.cache = frameCache{}
	leaseAll(t, q, 1)
	again := func(batch []edge.Entry, wants ...edge.Position) {
		t.Helper()
		for i, reply := range answers(t, q, batch) {
			if got := reply.Receipt; reply.Err != nil || got.Duplicate != (wants[i] <= 6) || got.Conflict || got.Correlation.Position() != wants[i] {
				t.Errorf("message %d: %+v, %v; want position %d", i, got, reply.Err, wants[i])
			}
		}
	}
	again(batches[0], 1, 2)
	again(batches[1][:1], 7)
	stop()
	q, stop = run(t, settings)
	defer stop()
	again(batches[1][1:], 8)
	named[0].Record.Payload = []byte(`{"schema_version":1,"metrics":{"t":2}}`) // what the key named is gone
	again(named, 9, 10)
	again(batches[0], 1, 2)
	if diff := cmp.Diff([]edge.Position{1, 2, 7, 8, 9, 10}, PositionsOf(leaseAll(t, q, 1))); diff != "" {
		t.Error(diff)
	}
	for i, reply := range answers(t, q, append(batches[1], named...)) {
		if position := reply.Receipt.Correlation.Position(); !reply.Receipt.Duplicate || position != edge.Position(7+i) {
			t.Errorf("message %d once more: %+v, %v; want a duplicate of %d", i, reply.Receipt, reply.Err, 7+i)
		}
	}
	expectBalance(t, q, 6)
}
