package queue

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cespare/xxhash/v2"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/sqlite"
)

// The window is saved device by device: one that has changed waits in the dirty
// list, and commits take a few from its head. A start loads the rows and reads
// the frames from the first change that no row holds.
//
// A row holds, after a version byte, the position up to which it is complete, the
// boots, and the message ids of the device. Numbers are varints, positions and
// times are differences to the entry before; a checksum ends it.
//
// Rows of version 1 have no gateway time: it was the receive time.

const (
	windowRowVersion = 2
	windowRowNoTime  = 1
)

// windowSave is what one commit saves of the window.
type windowSave struct {
	rows []windowRow
	gone []edge.DeviceID // their rows are deleted
}

type windowRow struct {
	device *device
	body   []byte
	from   edge.Position // device.dirtyFrom before it was taken
	read   int64         // device.dirtyRead before it was taken
}

// windowBudget bounds what one commit saves.
type windowBudget struct{ rows, bytes int }

// take encodes the devices that have waited longest, as of the durable position
// head, and regards them as saved.
func (w *window) take(head edge.Position, budget windowBudget) windowSave {
	w.mu.Lock()
	defer w.mu.Unlock()
	var save windowSave
	for name := range w.gone {
		if len(save.gone) == budget.rows {
			break
		}
		save.gone = append(save.gone, name)
		delete(w.gone, name)
	}
	size := 0
	for front := w.dirty.Front(); front != nil && len(save.rows) < budget.rows && size < budget.bytes; front = w.dirty.Front() {
		d := front.Value.(*device)
		if d.dirtyFrom > head {
			break
		}
		row := windowRow{device: d, from: d.dirtyFrom, read: d.dirtyRead}
		var later bool
		row.body, later = d.row(head, w.asOf)
		size += len(row.body)
		save.rows = append(save.rows, row)
		w.dirty.Remove(front)
		d.dirty, d.saved = nil, true
		if later {
			w.markDirty(d, head+1, w.read.Load())
		}
	}
	return save
}

// markDirty puts the device into the dirty list at its place.
func (w *window) markDirty(d *device, from edge.Position, read int64) {
	d.dirtyFrom, d.dirtyRead = from, read
	before := w.dirty.Back()
	for before != nil && before.Value.(*device).dirtyFrom > from {
		before = before.Prev()
	}
	if before == nil {
		d.dirty = w.dirty.PushFront(d)
		return
	}
	d.dirty = w.dirty.InsertAfter(d, before)
}

// putBack undoes take after a commit that failed.
func (w *window) putBack(save windowSave) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, name := range save.gone {
		if d, ok := w.devices[name]; ok {
			d.saved = true
			continue
		}
		w.gone[name] = struct{}{}
	}
	for _, row := range save.rows {
		d := row.device
		if w.devices[d.name] != d {
			continue
		}
		if d.dirty != nil {
			w.dirty.Remove(d.dirty)
		}
		w.markDirty(d, row.from, row.read)
	}
}

// replay returns the first position that a start would have to read again if
// everything up to head were durable now, and the value of read when it was put.
func (w *window) replay(head edge.Position) (from edge.Position, read int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	front := w.dirty.Front()
	if front == nil {
		return head + 1, w.read.Load()
	}
	d := front.Value.(*device)
	return min(d.dirtyFrom, head+1), d.dirtyRead
}

func (s windowSave) write(conn *sqlite.Conn) error {
	for _, name := range s.gone {
		if err := conn.Exec("DELETE FROM identity_window WHERE device = ?", string(name)); err != nil {
			return fmt.Errorf("forget device: %w", err)
		}
	}
	for _, row := range s.rows {
		err := conn.Exec("INSERT INTO identity_window VALUES(?, ?) ON CONFLICT(device) DO UPDATE SET body = excluded.body",
			string(row.device.name), row.body)
		if err != nil {
			return fmt.Errorf("save identity window: %w", err)
		}
	}
	return nil
}

