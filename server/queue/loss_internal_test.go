package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

var expired = lossReason{kind: edge.LossExpired, reason: edge.LossTTL}

// report writes stretches as one commit would.
func report(t *testing.T, q *Queue, sink edge.SinkID, stretches ...*stretch) {
	t.Helper()
	if err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error { return lossReport(stretches).write(conn, sink) }); err != nil {
		t.Fatal(err)
	}
}

// one returns a stretch of one record.
func one(why lossReason, at time.Time, position edge.Position, device edge.DeviceID) *stretch {
	var made lossReport
	made.add(why, at, span{position, position + 1}, 1, at.Add(-time.Minute), device)
	return made[0]
}

// stored returns the report, oldest first.
func stored(t *testing.T, q *Queue) (rows []*stretch) {
	t.Helper()
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Query(selectStretches+" ORDER BY id", func(row sqlite.Row) error {
			rows = append(rows, parseStretch(row))
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestLossReport_Write(t *testing.T) {
	t.Run("ExtendsAnHour", lossExtendsAnHour)
	t.Run("NamesThoseThatLostMost", lossNamesThoseThatLostMost)
	t.Run("AFailedCommitReportsNothingTwice", lossFailedCommit)
}

func lossExtendsAnHour(t *testing.T) {
	q, _ := opened(t, Settings{})
	hour := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	by := lossReason{kind: edge.LossDiscarded, reason: edge.LossOperator, actor: "ann"}
	report(t, q, 1, one(expired, hour, 5, "a"), one(by, hour, 90, "a"))
	report(t, q, 1, one(expired, hour.Add(59*time.Minute), 9, "b"))
	report(t, q, 2, one(expired, hour.Add(59*time.Minute), 9, "b"))
	report(t, q, 1, one(expired, hour.Add(60*time.Minute), 11, "a"))
	report(t, q, 1, one(lossReason{kind: edge.LossDiscarded, reason: edge.LossOperator, actor: "bob"}, hour, 91, "a"))
	var got []string
	for _, row := range stored(t, q) {
		got = append(got, fmt.Sprint(row.kind, row.reason, " ", row.actor, " ", row.first, "-", row.last, " ", row.count, " ", row.devices, " ",
			row.firstReceived.Format(time.TimeOnly), " ", row.lastReceived.Format(time.TimeOnly), " ", row.at.Format(time.TimeOnly)))
	}
	want := []string{
		"expiredttl  5-9 2 map[a:1 b:1] 09:59:00 10:58:00 10:59:00", "discardedoperator ann 90-90 1 map[a:1] 09:59:00 09:59:00 10:00:00",
		"expiredttl  9-9 1 map[b:1] 10:58:00 10:58:00 10:59:00", "expiredttl  11-11 1 map[a:1] 10:59:00 10:59:00 11:00:00",
		"discardedoperator bob 91-91 1 map[a:1] 09:59:00 09:59:00 10:00:00",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func lossNamesThoseThatLostMost(t *testing.T) {
	q, _ := opened(t, Settings{})
	hour := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var made lossReport
	for i := range 10_000 {
		made.addRecord(expired, hour, &edge.Record{Position: edge.Position(i + 1), Device: "often", ReceivedAt: hour})
		made.addRecord(expired, hour, &edge.Record{Position: edge.Position(i + 1), Device: edge.DeviceID(fmt.Sprint("rare-", i)), ReceivedAt: hour})
		if len(made[0].devices) > 4*512+1 {
			t.Fatalf("%d devices are kept in memory", len(made[0].devices))
		}
	}
	report(t, q, 1, made...)
	row := stored(t, q)[0]
	sum := int64(0)
	for _, count := range row.devices {
		sum += count
	}
	if row.count != 20_000 || sum != 20_000 || len(row.devices) > 512+1 || row.devices["often"] != 10_000 || row.devices[unnamed] == 0 {
		t.Errorf("%d records, %d by device, %d names, %d of the device that lost most, %d without a name",
			row.count, sum, len(row.devices), row.devices["often"], row.devices[unnamed])
	}
	losses, err := q.Losses(t.Context(), edge.LossFilter{Device: "often"}, 0, 10)
	if err != nil || len(losses) != 1 || losses[0].Devices[0] != (edge.DeviceLoss{Device: "often", Count: 10_000}) {
		t.Errorf("got %d losses, %v", len(losses), err)
	}
}

// The transaction that was to save a loss fails, and another loss comes before
// the next one.
func lossFailedCommit(t *testing.T) {
	q, _ := opened(t, Settings{})
	account := q.registry.all()[0]
	hour := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	lose := func(position edge.Position) {
		account.mu.Lock()
		defer account.mu.Unlock()
		account.owed++
		account.unsaved.losses.addRecord(expired, hour, &edge.Record{Position: position, Device: "a", ReceivedAt: hour})
		account.lose(expired, 1)
	}
	lose(1)
	taken, _ := account.takeUnsaved()
	broken := errors.New("broken")
	err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error {
		if err := taken.unsaved.losses.write(conn, account.id); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	lose(2)
	account.restoreUnsaved(&taken.unsaved)
	if err := q.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows := stored(t, q)
	if len(rows) != 1 || rows[0].count != 2 || rows[0].first != 1 || rows[0].last != 2 || rows[0].devices["a"] != 2 {
		t.Errorf("got %+v", rows[0])
	}
}

func TestQueue_Losses(t *testing.T) {
	q, _ := opened(t, Settings{})
	hour := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	damaged := lossReason{kind: edge.LossQuarantined, reason: "checksum"}
	report(t, q, 1, one(expired, hour, 1, "a"))
	report(t, q, 2, one(expired, hour.Add(time.Hour), 2, "b"))
	report(t, q, 1, one(damaged, hour.Add(2*time.Hour), 3, "b"))
	var unread lossReport
	unread.add(damaged, hour.Add(3*time.Hour), span{4, 9}, 5, time.Time{}, unnamed)
	report(t, q, 1, unread...)
	for name, test := range map[string]struct {
		filter edge.LossFilter
		before int64
		limit  int
		want   []int64
	}{
		"everything": {limit: 10, want: []int64{4, 3, 2, 1}},
		"first page": {limit: 3, want: []int64{4, 3, 2}},
		"next page":  {before: 2, limit: 3, want: []int64{1}},
		"sink":       {filter: edge.LossFilter{Sinks: []edge.SinkID{2}}, limit: 9, want: []int64{2}},
		"kind":       {filter: edge.LossFilter{Kind: edge.LossQuarantined}, limit: 9, want: []int64{4, 3}},
		"reason":     {filter: edge.LossFilter{Reason: edge.LossTTL}, limit: 9, want: []int64{2, 1}},
		"device":     {filter: edge.LossFilter{Device: "b"}, limit: 9, want: []int64{3, 2}},
		"time":       {filter: edge.LossFilter{Since: hour.Add(time.Hour), Until: hour.Add(2 * time.Hour)}, limit: 9, want: []int64{2}},
	} {
		losses, err := q.Losses(t.Context(), test.filter, test.before, test.limit)
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, loss := range losses {
			got = append(got, loss.ID)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 1)
	want := []edge.Loss{{ID: 4, Sink: 1, SinkName: "sink-1", Kind: edge.LossQuarantined, Reason: "checksum", First: 4, Last: 8, At: hour.Add(3 * time.Hour), Count: 5, Devices: []edge.DeviceLoss{}}}
	if diff := cmp.Diff(want, losses); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
