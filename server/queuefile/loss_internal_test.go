package queuefile

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// TestBoundLosses joins the oldest stretches of the same reason once there are too
// many.
func TestBoundLosses(t *testing.T) {
	db, err := Open(t.Context(), sqlite.Disk{}, filepath.Join(t.TempDir(), "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	hour := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	var got []string
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
		report := func(reason string, at time.Time, position edge.Position, device string) error {
			lost := NewStretch(LossReason{Kind: edge.LossExpired, Reason: reason}, at, Span{position, position + 1}, 1, at, edge.DeviceID(device))
			return lost.Write(conn, 1)
		}
		if err := report(edge.LossMaxLag, hour, 1, "alone"); err != nil {
			return err
		}
		for i := range 9 {
			if err := report(edge.LossTTL, hour.Add(time.Duration(i)*time.Hour), edge.Position(10+i), fmt.Sprint("d", i%2)); err != nil {
				return err
			}
		}
		for range 10 {
			if err := boundLosses(conn, 4); err != nil {
				return err
			}
		}
		return conn.Query(SelectStretches+" ORDER BY id", func(row sqlite.Row) error {
			stored := ReadStretch(row)
			got = append(got, fmt.Sprint(stored.Reason, " ", stored.First, "-", stored.Last, " ", stored.Count, " ", stored.Devices))
			return nil
		})
	})
	want := []string{"max_lag_bytes 1-1 1 map[alone:1]", "ttl 10-16 7 map[d0:4 d1:3]", "ttl 17-17 1 map[d1:1]", "ttl 18-18 1 map[d0:1]"}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// TestCoarsenLosses gives the report of two sinks over many hours less and less room. What
// each sink and each device of it lost stays in the report, as far as it names them.
func TestCoarsenLosses(t *testing.T) {
	db, err := Open(t.Context(), sqlite.Disk{}, filepath.Join(t.TempDir(), "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	hour := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	const hours, devices = 24, 100
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
		for i := range hours * 2 {
			at := hour.Add(time.Duration(i/2) * time.Hour)
			lost := NewStretch(LossReason{Kind: edge.LossExpired, Reason: edge.LossTTL}, at, Span{edge.Position(1 + i), edge.Position(2 + i)}, 1, at, "first")
			for n := range devices {
				lost.AddRecord(&edge.Record{Device: edge.DeviceID(fmt.Sprintf("device-%03d", n)), Position: edge.Position(1 + i), ReceivedAt: at}, at)
			}
			if err := lost.Write(conn, edge.SinkID(1+i%2)); err != nil {
				return err
			}
		}
		before, err := LossBytes(conn)
		if err != nil {
			return err
		}
		for _, test := range []struct {
			most int64
			rows int // 0 is any
		}{{before, 2 * hours}, {before - 1, 2*hours - 1}, {before / 2, 0}, {before / 20, 2}, {before / 60, 2}, {1, 2}} {
			for more := true; more; {
				if more, err = CoarsenLosses(conn, test.most); err != nil {
					return err
				}
			}
			checkCoarse(t, conn, test.most, test.rows, map[edge.SinkID]int64{1: hours * (devices + 1), 2: hours * (devices + 1)})
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// A stretch that is long and can name no fewer devices keeps no other one from it, nor does
// one whose names are damaged.
func TestCoarsenLosses_AfterTheLongest(t *testing.T) {
	db, err := Open(t.Context(), sqlite.Disk{}, filepath.Join(t.TempDir(), "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	const long, many, damaged = 1, 2, 3
	got := map[edge.SinkID]int{}
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
		for sink, device := range map[edge.SinkID]string{long: strings.Repeat("x", 60) + "-%03d", many: "d%d", damaged: "d%d"} {
			lost := NewStretch(LossReason{Kind: edge.LossExpired, Reason: edge.LossTTL}, at, Span{1, 2}, 1, at, edge.DeviceID(fmt.Sprintf(device, 0)))
			for n := 1; n < namesMin || sink == many && n < 3*namesMin; n++ {
				lost.AddRecord(&edge.Record{Device: edge.DeviceID(fmt.Sprintf(device, n)), Position: 1, ReceivedAt: at}, at)
			}
			if err := lost.Write(conn, sink); err != nil {
				return err
			}
		}
		if err := conn.Exec("UPDATE loss SET devices = ? WHERE sink = ?", strings.Repeat("?", 2000), int64(damaged)); err != nil {
			return err
		}
		more, err := CoarsenLosses(conn, 1)
		if more || err != nil {
			t.Errorf("there is more to do: %v, %v", more, err)
		}
		return conn.Query(SelectStretches, func(row sqlite.Row) error {
			stored := ReadStretch(row)
			got[stored.Sink] = len(stored.MostFirst())
			return nil
		})
	})
	if diff := cmp.Diff(map[edge.SinkID]int{long: namesMin, many: namesMin, damaged: 0}, got); diff != "" || err != nil {
		t.Error("names of devices:", diff, err)
	}
}

// writeManyLosses writes the report of so many sinks, one stretch each that names so many
// devices.
func writeManyLosses(conn *sqlite.Conn, sinks, devices int) error {
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for sink := range sinks {
		lost := NewStretch(LossReason{Kind: edge.LossDiscarded, Reason: edge.LossSinkRemoved}, at, Span{1, 2}, 1, at, "device-000")
		for n := 1; n < devices; n++ {
			lost.AddRecord(&edge.Record{Device: edge.DeviceID(fmt.Sprintf("device-%03d", n)), Position: 1, ReceivedAt: at}, at)
		}
		if err := lost.Write(conn, edge.SinkID(sink+1)); err != nil {
			return err
		}
	}
	return nil
}

// TestCoarsenLosses_ManySinks shortens what cannot be joined: all sinks keep about as many
// names as the others.
func TestCoarsenLosses_ManySinks(t *testing.T) {
	db, err := Open(t.Context(), sqlite.Disk{}, filepath.Join(t.TempDir(), "queue.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const sinks, devices, most = 300, 128, 300 << 10
	want := map[edge.SinkID]int64{}
	for sink := range sinks {
		want[edge.SinkID(sink+1)] = devices
	}
	err = db.Write(t.Context(), func(conn *sqlite.Conn) error {
		if err := writeManyLosses(conn, sinks, devices); err != nil {
			return err
		}
		transactions := 1
		for ; ; transactions++ {
			more, err := CoarsenLosses(conn, most)
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
		if transactions > 4 { // 600 KB that are written less than twice
			t.Errorf("it took %d transactions", transactions)
		}
		checkCoarse(t, conn, most, sinks, want)
		return conn.Query(SelectStretches, func(row sqlite.Row) error {
			if names := len(ReadStretch(row).MostFirst()); names != devices/2 && names != devices/4 {
				t.Errorf("sink %d names %d devices", row.Int(1), names)
			}
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// BenchmarkCoarsenLosses is one transaction's worth of a report of 2,500 sinks that were
// deleted: nothing can be joined. No message is acknowledged meanwhile.
func BenchmarkCoarsenLosses(b *testing.B) {
	db, err := Open(b.Context(), sqlite.Disk{}, filepath.Join(b.TempDir(), "queue.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	if err := db.Write(b.Context(), func(conn *sqlite.Conn) error { return writeManyLosses(conn, 2500, 40) }); err != nil {
		b.Fatal(err)
	}
	undo := errors.New("once more")
	for b.Loop() {
		err := db.Write(b.Context(), func(conn *sqlite.Conn) error {
			if _, err := CoarsenLosses(conn, 128<<10); err != nil {
				return err
			}
			return undo
		})
		if !errors.Is(err, undo) {
			b.Fatal(err)
		}
	}
}

// checkCoarse compares the report with what was lost, and with its bound, but not below
// what a stretch takes in any case.
func checkCoarse(t *testing.T, conn *sqlite.Conn, most int64, rows int, want map[edge.SinkID]int64) {
	t.Helper()
	got, named := map[edge.SinkID]int64{}, map[edge.SinkID]int64{}
	stretches := 0
	err := conn.Query(SelectStretches+" ORDER BY id", func(row sqlite.Row) error {
		stored := ReadStretch(row)
		stretches++
		got[stored.Sink] += stored.Count
		for _, count := range stored.Devices {
			named[stored.Sink] += count
		}
		if len(stored.MostFirst()) < namesMin {
			t.Errorf("with %d bytes a stretch names only %d devices", most, len(stored.MostFirst()))
		}
		return nil
	})
	bytes, measured := LossBytes(conn)
	if err != nil || measured != nil || !maps.Equal(got, want) || !maps.Equal(named, want) {
		t.Errorf("with %d bytes: counts %v, devices %v, want %v; %v, %v", most, got, named, want, err, measured)
	}
	if bytes > max(most, int64(stretches)*namesMin*40) || rows > 0 && stretches != rows {
		t.Errorf("with %d bytes: %d bytes in %d stretches, want %d", most, bytes, stretches, rows)
	}
}
