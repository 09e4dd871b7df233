package dispatch_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
)

// gaps returns the time between the end of each attempt and the next one.
func gaps(calls []edgetest.Call) (gaps []time.Duration) {
	for i := 1; i < len(calls); i++ {
		gaps = append(gaps, calls[i].StartedAt.Sub(calls[i-1].EndedAt))
	}
	return gaps
}

var down = edge.Outcome{Class: edge.Unavailable, Status: "connection refused"}

func TestDispatcher_Unavailable(t *testing.T) {
	t.Run("OutageKillsNothing", outageKillsNothing)
	t.Run("BackoffGrowsToItsCeiling", backoffGrowsToItsCeiling)
	t.Run("HonoursRetryAfter", honoursRetryAfter)
	t.Run("OneProbeForAllSlots", oneProbeForAllSlots)
	t.Run("OthersPassABatchThatAlwaysFails", othersPassABatchThatAlwaysFails)
	t.Run("AttemptHasADeadline", attemptHasADeadline)
	t.Run("PanicIsAFailureOfTheGateway", panicIsAFailureOfTheGateway)
}

func outageKillsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const outage = 72 * time.Hour
		mended := time.Now().Add(outage)
		sink := edgetest.NewSink(func(ctx context.Context, call int, batch []edge.Delivery) edge.Outcome {
			if time.Now().Before(mended) {
				return down
			}
			return edgetest.Sequence()(ctx, call, batch)
		})
		queue := edgetest.NewQueue(1)
		edgetest.Append(t, queue, edgetest.Entries(100, 5, 1)...)
		b := start(t, queue, only(sink), planned(1, 1, 10))
		advance(outage - time.Minute)
		if stats := b.dispatcher.Stats()[0]; stats.State != edge.LaneWaiting || stats.RetryAt.Before(time.Now()) ||
			stats.LastError != "connection refused" || time.Since(stats.LastErrorAt) > 31*time.Second {
			t.Errorf("during the outage: %+v", stats)
		}
		tries := len(sink.Calls())
		// Full jitter halves the ceiling of 30 s on average.
		if want := int(outage / (15 * time.Second)); math.Abs(float64(tries-want)) > float64(want)/10 {
			t.Errorf("%d attempts in %v, want about %d", tries, outage, want)
		}
		if got := len(queue.Settlements(1)); got != tries {
			t.Errorf("%d attempts reported, want all %d", got, tries)
		}
		advance(2 * time.Minute)
		if got := len(sink.Accepted()); got != 100 {
			t.Errorf("accepted %d after the outage, want 100", got)
		}
		if stats := b.dispatcher.Stats()[0]; stats.State != edge.LaneIdle || stats.LastError != "" || stats.LastSuccess.Before(mended) {
			t.Errorf("after the outage: %+v", stats)
		}
		for _, delivery := range sink.Accepted() {
			want := edge.Backfill
			if delivery.Record.Position <= 10 {
				want = edge.Live // as in its first attempt, before the outage
			}
			if delivery.Kind != want {
				t.Errorf("position %d was delivered as %v, want %v", delivery.Record.Position, delivery.Kind, want)
			}
		}
		if diff := cmp.Diff([]string{"sink is busy or down, its lane waits"}, b.lines(slog.LevelWarn)); diff != "" {
			t.Error(diff)
		}
		b.end()
	})
}

func backoffGrowsToItsCeiling(t *testing.T) {
	const rounds = 40
	longest := make([]time.Duration, 15)
	for range rounds {
		synctest.Test(t, func(t *testing.T) {
			queue, sink := edgetest.NewQueue(1), edgetest.NewSink(edgetest.Always(down))
			edgetest.Append(t, queue, edgetest.Entries(1, 1, 1)...)
			b := start(t, queue, only(sink), planned(1, 1, 1))
			advance(10 * time.Minute)
			b.end()
			for i, gap := range gaps(sink.Calls())[:len(longest)] {
				longest[i] = max(longest[i], gap)
			}
		})
	}
	for i, gap := range longest {
		// The longest of 40 uniform draws is above half of the ceiling, but
		// for a chance of 1 in 10^12.
		if ceiling := min(30*time.Second, 100*time.Millisecond<<i); gap > ceiling || gap < ceiling/2 {
			t.Errorf("delay %d: the longest of %d is %v, want %v to %v", i+1, rounds, gap, ceiling/2, ceiling)
		}
	}
}

