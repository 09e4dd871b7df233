package queuefile

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

// read is what a visitor was told.
type read struct {
	Boots     []string
	Sequences map[uint64]Seen
	Messages  map[MessageKey]Seen
}

func (r *read) Boot(id string, _ uint64)             { r.Boots = append(r.Boots, id) }
func (r *read) Sequence(sequence uint64, known Seen) { r.Sequences[sequence] = known }
func (r *read) Message(key MessageKey, known Seen)   { r.Messages[key] = known }
func newRead() *read                                 { return &read{Sequences: map[uint64]Seen{}, Messages: map[MessageKey]Seen{}} }

// known is an entry whose numbers all differ.
func known(n int64) Seen {
	return Seen{Payload: uint64(n) << 40, Position: edge.Position(n), Received: 1_790_000_000_000 + 7*n, Heard: 1_790_000_000_000 - 3*n}
}

// TestDeviceWriter reads back what was written.
func TestDeviceWriter(t *testing.T) {
	writer := NewDeviceWriter(90, 2)
	writer.Boot("a", 41)
	writer.Sequence(41, known(5))
	writer.Sequence(38, known(4))
	writer.EndBoot()
	writer.Boot("b", 0)
	writer.EndBoot()
	writer.Message(MessageKey{1, 2}, known(6))
	body, got := writer.Body("dev-1"), newRead()
	covered, err := ReadDevice("dev-1", body, got)
	want := &read{Boots: []string{"a", "b"}, Sequences: map[uint64]Seen{41: known(5), 38: known(4)}, Messages: map[MessageKey]Seen{{1, 2}: known(6)}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Seen{})); diff != "" || covered != 90 || err != nil {
		t.Errorf("complete up to %d, %v: %s", covered, err, diff)
	}
	if _, err := checkDevice("dev-2", body); err == nil {
		t.Error("the row of one device is believed to be that of another")
	}
	body[len(body)/2] ^= 1
	if _, err := checkDevice("dev-1", body); err == nil {
		t.Error("a damaged row is believed")
	}
}

// TestReadDevice_WithoutTime reads a row of the first version: gateway time was
// the wall clock.
func TestReadDevice_WithoutTime(t *testing.T) {
	received := time.Date(2026, 11, 22, 18, 0, 0, 0, time.UTC).UnixMilli()
	content := []byte{windowRowNoTime, 9, 1, 1, 'a', 3, 1, 1, 2, 3, 4, 5, 6, 7, 8, 2 * 7}
	content = binary.AppendVarint(content, received)
	got := newRead()
	covered, err := ReadDevice("dev-1", withChecksum("dev-1", append(content, 0)), got)
	want := Seen{Payload: 0x0807060504030201, Position: 7, Received: received, Heard: received}
	if err != nil || covered != 9 || got.Sequences[3] != want {
		t.Errorf("got %+v, complete up to %d, %v; want %+v", got, covered, err, want)
	}
}

func FuzzReadDevice(f *testing.F) {
	writer := NewDeviceWriter(90, 1)
	writer.Boot("a", 99)
	for i := range int64(50) {
		writer.Sequence(uint64(99-2*i), known(i+1))
	}
	writer.EndBoot()
	for i := range int64(50) {
		writer.Message(MessageKey{uint64(i), 7}, known(i+1))
	}
	f.Add(writer.content)
	f.Add([]byte{windowRowVersion, 9, 4})
	f.Add([]byte{windowRowVersion, 9, 1, 1, 'a', 3, 1, 0})
	f.Fuzz(func(_ *testing.T, content []byte) {
		_, _ = checkDevice("dev-1", withChecksum("dev-1", content)) // must not panic
	})
}
