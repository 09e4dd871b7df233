package queue

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

var (
	clockBuilt = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	clockSaved = time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC) // wall clock of the last save
	clockEpoch = time.Date(1970, 1, 1, 0, 1, 0, 0, time.UTC)    // of a board without a battery
)

const day = 24 * time.Hour

// machine is an [Uptime] that a test moves.
type machine struct {
	boot string
	up   time.Duration
}

func (m *machine) uptime() (string, time.Duration, bool) { return m.boot, m.up, m.boot != "" }

// lastSaved is what a clock leads on from.
type lastSaved struct {
	queuefile.StoredClock
	committed time.Time
}

func TestClock_LeadsOn(t *testing.T) {
	gateway := clockSaved.Add(-90 * day) // the wall clock has been corrected since gateway time began
	saved := lastSaved{queuefile.StoredClock{Gateway: gateway, Wall: clockSaved, Up: time.Hour, Boot: "one"}, gateway.Add(-time.Minute)}
	unbelieved := saved
	unbelieved.Wall = time.Time{}
	behind := saved
	behind.committed = gateway.Add(time.Minute)
	old := lastSaved{committed: clockSaved}
	for _, test := range []struct {
		name    string
		saved   lastSaved
		machine machine
		wall    time.Time
		want    time.Time
	}{
		{"ANewFileBeginsWithTheWallClock", lastSaved{}, machine{}, clockSaved, clockSaved},
		{"ANewFileIn1970BeginsWithTheBuild", lastSaved{}, machine{}, clockEpoch, clockBuilt},
		{"AnOldFileLeadsOnFromItsCommits", old, machine{"one", day}, clockSaved.Add(time.Hour), clockSaved.Add(time.Hour)},
		{"TheSameBootIsExact", saved, machine{"one", 26 * time.Hour}, clockSaved.Add(25 * time.Hour), gateway.Add(25 * time.Hour)},
		{"TheSameBootIgnoresTheWallClock", saved, machine{"one", 2 * time.Hour}, clockSaved.Add(3650 * day), gateway.Add(time.Hour)},
		{"TheSameBootKnowsMoreThanAWeek", saved, machine{"one", 30*day + time.Hour}, clockEpoch, gateway.Add(30 * day)},
		{"AnotherBootGoesByTheWallClock", saved, machine{"two", time.Minute}, clockSaved.Add(25 * time.Hour), gateway.Add(25 * time.Hour)},
		{"AnotherBootAddsAWeekAtMost", saved, machine{"two", time.Minute}, clockSaved.Add(3650 * day), gateway.Add(7 * day)},
		{"AnotherBootIn1970AddsNothing", saved, machine{"two", time.Minute}, clockEpoch, gateway},
		{"AWallClockThatWasSetBackAddsNothing", saved, machine{"two", time.Minute}, clockSaved.Add(-time.Hour), gateway},
		{"AfterAWallClockThatWasNotBelievedNothing", unbelieved, machine{"two", time.Minute}, clockSaved.Add(day), gateway},
		{"WithoutUptimeItGoesByTheWallClock", saved, machine{}, clockSaved.Add(time.Hour), gateway.Add(time.Hour)},
		{"NeverBeforeTheNewestFrame", behind, machine{"two", time.Minute}, clockEpoch, gateway.Add(time.Minute)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // so that no time passes by itself
				c := newClock(test.saved.StoredClock, test.saved.committed, &Settings{BuiltAt: clockBuilt, Uptime: test.machine.uptime}, test.wall)
				if got := c.now(); !got.Equal(test.want) {
					t.Errorf("gateway time is %v, want %v", got, test.want)
				}
				time.Sleep(time.Hour)
				if got := c.since(test.want); got != time.Hour {
					t.Errorf("an hour later %v have passed", got)
				}
			})
		})
	}
}

