package queue

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

func errNoMessage() *edge.Error {
	return &edge.Error{Code: edge.NotFound, Message: "no such message was accepted, or it is no longer kept"}
}

// Journey tells what became of the record with a correlation id. It is found by
// its position, without a search.
func (q *Queue) Journey(ctx context.Context, id edge.CorrelationID) (edge.Journey, error) {
	if isIngress(id) {
		return q.refusedJourney(ctx, id)
	}
	journey, err := q.journeyAt(ctx, id.Position())
	if err != nil {
		return edge.Journey{}, err
	}
	if journey.Record.Correlation != id {
		return edge.Journey{}, errNoMessage()
	}
	return journey, nil
}

// JourneyByIdentity tells what became of the newest record with an identity, as
// far back as the idempotency window reaches.
func (q *Queue) JourneyByIdentity(ctx context.Context, device edge.DeviceID, identity edge.Identity) (edge.Journey, error) {
	position, found := q.window.lookUp(device, &identity)
	if !found || position > q.Head() {
		return edge.Journey{}, errNoMessage()
	}
	return q.journeyAt(ctx, position)
}

func (q *Queue) journeyAt(ctx context.Context, position edge.Position) (edge.Journey, error) {
	if position < 1 || position > q.Head() {
		return edge.Journey{}, errNoMessage()
	}
	// A death that is not saved yet would pass for a delivery. On a full disk it
	// stays in memory, where account.state finds it.
	if err := unlessFull(q.flush(ctx)); err != nil {
		return edge.Journey{}, fmt.Errorf("read message: %w", err)
	}
	frame, err := q.frameAt(ctx, position)
	if err != nil {
		return edge.Journey{}, fmt.Errorf("read message: %w", err)
	}
	trip := &trip{q: q, position: position}
	if frame != nil && frame.First <= position {
		index := position - frame.First
		trip.journey = edge.Journey{Record: frame.Records[index], Frame: frame.First, Records: len(frame.Records), CommittedAt: frame.CommittedAt}
		trip.owed = q.sets.sinks(frame.Owed[index])
	} else if trip.journey.Record, err = q.letterRecord(ctx, position); err != nil {
		return edge.Journey{}, err
	}
	return trip.tell(ctx)
}

// letterRecord returns a record whose frame is gone. A sink's dead letter may be all that
// is left of it.
func (q *Queue) letterRecord(ctx context.Context, position edge.Position) (edge.Record, error) {
	letters, err := q.readLetters(ctx, 1, queuefile.SelectLetters+" WHERE sink IN (SELECT id FROM sink) AND position = ?", int64(position))
	if err != nil {
		return edge.Record{}, err
	}
	if len(letters) == 0 {
		return edge.Record{}, errNoMessage()
	}
	return letters[0].Record, nil
}

// trip puts a journey together: what is in memory first, then what is on disk,
// so that an attempt which is saved in between is not missed.
type trip struct {
	q        *Queue
	position edge.Position
	journey  edge.Journey // without a frame when that is gone
	owed     []edge.SinkID
	lost     map[edge.SinkID]edge.State // what the loss report says where it covers the position
}