// load reads the saved rows and returns how many were damaged. A damaged row is
// as good as forgotten.
func (w *window) load(conn *sqlite.Conn) (damaged int, err error) {
	var devices []*device
	err = conn.Query("SELECT device, body FROM identity_window", func(row sqlite.Row) error {
		d, err := parseDevice(edge.DeviceID(row.Text(0)), row.Bytes(1))
		if err != nil {
			damaged++
			w.gone[edge.DeviceID(row.Text(0))] = struct{}{}
			return nil
		}
		devices = append(devices, d)
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read identity window: %w", err)
	}
	slices.SortFunc(devices, func(a, b *device) int { return cmp.Compare(a.heard, b.heard) })
	for _, d := range devices {
		d.recent = w.recent.PushFront(d)
		w.devices[d.name] = d
		w.bytes += d.bytes
	}
	w.shrink()
	return damaged, nil
}

// replayed is told at start of a record that was stored before. What the row of
// its device covers must not be put twice: that would push newer ones out.
func (w *window) replayed(record *edge.Record) {
	if d := w.devices[record.Device]; d != nil && record.Position <= d.covered {
		return
	}
	w.put(record, record.Position, hashPayload(record.Payload))
}

// row returns what is durable at head; later says that there is more.
func (d *device) row(head edge.Position, asOf func(seen, edge.Position) seen) (body []byte, later bool) {
	dst := binary.AppendUvarint([]byte{windowRowVersion}, uint64(head))
	dst = binary.AppendUvarint(dst, uint64(len(d.boots)))
	var last seen
	entry := func(known seen) {
		dst = binary.LittleEndian.AppendUint64(dst, known.payload)
		dst = binary.AppendVarint(dst, int64(known.position-last.position))
		dst = binary.AppendVarint(dst, known.received-last.received)
		dst = binary.AppendVarint(dst, known.heard-last.heard)
		last = known
	}
	durable := func(known *seen) bool {
		later = later || known.position > head
		*known = asOf(*known, head)
		return known.position != 0
	}
	for _, boot := range d.boots {
		dst = appendText(dst, boot.id)
		dst = binary.AppendUvarint(dst, boot.high)
		gap := uint64(1) // distance to the entry before; 0 ends the list
		for back := range uint64(len(boot.slots)) {
			if back > boot.high {
				break
			}
			if known := *boot.slot(boot.high - back); durable(&known) {
				dst = binary.AppendUvarint(dst, gap)
				entry(known)
				gap = 0
			}
			gap++
		}
		dst = append(dst, 0)
	}
	if d.messages != nil {
		d.messages.each(func(key messageKey, known seen) {
			if durable(&known) {
				dst = binary.LittleEndian.AppendUint64(dst, key[0])
				dst = binary.LittleEndian.AppendUint64(dst, key[1])
				entry(known)
			}
		})
	}
	return withChecksum(d.name, dst), later
}

// withChecksum appends a checksum that also covers the name of the device.
func withChecksum(name edge.DeviceID, content []byte) []byte {
	sum := xxhash.Sum64(append(content[:len(content):len(content)], name...))
	return binary.LittleEndian.AppendUint64(content, sum)
}

var errWindowRow = errors.New("identity window of a device is damaged")

func parseDevice(name edge.DeviceID, body []byte) (*device, error) {
	if len(body) < 1+checksumBytes {
		return nil, errWindowRow
	}
	content := body[: len(body)-checksumBytes : len(body)-checksumBytes]
	if !bytes.Equal(withChecksum(name, content), body) || content[0] != windowRowVersion && content[0] != windowRowNoTime {
		return nil, errWindowRow
	}
	d := &device{name: name, bytes: deviceBytes + len(name), saved: true}
	reader := windowReader{bytesLeft: bytesLeft{rest: content[1:]}, hasTime: content[0] != windowRowNoTime}
	d.covered = edge.Position(reader.uvarint())
	boots := reader.uvarint()
	if boots > windowBoots {
		return nil, errWindowRow
	}
	for range boots {
		restored := newBoot(string(reader.bytes()))
		restored.high = reader.uvarint()
		sequence := restored.high + 1
		for gap := reader.uvarint(); gap != 0 && reader.err == nil; gap = reader.uvarint() {
			sequence -= gap
			restored.put(sequence, reader.entry(d))
		}
		d.boots = append(d.boots, restored)
		d.bytes += restored.bytes()
	}
	for reader.err == nil && len(reader.rest) > 0 {
		if d.messages == nil {
			d.messages = newRing()
		}
		key := messageKey{reader.uint64(), reader.uint64()}
		d.messages.put(key, reader.entry(d))
	}
	if reader.err != nil {
		return nil, errWindowRow
	}
	if d.messages != nil {
		d.bytes += d.messages.bytes()
	}
	return d, nil
}

type windowReader struct {
	bytesLeft
	last    seen
	hasTime bool // gateway time
}

func (r *windowReader) entry(d *device) seen {
	r.last.payload = r.uint64()
	r.last.position += edge.Position(r.varint())
	r.last.received += r.varint()
	if r.hasTime {
		r.last.heard += r.varint()
	} else {
		r.last.heard = r.last.received
	}
	d.heard = max(d.heard, r.last.heard)
	return r.last
}
