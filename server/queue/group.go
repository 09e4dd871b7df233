package queue

import (
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
)

// group is the entries of one commit on their way through the pipeline:
//
//	intake --> assembler --> committer --> replier --> intake
//	entries    answers,      failure       answers     used again
//	           frame, letters              handed over
//
// At any time one goroutine owns it.
type group struct {
	entries  []edge.Entry
	bytes    int
	openedAt time.Time

	generation  uint64   // of the assembler; see assembler.generation
	answers     []answer // to each entry, given when the commit has succeeded
	first       edge.Position
	count       int    // records; positions first and up
	body        []byte // of the frame; nil when nothing is stored
	raw         int
	owed        uint32 // the set of all records, or OwedMixed
	owing       []owing
	unrouted    int64
	letters     []queuefile.Letter // messages that were refused at the door
	spans       []observe.Span
	committedAt time.Time

	failure *edge.Error // not nil: no entry is stored
}

// answer is what an entry's replier hears.
type answer struct {
	receipt edge.Receipt
	err     error
}

// owing is how many records of a group have an owed set.
type owing struct {
	set     uint32
	records int64
}

// reset makes the group empty and keeps its memory.
func (g *group) reset() {
	clear(g.entries) // let go of payloads
	clear(g.letters)
	clear(g.spans)
	*g = group{
		entries: g.entries[:0], answers: g.answers[:0], owing: g.owing[:0],
		letters: g.letters[:0], spans: g.spans[:0],
	}
}

// stores reports whether the group has anything for the disk. Duplicates and
// refusals have not.
func (g *group) stores() bool { return g.count > 0 || len(g.letters) > 0 }

// last returns the position of the last record.
func (g *group) last() edge.Position { return g.first + edge.Position(g.count) - 1 }

// row returns the frame of the group.
func (g *group) row() queuefile.StoredFrame {
	return queuefile.StoredFrame{First: g.first, Count: g.count, CommittedAt: g.committedAt, Owed: int64(g.owed), Raw: int64(g.raw), Body: g.body}
}

// countOwed notes that one more record has an owed set.
func (g *group) countOwed(set uint32) {
	for i := range g.owing {
		if g.owing[i].set == set {
			g.owing[i].records++
			return
		}
	}
	g.owing = append(g.owing, owing{set: set, records: 1})
}

// reply answers every entry in order, and flushes those that asked for it.
// Repliers are called from one goroutine only.
func (g *group) reply(flush []edge.Replier) []edge.Replier {
	flush = flush[:0]
	for i := range g.entries {
		entry := &g.entries[i]
		if entry.Replier == nil {
			continue
		}
		given := answer{err: g.failure}
		if g.failure == nil {
			given = g.answers[i]
		}
		if entry.Replier.Reply(entry.Token, given.receipt, given.err) {
			flush = append(flush, entry.Replier)
		}
	}
	for _, replier := range flush {
		replier.Flush()
	}
	clear(flush)
	return flush
}
