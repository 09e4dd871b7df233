package queue

import (
	"cmp"
	"fmt"
	"slices"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/sqlite"
)

// The window is saved device by device: one that has changed waits in the dirty
// list, and commits take a few from its head. A start loads the rows and reads
// the frames from the first change that no row holds. What a row holds is in
// window_row.go of package queuefile.

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
	if front := w.dirty.Front(); front == nil || front.Value.(*device).dirtyFrom > w.excess {
		w.excess = 0
	}
	return save
}

// rowShare is how much of the memory of a device its row takes at most: half.
const rowShare = 2

// savedWithin reports whether all that is not saved takes no more than so many bytes.
func (w *window) savedWithin(bytes int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	bytes -= len(w.gone) * deviceBytes / rowShare
	for next := w.dirty.Front(); next != nil && bytes >= 0; next = next.Next() {
		bytes -= next.Value.(*device).bytes / rowShare
	}
	return bytes >= 0
}

// exceeds reports whether the saved rows take more than what is known.
func (w *window) exceeds() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.excess > 0 || len(w.gone) > 0
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
		w.excess = max(w.excess, row.from) // for all that is known here
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
		if err := queuefile.DeleteDevice(conn, name); err != nil {
			return fmt.Errorf("forget device: %w", err)
		}
	}
	for _, row := range s.rows {
		if err := queuefile.SaveDevice(conn, row.device.name, row.body); err != nil {
			return fmt.Errorf("save identity window: %w", err)
		}
	}
	return nil
}

// load reads the saved rows and returns how many were damaged. A damaged row is
// as good as forgotten. Frames are read again from a position on.
func (w *window) load(conn *sqlite.Conn, replayFrom edge.Position) (damaged int, err error) {
	var devices []*device
	err = conn.Query(queuefile.SelectDevices, func(row sqlite.Row) error {
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
	w.shrink(replayFrom)
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
func (d *device) row(head edge.Position, asOf func(queuefile.Seen, edge.Position) queuefile.Seen) (body []byte, later bool) {
	writer := queuefile.NewDeviceWriter(head, len(d.boots))
	durable := func(known *queuefile.Seen) bool {
		later = later || known.Position > head
		*known = asOf(*known, head)
		return known.Position != 0
	}
	for _, boot := range d.boots {
		begun := false
		for back := range uint64(len(boot.slots)) {
			if back > boot.high {
				break
			}
			known := *boot.slot(boot.high - back)
			if !durable(&known) {
				continue
			}
			if !begun { // with the largest that is durable: a crash may undo those above it
				begun = true
				writer.Boot(boot.id, boot.high-back)
			}
			writer.Sequence(boot.high-back, known)
		}
		if !begun {
			writer.Boot(boot.id, 0)
		}
		writer.EndBoot()
	}
	if d.messages != nil {
		d.messages.each(func(key queuefile.MessageKey, known queuefile.Seen) {
			if durable(&known) {
				writer.Message(key, known)
			}
		})
	}
	return writer.Body(d.name), later
}

// parseDevice makes the device of a row.
func parseDevice(name edge.DeviceID, body []byte) (*device, error) {
	d := &device{name: name, bytes: deviceBytes + len(name), saved: true}
	var err error
	if d.covered, err = queuefile.ReadDevice(name, body, (*restoredDevice)(d)); err != nil {
		return nil, err
	}
	for _, boot := range d.boots {
		d.bytes += boot.bytes()
	}
	if d.messages != nil {
		d.bytes += d.messages.bytes()
	}
	return d, nil
}

// restoredDevice is a device while its row is read.
type restoredDevice device

func (d *restoredDevice) Boot(id string, high uint64) {
	restored := newBoot(id)
	restored.high = high
	d.boots = append(d.boots, restored)
}

func (d *restoredDevice) Sequence(sequence uint64, known queuefile.Seen) {
	d.boots[len(d.boots)-1].put(sequence, known, windowRing)
	d.heard = max(d.heard, known.Heard)
}

func (d *restoredDevice) Message(key queuefile.MessageKey, known queuefile.Seen) {
	if d.messages == nil {
		d.messages = newRing()
	}
	d.messages.put(key, known, windowRing)
	d.heard = max(d.heard, known.Heard)
}