func honoursRetryAfter(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{7 * time.Second: 7 * time.Second, 30 * time.Hour: time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			queue, sink := edgetest.NewQueue(1), edgetest.NewSink(edgetest.Sequence(edge.Outcome{Class: edge.Unavailable, Status: "429", RetryAfter: asked}))
			edgetest.Append(t, queue, edgetest.Entries(1, 1, 1)...)
			b := start(t, queue, only(sink), planned(1, 1, 1))
			advance(2 * time.Hour)
			b.end()
			if got := gaps(sink.Calls()); len(got) != 1 || got[0] < want || got[0] > want+100*time.Millisecond {
				t.Errorf("asked for %v: waited %v, want %v", asked, got, want)
			}
		})
	}
}

func oneProbeForAllSlots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		queue, sink := edgetest.NewQueue(1), edgetest.NewSink(edgetest.Hold(release, edgetest.Always(down)))
		edgetest.Append(t, queue, edgetest.Entries(64, 64, 1)...)
		b := start(t, queue, only(sink), planned(1, 8, 100))
		synctest.Wait()
		close(release)
		synctest.Wait()
		if got := len(sink.Calls()); got != 8 {
			t.Fatalf("%d attempts before the outage is known, want one per slot", got)
		}
		advance(100 * time.Millisecond)
		if got := len(sink.Calls()); got < 9 {
			t.Error("no probe within the first delay: eight failures counted as more than one")
		}
		advance(10 * time.Minute)
		if got := len(sink.Calls()); got < 20 || got > 100 {
			t.Errorf("%d attempts in 10 minutes, want about 40: the lane probes, not every slot", got)
		}
		b.end()
	})
}

func othersPassABatchThatAlwaysFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := edgetest.NewQueue(1)
		sink := edgetest.NewSink(func(_ context.Context, _ int, batch []edge.Delivery) edge.Outcome {
			for _, delivery := range batch {
				if delivery.Record.Device == "dev-0" {
					return edge.Outcome{Class: edge.Unavailable, Status: "500"}
				}
			}
			return edge.Outcome{Class: edge.Delivered, Status: "204"}
		})
		edgetest.Append(t, queue, edgetest.Entries(2000, 20, 1)...)
		b := start(t, queue, only(sink), planned(1, 8, 10))
		advance(time.Minute)
		if got := len(sink.Accepted()); got < 1000 {
			t.Errorf("%d of 2000 records passed, want all of the other slots", got)
		}
		b.end()
	})
}

func attemptHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue, sink := edgetest.NewQueue(1), edgetest.NewSink(edgetest.Hold(nil, edgetest.Sequence()))
		edgetest.Append(t, queue, edgetest.Entries(1, 1, 1)...)
		b := start(t, queue, only(sink), planned(1, 1, 1))
		advance(10 * time.Second)
		calls := sink.Calls()
		if len(calls) != 1 || calls[0].EndedAt.Sub(calls[0].StartedAt) != 10*time.Second {
			t.Errorf("got %+v, want one attempt that ended after 10 s", calls)
		}
		b.end()
	})
}

func panicIsAFailureOfTheGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := edgetest.NewQueue(1)
		sink := edgetest.NewSink(func(_ context.Context, call int, _ []edge.Delivery) edge.Outcome {
			switch call {
			case 0:
				panic("index out of range")
			case 1:
				return edge.Outcome{} // no class: just as broken
			}
			return edge.Outcome{Class: edge.Delivered, Status: "204"}
		})
		edgetest.Append(t, queue, edgetest.Entries(1, 1, 1)...)
		b := start(t, queue, only(sink), planned(1, 1, 1))
		advance(time.Minute)
		var attempts []string
		for _, settlement := range queue.Settlements(1) {
			attempts = append(attempts, fmt.Sprint(settlement.Attempt.Number, " ", settlement.Attempt.Status))
		}
		if diff := cmp.Diff([]string{"1 panic", "2 no outcome", "3 204"}, attempts); diff != "" {
			t.Error(diff)
		}
		b.end()
	})
}

