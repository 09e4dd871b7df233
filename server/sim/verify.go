package sim

import (
	"context"
	"slices"
	"testing/synctest"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queue"
)

// drainMax is how much virtual time a mended gateway has to deliver everything.
// A lane that was told 401 looks again after a minute.
const drainMax = 10 * time.Minute

// drain waits until every message is acknowledged and every record decided.
func (w *world) drain() {
	for began := time.Now(); time.Since(began) < drainMax && !w.failed(); {
		w.ensureLife()
		if w.life == nil {
			return
		}
		for _, d := range w.fleet.devices {
			w.fleet.send(d)
		}
		time.Sleep(500 * time.Millisecond)
		if w.fleet.unacked() > 0 {
			continue
		}
		waiting := int64(0)
		for _, sink := range w.life.queue.Stats().Sinks { // those that are removed and not deleted yet as well
			waiting += sink.Pending + sink.Requeueing
		}
		if waiting == 0 {
			return
		}
	}
	if w.failed() || w.misread() || w.life == nil {
		return
	}
	w.fail("after %v without faults %d messages are not acknowledged; the queue: %+v", drainMax, w.fleet.unacked(), w.life.queue.Stats())
}

// verify holds everything that was acknowledged against what has arrived, and
// stops the gateway.
func (w *world) verify() {
	synctest.Wait()
	if w.life == nil {
		return
	}
	if !w.misread() {
		w.verifyLedger()
		w.verifyRecords()
	}
	w.stop()
	if !w.misread() {
		w.ensureLife()
		w.verifyLedger() // as it was saved
		w.tally()
		w.stop()
	}
}

// verifyLedger compares the counters with the file, and with the sinks.
func (w *world) verifyLedger() {
	if w.life == nil {
		return
	}
	recount, err := w.life.queue.Recount(context.Background())
	if w.misread() {
		return // by the recount, or by the start before it
	}
	if err != nil || !recount.Balanced() {
		w.fail("the ledger does not balance: %+v, %v", recount, err)
	}
	stats := w.life.queue.Stats()
	w.fleet.mu.Lock()
	acked := len(w.fleet.acked)
	w.fleet.mu.Unlock()
	if stats.Accepted < int64(acked) {
		w.fail("%d records are stored, %d were acknowledged", stats.Accepted, acked)
	}
	for _, sink := range stats.All() {
		i := slices.Index(sinkNames[:], sink.Name)
		sum := sink.Delivered + sink.Dead + sink.Held + sink.Discarded + sink.Expired + sink.Pending
		if want := w.owedCount(i, stats.Head); sink.Owed != sum || sink.Owed != want {
			w.fail("sink %s is owed %d records and %d are accounted for, want %d of %d: %+v", sink.Name, sink.Owed, sum, want, stats.Accepted, sink)
		}
		s := w.sinks[i]
		s.mu.Lock()
		arrived := len(s.arrivals)
		s.mu.Unlock()
		// What has arrived without a reply, and was given up before it had one, is in
		// both.
		if few, many := sink.Delivered, sink.Delivered+sink.Expired+sink.Discarded; int64(arrived) < few || int64(arrived) > many {
			w.fail("sink %s has %d records, the ledger says %d, and that %d have expired and %d were discarded", sink.Name, arrived, sink.Delivered, sink.Expired, sink.Discarded)
		}
		if removed := i == third && w.tenure == sinkDeleted; sink.Removed != removed || removed && sink.Pending+sink.Dead > 0 {
			w.fail("sink %s is deleted: %v, and the queue says %+v", sink.Name, removed, sink)
		}
		if sink.Expired > 0 && !w.settings.givesUp(i) {
			w.fail("sink %s has lost %d records without a limit", sink.Name, sink.Expired)
		}
	}
}

// journeysOneIn is how many journeys are looked at: each reads all attempts, and
// all of them would take a third of a run.
const journeysOneIn = 8

