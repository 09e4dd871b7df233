package analytics

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
)

const (
	faultsBodyMax = 4 << 10
	delayMax      = Duration(10 * time.Minute)
)

// Faults are scripted failures. Zero fields do nothing.
type Faults struct {
	Status       int      `json:"status,omitzero"`        // answers every request with this status
	RetryAfter   Duration `json:"retry_after,omitzero"`   // sent with Status
	Delay        Duration `json:"delay,omitzero"`         // before every answer
	RejectDevice string   `json:"reject_device,omitzero"` // records of this device
	RejectMetric string   `json:"reject_metric,omitzero"` // records with this metric
	Whole        bool     `json:"whole,omitzero"`         // 422 for the request that holds such a record, instead of naming it
	For          Duration `json:"for,omitzero"`           // how long; 0 is until they are changed
}

// Duration is written as people write it: 90s, 5m.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(text []byte) error {
	parsed, err := time.ParseDuration(string(text))
	*d = Duration(parsed)
	return err
}

// Check says what is wrong with the faults.
func (f Faults) Check() error {
	switch {
	case f.Status != 0 && (f.Status < 300 || f.Status > 599):
		return fmt.Errorf("status must be 300 to 599")
	case f.Delay < 0 || f.Delay > delayMax:
		return fmt.Errorf("delay must be 0 to %v", time.Duration(delayMax))
	case f.For < 0 || f.RetryAfter < 0:
		return fmt.Errorf("for and retry_after must not be negative")
	}
	return nil
}

// strike delays and fails a request before it is read.
func (f Faults) strike(ctx context.Context) error {
	if f.Delay > 0 {
		select {
		case <-time.After(time.Duration(f.Delay)):
		case <-ctx.Done():
			return fmt.Errorf("delay request: %w", ctx.Err())
		}
	}
	if f.Status != 0 {
		return &refusal{status: f.Status, reason: cmp.Or(http.StatusText(f.Status), "scripted fault"), retryAfter: time.Duration(f.RetryAfter)}
	}
	return nil
}

// rejects returns why the record is rejected, or nothing.
func (f Faults) rejects(record *record) string {
	switch {
	case f.RejectDevice != "" && record.DeviceID == f.RejectDevice:
		return "device " + f.RejectDevice + " is rejected by a scripted fault"
	case f.RejectMetric != "" && record.hasMetric(f.RejectMetric):
		return "metric " + f.RejectMetric + " is rejected by a scripted fault"
	}
	return ""
}

func (f Faults) refuseWhole(records []record) error {
	for i := range records {
		if reason := f.rejects(&records[i]); f.Whole && reason != "" {
			return &refusal{status: http.StatusUnprocessableEntity, reason: reason}
		}
	}
	return nil
}

func (r *Receiver) setFaults(faults Faults) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults, r.faultsEnd = faults, time.Time{}
	if faults.For > 0 {
		r.faultsEnd = time.Now().Add(time.Duration(faults.For))
	}
}

func (r *Receiver) currentFaults() Faults {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.faultsEnd.IsZero() && !time.Now().Before(r.faultsEnd) {
		r.faults, r.faultsEnd = Faults{}, time.Time{}
	}
	return r.faults
}

func (r *Receiver) getFaults(w http.ResponseWriter, _ *http.Request) {
	text, err := json.Marshal(r.currentFaults())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n'))
}

func (r *Receiver) putFaults(w http.ResponseWriter, request *http.Request) {
	var faults Faults
	body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, faultsBodyMax))
	if err == nil {
		err = json.Unmarshal(body, &faults, json.RejectUnknownMembers(true))
	}
	if err == nil {
		err = faults.Check()
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.setFaults(faults)
	r.getFaults(w, request)
}

func (r *Receiver) deleteFaults(w http.ResponseWriter, request *http.Request) {
	r.setFaults(Faults{})
	r.getFaults(w, request)
}

// fromHere serves this machine only. A request that came through a proxy only
// looks as if it came from here; a page in a browser cannot send one, because
// PUT and DELETE need a permission across origins that nobody gives.
func fromHere(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		host, _, _ := net.SplitHostPort(request.RemoteAddr)
		forwarded := request.Header.Get("X-Forwarded-For") + request.Header.Get("Forwarded")
		if address := net.ParseIP(host); address == nil || !address.IsLoopback() || forwarded != "" {
			http.Error(w, "only from this machine", http.StatusForbidden)
			return
		}
		serve(w, request)
	}
}