func TestDispatcher_Misconfigured(t *testing.T) {
	unauthorized := edge.Outcome{Class: edge.Misconfigured, Status: "401", Excerpt: "bad token"}
	t.Run("PausesAndRecovers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue, sink := edgetest.NewQueue(1), edgetest.NewSink(edgetest.Sequence(unauthorized, unauthorized, unauthorized))
			edgetest.Append(t, queue, edgetest.Entries(50, 5, 1)...)
			b := start(t, queue, only(sink), planned(1, 4, 10))
			synctest.Wait()
			stats := b.dispatcher.Stats()[0]
			if stats.State != edge.LanePaused || stats.LastError != "401: bad token" {
				t.Errorf("paused: %+v", stats)
			}
			advance(5 * time.Minute)
			if diff := cmp.Diff(edgetest.Account{}, queue.Account(1)); diff != "" {
				t.Errorf("after the receiver was mended: %s", diff)
			}
			if got := len(b.lines(slog.LevelError)); got != 1 {
				t.Errorf("%d lines at level error, want 1", got)
			}
			if diff := cmp.Diff([]string{"sink answers again"}, b.lines(slog.LevelInfo)); diff != "" {
				t.Error(diff)
			}
			b.end()
		})
	})
	t.Run("LooksAgainSlowly", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue, sink := edgetest.NewQueue(1), edgetest.NewSink(edgetest.Always(unauthorized))
			edgetest.Append(t, queue, edgetest.Entries(1, 1, 1)...)
			b := start(t, queue, only(sink), planned(1, 1, 10))
			advance(time.Hour)
			for i, gap := range gaps(sink.Calls()) {
				if gap < 30*time.Second || gap > time.Minute {
					t.Errorf("look %d came after %v, want 30 to 60 s", i+1, gap)
				}
			}
			b.end()
		})
	})
}

func TestDispatcher_Rejected(t *testing.T) {
	t.Run("BisectsUntilPoisonIsAlone", func(t *testing.T) {
		const records = 500
		extraMax := int(2*math.Log2(records) + 2)
		for _, poison := range []uint64{0, 1, 249, 250, 333, 499} {
			t.Run(fmt.Sprint(poison), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					queue, sink := edgetest.NewQueue(1), edgetest.NewSink(edgetest.RejectBatches(isSequence(poison)))
					edgetest.Append(t, queue, edgetest.Entries(records, 1, 1)...)
					b := start(t, queue, only(sink), planned(1, 1, records))
					synctest.Wait()
					if got := len(sink.Calls()) - 1; got > extraMax {
						t.Errorf("%d extra requests, want at most %d", got, extraMax)
					}
					var want []uint64
					for n := range uint64(records) {
						if n != poison {
							want = append(want, n)
						}
					}
					if diff := cmp.Diff(want, sequences(sink.Accepted())); diff != "" {
						t.Error(diff)
					}
					expectDead(t, queue, edge.Death{Reason: edge.DeathRejected, Status: "422", Excerpt: "poison"}, poison)
					b.end()
				})
			})
		}
	})
	t.Run("RefusedRecordsAlone", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue := edgetest.NewQueue(1)
			sink := edgetest.NewSink(edgetest.Sequence(edge.Outcome{Class: edge.Delivered, Status: "200", Refused: []edge.Refused{
				{Index: 2, Status: "422", Excerpt: "out of range"}, {Index: 2, Status: "400"}, {Index: 99, Status: "422"}, {Index: -1},
			}}))
			edgetest.Append(t, queue, edgetest.Entries(5, 1, 1)...)
			b := start(t, queue, only(sink), planned(1, 1, 10))
			synctest.Wait()
			expectDead(t, queue, edge.Death{Reason: edge.DeathRejected, Status: "422", Excerpt: "out of range"}, 2)
			if diff := cmp.Diff([]uint64{0, 1, 3, 4}, sequences(queue.Settlements(1)[0].Acked)); diff != "" {
				t.Error(diff)
			}
			b.end()
		})
	})
	t.Run("UnwritableRecordDiesOfEncoding", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue := edgetest.NewQueue(1)
			sink := edgetest.NewSink(edgetest.Sequence(edge.Outcome{Class: edge.Delivered, Status: "none", Refused: []edge.Refused{
				{Index: 0, Status: "unwritable", Excerpt: "offset 3: unexpected end", Unwritable: true},
			}}))
			edgetest.Append(t, queue, edgetest.Entries(1, 1, 1)...)
			b := start(t, queue, only(sink), planned(1, 1, 10))
			synctest.Wait()
			expectDead(t, queue, edge.Death{Reason: edge.DeathEncoding, Status: "unwritable", Excerpt: "offset 3: unexpected end"}, 0)
			if stats := b.dispatcher.Stats()[0]; !stats.LastSuccess.IsZero() {
				t.Errorf("a record that was not sent counts as success: %+v", stats)
			}
			b.end()
		})
	})
}

// expectDead expects exactly one dead letter, of the record with a sequence.
func expectDead(t *testing.T, queue *edgetest.Queue, want edge.Death, sequence uint64) {
	t.Helper()
	var dead []edge.Death
	for _, settlement := range queue.Settlements(1) {
		dead = append(dead, settlement.Dead...)
	}
	if len(dead) != 1 || dead[0].Delivery.Record.Identity.Sequence != sequence {
		t.Fatalf("dead letters %+v, want only sequence %d", dead, sequence)
	}
	if diff := cmp.Diff(want, dead[0], cmpopts.IgnoreFields(edge.Death{}, "Delivery")); diff != "" {
		t.Error(diff)
	}
}

