package edge

// Limits of telemetry. The protobuf contract and the JSON Schema carry the same
// numbers; a test holds them equal.
const (
	MaxPayloadBytes    = 64 << 10 // default of ingest.max_payload
	MaxBatchMessages   = 1000     // messages in one POST or Publish
	MaxBatchBytes      = 8 << 20  // body of one POST, after decompression
	MaxDeviceIDBytes   = 64
	MaxMessageIDBytes  = 64
	MaxBootIDBytes     = 32
	MaxSequence        = 1<<53 - 1
	MaxMetrics         = 256
	MaxMetricNameBytes = 64
	MaxMetricTextBytes = 1024
	MaxAttributes      = 64
	MaxAttributeBytes  = 256 // name and value, each
	MaxJSONDepth       = 4
	SchemaVersion      = 1 // the only one so far
)

// ValidDeviceID reports whether id matches [A-Za-z0-9][A-Za-z0-9._-]{0,63}.
func ValidDeviceID[T ~string | ~[]byte](id T) bool {
	return len(id) > 0 && len(id) <= MaxDeviceIDBytes && isAlphanumeric(id[0]) && all(id, isNameByte)
}

// ValidGatewayID reports whether id may name a gateway; the rule is that of
// device ids.
func ValidGatewayID(id string) bool { return ValidDeviceID(id) }

// ValidMessageID reports whether id matches [!-~]{1,64}.
func ValidMessageID[T ~string | ~[]byte](id T) bool {
	return len(id) > 0 && len(id) <= MaxMessageIDBytes && all(id, func(b byte) bool { return b > ' ' && b <= '~' })
}

// ValidBootID reports whether id matches [A-Za-z0-9._-]{1,32}.
func ValidBootID[T ~string | ~[]byte](id T) bool {
	return len(id) > 0 && len(id) <= MaxBootIDBytes && all(id, isNameByte)
}

// ValidMetricName reports whether name matches [A-Za-z_][A-Za-z0-9_.]{0,63}.
func ValidMetricName[T ~string | ~[]byte](name T) bool {
	if len(name) == 0 || len(name) > MaxMetricNameBytes || !isAlphanumeric(name[0]) && name[0] != '_' || isDigit(name[0]) {
		return false
	}
	return all(name, func(b byte) bool { return isAlphanumeric(b) || b == '_' || b == '.' })
}

// ValidSinkName reports whether name matches [a-z][a-z0-9-]{0,62}.
func ValidSinkName(name string) bool {
	if len(name) == 0 || len(name) > 63 || name[0] < 'a' || name[0] > 'z' {
		return false
	}
	return all(name, func(b byte) bool { return b >= 'a' && b <= 'z' || isDigit(b) || b == '-' })
}

func all[T ~string | ~[]byte](text T, allowed func(byte) bool) bool {
	for i := range len(text) {
		if !allowed(text[i]) {
			return false
		}
	}
	return true
}

func isDigit(b byte) bool { return b >= '0' && b <= '9' }

func isAlphanumeric(b byte) bool {
	return isDigit(b) || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

func isNameByte(b byte) bool { return isAlphanumeric(b) || b == '.' || b == '_' || b == '-' }
