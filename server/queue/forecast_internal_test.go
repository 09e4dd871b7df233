package queue

import (
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"combotto.io/gateway/server/edge"
)

func TestQueue_Forecast(t *testing.T) {
	t.Parallel()
	bubble(t, "FullAtAConstantRate", forecastFull)
	bubble(t, "FullAfterTheSinkStopped", forecastSinkStops)
	bubble(t, "FullWithSmallRecordsDelivered", forecastMixedSizes)
	bubble(t, "DeliveredRecordsDoNotCount", forecastDelivered)
	bubble(t, "Drained", forecastDrained)
	bubble(t, "TooEarlyToTell", forecastTooEarly)
	t.Run("FirstLoss", forecastLoss)
}

// every appends so many records each half second for a while, and stops early
// when the queue is full. It returns the number of the next one.
func every(t *testing.T, q *Queue, first, count int, duration time.Duration) (next int) {
	t.Helper()
	for began := time.Now(); time.Since(began) < duration && q.intake.accepting(); first += count {
		accepted(t, q, random(first, count))
		<-time.After(500 * time.Millisecond)
	}
	return first
}

// expectWithin compares a forecast with what happened.
func expectWithin(t *testing.T, what string, forecast, happened time.Duration) {
	t.Helper()
	if off := float64(forecast-happened) / float64(happened); off < -0.1 || off > 0.1 {
		t.Errorf("%s: told %v, happened after %v", what, forecast, happened)
	} else {
		t.Logf("%s: told %v, happened after %v", what, forecast, happened)
	}
}

func forecastFull(t *testing.T) {
	q, _, _ := onDisk(t, Settings{MaxBytes: 16 << 20})
	next := 0
	for _, after := range []time.Duration{30 * time.Second, time.Minute} {
		next = every(t, q, next, 8, after)
		forecast, told := q.Forecast(5*time.Minute), time.Now()
		if forecast.IngestRate < 15 || forecast.IngestRate > 17 || forecast.Growth < 16*4000 {
			t.Errorf("got %+v, want 16 records of 4000 bytes a second", forecast)
		}
		if after == time.Minute {
			every(t, q, next, 8, time.Hour)
			if room := q.Room(); room.Refusal == nil || q.Stats().Headroom != 0 {
				t.Fatalf("the queue is not full: %+v", room)
			}
			expectWithin(t, "full", forecast.TimeToFull, time.Since(told))
		}
	}
}

func forecastSinkStops(t *testing.T) {
	q, _, _ := onDisk(t, Settings{MaxBytes: 16 << 20, RetentionDelivered: time.Hour})
	next := 0
	for range 60 {
		first := next
		next = every(t, q, next, 8, 500*time.Millisecond)
		settleAll(t, q, next-first)
	}
	next = every(t, q, next, 8, time.Minute)
	told, forecast := time.Now(), q.Forecast(time.Minute)
	every(t, q, next, 8, time.Hour)
	expectWithin(t, "full", forecast.TimeToFull, time.Since(told))
}

// forecastMixedSizes fills the queue with large records behind many small ones
// that are delivered: what waits is few records, and most of the bytes.
func forecastMixedSizes(t *testing.T) {
	q, _, _ := onDisk(t, Settings{MaxBytes: 16 << 20})
	const small = 10_000
	for next := 0; next < small; next += 500 {
		entries := random(next, 500)
		for i := range entries {
			entries[i].Record.Payload = entries[i].Record.Payload[:100]
		}
		accepted(t, q, entries)
		settleAll(t, q, 500)
	}
	next := every(t, q, small, 8, time.Minute)
	told, forecast := time.Now(), q.Forecast(time.Minute)
	if sink := q.Stats().Sinks[0]; sink.PinnedBytes < 960*4000 || sink.PinnedBytes > 960*4000*11/10 {
		t.Errorf("the sink holds %d bytes, want those of 960 records", sink.PinnedBytes)
	}
	every(t, q, next, 8, time.Hour)
	expectWithin(t, "full", forecast.TimeToFull, time.Since(told))
	waiting := int64(q.Stats().Sinks[0].Pending) * 4000
	if held := bytesHeld(t, q); held < waiting || held > waiting*11/10 {
		t.Errorf("the refusal says that the sink holds %d bytes, want %d", held, waiting)
	}
}

