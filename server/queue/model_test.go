package queue_test

import (
	"maps"
	"slices"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queue"
)

// model is what a queue should be, in maps. It shares no code with the queue,
// and keeps everything: what retention has removed stays known, so that its
// absence can be judged.
type model struct {
	records []modelRecord // by position, from 1
	windows map[edge.DeviceID]*modelWindow
	refused []edge.Entry // messages refused at the door, in order
	lanes   map[edge.SinkID]*modelLane
	limits  modelLimits
}

// modelLimits are what an operator has set for all sinks. 0 is no limit.
type modelLimits struct {
	undelivered    time.Duration
	removedSink    time.Duration
	deliveredBytes int64
}

// modelRecord is a record that was acknowledged.
type modelRecord struct {
	record      edge.Record
	owed        []edge.SinkID
	committed   time.Time
	first, last edge.Position // of its commit
}

// at returns the record at a position.
func (m *model) at(position edge.Position) *modelRecord { return &m.records[position-1] }

func newModel() *model {
	return &model{windows: map[edge.DeviceID]*modelWindow{}, lanes: map[edge.SinkID]*modelLane{}}
}

// expected is what an entry has to be answered with.
type expected struct {
	duplicateOf int // index into records, with duplicate
	duplicate   bool
	conflict    bool
	refused     bool
	fails       bool // the caller's key was used for another payload
	stored      bool
}

// append says what becomes of an entry, and remembers it.
func (m *model) append(entry *edge.Entry, now time.Time) expected {
	if entry.Refusal != nil {
		m.refused = append(m.refused, *entry)
		return expected{refused: true}
	}
	record := &entry.Record
	window := m.window(record.Device)
	index, found := 0, false
	if record.Identity.Identifies() {
		index, found = window.find(&record.Identity)
	}
	same := found && string(m.records[index].record.Payload) == string(record.Payload)
	switch {
	case same:
		return expected{duplicate: true, duplicateOf: index}
	case found && record.Identity.Explicit:
		return expected{fails: true}
	}
	stored := modelRecord{record: *record, owed: entry.Owed, committed: now}
	stored.record.Position = edge.Position(len(m.records) + 1)
	m.records = append(m.records, stored)
	if record.Identity.Identifies() {
		window.put(&record.Identity, len(m.records)-1)
	}
	for _, sink := range entry.Owed {
		lane := m.lanes[sink]
		for _, state := range append(lane.unsaved, lane.modelState) { // a record stays whatever a crash undoes
			state.states[stored.record.Position] = edge.Enqueued
		}
	}
	return expected{stored: true, conflict: found}
}

// modelLane is what one sink is owed.
type modelLane struct {
	name      string
	limits    queue.Limits
	removedAt time.Time // zero while it is served
	deleted   bool
	actor     string         // who deleted it; empty for a policy
	attempts  []edge.Attempt // of every settlement, also of one that a crash has undone
	modelState
	// unsaved are the states before each settlement that may not be on disk yet,
	// oldest first: a crash leads back to one of them.
	unsaved []modelState
}

// modelState is what a settlement changes.
type modelState struct {
	states    map[edge.Position]edge.State // of every record that is owed
	letters   map[edge.Position]modelLetter
	sealed    [][]edge.Position // batches with names, in the order of their sealing
	delivered int64
	ever      map[string]int64 // dead letters, by reason
	evicted   int64            // of those, to make room
}

// modelLetter is a dead letter.
type modelLetter struct {
	reason   string
	requeued bool
	leased   bool // with requeued
}

func newModelLane(name string, limits queue.Limits) *modelLane {
	return &modelLane{name: name, limits: limits, modelState: modelState{states: map[edge.Position]edge.State{}, letters: map[edge.Position]modelLetter{}, ever: map[string]int64{}}}
}

func (s modelState) clone() modelState {
	return modelState{states: maps.Clone(s.states), letters: maps.Clone(s.letters), sealed: slices.Clone(s.sealed), delivered: s.delivered, ever: maps.Clone(s.ever), evicted: s.evicted}
}

// restarted is the state as a start finds it: nothing is leased.
func (s modelState) restarted() modelState {
	s = s.clone()
	for position, state := range s.states {
		if state == edge.InFlight {
			s.states[position] = edge.Enqueued
		}
	}
	for position, letter := range s.letters {
		letter.leased = false
		s.letters[position] = letter
	}
	return s
}

// count returns how many records are in a state, requeued dead letters among
// the dead ones.
func (s modelState) count(state edge.State) (count int64) {
	for _, candidate := range s.states {
		if candidate == state {
			count++
		}
	}
	return count
}

// due returns what a lease hands out, in order: requeued dead letters first.
func (s modelState) due() (requeued, live []edge.Position) {
	for _, position := range slices.Sorted(maps.Keys(s.states)) {
		letter, dead := s.letters[position]
		switch {
		case dead && letter.requeued && !letter.leased:
			requeued = append(requeued, position)
		case s.states[position] == edge.Enqueued:
			live = append(live, position)
		}
	}
	return requeued, live
}

// lease marks a delivery.
func (s modelState) lease(position edge.Position, kind edge.DeliveryKind) {
	if kind == edge.Requeue {
		letter := s.letters[position]
		letter.leased = true
		s.letters[position] = letter
		return
	}
	s.states[position] = edge.InFlight
}

// release takes a delivery back.
func (s modelState) release(position edge.Position, kind edge.DeliveryKind) {
	if kind == edge.Requeue {
		letter := s.letters[position]
		letter.leased = false
		s.letters[position] = letter
		return
	}
	s.states[position] = edge.Enqueued
}

// settle decides deliveries.
func (l *modelLane) settle(settlement *edge.Settlement) {
	l.unsaved = append(l.unsaved, l.modelState.clone())
	l.attempts = append(l.attempts, settlement.Attempt)
	for _, delivery := range settlement.Acked {
		position := delivery.Record.Position
		l.unsealLive(&delivery)
		delete(l.letters, position)
		l.states[position] = edge.Acked
		l.delivered++
	}
	for _, death := range settlement.Dead {
		position := death.Delivery.Record.Position
		l.unsealLive(&death.Delivery)
		if l.letters[position].reason != death.Reason {
			l.ever[death.Reason]++
		}
		l.letters[position] = modelLetter{reason: death.Reason}
		l.states[position] = edge.Dead
	}
}

// unsealLive ends the batch of a delivery that is decided.
func (l *modelLane) unsealLive(delivery *edge.Delivery) {
	if delivery.Kind != edge.Requeue {
		l.unseal(delivery.Record.Position)
	}
}

// saved says that everything is on disk.
func (m *model) saved() {
	for _, lane := range m.lanes {
		lane.unsaved = nil
	}
}

// settledEverywhere reports whether every sink is done with a record, on disk.
func (m *model) settledEverywhere(position edge.Position) bool {
	for _, lane := range m.lanes {
		for _, state := range append(lane.unsaved, lane.modelState) {
			if state := state.states[position]; state == edge.Enqueued || state == edge.InFlight {
				return false
			}
		}
	}
	return true
}
