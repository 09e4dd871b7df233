package queue

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

var expired = queuefile.LossReason{Kind: edge.LossExpired, Reason: edge.LossTTL}

// report writes stretches as one commit would.
func report(t *testing.T, q *Queue, sink edge.SinkID, stretches ...*queuefile.Stretch) {
	t.Helper()
	if err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error { return lossReport(stretches).write(conn, sink) }); err != nil {
		t.Fatal(err)
	}
}

// one returns a stretch of one record.
func one(why queuefile.LossReason, at time.Time, position edge.Position, device edge.DeviceID) *queuefile.Stretch {
	var made lossReport
	made.add(why, at, queuefile.Span{First: position, End: position + 1}, 1, at.Add(-time.Minute), device)
	return made[0]
}

// stored returns the report, oldest first.
func stored(t *testing.T, q *Queue) (rows []*queuefile.Stretch) {
	t.Helper()
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Query(queuefile.SelectStretches+" ORDER BY id", func(row sqlite.Row) error {
			rows = append(rows, queuefile.ReadStretch(row))
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
	by := queuefile.LossReason{Kind: edge.LossDiscarded, Reason: edge.LossOperator, Actor: "ann"}
	report(t, q, 1, one(expired, hour, 5, "a"), one(by, hour, 90, "a"))
	report(t, q, 1, one(expired, hour.Add(59*time.Minute), 9, "b"))
	report(t, q, 2, one(expired, hour.Add(59*time.Minute), 9, "b"))
	report(t, q, 1, one(expired, hour.Add(60*time.Minute), 11, "a"))
	report(t, q, 1, one(queuefile.LossReason{Kind: edge.LossDiscarded, Reason: edge.LossOperator, Actor: "bob"}, hour, 91, "a"))
	var got []string
	for _, row := range stored(t, q) {
		got = append(got, fmt.Sprint(row.Kind, row.Reason, " ", row.Actor, " ", row.First, "-", row.Last, " ", row.Count, " ", row.Devices, " ",
			row.FirstReceived.Format(time.TimeOnly), " ", row.LastReceived.Format(time.TimeOnly), " ", row.At.Format(time.TimeOnly)))
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
		if len(made[0].Devices) > 4*512+1 {
			t.Fatalf("%d devices are kept in memory", len(made[0].Devices))
		}
	}
	report(t, q, 1, made...)
	row := stored(t, q)[0]
	sum := int64(0)
	for _, count := range row.Devices {
		sum += count
	}
	if row.Count != 20_000 || sum != 20_000 || len(row.Devices) > 512+1 || row.Devices["often"] != 10_000 || row.Devices[queuefile.Unnamed] == 0 {
		t.Errorf("%d records, %d by device, %d names, %d of the device that lost most, %d without a name",
			row.Count, sum, len(row.Devices), row.Devices["often"], row.Devices[queuefile.Unnamed])
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
		account.Owed++
		account.unsaved.losses.addRecord(expired, hour, &edge.Record{Position: position, Device: "a", ReceivedAt: hour})
		account.lose(expired, 1)
	}
	lose(1)
	taken := account.takeUnsaved()
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
	if len(rows) != 1 || rows[0].Count != 2 || rows[0].First != 1 || rows[0].Last != 2 || rows[0].Devices["a"] != 2 {
		t.Errorf("got %+v", rows[0])
	}
}

func TestQueue_Losses(t *testing.T) {
	q, _ := opened(t, Settings{})
	hour := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	damaged := queuefile.LossReason{Kind: edge.LossQuarantined, Reason: "checksum"}
	report(t, q, 1, one(expired, hour, 1, "a"))
	report(t, q, 2, one(expired, hour.Add(time.Hour), 2, "b"))
	report(t, q, 1, one(damaged, hour.Add(2*time.Hour), 3, "b"))
	var unread lossReport
	unread.add(damaged, hour.Add(3*time.Hour), queuefile.Span{First: 4, End: 9}, 5, time.Time{}, queuefile.Unnamed)
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
