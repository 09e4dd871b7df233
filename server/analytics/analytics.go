// Package analytics is the reference receiver: what the cloud side of an http
// or connect sink should do, small enough to read.
//
//	POST /ingest or /                      application/x-ndjson, application/json (array),
//	                                       application/protobuf (gateway.analytics.v1.IngestRequest)
//	gateway.analytics.v1.AnalyticsService  Connect, gRPC, gRPC-Web
//	GET  /stats, GET /                     what arrived: JSON, text
//	PUT  /faults, DELETE /faults           scripted failures, from this machine only
//
// It is idempotent: a record that comes again, with the same correlation_id,
// revision and replay_id, is accepted and counted as duplicate. It makes loss
// visible without knowing the sender: per device and boot it keeps which
// sequences arrived, so that a gap is a record that is missing, and a sequence
// that is lower than the one before is an inversion of the order.
//
// It answers a request only after every record of it has been written to
// Settings.Record, duplicates included, as one line of JSON each.
//
// Everything is in memory and bounded: ids, devices, boots and gaps. What falls
// out of a bound is counted, so that a number is never better than the truth:
// a record that returns after its id was forgotten counts as new, a gap that is
// forgotten stays missing. It admits anybody and is for tests and
// demonstrations; it is safe for concurrent use and starts no goroutine.
package analytics

import (
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"combotto.io/gateway/gen/go/gateway/analytics/v1/analyticsv1connect"
)

const (
	rememberDefault = 1 << 20 // ids; about 150 bytes each
	devicesMax      = 100_000
)

// Settings say what the receiver remembers and how it fails.
type Settings struct {
	Remember int       // ids of records, to tell duplicates; 0 is 1,048,576
	Record   io.Writer // takes a line for each accepted record; nil keeps none
	Faults   Faults    // from the start on
}

// Receiver receives.
type Receiver struct {
	record io.Writer

	mu        sync.Mutex
	faults    Faults
	faultsEnd time.Time // zero: until they are changed
	ids       *memory
	devices   map[string]*device
	counts    Counts
}

// Counts are totals since the start.
type Counts struct {
	Requests   int64 `json:"requests"`
	Failed     int64 `json:"failed_requests"` // by a scripted fault, or unreadable
	Received   int64 `json:"received"`        // records of accepted requests: unique + duplicates + rejected
	Unique     int64 `json:"unique"`
	Duplicates int64 `json:"duplicates"`
	Rejected   int64 `json:"rejected"`  // by a scripted fault
	Untracked  int64 `json:"untracked"` // unique, but of a device beyond the bound, or without boot_id and sequence
}

// New returns a receiver that has received nothing.
func New(settings Settings) *Receiver {
	r := &Receiver{
		record:  settings.Record,
		ids:     newMemory(cmp.Or(settings.Remember, rememberDefault)),
		devices: make(map[string]*device),
	}
	r.setFaults(settings.Faults)
	return r
}

// Handler serves everything that the package comment lists.
func (r *Receiver) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{$}", r.post)
	mux.HandleFunc("POST /ingest", r.post)
	mux.HandleFunc("GET /{$}", r.page)
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, r.Stats()) })
	mux.HandleFunc("GET /faults", fromHere(r.getFaults))
	mux.HandleFunc("PUT /faults", fromHere(r.putFaults))
	mux.HandleFunc("DELETE /faults", fromHere(r.deleteFaults))
	mux.Handle(analyticsv1connect.NewAnalyticsServiceHandler(service{receiver: r}))
	return mux
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(body) // the only error is that nobody listens any more
}