func TestClock_Believe(t *testing.T) {
	saved := queuefile.StoredClock{Gateway: clockSaved, Wall: clockSaved, Up: time.Hour, Boot: "one"}
	unbelieved := saved
	unbelieved.Wall = time.Time{}
	for _, test := range []struct {
		name    string
		saved   queuefile.StoredClock
		machine machine
		opened  time.Time // the wall clock at the open
		wall    time.Time // an hour later
		want    time.Time // zero: the wall clock is believed
	}{
		{"AsItIs", saved, machine{"two", 1}, clockSaved.Add(day), clockSaved.Add(day + time.Hour), time.Time{}},
		{"25HoursAhead", saved, machine{"two", 1}, clockSaved, clockSaved.Add(26 * time.Hour), time.Time{}},
		{"TenYearsAhead", saved, machine{"two", 1}, clockSaved, clockSaved.Add(3650 * day), time.Time{}},
		{"AnHourBack", saved, machine{"two", 1}, clockSaved, clockSaved.Add(-time.Minute), time.Time{}},
		{"TenYearsBack", saved, machine{"two", 1}, clockSaved, clockSaved.Add(-3650 * day), clockSaved.Add(time.Hour)},
		{"StartIn1970", saved, machine{"two", 1}, clockEpoch, clockEpoch.Add(time.Hour), clockSaved.Add(time.Hour)},
		{"StartIn1970AndACorrection", saved, machine{"two", 1}, clockEpoch, clockSaved.Add(day), time.Time{}},
		{"ANewFileIn1970", queuefile.StoredClock{}, machine{"two", 1}, clockEpoch, clockEpoch.Add(time.Hour), clockBuilt.Add(time.Hour)},
		{"StartAsTheImageWasMade", saved, machine{"two", 1}, clockBuilt.Add(day), clockBuilt.Add(day + time.Hour), clockSaved.Add(time.Hour)},
		{"SetBackWhileTheMachineRanOn", saved, machine{"one", day}, clockSaved.Add(-10 * day), clockSaved.Add(-10*day + time.Hour), time.Time{}},
		{"TenYearsBackWhileTheMachineRanOn", saved, machine{"one", day}, clockSaved.Add(-3650 * day), clockEpoch, clockBuilt.Add(time.Hour)},
		{"AfterOneThatWasNotBelieved", unbelieved, machine{"two", 1}, clockEpoch, clockEpoch, clockSaved.Add(time.Hour)},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newClock(test.saved, time.Time{}, &Settings{BuiltAt: clockBuilt, Uptime: test.machine.uptime}, test.opened)
				time.Sleep(time.Hour)
				want, wantFloored := test.want, !test.want.IsZero()
				if !wantFloored {
					want = test.wall
				}
				if got, floored := c.believe(test.wall); !got.Equal(want) || floored != wantFloored {
					t.Errorf("got %v, %v; want %v, %v", got, floored, want, wantFloored)
				}
			})
		})
	}
}

// TestClock_Write reads back what is saved, and that a wall clock which is not
// believed is not saved.
func TestClock_Write(t *testing.T) {
	q, err := Open(t.Context(), Settings{Path: filepath.Join(t.TempDir(), "queue.db")}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	m := &machine{"one", time.Hour}
	settings := &Settings{BuiltAt: clockBuilt, Uptime: m.uptime}
	for _, test := range []struct{ wall, want time.Time }{{clockSaved, clockSaved}, {clockEpoch, time.Time{}}} {
		c := newClock(queuefile.StoredClock{}, time.Time{}, settings, test.wall)
		var got queuefile.StoredClock
		err := q.db.Write(context.Background(), func(conn *sqlite.Conn) (err error) {
			if err = c.write(conn, test.wall); err != nil {
				return err
			}
			_, err = conn.One(queuefile.SelectLedger, func(row sqlite.Row) { got = queuefile.ReadLedger(row).Clock })
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if age := c.since(got.Gateway); age < 0 || age > time.Minute {
			t.Errorf("gateway time %v is saved, and it is %v", got.Gateway, c.now())
		}
		want := queuefile.StoredClock{Gateway: got.Gateway, Wall: test.want, Up: time.Hour, Boot: "one"}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(queuefile.StoredClock{})); diff != "" {
			t.Error(diff)
		}
	}
}
