package observe_test

import (
	"bytes"
	"testing"

	"go.uber.org/goleak"

	"combotto.io/gateway/server/observe"
)

func TestMain(m *testing.M) {
	// The exporter's HTTP transport is shared by the process and keeps idle
	// connections for as long as their servers do.
	goleak.VerifyTestMain(m)
}

// newObserver returns an observer without a collector and the log that it
// writes.
func newObserver(t *testing.T) (*observe.Observer, *bytes.Buffer) {
	t.Helper()
	var log bytes.Buffer
	observer, err := observe.New(t.Context(), observe.Settings{
		Version: "1.2.3", Commit: "abcdef0", GatewayID: "site-7", LogWriter: &log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return observer, &log
}

func TestNewDiscard(t *testing.T) {
	observer := observe.NewDiscard()
	observer.Log.Info("nobody reads this")
	observer.Metrics.Counter("queue_quarantined_messages_total").Inc()
	span := observer.Tracer.Start(observe.TraceContext{TraceID: [16]byte{1}, SpanID: [8]byte{1}, Sampled: true}, "nothing")
	span.End()
	if span.Sampled() {
		t.Error("a discarding observer samples")
	}
	if err := observer.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}
