package analytics

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	analyticsv1 "combotto.io/gateway/gen/go/gateway/analytics/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/wire"
)

// record is what the receiver needs to know of a canonical record.
type record struct {
	CorrelationID string         `json:"correlation_id"`
	Revision      int            `json:"revision"`
	ReplayID      string         `json:"replay_id"`
	DeviceID      string         `json:"device_id"`
	BootID        string         `json:"boot_id"`
	Sequence      *uint64        `json:"sequence"`
	Delivery      string         `json:"delivery"`
	Metrics       jsontext.Value `json:"metrics"`

	line []byte // the record as it came, without line feed
}

// key is what makes two records the same.
type key struct {
	correlationID string
	revision      int
	replayID      string
}

func (r *record) key() key { return key{r.CorrelationID, r.Revision, r.ReplayID} }

// inOrder reports whether the device's order is promised for this delivery.
func (r *record) inOrder() bool {
	return r.Delivery == edge.Live.String() || r.Delivery == edge.Backfill.String()
}

func (r *record) hasMetric(name string) bool {
	var metrics map[string]jsontext.Value
	if err := json.Unmarshal(r.Metrics, &metrics); err != nil {
		return false
	}
	_, ok := metrics[name]
	return ok
}

// parseLines reads one object per line.
func parseLines(body []byte) (records []record, err error) {
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if records, err = appendRecord(records, line); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// parseArray reads one array of objects.
func parseArray(body []byte) (records []record, err error) {
	var lines []jsontext.Value
	if err := json.Unmarshal(body, &lines); err != nil {
		return nil, fmt.Errorf("read array: %w", err)
	}
	for _, line := range lines {
		if err := line.Compact(); err != nil { // one line each, for Settings.Record
			return nil, fmt.Errorf("read array: %w", err)
		}
		if records, err = appendRecord(records, line); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// parseMessage takes records in protobuf, by way of their canonical JSON, so
// that they are remembered and recorded in the same form.
func parseMessage(request *analyticsv1.IngestRequest) (records []record, err error) {
	for _, message := range request.GetRecords() {
		if records, err = appendRecord(records, wire.AppendMessage(nil, message)); err != nil {
			return nil, err
		}
	}
	return records, nil
}

func appendRecord(records []record, line []byte) ([]record, error) {
	next := record{line: line}
	if err := json.Unmarshal(line, &next); err != nil {
		return nil, fmt.Errorf("read record %d: %w", len(records)+1, err)
	}
	if id, ok := edge.ParseCorrelationID(next.CorrelationID); !ok || id.IsZero() || next.DeviceID == "" {
		return nil, fmt.Errorf("read record %d: correlation_id and device_id are required", len(records)+1)
	}
	return append(records, next), nil
}
