package queue

import (
	"sync/atomic"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
)

// assembler decides about each entry and writes the frame of a group while the
// committer waits for the disk with the group before. It therefore works on the
// assumption that this commit succeeds.
//
// When one does not, the committer begins a new generation and refuses every
// group of the old one. Before it assembles the next group, the assembler sees
// the new generation, forgets what it did above the last durable position, and
// goes on from there.
type assembler struct {
	logs    *queuefile.Logs
	clock   *clock
	tracer  *observe.Tracer
	window  *window
	sets    *owedSets
	encoder *queuefile.Encoder
	letters *queuefile.Encoder
	durable *durable

	generation uint64
	next       edge.Position // of the next record
	nextLetter int64         // number of the next refused message
}

// durable is what the committer tells the assembler.
type durable struct {
	generation atomic.Uint64 // counts failed commits
	head       atomic.Int64  // last durable position
	letters    atomic.Int64  // number of the last durable refused message
}

// assemble fills in everything that the committer and the replier need.
func (a *assembler) assemble(g *group) {
	a.rewind()
	g.generation, g.first, g.committedAt = a.generation, a.next, a.clock.now()
	a.encoder.Reset()
	a.window.mu.Lock()
	a.window.now = g.committedAt.UnixMilli()
	for i := range g.entries {
		g.answers = append(g.answers, a.decide(g, &g.entries[i]))
	}
	a.window.mu.Unlock()
	g.count = int(a.next - g.first)
	if g.count > 0 {
		g.raw, g.owed, g.body = a.encoder.Size(), a.encoder.Set(), a.encoder.Body(g.first)
	}
}

// rewind undoes what was assembled for commits that failed. No group of the old
// generation can be committed any more, so the durable head stands still.
func (a *assembler) rewind() {
	generation := a.durable.generation.Load()
	if generation == a.generation {
		return
	}
	a.generation = generation
	head := edge.Position(a.durable.head.Load())
	a.next, a.nextLetter = head+1, a.durable.letters.Load()+1
	a.window.forgetAbove(head)
}

// decide stores the entry, or finds that it is stored already, or refuses it.
func (a *assembler) decide(g *group, entry *edge.Entry) answer {
	if entry.Refusal != nil {
		return a.keepRefused(g, entry)
	}
	record := &entry.Record
	payload := hashPayload(record.Payload)
	conflict := false
	if record.Identity.Identifies() {
		known, found := a.window.find(record)
		switch {
		case found && known.Payload == payload:
			first := edge.NewCorrelationID(time.UnixMilli(known.Received), known.Position, 0, a.logs.Of(known.Position))
			return answer{receipt: edge.Receipt{Correlation: first, Duplicate: true}}
		case found && record.Identity.Explicit:
			return answer{err: edge.Refuse(edge.Conflict, edge.ReasonConflict, "", "this key was used for another payload before")}
		}
		if conflict = found; conflict {
			a.window.replace(known, a.next, edge.Position(a.durable.head.Load()))
		}
	}
	position := a.next
	a.next++
	a.window.put(record, position, payload)
	a.trace(g, record)
	set := a.sets.intern(entry.Owed)
	if len(entry.Owed) == 0 {
		g.unrouted++
	}
	g.countOwed(set)
	a.encoder.Add(record, set)
	return answer{receipt: edge.Receipt{
		Correlation: edge.NewCorrelationID(record.ReceivedAt, position, 0, a.logs.Current),
		Conflict:    conflict,
	}}
}

// trace continues the trace of a sampled record: its append becomes a span, and
// whoever delivers it later, even after a restart, continues from there.
func (a *assembler) trace(g *group, record *edge.Record) {
	if record.TraceParent == "" {
		return
	}
	parent, ok := observe.ParseTraceParent(record.TraceParent)
	if !ok || !parent.Sampled {
		return
	}
	span := a.tracer.Start(parent, "append", observe.WithKind(observe.KindProducer), observe.WithStart(g.openedAt))
	if !span.Sampled() {
		return
	}
	record.TraceParent = span.Context().TraceParent()
	g.spans = append(g.spans, span)
}

// keepRefused keeps a message that can never be valid as a dead letter of
// ingress. Such letters have numbers of their own. Their correlation ids carry
// the number with index 1, which no record of this queue has, so that they never
// meet the id of a record.
func (a *assembler) keepRefused(g *group, entry *edge.Entry) answer {
	record := entry.Record
	record.Position = edge.Position(a.nextLetter)
	record.Correlation = edge.NewCorrelationID(record.ReceivedAt, record.Position, queuefile.IngressIndex, a.logs.Current)
	a.nextLetter++
	a.letters.Reset()
	a.letters.Add(&record, queuefile.LetterOwner(edge.Ingress))
	g.letters = append(g.letters, queuefile.Letter{
		Sink: edge.Ingress, Position: record.Position, Device: record.Device,
		Reason: string(entry.Refusal.Reason), Status: entry.Refusal.Field, Excerpt: edge.Excerpt(entry.Refusal.Message),
		Attempts: 1, FirstAt: record.ReceivedAt, LastAt: record.ReceivedAt,
		Body: a.letters.Body(record.Position),
	})
	return answer{receipt: edge.Receipt{Correlation: record.Correlation, Refused: true}}
}
