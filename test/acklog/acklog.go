// Package acklog is the evidence of the load generator: which messages it sent,
// which of them the gateway acknowledged, and when.
//
// The log is a file of a JSON header line and fixed entries of sixteen bytes.
// The time is that of the machine's monotonic clock, which all processes share,
// so that a test can compare it with the moment at which it killed the gateway.
//
// A [Writer] is safe for concurrent use; a [Batch] belongs to one goroutine. The
// log is complete once Close has returned: it survives the death of the gateway,
// not of the generator. [Read] checks what it reads and is its own test tool.
package acklog

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Header tells how the numbers of the records become identities.
type Header struct {
	Prefix        string `json:"prefix"`         // of device ids, see Identity
	BootID        string `json:"boot_id"`        // of every message
	FirstSequence uint64 `json:"first_sequence"` // of every device
}

// Entry is one acknowledgement, or with Sent the note that a device has sent
// every message up to this one, whatever became of them.
type Entry struct {
	Device  uint32        // number of the device, from 0
	Message uint32        // number of the message of the device, from 0
	At      time.Duration // on the machine's monotonic clock
	Sent    bool
}

const (
	entryBytes = 16
	sentBit    = 1 << 31 // of the device's number
)

// Identity is how the message is named everywhere else.
type Identity struct {
	Device   string
	BootID   string
	Sequence uint64
}

// Identity names an entry's message.
func (h Header) Identity(entry Entry) Identity {
	return Identity{Device: h.DeviceID(entry.Device), BootID: h.BootID, Sequence: h.FirstSequence + uint64(entry.Message)}
}

// DeviceID names a device.
func (h Header) DeviceID(device uint32) string { return fmt.Sprintf("%s-%05d", h.Prefix, device) }

// Now reads the machine's monotonic clock.
func Now() time.Duration {
	var now unix.Timespec
	// The clock always exists on Linux, and the pointer is good.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	return time.Duration(now.Nano())
}

// Writer appends to a log.
type Writer struct {
	mu   sync.Mutex
	file *os.File
}

// Create starts a log, in place of one that may be there.
func Create(path string, header Header) (*Writer, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("create acknowledgement log: %w", err)
	}
	line, err := json.Marshal(header)
	if err == nil {
		_, err = file.Write(append(line, '\n'))
	}
	if err != nil {
		return nil, fmt.Errorf("write acknowledgement log: %w", err)
	}
	return &Writer{file: file}, nil
}

// Close ends the log; every batch has been flushed.
func (w *Writer) Close() error { return w.file.Close() }

// Batch gathers entries of one goroutine.
type Batch struct {
	writer  *Writer
	entries []byte
}

// batchBytes is when a batch flushes itself.
const batchBytes = 64 << 10

// NewBatch returns an empty batch.
func (w *Writer) NewBatch() *Batch {
	return &Batch{writer: w, entries: make([]byte, 0, batchBytes)}
}

// Add notes one entry.
func (b *Batch) Add(entry Entry) error {
	device := entry.Device
	if entry.Sent {
		device |= sentBit
	}
	b.entries = binary.LittleEndian.AppendUint32(b.entries, device)
	b.entries = binary.LittleEndian.AppendUint32(b.entries, entry.Message)
	b.entries = binary.LittleEndian.AppendUint64(b.entries, uint64(entry.At))
	if len(b.entries)+entryBytes > batchBytes {
		return b.Flush()
	}
	return nil
}

// Flush hands what was gathered to the operating system.
func (b *Batch) Flush() error {
	b.writer.mu.Lock()
	defer b.writer.mu.Unlock()
	_, err := b.writer.file.Write(b.entries)
	b.entries = b.entries[:0]
	return err
}

// Read returns a whole log.
func Read(path string) (Header, []Entry, error) {
	var header Header
	file, err := os.Open(path)
	if err != nil {
		return header, nil, fmt.Errorf("open acknowledgement log: %w", err)
	}
	defer file.Close()
	reader := bufio.NewReaderSize(file, 1<<20)
	line, err := reader.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &header)
	}
	if err != nil {
		return header, nil, fmt.Errorf("read acknowledgement log %s: header: %w", path, err)
	}
	var entries []Entry
	for buffer := make([]byte, entryBytes); ; {
		switch _, err := io.ReadFull(reader, buffer); err {
		case nil:
		case io.EOF:
			return header, entries, nil
		default:
			return header, nil, fmt.Errorf("read acknowledgement log %s: entry %d: %w", path, len(entries), err)
		}
		device := binary.LittleEndian.Uint32(buffer)
		entries = append(entries, Entry{
			Device:  device &^ sentBit,
			Message: binary.LittleEndian.Uint32(buffer[4:]),
			At:      time.Duration(binary.LittleEndian.Uint64(buffer[8:])),
			Sent:    device&sentBit != 0,
		})
	}
}
