package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
)

// TestQueue_Model drives the real queue and a model made of maps through the
// same random history, crashes included, and expects them to agree. More of it:
//
//	go test ./server/queue -run TestQueue_Model -rapid.checks 5000 -rapid.steps 100
func TestQueue_Model(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var caught any
		synctest.Test(t, func(t *testing.T) {
			defer func() { caught = recover() }() // rapid fails by panicking in its own goroutine
			m := newMachine(rt, t.TempDir())
			defer m.stop()
			rt.Repeat(m.actions())
			m.checkEverything(rt)
		})
		if caught != nil {
			panic(caught)
		}
	})
}

// modelRetention is short, so that a day of housekeeping does not have to pass.
const modelRetention = time.Minute

// machine is the queue under test beside its model.
type machine struct {
	folder string
	lives  int // files so far
	path   string
	queue  *queue.Queue
	end    func() error // of Run

	model  *model
	sent   int // payloads so far, each different
	leased map[edge.SinkID][]edge.Delivery
}

func newMachine(t *rapid.T, folder string) *machine {
	m := &machine{folder: folder, model: newModel(), leased: map[edge.SinkID][]edge.Delivery{}}
	m.path = filepath.Join(folder, "0.db")
	for sink := range edge.SinkID(2) {
		m.model.lanes[sink+1] = newModelLane()
	}
	m.start(t)
	return m
}

