package dispatch_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"combotto.io/gateway/server/dispatch"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bench is a dispatcher with fakes around it, inside a synctest bubble.
type bench struct {
	t          *testing.T
	queue      leaser
	dispatcher *dispatch.Dispatcher
	observer   *observe.Observer
	log        *bytes.Buffer // read it only when every goroutine is blocked
	stop       context.CancelFunc
	stopped    chan error
}

// leaser is a queue that can be asked where a sink's deliveries stand.
type leaser interface {
	edge.Leaser
	Account(sink edge.SinkID) edgetest.Account
}

// start runs a dispatcher with a lane for each planned sink.
func start(t *testing.T, queue leaser, sinks map[edge.SinkID]edge.Sink, planned ...edge.PlannedSink) *bench {
	t.Helper()
	b := &bench{t: t, queue: queue, observer: observe.NewDiscard(), log: &bytes.Buffer{}, stopped: make(chan error, 1)}
	b.observer.Log = slog.New(slog.NewJSONHandler(b.log, nil))
	b.dispatcher = dispatch.New(edge.NewPlan(planned), queue, sinks, b.observer)
	b.run()
	return b
}

func (b *bench) run() {
	ctx, cancel := context.WithCancel(b.t.Context())
	b.stop = cancel
	go func() { b.stopped <- b.dispatcher.Run(ctx) }()
}

// end stops the dispatcher and expects it to leave nothing behind.
func (b *bench) end() {
	b.t.Helper()
	b.stop()
	if err := <-b.stopped; err != nil {
		b.t.Errorf("Run: %v", err)
	}
	for _, lane := range b.dispatcher.Stats() {
		if lane.State != edge.LaneStopped {
			b.t.Errorf("lane %d is %v after Run", lane.Sink, lane.State)
		}
		if account := b.queue.Account(lane.Sink); account.Leased != 0 {
			b.t.Errorf("lane %d left %d deliveries leased", lane.Sink, account.Leased)
		}
	}
}

// lines returns the log's lines of a level.
func (b *bench) lines(level slog.Level) (messages []string) {
	b.t.Helper()
	for line := range strings.Lines(b.log.String()) {
		var entry struct{ Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			b.t.Fatal(err)
		}
		if entry.Level == level.String() {
			messages = append(messages, entry.Msg)
		}
	}
	return messages
}

// advance lets virtual time pass and everything happen that is due by then.
func advance(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func planned(id edge.SinkID, concurrency, records int) edge.PlannedSink {
	return edge.PlannedSink{
		ID: id, Name: "sink-" + string(rune('a'+id-1)), Kind: "fake", Concurrency: concurrency,
		Batch: edge.BatchLimit{Records: records, Bytes: 1 << 20}, Timeout: 10 * time.Second,
	}
}

func only(sink edge.Sink) map[edge.SinkID]edge.Sink { return map[edge.SinkID]edge.Sink{1: sink} }

func sequences(deliveries []edge.Delivery) (sequences []uint64) {
	for _, delivery := range deliveries {
		sequences = append(sequences, delivery.Record.Identity.Sequence)
	}
	return sequences
}

func isSequence(n uint64) func(edge.Record) bool {
	return func(record edge.Record) bool { return record.Identity.Sequence == n }
}

func TestDispatcher_Run(t *testing.T) {
	t.Run("DeliversEverything", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue, sink := edgetest.NewQueue(1), edgetest.NewSink(nil)
			b := start(t, queue, only(sink), planned(1, 3, 10))
			edgetest.Append(t, queue, edgetest.Entries(500, 7, 1)...)
			synctest.Wait()
			if got := len(sink.Accepted()); got != 500 {
				t.Errorf("accepted %d, want 500", got)
			}
			if diff := cmp.Diff(edgetest.Account{}, queue.Account(1)); diff != "" {
				t.Error(diff)
			}
			b.end()
			if sink.Closed() {
				t.Error("the dispatcher closed a sink that is not its own")
			}
		})
	})
	t.Run("WaitsWithoutLanes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := start(t, edgetest.NewQueue(), nil)
			advance(time.Hour)
			select {
			case err := <-b.stopped:
				t.Errorf("Run returned %v", err)
			default:
			}
			b.end()
		})
	})
	t.Run("RefusesMissingSink", func(t *testing.T) {
		d := dispatch.New(edge.NewPlan([]edge.PlannedSink{planned(1, 1, 1)}), edgetest.NewQueue(1), nil, observe.NewDiscard())
		if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "sink-a") {
			t.Errorf("got %v, want an error that names the sink", err)
		}
	})
}

