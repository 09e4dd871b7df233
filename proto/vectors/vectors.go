// Package vectors holds the golden vectors of telemetry: payloads, what they
// mean, and why some are refused. README.md describes the files.
//
// A decoder of telemetry in Go is tested by a loop over [Valid] and [Invalid].
// The package is for tests only; it holds no state and is safe for concurrent
// use.
package vectors

import (
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
)

//go:embed valid invalid
var files embed.FS

// Vector is a payload that the gateway accepts. JSON and Protobuf mean the same;
// one of them is nil where the other encoding has no such payload.
type Vector struct {
	Name      string
	JSON      []byte
	Protobuf  []byte // Telemetry, or SignedTelemetry
	Stamps    Stamps
	Canonical []byte // the record as canonical JSON
	Decoded   string // the values, one per line
}

// Stamps are what the gateway adds to a payload, as in stamps.json.
type Stamps struct {
	About         string `json:"about"`
	GatewayID     string `json:"gateway_id"`
	DeviceID      string `json:"device_id"`
	CorrelationID string `json:"correlation_id"`
	ReceiveTS     string `json:"receive_ts"` // RFC 3339
	Source        string `json:"source"`
	MessageID     string `json:"message_id"` // from the request; wins over the payload's
	TraceParent   string `json:"traceparent"`
	Verified      bool   `json:"verified"`
	Delivery      string `json:"delivery"`
	ReplayID      string `json:"replay_id"`
	Revision      int    `json:"revision"`
}

// Refused is a payload that the gateway does not accept. Either JSON or Protobuf
// is set.
type Refused struct {
	Name     string
	JSON     []byte
	Protobuf []byte
	Refusal  Refusal
}

// Refusal is how a payload is refused, as in refusal.json.
type Refusal struct {
	About    string `json:"about"`
	DeviceID string `json:"device_id"`
	Code     string `json:"code"`   // malformed or invalid
	Reason   string `json:"reason"` // label value of gateway_ingest_rejected_total
	Field    string `json:"field"`
}

// Valid returns the payloads that the gateway accepts, by name.
func Valid() ([]Vector, error) {
	return each("valid", func(folder string) (v Vector, err error) {
		v.Name = path.Base(folder)
		var stamps, decoded []byte
		err = read(folder, map[string]*[]byte{
			"payload.json?": &v.JSON, "payload.binpb?": &v.Protobuf,
			"stamps.json": &stamps, "canonical.json": &v.Canonical, "decoded.txt": &decoded,
		})
		if err != nil {
			return v, err
		}
		v.Decoded = string(decoded)
		return v, json.Unmarshal(stamps, &v.Stamps)
	})
}

// Invalid returns the payloads that the gateway does not accept, by name.
func Invalid() ([]Refused, error) {
	return each("invalid", func(folder string) (r Refused, err error) {
		r.Name = path.Base(folder)
		var refusal []byte
		err = read(folder, map[string]*[]byte{
			"payload.json?": &r.JSON, "payload.binpb?": &r.Protobuf, "refusal.json": &refusal,
		})
		if err != nil {
			return r, err
		}
		return r, json.Unmarshal(refusal, &r.Refusal)
	})
}

// each loads the folders below root in order.
func each[T any](root string, load func(folder string) (T, error)) ([]T, error) {
	folders, err := fs.ReadDir(files, root)
	if err != nil {
		return nil, err
	}
	all := make([]T, 0, len(folders))
	for _, folder := range folders {
		item, err := load(path.Join(root, folder.Name()))
		if err != nil {
			return nil, fmt.Errorf("load %s/%s: %w", root, folder.Name(), err)
		}
		all = append(all, item)
	}
	return all, nil
}

// read reads files of a folder. A name that ends in "?" may be missing; then its
// content stays nil.
func read(folder string, into map[string]*[]byte) error {
	for name, content := range into {
		optional := name[len(name)-1] == '?'
		if optional {
			name = name[:len(name)-1]
		}
		text, err := files.ReadFile(path.Join(folder, name))
		switch {
		case err == nil:
			*content = text
		case optional && errors.Is(err, fs.ErrNotExist):
		default:
			return err
		}
	}
	return nil
}
