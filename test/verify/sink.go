package verify

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// arrivals is what one sink received, and what the file says about it. The
// slices are indexed by device, then by message.
type arrivals struct {
	Deliveries
	sink    Sink
	states  [][]state
	newest  []int64    // message, by device; -1 before the first
	keys    [][]uint32 // of the first arrival, with SameKey
	keyID   map[string]uint32
	givenUp map[string]int // messages by device, from the file's loss report
	// quarantined is how many messages the loss report says that damage has taken.
	quarantined int64

	crash    int               // how many were before the line that is read
	repeated map[int]*repeated // by the crash before it; 0 is before the first
}

// repeated is what came again after a crash.
type repeated struct {
	records int
	keys    map[string]bool
}

// repeat counts a record that came again.
func (a *arrivals) repeat(key string) {
	a.Duplicates++
	after := a.repeated[a.crash]
	if after == nil {
		after = &repeated{keys: map[string]bool{}}
		a.repeated[a.crash] = after
	}
	after.records++
	after.keys[key] = true
}

// state is where a message was found.
type state uint8

const (
	arrivedHere state = 1 << iota
	pendingHere       // in the file, owed to the sink and not decided
	deadHere
	doubtedHere // it arrived while the gateway took for durable what was not
)

func newArrivals(sink Sink, fleet *fleet) *arrivals {
	a := &arrivals{Deliveries: Deliveries{Sink: sink.Name}, sink: sink, keyID: map[string]uint32{}, givenUp: map[string]int{}, repeated: map[int]*repeated{}}
	for _, device := range fleet.devices {
		a.states = append(a.states, make([]state, len(device.stored)))
		a.keys = append(a.keys, make([]uint32, len(device.stored)))
		a.newest = append(a.newest, -1)
	}
	return a
}

// accounts reports whether anything is known of a message.
func (a *arrivals) accounts(device *device, message uint32) bool {
	return a.states[device.index][message] != 0
}

// delivered is what the verifier reads of a record that a sink received.
type delivered struct {
	CorrelationID string          `json:"correlation_id"`
	DeviceID      string          `json:"device_id"`
	BootID        string          `json:"boot_id"`
	Sequence      uint64          `json:"sequence"`
	Metrics       json.RawMessage `json:"metrics"`
	Delivery      string          `json:"delivery"`
}

// readSink takes what a sink wrote down, in the order in which it did.
func (c *check) readSink(sink Sink) error {
	arrived := newArrivals(sink, &c.fleet)
	c.arrivals = append(c.arrivals, arrived)
	take := func(key string, doubted bool, line []byte) error {
		var record delivered
		if err := json.Unmarshal(line, &record); err != nil {
			return err
		}
		c.take(arrived, key, doubted, &record)
		return nil
	}
	if sink.Received != "" {
		return eachLine(sink.Received, false, func(end int64, line []byte) error {
			arrived.crash = c.run.crashesBefore(sink.Received, end)
			parts := bytes.SplitN(line, []byte{' '}, 3)
			if len(parts) != 3 {
				return fmt.Errorf("no time and key in %.80q", line)
			}
			at, err := strconv.ParseInt(string(parts[0]), 10, 64)
			if err != nil {
				return err
			}
			return take(string(parts[1]), c.run.doubtedWall(at), parts[2])
		})
	}
	files, err := filepath.Glob(filepath.Join(sink.Folder, "*", "*.ndjson"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, path := range files {
		err := eachLine(path, c.run.Killed, func(end int64, line []byte) error {
			arrived.crash = c.run.crashesBefore(path, end)
			return take("-", false, line)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// take judges one record by itself.
func (c *check) take(arrived *arrivals, key string, doubted bool, record *delivered) {
	arrived.Records++
	name := arrived.sink.Name
	device, message, known := c.fleet.message(record.DeviceID, record.BootID, record.Sequence)
	if !known {
		c.find("I2", name, "%s of %s, boot %s, sequence %d was never sent", record.CorrelationID, record.DeviceID, record.BootID, record.Sequence)
		return
	}
	if _, metrics := device.expected(message); !bytes.Equal(metrics, record.Metrics) {
		c.find("I2", name, "%s of %s, message %d holds %s, sent was %s", record.CorrelationID, record.DeviceID, message, record.Metrics, metrics)
	}
	state := &arrived.states[device.index][message]
	if *state&doubtedHere != 0 {
		arrived.Duplicates++
		*state &^= doubtedHere // from now on it is known under this key
		arrived.keys[device.index][message] = arrived.key(key)
		return
	}
	if *state&arrivedHere != 0 {
		arrived.repeat(key)
		if number := arrived.keys[device.index][message]; number != arrived.key(key) {
			arrived.OtherKey++
			if arrived.sink.SameKey {
				c.find("I3", name, "%s of %s, message %d came again under the key %s", record.CorrelationID, record.DeviceID, message, key)
			}
		}
		return
	}
	*state |= arrivedHere
	if doubted {
		*state |= doubtedHere
	}
	arrived.Distinct++
	arrived.keys[device.index][message] = arrived.key(key)
	if record.Delivery == "requeue" {
		return // its place in the order is gone
	}
	if int64(message) < arrived.newest[device.index] {
		c.find("I4", name, "%s message %d came first after %d", device.name, message, arrived.newest[device.index])
	}
	arrived.newest[device.index] = max(arrived.newest[device.index], int64(message))
}

// key gives each key a number.
func (a *arrivals) key(key string) uint32 {
	number, known := a.keyID[key]
	if !known {
		number = uint32(len(a.keyID) + 1)
		a.keyID[key] = number
	}
	return number
}

// crashesBefore returns how many crashes there were when a line was written that
// ends at an offset of a file.
func (r *Run) crashesBefore(path string, end int64) int {
	name := filepath.Base(path)
	count, _ := slices.BinarySearchFunc(r.Crashes, end, func(crash Crash, end int64) int { return cmp.Compare(crash[name], end) })
	return count
}

// eachLine calls each for every line of a file, with the offset behind it; a file
// that is not there has none. A last line without an end is an error unless torn.
func eachLine(path string, torn bool, each func(end int64, line []byte) error) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer file.Close()
	reader, end := bufio.NewReaderSize(file, 1<<20), int64(0)
	for number := 1; ; number++ {
		line, err := reader.ReadSlice('\n')
		if errors.Is(err, io.EOF) && (len(line) == 0 || torn) {
			return nil
		}
		if end += int64(len(line)); err == nil {
			err = each(end, bytes.TrimSuffix(line, []byte{'\n'}))
		}
		if err != nil {
			return fmt.Errorf("%s line %d: %w", path, number, err)
		}
	}
}