// verifyRecords looks for every acknowledged message at every sink.
func (w *world) verifyRecords() {
	q := w.life.queue
	letters, err := q.DeadLetters(context.Background(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 1<<20)
	if err != nil {
		w.fail("the dead letters cannot be read: %v", err)
	}
	dead := map[edge.SinkID]map[edge.CorrelationID]*edge.DeadLetter{}
	for i := range letters {
		letter := &letters[i]
		if dead[letter.Sink] == nil {
			dead[letter.Sink] = map[edge.CorrelationID]*edge.DeadLetter{}
		}
		dead[letter.Sink][letter.Record.Correlation] = letter
		if w.fleet.find(letter.Record.Payload) == nil {
			w.fail("dead letter %d of sink %d has a payload that nobody sent: %q", letter.Record.Position, letter.Sink, letter.Record.Payload)
		}
	}
	w.verifyRefused(dead[edge.Ingress])
	for i := range w.sinks {
		w.verifyLetters(i, dead[w.ids[i]])
	}
	losses := w.readLosses()
	for id, m := range w.fleet.acked {
		for i, s := range w.sinks {
			arrived, letter := s.arrivals[id], dead[w.ids[i]][id]
			switch {
			case !w.owed(i, id.Position()):
				if arrived != nil || letter != nil {
					w.fail("message %d (%s) was not for sink %s, which has it", m.index, id, sinkNames[i])
				}
			case arrived == nil && letter == nil && losses.explain(i, m.device.id, id.Position()):
				w.happen("given up by a limit, or with a sink", 1)
			case arrived == nil && letter == nil:
				w.fail("message %d was acknowledged as %s, but sink %s never got it", m.index, id, sinkNames[i])
			case arrived != nil && letter != nil:
				w.fail("message %d (%s) has arrived at sink %s, and is a dead letter", m.index, id, sinkNames[i])
			case arrived != nil && arrived.message != m || letter != nil && string(letter.Record.Payload) != string(m.payload):
				w.fail("message %d (%s) is another one at sink %s", m.index, id, sinkNames[i])
			}
		}
		if m.index%journeysOneIn == 0 {
			w.verifyJourney(q, id, m)
		}
	}
}

// verifyJourney asks the gateway itself. What retention has removed may be
// unknown to it.
func (w *world) verifyJourney(q *queue.Queue, id edge.CorrelationID, m *message) {
	journey, err := q.Journey(context.Background(), id)
	if err != nil {
		if edge.AsError(err).Code != edge.NotFound {
			w.fail("the journey of message %d (%s): %v", m.index, id, err)
		}
		return
	}
	if string(journey.Record.Payload) != string(m.payload) || journey.Record.Device != m.device.id {
		w.fail("the journey of message %d (%s) is that of %q", m.index, id, journey.Record.Payload)
	}
	for _, stage := range journey.Sinks {
		if stage.State != edge.Acked && stage.State != edge.Dead && stage.State != edge.Expired && stage.State != edge.Discarded {
			w.fail("message %d (%s) is %s at sink %d, though nothing is pending", m.index, id, stage.State, stage.Sink)
		}
	}
}

// framesLooked is how many frames are looked at for a merge.
const framesLooked = 5

// tally counts what has happened out of sight. It takes a start: what was read
// before is remembered as it was.
func (w *world) tally() {
	if w.life == nil {
		return
	}
	stats := w.life.queue.Stats()
	gone := int(stats.Head)
	if stats.Oldest > 0 {
		gone = int(stats.Oldest) - 1
	}
	w.happen("removed by retention", gone)
	if w.settings.RetentionBytes > 0 && w.settings.Retention >= time.Hour && w.settings.MaxBytes == 0 {
		w.happen("removed by retention in bytes", gone)
	}
	for _, sink := range stats.Ended {
		w.happen("discarded with its sink", int(sink.Discarded))
	}
	byPosition := map[edge.Position]*message{}
	for id, m := range w.fleet.acked {
		byPosition[id.Position()] = m
	}
	looked, next := 0, stats.Oldest
	for next > 0 && next <= stats.Head && looked < framesLooked {
		m := byPosition[next]
		next++
		if m == nil {
			continue
		}
		looked++
		journey, err := w.life.queue.Journey(context.Background(), m.first)
		if err != nil || journey.Frame == 0 {
			continue // gone since
		}
		next = journey.Frame + edge.Position(journey.Records)
		answered := time.Now() // the first of them
		for position := journey.Frame; position < next; position++ {
			other := byPosition[position]
			if other == nil {
				continue
			}
			if other.offered.After(answered) { // a commit holds nothing that came after its answers
				w.happen("merged frame", 1)
				break
			}
			if other.answered.Before(answered) {
				answered = other.answered
			}
		}
	}
}
