package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
	"combotto.io/gateway/server/sqlite/simdisk"
)

// Begin opens and runs a queue with sinks, for the tests of both packages. Whoever
// cancels it reads from done how it ended. Without a path it gets one of its own.
func Begin(t testing.TB, settings Settings, observer *observe.Observer, sinks ...SinkSpec) (q *Queue, cancel context.CancelFunc, done <-chan error) {
	t.Helper()
	if settings.Path == "" {
		settings.Path = filepath.Join(t.TempDir(), "queue.db")
	}
	q, err := Open(t.Context(), settings, observer)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := q.EnsureSinks(t.Context(), sinks); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- q.Run(ctx) }()
	return q, cancel, ended
}

// begin is Begin with one sink.
func begin(t *testing.T, settings Settings) (q *Queue, cancel context.CancelFunc, done <-chan error) {
	t.Helper()
	return Begin(t, settings, observe.NewDiscard(), SinkSpec{Name: "sink-1", Kind: "test"})
}

// opened begins a queue that ends with the test, however it ends.
func opened(t *testing.T, settings Settings) (*Queue, <-chan error) {
	t.Helper()
	q, cancel, done := begin(t, settings)
	t.Cleanup(func() { cancel(); <-q.closed })
	return q, done
}

// onDisk is opened on a disk in memory, which takes no time and which a test can
// break.
func onDisk(t *testing.T, settings Settings) (q *Queue, done <-chan error, disk *simdisk.Disk) {
	t.Helper()
	disk = simulated(t, 0)
	settings.Path, settings.Disk = simulatedSettings(disk).Path, disk.Port()
	q, done = opened(t, settings)
	return q, done, disk
}

// run begins a queue that has to end well when stop is called.
func run(t *testing.T, settings Settings) (q *Queue, stop func()) {
	t.Helper()
	q, cancel, done := begin(t, settings)
	return q, func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// large returns entries that do not fit into free pages.
func large(first, count int) []edge.Entry {
	entries := edgetest.Entries(count, 1, 1)
	for i := range entries {
		entries[i].Record = edgetest.Record("dev", first+i)
		payload := make([]byte, 4000)
		for j := range payload {
			payload[j] = byte((i+first)*31 + j*j*7 + j>>3) // does not compress to nothing
		}
		entries[i].Record.Payload = payload
	}
	return entries
}

// random returns entries that do not compress.
func random(first, count int) []edge.Entry {
	entries := large(first, count)
	for i := range entries {
		payload := entries[i].Record.Payload
		for j, source := 0, rand.NewPCG(uint64(first+i), 0); j < len(payload); j += 8 {
			binary.LittleEndian.PutUint64(payload[j:], source.Uint64())
		}
	}
	return entries
}

// answers appends entries and returns their answers.
func answers(t *testing.T, q *Queue, entries []edge.Entry) []edgetest.Reply {
	t.Helper()
	replies := edgetest.NewReplies()
	for i := range entries {
		entries[i].Replier, entries[i].Token = replies, uint64(i)
	}
	if err := q.Append(t.Context(), entries...); err != nil {
		t.Fatal(err)
	}
	return replies.Wait(t, len(entries))
}

// accepted appends entries that have to be stored.
func accepted(t *testing.T, q *Queue, entries []edge.Entry) {
	t.Helper()
	for _, reply := range answers(t, q, entries) {
		if reply.Err != nil {
			t.Fatal(reply.Err)
		}
	}
}

// bubble runs a test in virtual time: the committer looks for room once a second.
func bubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// Crashed returns the path of a copy of the files as they are now, as a crash would
// leave them: nothing is closed or checkpointed. Nothing may be written meanwhile.
func Crashed(t testing.TB, path string) string {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "queue.db")
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(path + suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied+suffix, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return copied
}

// crashed is Crashed for the files of a queue.
func crashed(t *testing.T, q *Queue) string {
	t.Helper()
	return Crashed(t, q.settings.Path)
}

// deadLetter settles deliveries of sink 1 as dead.
func deadLetter(t *testing.T, q *Queue, deliveries []edge.Delivery) {
	t.Helper()
	var settlement edge.Settlement
	for _, delivery := range deliveries {
		settlement.Dead = append(settlement.Dead, edge.Death{Delivery: delivery, Reason: edge.DeathRejected})
	}
	if err := q.Settle(t.Context(), 1, settlement); err != nil {
		t.Fatal(err)
	}
}

// decideThree leases all that the first sink is owed, and lets the first and the
// third record arrive and the second be dead.
func decideThree(t *testing.T, q *Queue) (leased []edge.Delivery) {
	t.Helper()
	leased = leaseAll(t, q, 1)
	deadLetter(t, q, leased[1:2])
	if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: []edge.Delivery{leased[0], leased[2]}}); err != nil {
		t.Fatal(err)
	}
	return leased
}

