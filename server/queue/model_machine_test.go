package queue_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
)

// TestQueue_Model drives the real queue and a model made of maps through the
// same random history, crashes included, and expects them to agree. Only what can
// do something is drawn, so that a history of thirty steps does thirty things;
// what they came to is counted, and in a long run none of it may be missing:
//
//	go test ./server/queue -run TestQueue_Model -rapid.checks 5000 -rapid.steps 100
func TestQueue_Model(t *testing.T) {
	t.Parallel()
	total := &tally{counts: map[string]int{}}
	folders := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		rapid.SyncTest(rt, func(rt *rapid.T) {
			folder, err := os.MkdirTemp(folders, "")
			if err != nil {
				rt.Fatal(err)
			}
			rt.Cleanup(func() { _ = os.RemoveAll(folder) }) // there may be thousands
			m := newMachine(rt, folder, total)
			defer m.stop()
			rt.Repeat(map[string]func(*rapid.T){"step": m.step, "": m.check})
			m.checkEverything(rt)
		})
	})
	total.print(t)
}

// tally counts what happened in all histories.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(what string, times int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what] += times
}

// stepsForAll is how many steps are enough for everything to happen: make long-model
// takes them. In the three thousand of a plain go test the rarest now and then do not.
const stepsForAll = 20_000

func (c *tally) print(t *testing.T) {
	lines, steps := "", 0
	for _, what := range slices.Sorted(maps.Keys(c.counts)) {
		lines += fmt.Sprintf("\n%8d  %s", c.counts[what], what)
		if strings.HasPrefix(what, "step: ") {
			steps += c.counts[what]
		}
	}
	t.Logf("%d steps:%s", steps, lines)
	for _, action := range actions {
		if steps >= stepsForAll && c.counts["step: "+action.name] == 0 {
			t.Errorf("%d steps, and none of them is %q", steps, action.name)
		}
	}
	for _, what := range outcomes {
		if steps >= stepsForAll && c.counts[what] == 0 {
			t.Errorf("%d steps, and never: %s", steps, what)
		}
	}
}

// outcomes are what has to have come of all steps together.
var outcomes = []string{
	"expired", "expired while leased", "discarded by an operator", "discarded by a policy", "dead letters discarded", "dead letters evicted",
	"removed by retention", "merged frame", "settlements undone by a crash",
	"repeated after too many other sequences", "repeated after too many other boots", "repeated after too many other message ids",
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
	total  *tally

	model  *model
	sent   int // payloads so far, each different
	leased map[edge.SinkID][]edge.Delivery
	begun  map[edge.SinkID][][]edge.Delivery // under way to the sink
	stale  map[edge.SinkID][]edge.Delivery   // given up while they were leased
}

func newMachine(t *rapid.T, folder string, total *tally) *machine {
	m := &machine{folder: folder, model: newModel(), total: total}
	m.path = filepath.Join(folder, "0.db")
	m.model.limits = modelLimits{
		undelivered:    rapid.SampledFrom([]time.Duration{0, 0, 3 * time.Minute}).Draw(t, "undelivered"),
		removedSink:    rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "removed sink"),
		deliveredBytes: rapid.SampledFrom([]int64{0, 200 << 10}).Draw(t, "delivered bytes"),
	}
	m.model.lanes[1] = newModelLane("sink-1", queue.Limits{})
	m.model.lanes[2] = newModelLane("sink-2", drawLimits(t))
	m.forget()
	m.start(t)
	if messages := rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 0, talkative}).Draw(t, "talked"); messages > 0 {
		m.talk(t, messages)
	}
	return m
}

func drawLimits(t *rapid.T) queue.Limits {
	return rapid.SampledFrom([]queue.Limits{{}, {TTL: 40 * time.Second}, {TTL: 2 * time.Minute}, {MaxLagBytes: 200 << 10}}).Draw(t, "limits")
}

// forget lets go of what is leased, as a start does.
func (m *machine) forget() {
	m.leased, m.stale = map[edge.SinkID][]edge.Delivery{}, map[edge.SinkID][]edge.Delivery{}
	m.begun = map[edge.SinkID][][]edge.Delivery{}
}

// start opens the file and runs the queue.
func (m *machine) start(t *rapid.T) {
	limits := m.model.limits
	q, err := queue.Open(context.Background(), queue.Settings{
		Path: m.path, RetentionDelivered: modelRetention, RetentionDeliveredBytes: limits.deliveredBytes,
		RetentionUndelivered: limits.undelivered, RetentionRemovedSink: limits.removedSink,
	}, observe.NewDiscard())
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	m.queue = q
	m.ensureSinks(t, edge.Start{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx) }()
	m.end = func() error {
		cancel()
		return <-done
	}
}

func (m *machine) stop() {
	_ = m.end()
}

// action is something that can happen to the queue.
type action struct {
	name   string
	weight int
	do     func(*machine, *rapid.T, edge.SinkID)
	can    func(*machine, edge.SinkID) bool // for which sinks; nil for what needs none
}

