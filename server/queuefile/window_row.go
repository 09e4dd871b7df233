package queuefile

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

// MaxBoots is how many boots of one device are known at most.
const MaxBoots = 4

// Seen is what the window knows of one message.
type Seen struct {
	Payload  uint64        // hash
	Position edge.Position // 0: nothing is known
	Received int64         // Unix milliseconds; with the position it makes the correlation id
	Heard    int64         // gateway time, Unix milliseconds
}

// MessageKey stands for a message id. 128 bits: no two ids of a device meet.
type MessageKey [2]uint64

// SelectDevices reads whole rows.
const SelectDevices = "SELECT device, body FROM identity_window"

// SaveDevice stores the row of a device, in the place of the one before.
func SaveDevice(conn *sqlite.Conn, name edge.DeviceID, body []byte) error {
	return conn.Exec("INSERT INTO identity_window VALUES(?, ?) ON CONFLICT(device) DO UPDATE SET body = excluded.body", string(name), body)
}

// DeleteDevice removes the row of a device, if there is one.
func DeleteDevice(conn *sqlite.Conn, name edge.DeviceID) error {
	return conn.Exec("DELETE FROM identity_window WHERE device = ?", string(name))
}

// DeviceWriter writes the body of a row: boot, its sequences, EndBoot, and so on,
// then messages.
type DeviceWriter struct {
	content []byte
	last    Seen
	before  uint64
}

// NewDeviceWriter begins the row of a device with so many boots, which is complete
// up to a position.
func NewDeviceWriter(covered edge.Position, boots int) *DeviceWriter {
	content := binary.AppendUvarint([]byte{windowRowVersion}, uint64(covered))
	return &DeviceWriter{content: binary.AppendUvarint(content, uint64(boots))}
}

// Boot begins a boot, whose largest sequence is high.
func (w *DeviceWriter) Boot(id string, high uint64) {
	w.content = binary.AppendUvarint(appendText(w.content, id), high)
	w.before = high + 1
}

// Sequence writes what is known of a sequence of the boot, below those before.
func (w *DeviceWriter) Sequence(sequence uint64, known Seen) {
	w.content = binary.AppendUvarint(w.content, w.before-sequence)
	w.before = sequence
	w.entry(known)
}

// EndBoot ends it.
func (w *DeviceWriter) EndBoot() { w.content = append(w.content, 0) }

// Message writes what is known of a message id.
func (w *DeviceWriter) Message(key MessageKey, known Seen) {
	w.content = binary.LittleEndian.AppendUint64(w.content, key[0])
	w.content = binary.LittleEndian.AppendUint64(w.content, key[1])
	w.entry(known)
}

func (w *DeviceWriter) entry(known Seen) {
	dst := binary.LittleEndian.AppendUint64(w.content, known.Payload)
	dst = binary.AppendVarint(dst, int64(known.Position-w.last.Position))
	dst = binary.AppendVarint(dst, known.Received-w.last.Received)
	w.content = binary.AppendVarint(dst, known.Heard-w.last.Heard)
	w.last = known
}

// Body ends the row of a device and returns it.
func (w *DeviceWriter) Body(name edge.DeviceID) []byte { return withChecksum(name, w.content) }

// withChecksum appends a checksum that also covers the name of the device.
func withChecksum(name edge.DeviceID, content []byte) []byte {
	sum := xxhash.Sum64(append(content[:len(content):len(content)], name...))
	return binary.LittleEndian.AppendUint64(content, sum)
}

var errWindowRow = errors.New("identity window of a device is damaged")

// DeviceVisitor is told what a row holds, in the order of deviceWriter.
type DeviceVisitor interface {
	Boot(id string, high uint64)
	Sequence(sequence uint64, known Seen)
	Message(key MessageKey, known Seen)
}

// checkDevice reports whether a row is what was written, and the position up to
// which it is complete.
func checkDevice(name edge.DeviceID, body []byte) (covered edge.Position, err error) {
	return ReadDevice(name, body, nobody{})
}

type nobody struct{}

func (nobody) Boot(string, uint64)      {}
func (nobody) Sequence(uint64, Seen)    {}
func (nobody) Message(MessageKey, Seen) {}

// ReadDevice reads a row, and returns the position up to which it is complete.
// After an error the visitor was told a part of it.
func ReadDevice(name edge.DeviceID, body []byte, visitor DeviceVisitor) (covered edge.Position, err error) {
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
	if boots > MaxBoots {
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
		key := MessageKey{reader.uint64(), reader.uint64()}
		visitor.Message(key, reader.entry())
	}
	if reader.err != nil {
		return 0, errWindowRow
	}
	return covered, nil
}

type windowReader struct {
	bytesLeft
	last    Seen
	hasTime bool // gateway time
}

func (r *windowReader) entry() Seen {
	r.last.Payload = r.uint64()
	r.last.Position += edge.Position(r.varint())
	r.last.Received += r.varint()
	if r.hasTime {
		r.last.Heard += r.varint()
	} else {
		r.last.Heard = r.last.Received
	}
	return r.last
}
