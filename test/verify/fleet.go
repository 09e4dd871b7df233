package verify

import (
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/telemetry"
)

// fleet is all devices of the generator.
type fleet struct {
	header  acklog.Header
	devices []*device
	byName  map[string]*device
	firstAt time.Duration // of the first promise
}

// device is what the generator says of one device, and what the queue's file
// holds of it. Every slice has one element for each message that was sent.
type device struct {
	name     string
	index    int
	series   *telemetry.Series
	promised []bool
	at       []time.Duration
	stored   []uint8 // how often it is in a frame
	payload  []byte  // for expected
	metrics  []byte
}

func newFleet(header acklog.Header) fleet {
	return fleet{header: header, byName: map[string]*device{}}
}

// device returns a device by its number.
func (f *fleet) device(number uint32) *device {
	for uint32(len(f.devices)) <= number {
		name := f.header.DeviceID(uint32(len(f.devices)))
		added := &device{name: name, index: len(f.devices), series: telemetry.NewSeries(name, f.header.BootID)}
		added.payload = added.series.Template()
		f.devices = append(f.devices, added)
		f.byName[name] = added
	}
	return f.devices[number]
}

// sent notes that every message up to this one was sent.
func (d *device) sent(message uint32) {
	if more := int(message) + 1 - len(d.stored); more > 0 {
		d.promised = append(d.promised, make([]bool, more)...)
		d.at = append(d.at, make([]time.Duration, more)...)
		d.stored = append(d.stored, make([]uint8, more)...)
	}
}

func (d *device) promise(entry acklog.Entry) bool {
	if int(entry.Message) >= len(d.promised) {
		return false
	}
	d.promised[entry.Message], d.at[entry.Message] = true, entry.At
	return true
}

func (d *device) promisedAt(message uint32, since time.Duration) time.Duration {
	return d.at[message] - since
}

// message finds a message by the identity that it carries. It fails when nothing
// like it was sent.
func (f *fleet) message(name, bootID string, sequence uint64) (*device, uint32, bool) {
	device := f.byName[name]
	if device == nil || bootID != f.header.BootID || sequence < f.header.FirstSequence {
		return nil, 0, false
	}
	number := sequence - f.header.FirstSequence
	return device, uint32(number), number < uint64(len(device.stored))
}

// identity names a message.
func (f *fleet) identity(device *device, message uint32) acklog.Identity {
	return f.header.Identity(acklog.Entry{Device: uint32(device.index), Message: message})
}

// expected returns payload and metrics of a message, until the next call.
func (d *device) expected(message uint32) (payload, metrics []byte) {
	d.series.Fill(d.payload, message)
	d.metrics = d.series.AppendMetrics(d.metrics[:0], d.payload)
	return d.payload, d.metrics
}