func (t *trip) tell(ctx context.Context) (edge.Journey, error) {
	stages := map[edge.SinkID]*edge.Stage{}
	t.lost = map[edge.SinkID]edge.State{}
	for _, account := range t.q.registry.all() {
		if t.journey.Frame > 0 && account.owes(t.position, t.owed) {
			stages[account.id] = &edge.Stage{Sink: account.id, State: account.state(t.position), Attempts: account.attemptsOf(&t.journey.Record)}
			if lost, covered := account.lostState(t.position); covered {
				t.lost[account.id] = lost
			}
		}
	}
	err := t.q.read(ctx, func(conn *sqlite.Conn) error {
		for _, account := range t.q.registry.all() {
			if err := t.addLetter(conn, account, stages); err != nil {
				return err
			}
		}
		for id, stage := range stages {
			if t.journey.CommittedAt.IsZero() {
				continue // its frame is gone; a dead letter has its own history
			}
			stored, err := readAttempts(conn, id, &t.journey.Record, t.journey.CommittedAt.Add(-mergeAge))
			if err != nil {
				return err
			}
			stage.Attempts = uniteAttempts(stage.Attempts, stored)
			if err := t.addLoss(conn, stage); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return edge.Journey{}, err
	}
	for _, account := range t.q.registry.all() { // in order of id
		if stage := stages[account.id]; stage != nil {
			t.judgeLoss(stage)
			t.journey.Sinks = append(t.journey.Sinks, *stage)
		}
	}
	return t.journey, nil
}

// addLoss reads what the loss report of a stage's sink says of the position.
func (t *trip) addLoss(conn *sqlite.Conn, stage *edge.Stage) error {
	_, err := conn.One("SELECT kind FROM loss WHERE sink = ? AND first <= ? AND last >= ? ORDER BY id DESC LIMIT 1", func(row sqlite.Row) {
		t.lost[stage.Sink] = stateOfLoss(edge.LossKind(row.Int(0)))
	}, int64(stage.Sink), int64(t.position), int64(t.position))
	return err
}

func stateOfLoss(kind edge.LossKind) edge.State {
	if kind == edge.LossExpired {
		return edge.Expired
	}
	return edge.Discarded
}

// lostState is what the losses say that are not saved yet.
func (a *account) lostState(position edge.Position) (lost edge.State, covered bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, report := range []lossReport{a.leaving.losses, a.unsaved.losses} {
		for _, loss := range report {
			if loss.First <= position && position <= loss.Last {
				lost, covered = stateOfLoss(loss.Kind), true
			}
		}
	}
	return lost, covered
}

// judgeLoss says that a decided record was given up, when a stretch of its sink's
// losses covers it and no attempt that is still known has delivered it. A stretch also
// covers what was delivered; where an attempt says so, it is believed.
func (t *trip) judgeLoss(stage *edge.Stage) {
	lost, covered := t.lost[stage.Sink]
	if !covered || stage.State != edge.Acked {
		return
	}
	if !slices.ContainsFunc(stage.Attempts, t.mayHaveDelivered) {
		stage.State = lost
	}
}

// mayHaveDelivered reports whether an attempt that covers the record can be what has
// delivered it. One of two records, as of requeued dead letters, has carried nothing
// between them.
func (t *trip) mayHaveDelivered(attempt edge.Attempt) bool {
	return attempt.Class == edge.Delivered && (t.position == attempt.First || t.position == attempt.Last || attempt.Records > 2)
}

// addLetter adds what a sink's dead letter says, if there is one.
func (t *trip) addLetter(conn *sqlite.Conn, account *account, stages map[edge.SinkID]*edge.Stage) error {
	var letter queuefile.Letter
	found, err := conn.One(queuefile.SelectLetters+" WHERE sink = ? AND position = ?", func(row sqlite.Row) { letter = queuefile.ReadLetter(row) },
		int64(account.id), int64(t.position))
	if err != nil || !found {
		return err
	}
	stage := stages[account.id]
	if stage == nil {
		stage = &edge.Stage{Sink: account.id}
		stages[account.id] = stage
	}
	stage.State = account.letterState(t.position, letter.Requeued)
	stage.Attempts = uniteAttempts(stage.Attempts, letter.History)
	return nil
}

// letterState derives the state of a record that is a dead letter on disk.
func (a *account) letterState(position edge.Position, isRequeued bool) edge.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	if out := a.requeue.out[position]; out != nil { // what was settled a moment ago included
		return out.state
	}
	if isRequeued {
		return edge.Enqueued
	}
	return edge.Dead
}

// attemptsOf returns the recent attempts that carried a record.
func (a *account) attemptsOf(record *edge.Record) []edge.Attempt {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.history(record)
}

// uniteAttempts puts attempts together from several places, oldest first.
func uniteAttempts(groups ...[]edge.Attempt) []edge.Attempt {
	attempts := slices.Concat(groups...)
	slices.SortFunc(attempts, func(a, b edge.Attempt) int {
		return cmp.Or(a.EndedAt.Compare(b.EndedAt), a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.Number, b.Number),
			cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last), cmp.Compare(a.Slot, b.Slot), cmp.Compare(a.Class, b.Class))
	})
	return slices.Compact(attempts)
}

// refusedJourney tells of a message that was refused at the door.
func (q *Queue) refusedJourney(ctx context.Context, id edge.CorrelationID) (edge.Journey, error) {
	letter, err := q.DeadLetter(ctx, edge.DeadLetterKey{Sink: edge.Ingress, Position: id.Position()})
	if err != nil && edge.AsError(err).Code != edge.NotFound {
		return edge.Journey{}, err
	}
	if err != nil || letter.Record.Correlation != id {
		return edge.Journey{}, errNoMessage()
	}
	return edge.Journey{Record: letter.Record, Sinks: []edge.Stage{{Sink: edge.Ingress, State: edge.Dead}}}, nil
}
