package queue

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
)

func TestRetention(t *testing.T) {
	bubble(t, "KeepsWhatIsNotSavedAsSettled", retentionKeepsWhatIsNotSavedAsSettled)
	bubble(t, "FullQueueIsEmptiedOfSettledRecords", retentionFullQueueIsEmptied)
	bubble(t, "FullDiskIsEmptiedOfSettledRecords", retentionFullDiskIsEmptied)
	bubble(t, "SettledRecordsGoBeforeAnythingIsRefused", retentionSettledRecordsGoFirst)
}

// A crash comes when a dead letter is known in memory only. Its frame is then
// all there is of the record.
func retentionKeepsWhatIsNotSavedAsSettled(t *testing.T) {
	settings := Settings{RetentionDelivered: time.Nanosecond, Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := run(t, settings)
	accepted(t, q, large(0, 1))
	stop() // a start needs the frame no more
	<-time.After(time.Second)
	q, stop = run(t, settings)
	defer stop()
	unowed := func(n int) []edge.Entry { return []edge.Entry{{Record: edgetest.Record("other", n)}} }
	accepted(t, q, unowed(0)) // saves what is settled, so that the next commit does not
	leased, err := q.Lease(t.Context(), 1, edge.LeaseLimit{Records: 1, Bytes: 1})
	if err != nil {
		t.Fatal(err)
	}
	death := edge.Death{Delivery: leased[0], Reason: edge.DeathRejected}
	if err := q.Settle(t.Context(), 1, edge.Settlement{Dead: []edge.Death{death}}); err != nil {
		t.Fatal(err)
	}
	accepted(t, q, unowed(1))

	started, err := Open(t.Context(), Settings{Path: crashed(t, q)}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer started.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	again, err := started.Lease(ctx, 1, edge.LeaseLimit{Records: 1, Bytes: 1})
	if err != nil || again[0].Record.Position != 1 {
		t.Errorf("leased %d deliveries, %v; want the record whose death was not saved", len(again), err)
	}
	expectBalance(t, started, 3)

	// Once the death is saved the frame may go.
	<-time.After(3 * maintenanceInterval)
	if oldest := q.Stats().Oldest; oldest == 1 {
		t.Errorf("the oldest record is %d, want its frame removed", oldest)
	}
}

const smallLimit = 8 << 20 // Settings.MaxBytes

func retentionFullQueueIsEmptied(t *testing.T) {
	q, _ := opened(t, Settings{MaxBytes: smallLimit, RetentionDelivered: time.Hour})
	stored := fillUp(t, q)
	settleAll(t, q, stored)
	began := time.Now()
	q.intake.waitUntil(t, true)
	if took := time.Since(began); took > time.Minute {
		t.Errorf("the queue took nothing for %v", took)
	}
	<-time.After(time.Minute)
	if stats := q.Stats(); stats.Oldest == 0 || stats.Bytes < smallLimit/2 {
		t.Errorf("%d bytes are left, the oldest record is %d: more was removed than necessary", stats.Bytes, stats.Oldest)
	}
	accepted(t, q, large(stored, 10))
}

func retentionFullDiskIsEmptied(t *testing.T) {
	disk := simulated(t, volumeBytes)
	settings := simulatedSettings(disk)
	settings.RetentionDelivered = time.Hour
	q, _ := opened(t, settings)
	const settled = 2000 // 8 MB, more than what has to be free
	for next := 0; next < settled; next += 100 {
		accepted(t, q, random(next, 100))
	}
	settleAll(t, q, settled)
	hog(t, disk, 0)
	answers(t, q, random(settled, 40))
	q.intake.waitUntil(t, false)
	q.intake.waitUntil(t, true)
	accepted(t, q, random(settled, 40)) // in pages that were freed: the file may still not grow
}

func retentionSettledRecordsGoFirst(t *testing.T) {
	q, _ := opened(t, Settings{MaxBytes: smallLimit, RetentionDelivered: time.Hour})
	for next := 0; q.Stats().Oldest < 10_000; next += 100 {
		accepted(t, q, large(next, 100))
		settleAll(t, q, 100)
		<-time.After(2 * saveInterval)
	}
}