func bytesHeld(t *testing.T, q *Queue) int64 {
	t.Helper()
	held, err := strconv.ParseInt(q.Room().Refusal.Details["sink_holds_bytes"], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func forecastDelivered(t *testing.T) {
	q, _, _ := onDisk(t, Settings{MaxBytes: 64 << 20, RetentionDelivered: time.Hour})
	for next := 0; next < 2000; {
		first := next
		next = every(t, q, next, 20, 500*time.Millisecond)
		settleAll(t, q, next-first)
	}
	forecast := q.Forecast(time.Minute)
	if forecast.TimeToFull < 24*time.Hour || forecast.Sinks[0].TimeToDrain != 0 || forecast.Sinks[0].DeliveryRate < 30 {
		t.Errorf("got %+v, want a queue that never fills", forecast)
	}
}

func forecastDrained(t *testing.T) {
	q, _, _ := onDisk(t, Settings{})
	accepted(t, q, large(0, 1000))
	const perSecond = 10
	settled, told := 0, time.Time{}
	var forecast edge.Forecast
	for ; settled < 1000; settled += perSecond {
		deliver(t, q, perSecond)
		<-time.After(time.Second)
		if settled == 70*perSecond {
			forecast, told = q.Forecast(time.Minute), time.Now()
		}
	}
	expectWithin(t, "drained", forecast.Sinks[0].TimeToDrain, time.Since(told))
}

// forecastLoss asks for the first record that is given up, and waits for it. The
// sink is slow or does not deliver at all.
func forecastLoss(t *testing.T) {
	for name, test := range map[string]struct {
		limits    Limits
		perSecond int // that the sink takes, of 16
	}{
		"TooOld":          {Limits{TTL: 5 * time.Minute}, 0},
		"TooOldAndSlow":   {Limits{TTL: 3 * time.Minute}, 4},
		"TooMuch":         {Limits{MaxLagBytes: 12 << 20}, 0},
		"TooMuchAndSlow":  {Limits{MaxLagBytes: 8 << 20}, 4},
		"NoLimit":         {Limits{}, 0},
		"DeliveredInTime": {Limits{TTL: 5 * time.Minute}, 16},
	} {
		bubble(t, name, func(t *testing.T) {
			q, _, _ := onDisk(t, Settings{})
			if _, err := q.EnsureSinks(t.Context(), []SinkSpec{{Name: "sink-1", Kind: "test", Limits: test.limits}}); err != nil {
				t.Fatal(err)
			}
			next := 0
			goOn := func(duration time.Duration) (given bool) {
				for began := time.Now(); time.Since(began) < duration; {
					next = every(t, q, next, 8, 500*time.Millisecond)
					if test.perSecond > 0 {
						deliver(t, q, test.perSecond/2)
					}
					if q.Stats().Sinks[0].Expired > 0 {
						return true
					}
				}
				return false
			}
			goOn(2 * time.Minute)
			told, sink := time.Now(), q.Forecast(time.Minute).Sinks[0]
			given := goOn(6 * time.Minute)
			if given == sink.FirstLossAt.IsZero() {
				t.Fatalf("given up: %v; told %+v", given, sink)
			}
			if !given {
				return
			}
			expectWithin(t, name, sink.FirstLossAt.Sub(told), time.Since(told))
			losses, err := q.Losses(t.Context(), edge.LossFilter{}, 0, 1)
			if err != nil || len(losses) == 0 {
				t.Fatalf("%v, %v", losses, err)
			}
			expectNear(t, sink.FirstLoss.Position(), losses[0].First, edge.Position(next/10))
		})
	}
}

func expectNear(t *testing.T, told, happened, off edge.Position) {
	t.Helper()
	if told < happened-off || told > happened+off {
		t.Errorf("told record %d, the first one given up was %d", told, happened)
	}
}

func forecastTooEarly(t *testing.T) {
	q, _, _ := onDisk(t, Settings{})
	accepted(t, q, large(0, 10))
	<-time.After(5 * time.Second)
	want := edge.Forecast{TimeToFull: edge.Never, Sinks: []edge.SinkForecast{{Sink: 1, Name: "sink-1", TimeToDrain: edge.Never}}}
	if diff := cmp.Diff(want, q.Forecast(time.Minute)); diff != "" {
		t.Error(diff)
	}
}

func TestHistory(t *testing.T) {
	const day = 24 * time.Hour
	h := newHistory()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range 30 * 3600 { // 30 hours, 2 bytes a second
		h.add(sample{at: start.Add(time.Duration(i) * time.Second), held: float64(2 * i)})
	}
	for window, most := range map[time.Duration]int{time.Minute: 61, 5 * time.Minute: 301, 30 * time.Minute: 62, 6 * time.Hour: 74, day: 290} {
		samples := h.since(window)
		reached := samples[len(samples)-1].at.Sub(samples[0].at)
		if len(samples) > most || reached > window || reached < window*9/10 {
			t.Errorf("%v: %d samples over %v", window, len(samples), reached)
		}
		growth := rate(samples, func(s *sample) float64 { return s.held })
		if !cmp.Equal(growth, 2.0, cmpopts.EquateApprox(0, 1e-6)) {
			t.Errorf("%v: it grows by %v a second", window, growth)
		}
	}
	if got := newHistory().since(day); got != nil {
		t.Errorf("an empty history has %v", got)
	}
}

// What goes in steps, as merging does, grows by its average.
func TestRate_Steps(t *testing.T) {
	var samples []sample
	for i := range 301 {
		grown := 4*i - 3*(i/60*60) // of 4 bytes a second, 3 are won back once a minute
		samples = append(samples, sample{at: time.Unix(int64(i), 0), held: float64(grown)})
	}
	if got := rate(samples, func(s *sample) float64 { return s.held }); got < 0.9 || got > 1.3 {
		t.Errorf("got %v a second, want about 1", got)
	}
	if got := rate(samples[:1], func(s *sample) float64 { return s.held }); got != 0 {
		t.Errorf("one sample grows by %v", got)
	}
}

func TestUntil(t *testing.T) {
	for name, test := range map[string]struct {
		amount, rate float64
		want         time.Duration
	}{
		"Grows":     {100, 10, 10 * time.Second},
		"Nothing":   {0, 10, 0},
		"Still":     {100, 0, edge.Never},
		"Shrinks":   {100, -1, edge.Never},
		"BothStill": {0, 0, edge.Never},
		"Centuries": {1e15, 1, edge.Never},
	} {
		if got := until(test.amount, test.rate); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}