// TestDispatcher_Stop shows what becomes of the attempts that are under way.
func TestDispatcher_Stop(t *testing.T) {
	hold := func(t *testing.T) (*bench, *edgetest.Sink, chan struct{}) {
		release := make(chan struct{})
		queue, sink := edgetest.NewQueue(1), edgetest.NewSink(edgetest.Hold(release, edgetest.Sequence()))
		b := start(t, queue, only(sink), planned(1, 1, 10))
		edgetest.Append(t, queue, edgetest.Entries(35, 1, 1)...)
		synctest.Wait()
		b.stop()
		synctest.Wait()
		return b, sink, release
	}
	t.Run("FinishesAttempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, sink, release := hold(t)
			close(release)
			b.end()
			if got := len(sink.Calls()); got != 1 {
				t.Errorf("%d attempts, want only the one that was under way", got)
			}
			if diff := cmp.Diff(edgetest.Account{Due: 25}, b.queue.Account(1)); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("AbandonsAttempt", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b, _, _ := hold(t)
			began := time.Now()
			b.end()
			if took := time.Since(began); took != dispatch.DrainTimeout {
				t.Errorf("stopping took %v, want %v", took, dispatch.DrainTimeout)
			}
			if diff := cmp.Diff(edgetest.Account{Due: 35}, b.queue.Account(1)); diff != "" {
				t.Error(diff)
			}
		})
	})
	t.Run("LeavesBackoffAtOnce", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue, sink := edgetest.NewQueue(1), edgetest.NewSink(edgetest.Always(edge.Outcome{Class: edge.Misconfigured, Status: "404"}))
			b := start(t, queue, only(sink), planned(1, 4, 1))
			edgetest.Append(t, queue, edgetest.Entries(10, 5, 1)...)
			synctest.Wait()
			began := time.Now()
			b.end()
			if took := time.Since(began); took != 0 {
				t.Errorf("stopping took %v", took)
			}
		})
	})
}

func TestDispatcher_Isolation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := edgetest.NewQueue(1, 2)
		stuck := edgetest.NewSink(edgetest.Hold(nil, edgetest.Sequence()))
		healthy := edgetest.NewSink(nil)
		b := start(t, queue, map[edge.SinkID]edge.Sink{1: stuck, 2: healthy}, planned(1, 2, 100), planned(2, 2, 100))
		began := time.Now()
		edgetest.Append(t, queue, edgetest.Entries(20_000, 10, 1, 2)...)
		synctest.Wait()
		if got := len(healthy.Accepted()); got != 20_000 || time.Since(began) != 0 {
			t.Errorf("the healthy sink got %d records in %v, want all at once", got, time.Since(began))
		}
		if len(stuck.Accepted()) != 0 {
			t.Error("the stuck sink accepted records")
		}
		b.end()
	})
}

