package queue_test

import (
	"context"
	"fmt"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
)

// modelDevices are all that ever send.
var modelDevices = []edge.DeviceID{"dev-1", "dev-2", "dev-3"}

// modelBoots are the boots of a device besides the one of most messages.
var modelBoots = []string{"boot-2", "boot-3", "boot-4", "boot-5", "boot-6"}

// append stores some entries at once.
func (m *machine) append(t *rapid.T, _ edge.SinkID) {
	entries := make([]edge.Entry, rapid.SampledFrom([]int{1, 1, 2, 3, 5, 30}).Draw(t, "entries"))
	for i := range entries {
		entries[i] = m.entry(t)
	}
	m.appendEntries(t, entries...)
}

// noisePayload is the size of a payload that cannot be compressed, and fortyOf
// them is more than half of what limits in bytes allow.
const (
	noisePayload = 3000
	fortyOf      = 40
)

// appendMuch stores what takes room.
func (m *machine) appendMuch(t *rapid.T, _ edge.SinkID) {
	entries := noise(m.sent+1, fortyOf, noisePayload, m.drawOwed(t)...)
	m.sent += len(entries)
	m.appendEntries(t, entries...)
}

func (m *machine) appendEntries(t *rapid.T, entries ...edge.Entry) {
	wants := make([]expected, len(entries))
	replies := edgetest.NewReplies()
	first := edge.Position(len(m.model.records) + 1)
	for i := range entries {
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
	for i := range m.model.records[first-1:] {
		stored := &m.model.records[int(first)-1+i]
		stored.first, stored.last = first, position
	}
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
	entry := m.newEntry(t)
	record := &entry.Record
	kind := rapid.SampledFrom([]string{"new", "new", "named", "anonymous", "rebooted", "duplicate", "conflict", "explicit", "refused"}).Draw(t, "kind")
	switch kind {
	case "named":
		record.Identity = m.newName(rapid.Bool().Draw(t, "explicit"))
	case "anonymous":
		record.Identity = edge.Identity{}
	case "rebooted":
		record.Identity.BootID = rapid.SampledFrom(modelBoots).Draw(t, "boot")
	case "refused":
		entry.Refusal = edge.Refuse(edge.Invalid, edge.ReasonMissingField, "metrics", "at least one metric is required")
	case "duplicate", "conflict", "explicit":
		if len(m.model.records) == 0 {
			break
		}
		known := &m.model.records[m.drawKnown(t)].record
		record.Device, record.Identity = known.Device, known.Identity
		if why := m.model.window(known.Device).forgotten(&known.Identity); why != "" {
			m.total.add(why, 1)
		}
		record.Identity.Explicit = kind == "explicit"
		if kind == "duplicate" {
			record.Payload = known.Payload
		}
	}
	return entry
}

// drawKnown draws the index of a record that was stored: rapid prefers the oldest,
// which the window may have forgotten; devices repeat the newest, which it may not
// have saved.
func (m *machine) drawKnown(t *rapid.T) int {
	newest := len(m.model.records) - 1
	if rapid.Bool().Draw(t, "recent") {
		return max(0, newest-rapid.IntRange(0, 8).Draw(t, "back"))
	}
	return rapid.IntRange(0, newest).Draw(t, "known")
}

// newName is the identity of a message that names itself.
func (m *machine) newName(explicit bool) edge.Identity {
	return edge.Identity{MessageID: fmt.Sprintf("message-%d", m.sent), Explicit: explicit}
}

// drawOwed draws some of the sinks that are served: often all, and sometimes none.
func (m *machine) drawOwed(t *rapid.T) []edge.SinkID {
	var owed []edge.SinkID
	all := rapid.Bool().Draw(t, "all")
	for sink := range edge.SinkID(len(m.model.lanes)) {
		if m.isServed(sink+1) && (all || rapid.Bool().Draw(t, "owed")) {
			owed = append(owed, sink+1)
		}
	}
	return owed
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
