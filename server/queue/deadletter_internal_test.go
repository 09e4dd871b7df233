package queue

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// spoilLetters changes the last byte of the frames of dead letters.
func spoilLetters(t *testing.T, q *Queue, where string) {
	t.Helper()
	if err := q.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Exec("UPDATE dead SET body = CAST(substr(body, 1, length(body) - 1) || iif(substr(body, -1) = x'00', x'01', x'00') AS BLOB) WHERE " + where)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listed returns the keys of a page of dead letters.
func listed(t *testing.T, q *Queue, after edge.DeadLetterKey, limit int) (keys []edge.DeadLetterKey) {
	t.Helper()
	letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, after, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, letter := range letters {
		keys = append(keys, edge.DeadLetterKey{Sink: letter.Sink, Position: letter.Record.Position})
	}
	return keys
}

// A page that is shorter than asked for is the last one, whatever had to be set aside.
func TestQueue_DeadLetters_DamagedInPage(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	defer stop()
	accepted(t, q, large(0, 9))
	deadLetter(t, q, leaseAll(t, q, 1))
	spoilLetters(t, q, "position IN (2, 3, 4, 6)")
	want := []edge.DeadLetterKey{{Sink: 1, Position: 1}, {Sink: 1, Position: 5}, {Sink: 1, Position: 7}}
	if diff := cmp.Diff(want, listed(t, q, edge.DeadLetterKey{}, 3)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]edge.DeadLetterKey{{Sink: 1, Position: 8}, {Sink: 1, Position: 9}}, listed(t, q, want[2], 3)); diff != "" {
		t.Error(diff)
	}
	if stats := q.Stats(); stats.Quarantined != 4 {
		t.Errorf("%d quarantined, want 4", stats.Quarantined)
	}
	expectBalance(t, q, 9)
}

// Damage can make a key that is zero. The list begins in front of it.
func TestQueue_DeadLetters_ZeroKey(t *testing.T) {
	q, stop := run(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db")})
	defer stop()
	refusal := edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "metrics", "too many")
	entries := large(0, 2)
	for i := range entries {
		entries[i].Refusal = refusal
	}
	answers(t, q, entries)
	if err := q.db.Write(t.Context(), func(conn *sqlite.Conn) error {
		return conn.Exec("UPDATE dead SET position = 0 WHERE position = 1")
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]edge.DeadLetterKey{{Sink: edge.Ingress, Position: 2}}, listed(t, q, edge.DeadLetterKey{}, 9)); diff != "" {
		t.Error(diff)
	}
	if stats := q.Stats(); stats.Quarantined != 1 || stats.IngressEvicted != 1 {
		t.Errorf("%d quarantined, %d evicted; want the one that damage has moved", stats.Quarantined, stats.IngressEvicted)
	}
}

// A dead letter is all that is left of its record. When it is damaged, whoever asks for
// the record has it set aside, and hears what is left: nothing, or another sink's.
func TestQueue_Journey_DamagedLetter(t *testing.T) { synctest.Test(t, journeyDamagedLetter) }

func journeyDamagedLetter(t *testing.T) {
	q := twoSinks(t, Settings{Path: filepath.Join(t.TempDir(), "queue.db"), RetentionDelivered: time.Second})
	replies := answers(t, q, owedTo(large(0, 2), 1, 2))
	deadLetter(t, q, leaseAll(t, q, 1))
	theirs := leaseAll(t, q, 2)
	settlement := edge.Settlement{Acked: theirs[:1], Dead: []edge.Death{{Delivery: theirs[1], Reason: edge.DeathRejected}}}
	if err := q.Settle(t.Context(), 2, settlement); err != nil {
		t.Fatal(err)
	}
	<-time.After(time.Minute)
	q.cache = frameCache{} // it is all that still had the frame
	spoilLetters(t, q, "sink = 1")
	if _, err := q.Journey(t.Context(), replies[0].Receipt.Correlation); edge.AsError(err) == nil || edge.AsError(err).Code != edge.NotFound {
		t.Errorf("got %v, want NotFound", err)
	}
	journey, err := q.Journey(t.Context(), replies[1].Receipt.Correlation)
	if err != nil || len(journey.Sinks) != 1 || journey.Sinks[0].Sink != 2 || journey.Sinks[0].State != edge.Dead || journey.Record.Position != 2 {
		t.Errorf("got %+v, %v; want what the other sink's dead letter tells", journey, err)
	}
	if stats := q.Stats(); stats.Quarantined != 2 {
		t.Errorf("%d quarantined, want 2", stats.Quarantined)
	}
	expectBalance(t, q, 0)
}

// On a full disk a damaged refused message cannot be set aside. Nobody may say that it
// was never there.
func TestQueue_Journey_RefusedNoRoom(t *testing.T) { synctest.Test(t, journeyRefusedNoRoom) }

func journeyRefusedNoRoom(t *testing.T) {
	q, _, disk := onDisk(t, Settings{})
	entries := large(0, 1)
	entries[0].Refusal = edge.Refuse(edge.Invalid, edge.ReasonOutOfRange, "metrics", "too many")
	answers(t, q, entries)
	letters, err := q.DeadLetters(t.Context(), edge.DeadLetterFilter{}, edge.DeadLetterKey{}, 1)
	if err != nil || len(letters) != 1 {
		t.Fatal(letters, err)
	}
	spoilLetters(t, q, "sink = 0")
	fill(disk)
	if _, err := q.Journey(t.Context(), letters[0].Record.Correlation); err == nil || edge.AsError(err).Code != edge.Full {
		t.Errorf("got %v, want no room", err)
	}
}
