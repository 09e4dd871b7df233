package queue

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// What explains and recognises must not close the doors of a queue whose sinks
// have everything.
func TestQueue_KeptInBounds(t *testing.T) {
	bubble(t, "RefusedMessages", keptRefusedMessages)
	bubble(t, "RefusedMessagesOfALargerQueue", keptRefusedMessagesOfALargerQueue)
	bubble(t, "Attempts", keptAttempts)
	bubble(t, "Window", keptWindow)
	bubble(t, "Damaged", keptDamaged)
	bubble(t, "DamagedOfALargerQueue", keptDamagedOfALargerQueue)
	bubble(t, "Losses", keptLosses)
	bubble(t, "LossesWithoutRoom", keptLossesWithoutRoom)
}

const keptLimit = 2 << 20

// refusedMessages returns entries that are refused at the door.
func refusedMessages(first, count int) []edge.Entry {
	entries := random(first, count)
	for i := range entries {
		entries[i].Refusal = edge.Refuse(edge.Invalid, edge.ReasonDepth, "", "too deep")
	}
	return entries
}

func keptRefusedMessages(t *testing.T) {
	q, _ := opened(t, Settings{MaxBytes: keptLimit})
	for next := range 20 {
		accepted(t, q, refusedMessages(100*next, 50)) // 4 MB in all
	}
	accepted(t, q, large(0, 10))
	expectBalance(t, q, 10)
}

func keptRefusedMessagesOfALargerQueue(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := run(t, settings)
	for next := range 20 {
		accepted(t, q, refusedMessages(100*next, 50))
	}
	stop()
	settings.MaxBytes = keptLimit
	q, _ = opened(t, settings)
	q.intake.waitUntil(t, true)
	<-time.After(time.Minute)
	accepted(t, q, large(0, 10))
	expectBalance(t, q, 10)
}

func keptAttempts(t *testing.T) {
	q, _ := opened(t, Settings{MaxBytes: keptLimit, RetentionDelivered: time.Nanosecond})
	const records = 200
	excerpt := strings.Repeat("x", 200)
	for next := 0; next < 10_000; next += records {
		entries := edgetest.Entries(records, 1, 1)
		for i := range entries {
			entries[i].Record = edgetest.Record("dev", next+i)
		}
		accepted(t, q, entries)
		for _, delivery := range leaseAll(t, q, 1) {
			position := delivery.Record.Position
			attempt := edge.Attempt{First: position, Last: position, Records: 1, Slots: 1, EndedAt: time.Now(), Class: edge.Delivered, Excerpt: excerpt}
			if err := q.Settle(t.Context(), 1, edge.Settlement{Attempt: attempt, Acked: []edge.Delivery{delivery}}); err != nil {
				t.Fatal(err)
			}
		}
		<-time.After(2 * saveInterval)
	}
	accepted(t, q, large(0, 10))
}

// setApart has so many frames of 40 KB stored, damaged, and set aside.
func setApart(t *testing.T, q *Queue, frames int) {
	t.Helper()
	for range frames {
		first := q.Head() + 1
		accepted(t, q, random(int(first), 10))
		synctest.Wait() // a checkpoint beside a writer that the committer does not know of moves less than it believes
		damage(t, q, first)
		q.cache = frameCache{}
		if leased := leaseAll(t, q, 1); len(leased) > 0 {
			t.Fatalf("leased %v of what is damaged", PositionsOf(leased))
		}
	}
}

// expectApart wants the newest ones of what was set aside to have their bytes, and all
// of them to be known.
func expectApart(t *testing.T, q *Queue, frames int) {
	t.Helper()
	rows, empty, bytes := int64(0), int64(0), int64(0)
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		_, err := conn.One("SELECT count(*), sum(length(body) = 0), sum(length(body)), max(iif(length(body) = 0, position, 0)) < min(iif(length(body) = 0, 1 << 40, position)) FROM quarantine", func(row sqlite.Row) {
			rows, empty, bytes = row.Int(0), row.Int(1), row.Int(2)
			if row.Int(3) == 0 {
				t.Error("older ones have their bytes, newer ones have not")
			}
		})
		return err
	})
	if err != nil || rows != int64(frames) || empty == 0 || empty == rows || bytes > keptLimit/historyShare {
		t.Errorf("%d rows, %d of them empty, with %d bytes, %v; want %d rows, and the newest %d bytes", rows, empty, bytes, err, frames, keptLimit/historyShare)
	}
	accepted(t, q, large(int(q.Head())+1, 10))
	expectBalance(t, q, 10)
}

