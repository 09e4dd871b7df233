package queuefile

import (
	"fmt"
	"path/filepath"
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
