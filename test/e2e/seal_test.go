package e2e_test

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"combotto.io/gateway/test/harness"
)

// keyed is a receiver that remembers what came under each Idempotency-Key.
type keyed struct {
	mu       sync.Mutex
	bodies   map[string]uint64 // hash by key
	requests int
	again    int // came under a key that was known
	unkeyed  int
	altered  []string
	busy     int // per cent of the requests that go unheard
}

// answer lets some requests go unheard, so that they come again.
func (k *keyed) answer(request harness.Request) harness.Answer {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.requests++
	hash := fnv.New64a()
	_, _ = hash.Write(request.Body)
	known, again := k.bodies[request.IdempotencyKey]
	switch {
	case request.IdempotencyKey == "":
		k.unkeyed++
	case again && known != hash.Sum64():
		k.altered = append(k.altered, request.IdempotencyKey)
	case again:
		k.again++
	}
	k.bodies[request.IdempotencyKey] = hash.Sum64()
	if rand.N(100) < k.busy {
		return harness.Answer{Status: http.StatusServiceUnavailable}
	}
	return harness.Accept
}

// TestSeal kills the gateway while batches are under way, and starts it with
// another concurrency each time: a key never stands for two bodies.
func TestSeal(t *testing.T) {
	harness.SkipShort(t, "a quarter of a minute")
	const cycles = 8
	receiver := &keyed{bodies: map[string]uint64{}, busy: 30}
	server := newReceiver(t, receiver.answer)
	gateway := newGateway(t)
	sequence := 0
	for cycle := range cycles {
		gateway.SetSinks(fmt.Sprintf("  - {name: analytics, kind: http, concurrency: %d, batch: {count: 20, linger: 5ms}, http: {url: \"http://%s/ingest\", format: ndjson}}\n",
			1+cycle%4, server.Address()))
		harness.Must(t, gateway.Start(t.Context()))
		ends := time.Now().Add(time.Duration(300+rand.N(500)) * time.Millisecond)
		for time.Now().Before(ends) {
			var body []byte
			for range 50 {
				sequence++
				body = fmt.Appendf(body, `,{"schema_version":1,"metrics":{"n":%d},"boot_id":"b","sequence":%d}`, sequence, sequence)
			}
			body[0] = '['
			if status, answer := post(t, gateway.URL(fmt.Sprintf("/ingest/dev-%d", sequence%7)), "application/json", append(body, ']')); status != http.StatusAccepted {
				t.Fatalf("status %d: %s", status, answer)
			}
		}
		harness.Must(t, gateway.Kill())
	}
	receiver.mu.Lock()
	receiver.busy = 0
	receiver.mu.Unlock()
	harness.Must(t, gateway.Start(t.Context()))
	harness.Must(t, harness.Poll(harness.Within(t, time.Minute), "the end of the backlog", func() (bool, error) {
		metrics, err := gateway.Metrics(t.Context())
		return metrics[`gateway_queue_depth_messages{sink="analytics"}`] == 0, err
	}))
	stop(t, gateway)
	delivered := map[string]bool{}
	for _, record := range server.Accepted() {
		delivered[record.CorrelationID] = true
	}
	t.Logf("%d messages, %d requests, %d of them under a known key", sequence, receiver.requests, receiver.again)
	if len(receiver.altered) > 0 {
		t.Errorf("under %d keys the body changed: %v", len(receiver.altered), receiver.altered)
	}
	if len(delivered) != sequence || receiver.unkeyed > 0 || receiver.again == 0 {
		t.Errorf("%d of %d messages arrived, %d requests without a key, %d under a known one", len(delivered), sequence, receiver.unkeyed, receiver.again)
	}
}