// lent leases what is due for sink 1.
func lent(t *testing.T, q *Queue) []edge.Delivery {
	t.Helper()
	deliveries, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 100, Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	return deliveries
}

// leaseAll leases until nothing is due.
func leaseAll(t *testing.T, q *Queue, sink edge.SinkID) (leased []edge.Delivery) {
	t.Helper()
	account, err := q.account(sink)
	if err != nil {
		t.Fatal(err)
	}
	for {
		deliveries, err := leaseSome(t.Context(), q, account, 3)
		if err != nil {
			t.Fatal(err)
		}
		if len(deliveries) == 0 {
			return leased
		}
		leased = append(leased, deliveries...)
	}
}

// leaseSome leases what is due, none when nothing is. Nothing is said to be due while
// something damaged is being set aside, so it waits for that.
func leaseSome(ctx context.Context, q *Queue, account *account, records int) ([]edge.Delivery, error) {
	for {
		due := account.due.changed()
		deliveries, err := q.leaseNow(ctx, account, edge.LeaseLimit{Records: records, Bytes: 1 << 30})
		if len(deliveries) > 0 || err != nil {
			return deliveries, err
		}
		account.mu.Lock()
		paused := account.paused
		account.mu.Unlock()
		if !paused {
			return nil, nil
		}
		<-due
	}
}

// PositionsOf lists where the records of deliveries lie.
func PositionsOf(deliveries []edge.Delivery) (positions []edge.Position) {
	for i := range deliveries {
		positions = append(positions, deliveries[i].Record.Position)
	}
	return positions
}

// damage flips one bit of a frame.
func damage(t *testing.T, q *Queue, id edge.Position) {
	t.Helper()
	err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error {
		var body []byte
		_, err := conn.One("SELECT body FROM frame WHERE id = ?", func(row sqlite.Row) { body = row.Bytes(0) }, int64(id))
		if err != nil {
			return err
		}
		body[len(body)/2] ^= 4
		return conn.Exec("UPDATE frame SET body = ? WHERE id = ?", body, int64(id))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// damageIn opens a file as it is, without the queue, and flips one bit of each of
// these frames.
func damageIn(t *testing.T, path string, ids ...edge.Position) {
	t.Helper()
	db, err := queuefile.Open(t.Context(), sqlite.Disk{}, path)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		damage(t, &Queue{db: db}, id)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// settleAll leases and settles so many records as delivered.
func settleAll(t *testing.T, q *Queue, count int) {
	t.Helper()
	for settled := 0; settled < count; {
		leased, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 500, Bytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: leased}); err != nil {
			t.Fatal(err)
		}
		settled += len(leased)
	}
}

// owedTo changes to which sinks entries are owed.
func owedTo(entries []edge.Entry, sinks ...edge.SinkID) []edge.Entry {
	for i := range entries {
		entries[i].Owed = sinks
	}
	return entries
}

// twoSinks is run with two sinks, until the test ends.
func twoSinks(t *testing.T, settings Settings) *Queue {
	t.Helper()
	q, stop := run(t, settings)
	t.Cleanup(stop)
	if _, err := q.EnsureSinks(t.Context(), []SinkSpec{{Name: "sink-1", Kind: "test"}, {Name: "sink-2", Kind: "test"}}); err != nil {
		t.Fatal(err)
	}
	return q
}

// simulated makes a disk of so many bytes that is let go of with the test.
func simulated(t *testing.T, capacity int64) *simdisk.Disk {
	t.Helper()
	disk := simdisk.New(simdisk.Settings{Seed: 1, Capacity: capacity})
	t.Cleanup(func() {
		if err := disk.Bury(); err != nil {
			t.Error(err)
		}
		disk.Close()
	})
	return disk
}

func simulatedSettings(disk *simdisk.Disk) Settings {
	return Settings{Path: "/data/queue.db", Disk: disk.Port()}
}

// expectBalance compares the ledger with the file.
func expectBalance(t *testing.T, q *Queue, stored int64) {
	t.Helper()
	recount, err := q.Recount(t.Context())
	if err != nil || !recount.Balanced() || recount.Stored != stored {
		t.Errorf("got %+v, %v; want a balance of %d records", recount, err, stored)
	}
}

// fill lets nothing find room any more, until the disk heals.
func fill(disk *simdisk.Disk) {
	disk.Inject(simdisk.Fault{Calls: simdisk.Write | simdisk.Allocate, Err: syscall.ENOSPC})
}

// deliver delivers so many records, or fewer when no more wait.
func deliver(t *testing.T, q *Queue, most int) {
	t.Helper()
	leased, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: most, Bytes: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Settle(t.Context(), 1, edge.Settlement{Acked: leased}); err != nil {
		t.Fatal(err)
	}
}
