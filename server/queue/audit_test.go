package queue_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// counter is a counter of the file, and what VerifyLedger says when somebody has
// raised it.
type counter struct {
	table, column, where string
	account, field       string
	// found says that the counter is wrong even when the checksum of its row fits.
	found bool
}

var counters = []counter{
	{"ledger", "accepted", "1", edge.LedgerTotal, "accepted_count", true},
	{"ledger", "unrouted", "1", edge.LedgerTotal, "unrouted_count", true},
	{"ledger", "ingress_refused", "1", edge.IngressName, "dead_count", true},
	{"ledger", "ingress_evicted", "1", edge.IngressName, "dead_count", true},
	{"ledger", "attempt_bytes", "1", edge.LedgerTotal, "attempt_bytes", true},
	{"ledger", "quarantined", "1", edge.LedgerTotal, "checksum", false},
	{"ledger", "salvaged", "1", edge.LedgerTotal, "checksum", false},
	{"ledger", "skipped", "1", edge.LedgerTotal, "accepted_count", true},
	{"sink", "counted", "id = 1", "sink-1", "checksum", false},
	{"sink", "owed", "id = 1", "sink-1", "owed_count", true},
	{"sink", "delivered", "id = 1", "sink-1", "pending_count", true},
	{"sink", "dead", "id = 1", "sink-1", "dead_count", true},
	{"sink", "held", "id = 1", "sink-1", "pending_count", true},
	{"sink", "discarded", "id = 1", "sink-1", "discarded_count", true},
	{"sink", "expired", "id = 2", "sink-2", "expired_count", true},
	{"death", "now", "sink = 1", "sink-1", "dead_count.rejected", true},
	{"death", "ever", "sink = 1", "sink-1", "checksum.rejected", false},
	{"loss", "count", "sink = 2", "sink-2", "loss_count.1", true},
}

// notCounters are the other numbers of those tables: places, times and names,
// whose checksums say so at a start, or whose rows explain and count nothing.
var notCounters = map[string][]string{
	"ledger": {"id", "log", "counted", "replay_from", "gateway_time", "wall_time", "boot_time", "checksum", "cursors_lost", "restored_at", "counts_checksum"},
	"sink":   {"id", "removed", "start", "backlog_from", "cursor", "checksum", "counts_checksum", "removed_at"},
	"death":  {"sink", "checksum"},
	"loss":   {"id", "sink", "kind", "first", "last", "first_received", "last_received", "at"},
}

// audited makes a file in which every counter counts something that happened.
func audited(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queue.db")
	synctest.Test(t, func(t *testing.T) {
		r := startWith(t, queue.Settings{Path: path}, queue.SinkSpec{Name: "sink-1", Kind: "test"},
			queue.SinkSpec{Name: "sink-2", Kind: "test", Limits: queue.Limits{TTL: time.Second}})
		entries := append(edgetest.Entries(60, 3, 1, 2), edgetest.Entries(3, 3)...)
		for i := range entries {
			entries[i].Record = edgetest.Record(entries[i].Record.Device, i)
		}
		refused := edge.Entry{Record: edgetest.Record("dev-9", 1), Refusal: edge.Refuse(edge.Invalid, edge.ReasonMissingField, "metrics", "at least one metric is required")}
		edgetest.Append(t, r.Queue, append(entries, refused)...)
		r.reject(t, 1, r.lease(t, 1, 10))
		r.ack(t, 1, r.lease(t, 1, 20))
		r.ack(t, 2, r.lease(t, 2, 15))
		time.Sleep(5 * time.Second) // what waits for sink-2 expires
		r.close(t)
	})
	return path
}

// edit changes a copy of a file by hand.
func edit(t *testing.T, path, statement string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	edited := filepath.Join(t.TempDir(), "queue.db")
	if err := os.WriteFile(edited, content, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, edited)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
		if err := conn.Exec(statement); err != nil {
			return err
		}
		changed := int64(0)
		if _, err := conn.One("SELECT changes()", func(row sqlite.Row) { changed = row.Int(0) }); err != nil || changed != 1 {
			return fmt.Errorf("%s: changed %d rows, %w", statement, changed, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return edited
}

// audit opens a file, and returns how many counters the start finds wrong, and
// what VerifyLedger finds.
func audit(t *testing.T, path string) (atStart int64, ledger edge.Ledger) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := startWith(t, queue.Settings{Path: path}, specs(2)...)
		atStart = r.Stats().LedgerMismatches
		var err error
		if ledger, err = r.VerifyLedger(t.Context()); err != nil {
			t.Fatal(err)
		}
		if found := r.Stats().LedgerMismatches; found != ledger.Found {
			t.Errorf("the statistics say %d, found were %d", found, ledger.Found)
		}
	})
	return atStart, ledger
}

