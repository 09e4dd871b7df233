package queue

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

var windowTime = time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC)

func identified(device int, identity edge.Identity) *edge.Record {
	return &edge.Record{Device: edge.DeviceID(fmt.Sprintf("dev-%d", device)), Identity: identity, ReceivedAt: windowTime}
}

func bySequence(device int, boot string, sequence uint64) *edge.Record {
	return identified(device, edge.Identity{BootID: boot, Sequence: sequence, HasSequence: true})
}

func byMessage(device, number int) *edge.Record {
	return identified(device, edge.Identity{MessageID: fmt.Sprintf("message-%d", number)})
}

func TestWindow_Find(t *testing.T) {
	t.Run("TheLastSequencesOfABoot", func(t *testing.T) {
		w := newWindow(windowBytesMax)
		for sequence := range uint64(5000) {
			w.put(bySequence(1, "a", sequence), edge.Position(sequence+1), sequence)
		}
		for sequence := range uint64(6000) {
			known, found := w.find(bySequence(1, "a", sequence))
			if want := sequence >= 5000-windowRing && sequence < 5000; found != want || found && known.Position != edge.Position(sequence+1) {
				t.Fatalf("sequence %d: %+v, %v", sequence, known, found)
			}
		}
	})

	t.Run("TheLastMessageIDs", func(t *testing.T) {
		w := newWindow(windowBytesMax)
		for number := range 5000 {
			w.put(byMessage(1, number), edge.Position(number+1), 0)
		}
		for number := range 6000 {
			known, found := w.find(byMessage(1, number))
			if want := number >= 5000-windowRing && number < 5000; found != want || found && known.Position != edge.Position(number+1) {
				t.Fatalf("message %d: %+v, %v", number, known, found)
			}
		}
	})

	t.Run("TheLastBoots", func(t *testing.T) {
		w := newWindow(windowBytesMax)
		for i, boot := range []string{"a", "b", "c", "d", "a", "e"} {
			w.put(bySequence(1, boot, 1), edge.Position(i+1), 0)
		}
		found := map[string]bool{}
		for _, boot := range []string{"a", "b", "c", "d", "e"} {
			_, found[boot] = w.find(bySequence(1, boot, 1))
		}
		if diff := cmp.Diff(map[string]bool{"a": true, "b": false, "c": true, "d": true, "e": true}, found); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("JumpsForwardAndBack", func(t *testing.T) {
		rapid.Check(t, func(t *rapid.T) {
			w := newWindow(windowBytesMax)
			model, high := map[uint64]edge.Position{}, uint64(0)
			for position := range edge.Position(rapid.IntRange(1, 200).Draw(t, "messages")) {
				sequence := uint64(max(0, int(high)+rapid.IntRange(-1500, 1500).Draw(t, "step")/rapid.IntRange(1, 100).Draw(t, "scale")))
				high = max(high, sequence)
				w.put(bySequence(1, "a", sequence), position+1, 0)
				if high-sequence < windowRing {
					model[sequence] = position + 1
				}
				for known, want := range model {
					if high-known >= windowRing {
						delete(model, known)
						continue
					}
					if got, found := w.find(bySequence(1, "a", known)); !found || got.Position != want {
						t.Fatalf("sequence %d below %d: %+v, %v; want %d", known, high, got, found, want)
					}
				}
			}
		})
	})
}

func TestWindow_ForgetAbove(t *testing.T) {
	w := newWindow(windowBytesMax)
	for i := range 40 {
		w.put(bySequence(i%3, "a", uint64(i)), edge.Position(2*i+1), 0)
		w.put(byMessage(i%3, i), edge.Position(2*i+2), 0)
	}
	w.forgetAbove(50)
	for i := range 40 {
		_, sequence := w.find(bySequence(i%3, "a", uint64(i)))
		_, message := w.find(byMessage(i%3, i))
		if sequence != (2*i+1 <= 50) || message != (2*i+2 <= 50) {
			t.Errorf("message %d: found by sequence %v, by id %v", i, sequence, message)
		}
	}
}

func TestWindow_Bound(t *testing.T) {
	const bound = 1 << 20
	w := newWindow(bound)
	w.now = windowTime.UnixMilli()
	for position := range edge.Position(20_000) {
		device := int(position) / 20
		w.put(bySequence(device, "a", uint64(position)), position+1, 0)
		w.put(byMessage(device, int(position)), position+1, 0)
		if w.bytes > bound {
			t.Fatalf("%d bytes after %d messages", w.bytes, position)
		}
	}
	if _, found := w.find(bySequence(999, "a", 19_999)); !found {
		t.Error("the device that was heard last is forgotten")
	}
	if _, found := w.find(bySequence(0, "a", 0)); found {
		t.Error("the device that was silent for longest is not forgotten")
	}
	if reach := w.reach(windowTime.Add(time.Hour)); reach != time.Hour {
		t.Errorf("the window reaches back %v, want 1h", reach)
	}
	counted := 0
	for _, d := range w.devices {
		counted += deviceBytes + len(d.name) + d.messages.bytes()
		for _, boot := range d.boots {
			counted += boot.bytes()
		}
	}
	if counted != w.bytes {
		t.Errorf("%d bytes are accounted, %d are taken", w.bytes, counted)
	}
}

// TestWindow_Save crashes at random moments: what the rows and the records from
// the replay position on restore is what was known.
func TestWindow_Save(t *testing.T) {
	q, err := Open(t.Context(), Settings{Path: filepath.Join(t.TempDir(), "queue.db")}, observe.NewDiscard())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	rapid.Check(t, func(t *rapid.T) {
		// What was put and is not stored has made the window forget in another order.
		bound, boots, rewinds := rapid.SampledFrom([]int{20_000, windowBytesMax}).Draw(t, "bound"), 6, rapid.Bool().Draw(t, "rewinds")
		if rewinds {
			bound, boots = windowBytesMax, queuefile.MaxBoots
		}
		w := newWindow(bound)
		if err := clearWindow(t, q); err != nil {
			t.Fatal(err)
		}
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		var log []*edge.Record
		replayFrom, head := edge.Position(1), edge.Position(0)
		for range rapid.IntRange(1, 12).Draw(t, "commits") {
			for range random.IntN(300) {
				record := byMessage(random.IntN(9), random.IntN(2000))
				if random.IntN(2) == 0 {
					record = bySequence(random.IntN(9), string(rune('a'+random.IntN(boots))), uint64(random.IntN(100)+len(log)/2))
				}
				log = append(log, record)
				record.Position = edge.Position(len(log))
				record.ReceivedAt = windowTime.Add(time.Duration(len(log)) * time.Second)
				w.now = record.ReceivedAt.UnixMilli()
				w.put(record, record.Position, hashPayload(nil))
			}
			// Some records are assembled already when a commit of those before saves.
			head = max(head, edge.Position(len(log)-random.IntN(20)))
			save := w.take(head, windowBudget{rows: random.IntN(6), bytes: 1 << 20})
			if random.IntN(4) == 0 {
				w.putBack(save)
				continue
			}
			from, _ := w.replay(head)
			if err := q.db.Write(t.Context(), save.write); err != nil {
				t.Fatal(err)
			}
			replayFrom = from
			if rewinds && random.IntN(3) == 0 { // the group behind it is not stored, and other records take its positions
				w.forgetAbove(head)
				log = log[:head]
			}
		}
		w.forgetAbove(head)
		expectRestored(t, q, w, log[:head], replayFrom)
	})
}

func clearWindow(t *rapid.T, q *Queue) error {
	return q.db.Write(t.Context(), func(conn *sqlite.Conn) error { return conn.Exec("DELETE FROM identity_window") })
}

func expectRestored(t *rapid.T, q *Queue, w *window, log []*edge.Record, replayFrom edge.Position) {
	restored := newWindow(w.bytesMax)
	err := q.db.Read(t.Context(), func(conn *sqlite.Conn) error {
		damaged, err := restored.load(conn, replayFrom)
		if damaged > 0 {
			t.Errorf("%d damaged rows", damaged)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range log {
		restored.now = record.ReceivedAt.UnixMilli()
		if record.Position >= replayFrom {
			restored.replayed(record)
		}
	}
	for _, record := range log {
		want, found := w.find(record)
		got, again := restored.find(record)
		// Forgetting a device for want of memory depends on what else is known, so
		// a small window may remember other devices; what both know is the same.
		if found && (again && got != want || !again && w.bytesMax == windowBytesMax) {
			t.Fatalf("%+v: restored %+v, %v; want %+v", record.Identity, got, again, want)
		}
	}
}

// A row does not know of a sequence that is not durable. After a crash the device goes
// on below it, and what it sends is recognised.
func TestDevice_Row(t *testing.T) {
	w := newWindow(windowBytesMax)
	w.put(bySequence(1, "boot", 5), 1, 1)
	w.put(bySequence(1, "boot", 5+4*windowRing), 2, 2)
	body, later := w.devices["dev-1"].row(1, w.asOf)
	restored, err := parseDevice("dev-1", body)
	if err != nil || !later {
		t.Fatal(later, err)
	}
	restored.put(&bySequence(1, "boot", 6).Identity, queuefile.Seen{Position: 2}, windowRing)
	for sequence := range uint64(8) {
		known := restored.find(&bySequence(1, "boot", sequence).Identity)
		if found := known != nil && known.Position > 0; found != (sequence == 6) {
			t.Errorf("sequence %d: %+v", sequence, known)
		}
	}
}

// FuzzParseDevice fills a window with whatever a row may say.
func FuzzParseDevice(f *testing.F) {
	w := newWindow(windowBytesMax)
	for i := range 100 {
		w.put(bySequence(1, string(rune('a'+i%3)), uint64(i)), edge.Position(i+1), uint64(i))
		w.put(byMessage(1, i), edge.Position(i+1), uint64(i))
	}
	body, _ := w.devices["dev-1"].row(90, w.asOf)
	const sum = 8
	f.Add(body[:len(body)-sum])
	f.Add([]byte{2, 9, 4})
	f.Add([]byte{2, 9, 1, 1, 'a', 3, 1, 0})
	f.Fuzz(func(_ *testing.T, content []byte) {
		sum := xxhash.Sum64(append(slices.Clone(content), "dev-1"...))
		_, _ = parseDevice("dev-1", binary.LittleEndian.AppendUint64(content[:len(content):len(content)], sum)) // must not panic
	})
}

// BenchmarkWindow is what the window costs each message: one search and one
// entry, over so many devices.
func BenchmarkWindow(b *testing.B) {
	for _, devices := range []int{50, 1000} {
		records := make([]*edge.Record, devices)
		for _, kind := range []string{"sequence", "message"} {
			b.Run(fmt.Sprintf("%s/devices=%d", kind, devices), func(b *testing.B) {
				w := newWindow(windowBytesMax)
				for i := range records {
					records[i] = bySequence(i, "boot", 0)
				}
				ids := make([]string, 4096)
				for i := range ids {
					ids[i] = fmt.Sprintf("01JC%022d", i)
				}
				payload := make([]byte, 174)
				b.ReportAllocs()
				n := 0
				for b.Loop() {
					record := records[n%devices]
					if kind == "message" {
						record.Identity = edge.Identity{MessageID: ids[n/devices%len(ids)]}
					} else {
						record.Identity.Sequence = uint64(n / devices)
					}
					n++
					if _, found := w.find(record); found {
						b.Fatal("found a new message")
					}
					w.put(record, edge.Position(n), hashPayload(payload))
				}
			})
		}
	}
}