func keptDamaged(t *testing.T) {
	q, _ := opened(t, Settings{MaxBytes: keptLimit})
	setApart(t, q, 60) // 2.4 MB
	expectApart(t, q, 60)
}

func keptDamagedOfALargerQueue(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := run(t, settings)
	setApart(t, q, 60)
	stop()
	settings.MaxBytes = keptLimit
	q, _ = opened(t, settings)
	q.intake.waitUntil(t, true)
	<-time.After(time.Minute)
	expectApart(t, q, 60)
}

// What knows many devices is saved before frames go, but not all of it at once.
func keptWindow(t *testing.T) {
	const devices, messages = 28, 28 * windowRing
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db"), MaxBytes: smallLimit}
	q, stop := run(t, settings)
	for entries := edgetest.Entries(messages, devices, 1); len(entries) > 0; entries = entries[devices*32:] {
		accepted(t, q, entries[:devices*32])
	}
	settleAll(t, q, messages)
	<-time.After(2 * saveInterval)
	settings.Path, settings.RetentionDelivered = crashed(t, q), time.Nanosecond
	stop()
	q, err := Open(t.Context(), settings, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	committer, saved, transactions := newCommitter(q), 0, 0
	for ; committer.retention.end > 0 && transactions < messages; transactions++ {
		tx := &transaction{saving: saveSettled, maintenance: true, now: q.clock.now()}
		if err := committer.transact(tx); err != nil {
			t.Fatal(err)
		}
		written := 0
		for _, row := range tx.window.rows {
			written += len(row.body)
		}
		if saved += len(tx.window.rows); written > int(q.bounds.walHard)+32*windowRing {
			t.Errorf("%d bytes are saved at once", written)
		}
	}
	if saved != devices || transactions == 1 || committer.retention.end > 0 {
		t.Errorf("%d devices are saved by %d transactions, the oldest frame ends at %d", saved, transactions, committer.retention.end)
	}
}

const lostDevices = 500

// loseForHours writes a loss report of so many stretches, of 33 KB each.
func loseForHours(t *testing.T, q *Queue, hours int) {
	t.Helper()
	err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error {
		for hour := range hours {
			at := time.Now().Add(time.Duration(hour-hours) * time.Hour)
			lost := queuefile.NewStretch(queuefile.LossReason{Kind: edge.LossExpired, Reason: edge.LossTTL}, at, queuefile.Span{First: 1, End: 2}, 1, at, "first")
			for n := range lostDevices {
				lost.AddRecord(&edge.Record{Device: edge.DeviceID(fmt.Sprintf("%060d", n)), Position: 1, ReceivedAt: at}, at)
			}
			if err := lost.Write(conn, 99); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// expectCoarse wants the report to have its share, and to count what it counted.
func expectCoarse(t *testing.T, q *Queue, hours int64) {
	t.Helper()
	losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	count, bytes := int64(0), int64(0)
	for _, loss := range losses {
		count += loss.Count
	}
	err = q.read(t.Context(), func(conn *sqlite.Conn) (err error) {
		bytes, err = queuefile.LossBytes(conn)
		return err
	})
	if err != nil || count != hours*(lostDevices+1) || bytes > q.bounds.losses || bytes < q.bounds.losses/4 {
		t.Errorf("%d are reported in %d stretches and %d bytes, %v; want %d in %d bytes", count, len(losses), bytes, err, hours*(lostDevices+1), q.bounds.losses)
	}
}

// A loss report of a larger queue, or of many hours, becomes coarser, and nothing leaves
// its count.
func keptLosses(t *testing.T) {
	settings := Settings{Path: filepath.Join(t.TempDir(), "queue.db")}
	q, stop := run(t, settings)
	const hours = 60
	loseForHours(t, q, hours)
	stop()
	settings.MaxBytes = keptLimit
	q, _ = opened(t, settings)
	<-time.After(time.Minute)
	q.intake.waitUntil(t, true)
	expectCoarse(t, q, hours)
	accepted(t, q, large(0, 10))
}

// What a transaction without room has not made shorter is made so as soon as there is
// room, and not when the report is measured again.
func keptLossesWithoutRoom(t *testing.T) {
	q, _, disk := onDisk(t, Settings{MaxBytes: 4 * keptLimit})
	<-time.After(2 * maintenanceInterval) // the report is measured, and again in an hour
	const hours = 18                      // one transaction is enough for what is too much
	loseForHours(t, q, hours)
	<-time.After(lossesInterval - 5*maintenanceInterval)
	fill(disk)
	q.intake.waitUntil(t, false)
	disk.Heal()
	q.intake.waitUntil(t, true)
	<-time.After(lossesIntervalUrgent)
	expectCoarse(t, q, hours)
}