// start opens the file and runs the queue.
func (m *machine) start(t *rapid.T) {
	q, err := queue.Open(context.Background(), queue.Settings{Path: m.path, RetentionDelivered: modelRetention}, observe.NewDiscard())
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if _, err := q.EnsureSinks(context.Background(), specs(len(m.model.lanes))); err != nil {
		t.Fatalf("EnsureSinks: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	m.queue = q
	m.end = func() error {
		cancel()
		return <-done
	}
}

func (m *machine) stop() {
	_ = m.end()
}

// actions are drawn evenly; what makes histories interesting is there more than
// once.
func (m *machine) actions() map[string]func(*rapid.T) {
	actions := map[string]func(*rapid.T){
		"foreign": m.settleForeign,
		"sink":    m.addSink,
		"wait":    m.wait,
		"age":     m.age,
		"crash":   m.crash,
		"restart": m.restart,
		"look":    m.checkEverything,
		"":        m.check,
	}
	for i := range 3 {
		actions[fmt.Sprint("append", i)] = m.append
		actions[fmt.Sprint("lease", i)] = m.lease
		actions[fmt.Sprint("settle", i)] = m.settle
		actions[fmt.Sprint("deliver", i)] = m.deliver
		actions[fmt.Sprint("release", i)] = m.release
		actions[fmt.Sprint("seal", i)] = m.seal
		actions[fmt.Sprint("requeue", i)] = m.requeue
	}
	return actions
}

// append stores some entries at once.
func (m *machine) append(t *rapid.T) {
	entries := make([]edge.Entry, rapid.SampledFrom([]int{1, 1, 2, 3, 5, 30}).Draw(t, "entries"))
	wants := make([]expected, len(entries))
	replies := edgetest.NewReplies()
	for i := range entries {
		entries[i] = m.entry(t)
		wants[i] = m.model.append(&entries[i], time.Now())
		entries[i].Replier, entries[i].Token = replies, uint64(i)
	}
	if err := m.queue.Append(context.Background(), entries...); err != nil {
		t.Fatalf("Append: %v", err)
	}
	synctest.Wait()
	answers := replies.Flushed()
	if len(answers) != len(entries) {
		t.Fatalf("%d answers to %d entries", len(answers), len(entries))
	}
	position := edge.Position(len(m.model.records)) // of the last record
	for i := len(wants) - 1; i >= 0; i-- {
		if answers[i].Token != uint64(i) {
			t.Fatalf("answer %d is for entry %d", i, answers[i].Token)
		}
		m.judge(t, &answers[i], &wants[i], position)
		if wants[i].stored {
			position--
		}
	}
}

// entry draws what a door may hand over.
func (m *machine) entry(t *rapid.T) edge.Entry {
	m.sent++
	entry := edge.Entry{Owed: rapid.SampledFrom([][]edge.SinkID{{1, 2}, {1, 2}, {1}, {2}, nil}).Draw(t, "owed")}
	entry.Record = edgetest.Record(rapid.SampledFrom([]edge.DeviceID{"dev-1", "dev-2", "dev-3"}).Draw(t, "device"), m.sent)
	record := &entry.Record
	kind := rapid.SampledFrom([]string{"new", "new", "named", "anonymous", "duplicate", "conflict", "explicit", "refused"}).Draw(t, "kind")
	switch kind {
	case "named":
		record.Identity = edge.Identity{MessageID: fmt.Sprintf("message-%d", m.sent), Explicit: rapid.Bool().Draw(t, "explicit")}
	case "anonymous":
		record.Identity = edge.Identity{}
	case "refused":
		entry.Refusal = edge.Refuse(edge.Invalid, edge.ReasonMissingField, "metrics", "at least one metric is required")
	case "duplicate", "conflict", "explicit":
		if len(m.model.records) == 0 {
			break
		}
		known := &m.model.records[rapid.IntRange(0, len(m.model.records)-1).Draw(t, "known")].record
		record.Device, record.Identity = known.Device, known.Identity
		record.Identity.Explicit = kind == "explicit"
		if kind == "duplicate" {
			record.Payload = known.Payload
		}
	}
	return entry
}

// judge holds one answer against what was expected; position is that of the
// record, if the entry was stored.
func (m *machine) judge(t *rapid.T, answer *edgetest.Reply, want *expected, position edge.Position) {
	got := answer.Receipt
	switch {
	case want.fails:
		if edge.AsError(answer.Err) == nil || edge.AsError(answer.Err).Code != edge.Conflict {
			t.Fatalf("got %+v, want an error of code Conflict", *answer)
		}
		return
	case answer.Err != nil:
		t.Fatalf("got error %v, want %+v", answer.Err, *want)
	case got.Duplicate != want.duplicate || got.Conflict != want.conflict || got.Refused != want.refused:
		t.Fatalf("got %+v, want %+v", got, *want)
	case want.duplicate && got.Correlation != m.model.records[want.duplicateOf].record.Correlation:
		// An original of the same call is numbered when its own answer is judged.
		if original := &m.model.records[want.duplicateOf].record; !original.Correlation.IsZero() || got.Correlation.Position() != original.Position {
			t.Fatalf("a duplicate of %v is answered with %v", original.Correlation, got.Correlation)
		}
	case want.stored:
		if got.Correlation.Position() != position {
			t.Fatalf("stored at %d, want %d", got.Correlation.Position(), position)
		}
		m.model.records[position-1].record.Correlation = got.Correlation
	}
}

// drawSink picks a sink; others than the first two are owed a backlog only.
func (m *machine) drawSink(t *rapid.T) (edge.SinkID, *modelLane) {
	sink := edge.SinkID(rapid.IntRange(1, len(m.model.lanes)).Draw(t, "sink"))
	return sink, m.model.lanes[sink]
}

// lease expects exactly the first deliveries that are due.
func (m *machine) lease(t *rapid.T) {
	sink, _ := m.drawSink(t)
	for range rapid.IntRange(1, 3).Draw(t, "leases") {
		m.leaseSome(t, sink, rapid.SampledFrom([]int{1, 1, 2, 5, 100}).Draw(t, "records"))
	}
}

// deliver brings everything to a sink that is due or leased.
func (m *machine) deliver(t *rapid.T) {
	sink, lane := m.drawSink(t)
	for batches := len(lane.sealed); batches >= 0; batches-- {
		m.leaseSome(t, sink, edge.MaxLeased)
	}
	all := m.leased[sink]
	if len(all) == 0 {
		t.Skip("nothing is due")
	}
	m.leased[sink] = nil
	m.settleAs(t, sink, lane, edge.Settlement{Attempt: attempt(all, edge.Delivered), Acked: all})
}

func (m *machine) leaseSome(t *rapid.T, sink edge.SinkID, records int) {
	lane := m.model.lanes[sink]
	requeued, live := lane.due()
	want := slices.Concat(requeued, live)
	want = want[:min(len(want), records)]
	sealed := lane.sealedDue()
	if sealed != nil {
		requeued, want = nil, sealed
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
	defer cancel()
	got, err := m.queue.Lease(ctx, sink, edge.LeaseLimit{Records: records, Bytes: 1 << 20})
	if len(want) == 0 {
		if len(got) > 0 || !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("sink %d: leased %v, %v; want nothing due", sink, positions(got), err)
		}
		return
	}
	if err != nil || !slices.Equal(positions(got), want) {
		t.Fatalf("sink %d: leased %v, %v; want %v", sink, positions(got), err, want)
	}
	for i := range got {
		kind := edge.Live
		if i < len(requeued) {
			kind = edge.Requeue
		}
		if got[i].Kind != kind || got[i].Sealed != (sealed != nil) {
			t.Fatalf("sink %d: position %d is %v, sealed: %v; want %v, sealed: %v", sink, want[i], got[i].Kind, got[i].Sealed, kind, sealed != nil)
		}
		m.sameRecord(t, &got[i].Record)
		lane.lease(want[i], kind)
	}
	m.leased[sink] = append(m.leased[sink], got...)
}

// drawLeased takes some of what is leased out of the machine's hands.
func (m *machine) drawLeased(t *rapid.T, sink edge.SinkID) (taken []edge.Delivery) {
	var kept []edge.Delivery
	for _, delivery := range m.leased[sink] {
		if rapid.Bool().Draw(t, "taken") {
			taken = append(taken, delivery)
		} else {
			kept = append(kept, delivery)
		}
	}
	m.leased[sink] = kept
	return taken
}

// settle decides some of what is leased.
func (m *machine) settle(t *rapid.T) {
	sink, lane := m.drawSink(t)
	taken := m.drawLeased(t, sink)
	if len(taken) == 0 {
		t.Skip("nothing is leased")
	}
	settlement := edge.Settlement{Attempt: attempt(taken, edge.Delivered)}
	for _, delivery := range taken {
		if rapid.Bool().Draw(t, "acked") {
			settlement.Acked = append(settlement.Acked, delivery)
			continue
		}
		reason := rapid.SampledFrom(edge.Deaths[:]).Draw(t, "reason")
		settlement.Dead = append(settlement.Dead, edge.Death{Delivery: delivery, Reason: reason, Status: "422", Excerpt: "no"})
	}
	m.settleAs(t, sink, lane, settlement)
}

func (m *machine) settleAs(t *rapid.T, sink edge.SinkID, lane *modelLane, settlement edge.Settlement) {
	if err := m.queue.Settle(context.Background(), sink, settlement); err != nil {
		t.Fatalf("Settle: %v", err)
	}
	lane.settle(&settlement)
	synctest.Wait()
}

// settleForeign settles what is not leased, which must change nothing.
func (m *machine) settleForeign(t *rapid.T) {
	sink, lane := m.drawSink(t)
	if len(m.model.records) == 0 {
		t.Skip("nothing is stored")
	}
	foreign := edge.Delivery{Record: m.model.records[rapid.IntRange(0, len(m.model.records)-1).Draw(t, "position")].record}
	if lane.states[foreign.Record.Position] == edge.InFlight {
		t.Skip("it is leased")
	}
	acked := append(slices.Clone(m.leased[sink]), foreign)
	if err := m.queue.Settle(context.Background(), sink, edge.Settlement{Attempt: attempt(acked, edge.Delivered), Acked: acked}); err == nil {
		t.Fatalf("sink %d: position %d was settled, but it is not leased", sink, foreign.Record.Position)
	}
}

// release gives back some of what is leased, in any order.
func (m *machine) release(t *rapid.T) {
	sink, lane := m.drawSink(t)
	taken := m.drawLeased(t, sink)
	if len(taken) == 0 {
		t.Skip("nothing is leased")
	}
	taken = m.withBatches(sink, taken)
	taken = rapid.Permutation(taken).Draw(t, "order")
	m.queue.Release(sink, taken)
	for _, delivery := range taken {
		lane.release(delivery.Record.Position, delivery.Kind)
	}
}

// requeue sends some dead letters back.
func (m *machine) requeue(t *rapid.T) {
	sink, lane := m.drawSink(t)
	var keys []edge.DeadLetterKey
	want := 0
	for position := range edge.Position(len(m.model.records) + 1) {
		letter, dead := lane.letters[position]
		if !dead || !rapid.Bool().Draw(t, "requeued") {
			continue
		}
		keys = append(keys, edge.DeadLetterKey{Sink: sink, Position: position})
		if !letter.requeued {
			letter.requeued = true
			lane.letters[position] = letter
			want++
		}
	}
	if len(keys) == 0 {
		t.Skip("nothing is dead")
	}
	got, err := m.queue.RequeueKeys(context.Background(), keys, false)
	if err != nil || got != want {
		t.Fatalf("sink %d: requeued %d, %v; want %d", sink, got, err, want)
	}
	m.model.saved() // what was settled is saved first
}

// addSink adds a sink that begins with what is still stored.
func (m *machine) addSink(t *rapid.T) {
	if len(m.model.lanes) == 4 {
		t.Skip("there are enough")
	}
	added := specs(len(m.model.lanes) + 1)
	added[len(added)-1].Start = edge.Start{Oldest: rapid.Bool().Draw(t, "oldest")}
	oldest := m.queue.Stats().Oldest
	ids, err := m.queue.EnsureSinks(context.Background(), added)
	if err != nil {
		t.Fatalf("EnsureSinks: %v", err)
	}
	lane := newModelLane()
	for position := oldest; added[len(added)-1].Start.Oldest && position > 0 && int(position) <= len(m.model.records); position++ {
		lane.states[position] = edge.Enqueued
	}
	m.model.lanes[ids[len(ids)-1]] = lane
}

// wait lets less time pass than it takes to save settlements, or more.
func (m *machine) wait(t *rapid.T) {
	pause := time.Duration(rapid.IntRange(1, 80).Draw(t, "milliseconds")) * time.Millisecond
	time.Sleep(pause)
	if pause > 50*time.Millisecond {
		m.model.saved()
	}
}

// age lets what is settled everywhere become old. When nothing is owed any more,
// all of it has to go. (Otherwise a cursor that was not saved lately may keep
// more than is needed.)
func (m *machine) age(t *rapid.T) {
	before := time.Now()
	time.Sleep(modelRetention + 5*time.Second)
	synctest.Wait()
	m.model.saved()
	stats := m.queue.Stats()
	for _, sink := range stats.Sinks {
		if sink.Pending > 0 {
			return
		}
	}
	if stats.Oldest > 0 && m.model.records[stats.Oldest-1].committed.Before(before) {
		t.Fatalf("record %d is old and needed by nobody, but is kept", stats.Oldest)
	}
}

// restart stops in order: nothing that was settled is undone.
func (m *machine) restart(t *rapid.T) {
	if err := m.end(); err != nil {
		t.Fatalf("Run: %v", err)
	}
	m.model.saved()
	m.begin(t)
	m.checkEverything(t)
}

// crash takes the files as they are, without what is in memory.
func (m *machine) crash(t *rapid.T) {
	synctest.Wait()
	m.lives++
	path := filepath.Join(m.folder, fmt.Sprintf("%d.db", m.lives))
	for _, suffix := range []string{"", "-wal"} {
		content, err := os.ReadFile(m.path + suffix)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("crash: %v", err)
		}
		if err := os.WriteFile(path+suffix, content, 0o600); err != nil {
			t.Fatalf("crash: %v", err)
		}
	}
	m.stop()
	m.path = path
	m.begin(t)
	m.checkEverything(t)
}

// begin starts another life, and finds out which settlements have survived.
func (m *machine) begin(t *rapid.T) {
	m.start(t)
	clear(m.leased)
	for _, sink := range m.queue.Stats().Sinks {
		lane := m.model.lanes[sink.ID]
		candidates := append(lane.unsaved, lane.modelState)
		survived := slices.IndexFunc(candidates, func(state modelState) bool {
			return figures(state.restarted()) == sinkFigures(&sink)
		})
		if survived < 0 {
			t.Fatalf("sink %d: after a crash %+v is none of the states that it was in", sink.ID, sink)
		}
		lane.modelState, lane.unsaved = candidates[survived].restarted(), nil
	}
}
