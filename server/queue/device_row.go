package queue

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cespare/xxhash/v2"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// The body of a row of identity_window holds, after a version byte, the position
// up to which it is complete, the boots of the device, and its message ids:
//
//	version  covered  boots   of each boot                            message ids
//	1 byte   varint   varint  id  high  sequences, newest first  0    key and entry each
//
// A sequence is its distance to the one before, the first one's to high+1, and an
// entry. In entries positions and times are differences to the entry before; a
// checksum ends the row.
//
// Rows of version 1 have no gateway time: it was the receive time.
const (
	windowRowVersion = 2
	windowRowNoTime  = 1
)

// windowBoots is how many boots of one device are known at most.
const windowBoots = 4

// seen is what the window knows of one message.
type seen struct {
	payload  uint64        // hash
	position edge.Position // 0: nothing is known
	received int64         // Unix milliseconds; with the position it makes the correlation id
	heard    int64         // gateway time, Unix milliseconds
}

// messageKey stands for a message id. 128 bits: no two ids of a device meet.
type messageKey [2]uint64

// selectDevices reads whole rows.
const selectDevices = "SELECT device, body FROM identity_window"

func saveDevice(conn *sqlite.Conn, name edge.DeviceID, body []byte) error {
	return conn.Exec("INSERT INTO identity_window VALUES(?, ?) ON CONFLICT(device) DO UPDATE SET body = excluded.body", string(name), body)
}

func deleteDevice(conn *sqlite.Conn, name edge.DeviceID) error {
	return conn.Exec("DELETE FROM identity_window WHERE device = ?", string(name))
}

// deviceWriter writes the body of a row: boot, its sequences, endBoot, and so on,
// then messages.
type deviceWriter struct {
	content []byte
	last    seen
	before  uint64
}

func newDeviceWriter(covered edge.Position, boots int) *deviceWriter {
	content := binary.AppendUvarint([]byte{windowRowVersion}, uint64(covered))
	return &deviceWriter{content: binary.AppendUvarint(content, uint64(boots))}
}

func (w *deviceWriter) boot(id string, high uint64) {
	w.content = binary.AppendUvarint(appendText(w.content, id), high)
	w.before = high + 1
}

// sequence writes what is known of a sequence of the boot, below those before.
func (w *deviceWriter) sequence(sequence uint64, known seen) {
	w.content = binary.AppendUvarint(w.content, w.before-sequence)
	w.before = sequence
	w.entry(known)
}

func (w *deviceWriter) endBoot() { w.content = append(w.content, 0) }

func (w *deviceWriter) message(key messageKey, known seen) {
	w.content = binary.LittleEndian.AppendUint64(w.content, key[0])
	w.content = binary.LittleEndian.AppendUint64(w.content, key[1])
	w.entry(known)
}

func (w *deviceWriter) entry(known seen) {
	dst := binary.LittleEndian.AppendUint64(w.content, known.payload)
	dst = binary.AppendVarint(dst, int64(known.position-w.last.position))
	dst = binary.AppendVarint(dst, known.received-w.last.received)
	w.content = binary.AppendVarint(dst, known.heard-w.last.heard)
	w.last = known
}

// body ends the row of a device and returns it.
func (w *deviceWriter) body(name edge.DeviceID) []byte { return withChecksum(name, w.content) }

// withChecksum appends a checksum that also covers the name of the device.
func withChecksum(name edge.DeviceID, content []byte) []byte {
	sum := xxhash.Sum64(append(content[:len(content):len(content)], name...))
	return binary.LittleEndian.AppendUint64(content, sum)
}

var errWindowRow = errors.New("identity window of a device is damaged")

// deviceVisitor is told what a row holds, in the order of deviceWriter.
type deviceVisitor interface {
	Boot(id string, high uint64)
	Sequence(sequence uint64, known seen)
	Message(key messageKey, known seen)
}

// checkDevice reports whether a row is what was written, and the position up to
// which it is complete.
func checkDevice(name edge.DeviceID, body []byte) (covered edge.Position, err error) {
	return readDevice(name, body, nobody{})
}

type nobody struct{}

func (nobody) Boot(string, uint64)      {}
func (nobody) Sequence(uint64, seen)    {}
func (nobody) Message(messageKey, seen) {}

// readDevice reads a row, and returns the position up to which it is complete.
// After an error the visitor was told a part of it.
func readDevice(name edge.DeviceID, body []byte, visitor deviceVisitor) (covered edge.Position, err error) {
	if len(body) < 1+checksumBytes {
		return 0, errWindowRow
	}
	content := body[: len(body)-checksumBytes : len(body)-checksumBytes]
	if !bytes.Equal(withChecksum(name, content), body) || content[0] != windowRowVersion && content[0] != windowRowNoTime {
		return 0, errWindowRow
	}
	reader := windowReader{bytesLeft: bytesLeft{rest: content[1:]}, hasTime: content[0] != windowRowNoTime}
	covered = edge.Position(reader.uvarint())
	boots := reader.uvarint()
	if boots > windowBoots {
		return 0, errWindowRow
	}
	for range boots {
		id, high := string(reader.bytes()), reader.uvarint()
		visitor.Boot(id, high)
		sequence := high + 1
		for gap := reader.uvarint(); gap != 0 && reader.err == nil; gap = reader.uvarint() {
			sequence -= gap
			visitor.Sequence(sequence, reader.entry())
		}
	}
	for reader.err == nil && len(reader.rest) > 0 {
		key := messageKey{reader.uint64(), reader.uint64()}
		visitor.Message(key, reader.entry())
	}
	if reader.err != nil {
		return 0, errWindowRow
	}
	return covered, nil
}

type windowReader struct {
	bytesLeft
	last    seen
	hasTime bool // gateway time
}

func (r *windowReader) entry() seen {
	r.last.payload = r.uint64()
	r.last.position += edge.Position(r.varint())
	r.last.received += r.varint()
	if r.hasTime {
		r.last.heard += r.varint()
	} else {
		r.last.heard = r.last.received
	}
	return r.last
}