// TestDispatcher_Bounds stops a sink and looks at what its lane holds.
func TestDispatcher_Bounds(t *testing.T) {
	for name, test := range map[string]struct{ records, payload, want int }{
		"Records": {3 * edge.MaxLeased, 10, edge.MaxLeased},
		"Bytes":   {1000, edge.MaxPayloadBytes, 8<<20/edge.MaxPayloadBytes + 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				queue := edgetest.NewQueue(1)
				sink := edgetest.NewSink(edgetest.Always(edge.Outcome{Class: edge.Unavailable, Status: "503"}))
				// One hour of linger: a full lane must not wait for more.
				slow := planned(1, 4, edge.MaxLeased)
				slow.Batch.Linger, slow.Batch.Bytes = time.Hour, 8<<20
				b := start(t, queue, only(sink), slow)
				payload := bytes.Repeat([]byte("x"), test.payload)
				for chunk := range slices.Chunk(edgetest.Entries(test.records, 16, 1), 100) {
					for i := range chunk {
						chunk[i].Record.Payload = payload
					}
					edgetest.Append(t, queue, chunk...)
				}
				advance(10 * time.Minute)
				if got := queue.Account(1).Leased; got > test.want || got < test.want/2 {
					t.Errorf("the lane holds %d deliveries, want about %d and no more", got, test.want)
				}
				if len(sink.Calls()) == 0 {
					t.Error("a full lane waited for more records")
				}
				b.end()
			})
		})
	}
}

func TestDispatcher_Batch(t *testing.T) {
	sizes := func(sink *edgetest.Sink) (sizes []int) {
		for _, call := range sink.Calls() {
			sizes = append(sizes, len(call.Batch))
		}
		return sizes
	}
	lingering := planned(1, 1, 10)
	lingering.Batch.Linger = time.Second
	t.Run("ClosesByRecordsAndLinger", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue, sink := edgetest.NewQueue(1), edgetest.NewSink(nil)
			b := start(t, queue, only(sink), lingering)
			edgetest.Append(t, queue, edgetest.Entries(25, 1, 1)...)
			advance(time.Second - 1)
			if diff := cmp.Diff([]int{10, 10}, sizes(sink)); diff != "" {
				t.Errorf("before the linger is over: %s", diff)
			}
			advance(1)
			if diff := cmp.Diff([]int{10, 10, 5}, sizes(sink)); diff != "" {
				t.Errorf("after the linger: %s", diff)
			}
			b.end()
		})
	})
	t.Run("ClosesByBytes", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			queue, sink := edgetest.NewQueue(1), edgetest.NewSink(nil)
			entries := edgetest.Entries(5, 1, 1)
			for i := range entries {
				entries[i].Record.Payload = make([]byte, 400)
			}
			entries[2].Record.Payload = make([]byte, 2000) // larger than a batch: it travels alone
			edgetest.Append(t, queue, entries...)
			small := planned(1, 1, 10)
			small.Batch.Bytes = 1000
			b := start(t, queue, only(sink), small)
			synctest.Wait()
			if diff := cmp.Diff([]int{2, 1, 2}, sizes(sink)); diff != "" {
				t.Error(diff)
			}
			b.end()
		})
	})
}

// TestDispatcher_Metrics reads what an operator would see after one success,
// one failure and one dead letter.
func TestDispatcher_Metrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		queue := edgetest.NewQueue(1)
		edgetest.Append(t, queue, edgetest.Entries(3, 1, 1)...)
		sink := edgetest.NewSink(edgetest.Sequence(
			edge.Outcome{Class: edge.Unavailable, Status: "503"},
			edge.Outcome{Class: edge.Delivered, Status: "207", Refused: []edge.Refused{{Index: 1, Status: "422"}}},
		))
		b := start(t, queue, only(sink), planned(1, 1, 10))
		advance(time.Second)
		b.end()
		recorder := httptest.NewRecorder()
		b.observer.Metrics.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
		for _, want := range []string{
			`gateway_sink_delivered_messages_total{sink="sink-a"} 2`,
			`gateway_sink_attempts_total{outcome="delivered",sink="sink-a"} 1`,
			`gateway_sink_attempts_total{outcome="busy",sink="sink-a"} 1`,
			`gateway_sink_attempts_total{outcome="misconfigured",sink="sink-a"} 0`,
			`gateway_sink_attempts_total{outcome="rejected",sink="sink-a"} 0`,
			`gateway_sink_delivery_duration_seconds_count{sink="sink-a"} 2`,
			`gateway_sink_last_success_timestamp_seconds{sink="sink-a"} 9.466`, // the bubble begins in 2000
		} {
			if !strings.Contains(recorder.Body.String(), "\n"+want) {
				t.Errorf("%q is missing", want)
			}
		}
	})
}
