package edge

import "time"

// Telemetry is what a payload says, in whichever encoding it came. Doors decode
// with package wire; ingest checks the meaning. A decoder may reuse a Telemetry
// and its slices for the next payload, so nobody keeps one.
type Telemetry struct {
	SchemaVersion uint32
	Device        DeviceID // as the payload claims; empty when it does not say
	Identity      Identity
	ObservedAt    time.Time // the device's clock: shown, never used to order or to expire
	Metrics       []Metric
	Attributes    []Attribute
	Unknown       int // fields that this gateway does not know; they stay in the payload
}

// Metric is one named value.
type Metric struct {
	Name  string
	Value Value
}

// Attribute is one named text.
type Attribute struct{ Name, Value string }

// Kind says which field of a Value holds it.
type Kind uint8

// The kinds. A whole number that fits int64 is an Integer, any other a Number.
const (
	KindNumber Kind = iota + 1
	KindInteger
	KindBool
	KindText
)

// Value is a number, a boolean or a text.
type Value struct {
	Kind    Kind
	Bool    bool
	Integer int64
	Number  float64 // finite
	Text    string
}

// Check tells whether the telemetry means something valid for device, and fails
// with the first offence as an [Error] that names the field.
func (t *Telemetry) Check(device DeviceID) error {
	switch {
	case t.SchemaVersion == 0:
		return Refuse(Invalid, ReasonMissingField, "schema_version", "is required and must be %d", SchemaVersion)
	case t.SchemaVersion != SchemaVersion:
		return Refuse(Invalid, ReasonSchemaVersion, "schema_version", "%d is not supported; this gateway reads version %d", t.SchemaVersion, SchemaVersion)
	case t.Device != "" && t.Device != device:
		return Refuse(Invalid, ReasonDevice, "device_id", "differs from the device that publishes")
	case len(t.Metrics) == 0:
		return Refuse(Invalid, ReasonMissingField, "metrics", "at least one metric is required")
	case len(t.Metrics) > MaxMetrics:
		return Refuse(Invalid, ReasonOutOfRange, "metrics", "%d metrics, at most %d are allowed", len(t.Metrics), MaxMetrics)
	case len(t.Attributes) > MaxAttributes:
		return Refuse(Invalid, ReasonOutOfRange, "attributes", "%d attributes, at most %d are allowed", len(t.Attributes), MaxAttributes)
	}
	if err := t.Identity.check(); err != nil {
		return err
	}
	return t.checkValues()
}

func (t *Telemetry) checkValues() error {
	for i := range t.Metrics {
		metric := &t.Metrics[i]
		if !ValidMetricName(metric.Name) {
			return Refuse(Invalid, ReasonOutOfRange, "metrics", "name %.80q does not match [A-Za-z_][A-Za-z0-9_.]{0,63}", metric.Name)
		}
		if len(metric.Value.Text) > MaxMetricTextBytes {
			return Refuse(Invalid, ReasonOutOfRange, "metrics."+metric.Name, "%d bytes of text, at most %d are allowed", len(metric.Value.Text), MaxMetricTextBytes)
		}
	}
	for i := range t.Attributes {
		attribute := &t.Attributes[i]
		if len(attribute.Name) == 0 || len(attribute.Name) > MaxAttributeBytes {
			return Refuse(Invalid, ReasonOutOfRange, "attributes", "a name has %d bytes, 1 to %d are allowed", len(attribute.Name), MaxAttributeBytes)
		}
		if len(attribute.Value) > MaxAttributeBytes {
			return Refuse(Invalid, ReasonOutOfRange, "attributes."+attribute.Name, "%d bytes, at most %d are allowed", len(attribute.Value), MaxAttributeBytes)
		}
	}
	return nil
}

func (i Identity) check() error {
	switch {
	case i.MessageID != "" && !ValidMessageID(i.MessageID):
		return Refuse(Invalid, ReasonOutOfRange, "message_id", "must be 1 to %d printable ASCII characters without spaces", MaxMessageIDBytes)
	case i.BootID != "" && !ValidBootID(i.BootID):
		return Refuse(Invalid, ReasonOutOfRange, "boot_id", "must match [A-Za-z0-9._-]{1,%d}", MaxBootIDBytes)
	case i.Sequence > MaxSequence:
		return Refuse(Invalid, ReasonOutOfRange, "sequence", "must be at most %d", uint64(MaxSequence))
	}
	return nil
}
