package fleet

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	telemetryv1 "combotto.io/gateway/gen/go/gateway/telemetry/v1"
	"combotto.io/gateway/server/edge"
)

// Content types that a board announces.
const (
	contentJSON     = "application/json"
	contentProtobuf = "application/protobuf"
)

// reading is one message in the terms of the telemetry contract.
type reading struct {
	SchemaVersion uint32            `json:"schema_version"`
	Device        edge.DeviceID     `json:"device_id,omitempty"`
	BootID        string            `json:"boot_id"`
	Sequence      uint64            `json:"sequence"`
	ObservedAt    string            `json:"observed_at"`
	Metrics       metrics           `json:"metrics"`
	Attributes    map[string]string `json:"attributes,omitempty"`

	observedAt time.Time
}

type metrics struct {
	Temperature float64 `json:"temperature_c"`
	Humidity    float64 `json:"humidity_percent"`
	Battery     float64 `json:"battery_v"`
	Uptime      int64   `json:"uptime_s"`
	DoorOpen    bool    `json:"door_open"`
	Mode        string  `json:"mode"`
}

// sensors are what a board measures: values that walk slowly and stay
// plausible. It is used by one goroutine.
type sensors struct {
	device   edge.DeviceID
	random   *rand.Rand
	bootID   string
	sequence uint64
	metrics  metrics
}

func newSensors(device edge.DeviceID, random *rand.Rand) *sensors {
	return &sensors{
		device: device,
		random: random,
		bootID: bootID(random),
		metrics: metrics{
			Temperature: 18 + 8*random.Float64(),
			Humidity:    35 + 20*random.Float64(),
			Battery:     3.3 + 0.4*random.Float64(),
			Mode:        "eco",
		},
	}
}

// bootID returns eight hexadecimal digits.
func bootID(random *rand.Rand) string {
	const digits = "0123456789abcdef"
	text := make([]byte, 8)
	for i := range text {
		text[i] = digits[random.IntN(len(digits))]
	}
	return string(text)
}

// measure makes the next reading, elapsed after the one before.
func (s *sensors) measure(now time.Time, elapsed time.Duration) *reading {
	m := &s.metrics
	m.Temperature = walk(s.random, m.Temperature, 0.2, -20, 60)
	m.Humidity = walk(s.random, m.Humidity, 0.5, 5, 95)
	m.Battery = walk(s.random, m.Battery, 0.005, 2.8, 4.2)
	m.Uptime += int64(elapsed.Round(time.Second) / time.Second)
	if s.random.IntN(50) == 0 {
		m.DoorOpen = !m.DoorOpen
	}
	if s.random.IntN(200) == 0 {
		m.Mode = []string{"eco", "boost", "standby"}[s.random.IntN(3)]
	}
	s.sequence++
	next := &reading{
		SchemaVersion: edge.SchemaVersion,
		BootID:        s.bootID,
		Sequence:      s.sequence,
		ObservedAt:    now.UTC().Format("2006-01-02T15:04:05.000Z"),
		Metrics:       *m,
		observedAt:    now,
	}
	if s.sequence == 1 {
		next.Attributes = map[string]string{"firmware": "1.2.0"}
	}
	return next
}

// walk moves value by at most step, stays within low and high, and keeps three
// digits, as a sensor would.
func walk(random *rand.Rand, value, step, low, high float64) float64 {
	value += step * (2*random.Float64() - 1)
	return math.Round(min(max(value, low), high)*1000) / 1000
}

// encodeJSON returns the reading as a JSON object.
func (r *reading) encodeJSON() []byte {
	text, err := json.Marshal(r)
	if err != nil {
		// Plain text, whole numbers and rounded finite ones always encode.
		panic("fleet: encode a reading: " + err.Error())
	}
	return text
}

// encodeProtobuf returns the reading as gateway.telemetry.v1.Telemetry.
func (r *reading) encodeProtobuf() []byte {
	observedAt := r.observedAt.UnixMilli()
	telemetry := &telemetryv1.Telemetry{
		SchemaVersion: r.SchemaVersion,
		DeviceId:      string(r.Device),
		BootId:        r.BootID,
		Sequence:      &r.Sequence,
		ObservedAtMs:  &observedAt,
		Metrics: []*telemetryv1.Metric{
			{Name: "temperature_c", Value: &telemetryv1.Metric_Number{Number: r.Metrics.Temperature}},
			{Name: "humidity_percent", Value: &telemetryv1.Metric_Number{Number: r.Metrics.Humidity}},
			{Name: "battery_v", Value: &telemetryv1.Metric_Number{Number: r.Metrics.Battery}},
			{Name: "uptime_s", Value: &telemetryv1.Metric_Integer{Integer: r.Metrics.Uptime}},
			{Name: "door_open", Value: &telemetryv1.Metric_Boolean{Boolean: r.Metrics.DoorOpen}},
			{Name: "mode", Value: &telemetryv1.Metric_Text{Text: r.Metrics.Mode}},
		},
	}
	for name, value := range r.Attributes {
		telemetry.Attributes = append(telemetry.Attributes, &telemetryv1.Attribute{Name: name, Value: value})
	}
	payload, err := proto.MarshalOptions{Deterministic: true}.Marshal(telemetry)
	if err != nil {
		// Marshal refuses invalid UTF-8 only, and every text here is a constant.
		panic("fleet: encode a reading: " + err.Error())
	}
	return payload
}

// fault is a way in which a faulty board goes wrong.
type fault uint8

const (
	faultNone fault = iota
	faultTruncated
	faultWrongType
	faultWrongDevice
	faultOversize
	faultTwice // the same message, twice: not broken, and stored once
	faults
)

// drawFault picks no fault for two messages of three.
func drawFault(random *rand.Rand) fault {
	if random.IntN(3) > 0 {
		return faultNone
	}
	return 1 + fault(random.IntN(int(faults)-1))
}

// spoil returns what a faulty board publishes in place of the reading: always
// JSON, and never what the gateway may accept.
func (r *reading) spoil(how fault) []byte {
	switch how {
	case faultTruncated:
		text := r.encodeJSON()
		return text[:len(text)-len(text)/4]
	case faultWrongType:
		return []byte(strings.Replace(string(r.encodeJSON()), `"schema_version":1`, `"schema_version":"one"`, 1))
	case faultWrongDevice:
		r.Device = "somebody-else"
	case faultOversize:
		r.Attributes = map[string]string{"padding": strings.Repeat("x", edge.MaxPayloadBytes)}
	}
	return r.encodeJSON()
}