func TestDispatcher_Requeue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mended := false
		queue := edgetest.NewQueue(1)
		sink := edgetest.NewSink(func(ctx context.Context, call int, batch []edge.Delivery) edge.Outcome {
			poison := func(r edge.Record) bool { return !mended && r.Identity.Sequence%3 == 0 }
			return edgetest.RefuseRecords(poison)(ctx, call, batch)
		})
		edgetest.Append(t, queue, edgetest.Entries(9, 1, 1)...)
		b := start(t, queue, only(sink), planned(1, 1, 100))
		synctest.Wait()
		if diff := cmp.Diff(edgetest.Account{Dead: 3}, queue.Account(1)); diff != "" {
			t.Fatal(diff)
		}
		b.end()

		mended = true
		for _, position := range []edge.Position{1, 7} {
			if err := queue.Requeue(1, position); err != nil {
				t.Fatal(err)
			}
		}
		edgetest.Append(t, queue, edge.Entry{Record: edgetest.Record("dev-0", 10), Owed: []edge.SinkID{1}})
		b = start(t, queue, only(sink), planned(1, 1, 100))
		synctest.Wait()
		type report struct {
			First, Last edge.Position
			Records     int
			Acked       []uint64
		}
		var reports []report
		for _, s := range queue.Settlements(1)[1:] {
			reports = append(reports, report{s.Attempt.First, s.Attempt.Last, s.Attempt.Records, sequences(s.Acked)})
		}
		// Each requeued record is reported by itself: no range claims what lies
		// between them.
		want := []report{{1, 1, 1, []uint64{0}}, {7, 7, 1, []uint64{6}}, {10, 10, 1, []uint64{10}}}
		if diff := cmp.Diff(want, reports); diff != "" {
			t.Error(diff)
		}
		if got := len(sink.Calls()); got != 3 {
			t.Errorf("%d calls, want one for the requeued records and one for the live one", got-1)
		}
		b.end()
	})
}

// TestDispatcher_Order is a property: whatever the sink answers, each device's
// records reach it in order, each record is accepted once or dead, and no two
// calls carry one device at the same time.
func TestDispatcher_Order(t *testing.T) {
	base := uint64(time.Now().UnixNano())
	for round := range uint64(30) {
		seed := base + round
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { orderHolds(t, seed) })
		})
	}
}

func orderHolds(t *testing.T, seed uint64) {
	const records, devices = 1500, 23
	queue := edgetest.NewQueue(1)
	sink := edgetest.NewSink(func(ctx context.Context, call int, batch []edge.Delivery) edge.Outcome {
		random := rand.New(rand.NewPCG(seed, uint64(call)))
		<-time.After(rand.N(50 * time.Millisecond))
		switch poison := isSequence(random.Uint64N(50)); random.IntN(10) {
		case 0, 1:
			return edge.Outcome{Class: edge.Unavailable, Status: "503", RetryAfter: time.Duration(random.IntN(2)) * time.Second}
		case 2:
			return edge.Outcome{Class: edge.Misconfigured, Status: "403"}
		case 3, 4:
			return edgetest.RejectBatches(poison)(ctx, call, batch)
		case 5:
			return edgetest.RefuseRecords(poison)(ctx, call, batch)
		}
		return edge.Outcome{Class: edge.Delivered, Status: "204"}
	})
	b := start(t, queue, only(sink), planned(1, 8, 17))
	for i, entry := range edgetest.Entries(records, devices, 1) {
		edgetest.Append(t, queue, entry)
		if i%100 == 0 {
			advance(rand.N(time.Second))
		}
	}
	for account := queue.Account(1); account.Due+account.Leased > 0; account = queue.Account(1) {
		advance(time.Minute)
	}
	b.end()
	last := make(map[edge.DeviceID]edge.Position)
	for _, delivery := range sink.Accepted() {
		record := &delivery.Record
		if record.Position <= last[record.Device] {
			t.Errorf("device %s: position %d after %d", record.Device, record.Position, last[record.Device])
		}
		last[record.Device] = record.Position
	}
	if got := len(sink.Accepted()) + queue.Account(1).Dead; got != records {
		t.Errorf("%d records accepted or dead, want %d", got, records)
	}
	if sink.Overlapped() {
		t.Error("two calls carried the same device at the same time")
	}
}