// actions are drawn by weight, and the earlier ones more often than that: small
// numbers are.
var actions = []action{
	{name: "end", weight: 3, do: (*machine).endAttempt, can: (*machine).hasBegun},
	{name: "begin", weight: 3, do: (*machine).begin, can: (*machine).hasLive},
	{name: "lease", weight: 3, do: (*machine).lease, can: (*machine).isDue},
	{name: "settle", weight: 2, do: (*machine).settle, can: (*machine).hasLeased},
	{name: "append", weight: 5, do: (*machine).append},
	{name: "return sink", weight: 1, do: (*machine).returnSink, can: (*machine).isRemoved},
	{name: "delete sink", weight: 1, do: (*machine).deleteSink, can: (*machine).isRemoved},
	{name: "requeue", weight: 2, do: (*machine).requeue, can: (*machine).hasLetters},
	{name: "release", weight: 2, do: (*machine).release, can: (*machine).hasLeased},
	{name: "seal", weight: 2, do: (*machine).seal, can: (*machine).hasLive},
	{name: "wait longer", weight: 2, do: (*machine).waitLonger},
	{name: "append much", weight: 1, do: (*machine).appendMuch},
	{name: "skip", weight: 1, do: (*machine).skip},
	{name: "append and merge", weight: 1, do: (*machine).appendAndMerge},
	{name: "add sink", weight: 1, do: (*machine).addSink, can: (*machine).canAdd},
	{name: "remove sink", weight: 1, do: (*machine).removeSink, can: (*machine).canRemove},
	{name: "deliver", weight: 1, do: (*machine).deliver, can: (*machine).isDueOrLeased},
	{name: "settle foreign", weight: 1, do: (*machine).settleForeign, can: (*machine).hasForeign},
	{name: "wait", weight: 1, do: (*machine).wait},
	{name: "age", weight: 1, do: (*machine).age},
	{name: "crash", weight: 1, do: (*machine).crash},
	{name: "restart", weight: 1, do: (*machine).restart},
	{name: "look", weight: 1, do: (*machine).look},
}

// step does one of the things that can be done.
func (m *machine) step(t *rapid.T) {
	type choice struct {
		action
		sinks []edge.SinkID
	}
	var choices []choice
	var names []string
	for _, candidate := range actions {
		var sinks []edge.SinkID
		for sink := range edge.SinkID(len(m.model.lanes)) {
			if candidate.can != nil && candidate.can(m, sink+1) {
				sinks = append(sinks, sink+1)
			}
		}
		for range candidate.weight {
			if candidate.can == nil || len(sinks) > 0 {
				choices = append(choices, choice{candidate, sinks})
				names = append(names, candidate.name)
			}
		}
	}
	chosen := choices[slices.Index(names, rapid.SampledFrom(names).Draw(t, "action"))]
	sink := edge.Ingress
	if len(chosen.sinks) > 0 {
		sink = rapid.SampledFrom(chosen.sinks).Draw(t, "sink")
	}
	m.total.add("step: "+chosen.name, 1)
	chosen.do(m, t, sink)
}

// sleep lets time pass, and finds out what was given up meanwhile.
func (m *machine) sleep(t *rapid.T, pause time.Duration) {
	time.Sleep(pause)
	if pause > 50*time.Millisecond {
		m.model.saved()
	}
	stats := m.observe(t)
	if pause > time.Second {
		m.checkOverdue(t, &stats)
	}
}

// wait lets less time pass than it takes to save settlements, or more.
func (m *machine) wait(t *rapid.T, _ edge.SinkID) {
	m.sleep(t, time.Duration(rapid.IntRange(1, 80).Draw(t, "milliseconds"))*time.Millisecond)
}

// waitLonger lets small frames be merged, and some records expire.
func (m *machine) waitLonger(t *rapid.T, _ edge.SinkID) {
	m.sleep(t, time.Duration(rapid.IntRange(1, 50).Draw(t, "seconds"))*time.Second)
}

// age lets what is settled everywhere become old. When nothing was owed any more,
// all of it has to go. (Otherwise a cursor that was not saved lately may keep
// more than is needed.)
func (m *machine) age(t *rapid.T, _ edge.SinkID) {
	before, owed := time.Now(), false
	for _, lane := range m.model.lanes {
		owed = owed || len(lane.waiting(nil)) > 0
	}
	m.sleep(t, modelRetention+5*time.Second)
	if stats := m.queue.Stats(); !owed && stats.Oldest > 0 && m.model.at(stats.Oldest).committed.Before(before) {
		t.Fatalf("record %d is old and needed by nobody, but is kept", stats.Oldest)
	}
}

// look compares everything.
func (m *machine) look(t *rapid.T, _ edge.SinkID) { m.checkEverything(t) }

// restart stops in order: nothing that was settled is undone.
func (m *machine) restart(t *rapid.T, _ edge.SinkID) {
	if err := m.end(); err != nil {
		t.Fatalf("Run: %v", err)
	}
	m.model.saved()
	m.resume(t)
	m.checkEverything(t)
}

// crash takes the files as they are, without what is in memory.
func (m *machine) crash(t *rapid.T, _ edge.SinkID) {
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
	m.resume(t)
	m.checkEverything(t)
}

// resume starts another life, and finds out which settlements have survived.
func (m *machine) resume(t *rapid.T) {
	m.start(t)
	m.forget()
	synctest.Wait() // until what is over a limit is given up
	stats := m.queue.Stats()
	for _, sink := range stats.All() {
		lane := m.model.lanes[sink.ID]
		candidates := append(lane.unsaved, lane.modelState)
		slices.Reverse(candidates) // an earlier one might lose as many now, but others: what was under way then is not any more
		survived := slices.IndexFunc(candidates, func(state modelState) bool {
			next := state.restarted()
			return m.catchUp(lane, &next, &sink) == nil && figures(next) == sinkFigures(&sink)
		})
		if survived < 0 {
			t.Fatalf("sink %d: after a crash %+v is none of the states that it was in", sink.ID, sink)
		}
		if survived > 0 {
			m.total.add("settlements undone by a crash", 1)
		}
		found := candidates[survived].restarted()
		lane.modelState, lane.unsaved = found, nil
	}
	m.observeIn(t, &stats)
}