func TestQueue_VerifyLedger(t *testing.T) {
	path := audited(t)
	t.Run("Balances", func(t *testing.T) {
		atStart, ledger := audit(t, edit(t, path, "UPDATE ledger SET log = log")) // a copy as it is
		want := edge.Ledger{Accepted: 63, Unrouted: 3, Stored: 63, Sinks: []edge.SinkLedger{
			{Sink: 1, Name: "sink-1", Owed: 60, Delivered: 20, Dead: 10, Pending: 30},
			{Sink: 2, Name: "sink-2", Owed: 60, Delivered: 15, Expired: 45},
		}}
		if diff := cmp.Diff(want, ledger); diff != "" || atStart != 0 {
			t.Errorf("%d wrong at the start; %s", atStart, diff)
		}
	})
	for _, counter := range counters {
		t.Run(counter.table+"."+counter.column, func(t *testing.T) {
			raise := fmt.Sprintf("UPDATE %s SET %s = %[2]s + 1", counter.table, counter.column)
			atStart, ledger := audit(t, edit(t, path, raise+" WHERE "+counter.where))
			expectMismatch(t, ledger, counter)
			if counter.table == "loss" {
				return // which has no checksum, but says everything twice
			}
			if atStart == 0 {
				t.Error("the start took it for what was written")
			}
			sum := map[string]string{"ledger": "counts_checksum", "sink": "counts_checksum", "death": "checksum"}[counter.table]
			atStart, ledger = audit(t, edit(t, path, fmt.Sprintf("%s, %s = NULL WHERE %s", raise, sum, counter.where)))
			if atStart != 0 {
				t.Errorf("%d counters are wrong by a checksum that fits", atStart)
			}
			if counter.found {
				expectMismatch(t, ledger, counter)
			}
		})
	}
	t.Run("KnowsEveryCounter", func(t *testing.T) { knowsEveryCounter(t, path) })
}

func expectMismatch(t *testing.T, ledger edge.Ledger, counter counter) {
	t.Helper()
	found := slices.ContainsFunc(ledger.Mismatches, func(mismatch edge.LedgerMismatch) bool {
		return mismatch.Account == counter.account && mismatch.Field == counter.field
	})
	if !found || ledger.Found != int64(len(ledger.Mismatches)) {
		t.Errorf("want %s of %s among %+v", counter.field, counter.account, ledger.Mismatches)
	}
}

// knowsEveryCounter fails when the schema has got a number that nobody has decided
// about.
func knowsEveryCounter(t *testing.T, path string) {
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for table, others := range notCounters {
		known := slices.Clone(others)
		for _, counter := range counters {
			if counter.table == table {
				known = append(known, counter.column)
			}
		}
		var columns []string
		err := db.Read(t.Context(), func(conn *sqlite.Conn) error {
			return conn.Query("SELECT name FROM pragma_table_info(?) WHERE type = 'INTEGER'", func(row sqlite.Row) error {
				columns = append(columns, row.Text(0))
				return nil
			}, table)
		})
		slices.Sort(known)
		slices.Sort(columns)
		if diff := cmp.Diff(slices.Compact(known), columns); diff != "" || err != nil {
			t.Errorf("%s: %s, %v", table, diff, err)
		}
	}
}

// TestQueue_VerifyLedger_UnderLoad counts again and again while records come, are
// delivered, merged and removed.
func TestQueue_VerifyLedger_UnderLoad(t *testing.T) {
	r := start(t, queue.Settings{RetentionDelivered: time.Millisecond}, 2)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ctx.Err() == nil; i++ {
			entries := edgetest.Entries(40, 4, 1, 2)
			for j := range entries {
				entries[j].Record = edgetest.Record(entries[j].Record.Device, 40*i+j)
			}
			edgetest.Append(t, r.Queue, entries...)
			r.ack(t, 1, r.lease(t, 1, 40))
			if i%3 > 0 { // sink-2 falls behind
				r.ack(t, 2, r.lease(t, 2, 40))
			}
		}
	}()
	for range 20 {
		ledger, err := r.VerifyLedger(t.Context())
		if err != nil || ledger.Found > 0 {
			t.Errorf("%+v, %v", ledger, err)
		}
	}
	stop()
	<-done
}

// TestQueue_VerifyLedger_Gone finds records that are in no frame any more.
func TestQueue_VerifyLedger_Gone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	r := start(t, queue.Settings{Path: path}, 1)
	for i := range 3 {
		entries := edgetest.Entries(5, 1, 1)
		for j := range entries {
			entries[j].Record = edgetest.Record("dev-1", 5*i+j)
		}
		edgetest.Append(t, r.Queue, entries...)
	}
	r.close(t)
	_, ledger := audit(t, edit(t, path, "DELETE FROM frame WHERE id = 6"))
	fields := []string{}
	for _, mismatch := range ledger.Mismatches {
		fields = append(fields, mismatch.Account+" "+mismatch.Field)
	}
	if got, want := strings.Join(fields, ", "), "total stored_count, sink-1 owed_count, sink-1 pending_count"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
}
