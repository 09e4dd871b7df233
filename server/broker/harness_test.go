package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

func TestMain(m *testing.M) {
	runStockVictim()
	goleak.VerifyTestMain(m)
}

// good is telemetry that any door accepts.
const good = `{"schema_version":1,"metrics":{"t":1}}`

const telemetryTopic = "devices/dev-1/telemetry"

// committer is an [edge.Submitter] that stores in memory. Its goroutine stands
// for that of the queue: it answers commit by commit, and a test can hold
// commits back, make them fail, or refuse messages.
type committer struct {
	done chan struct{}

	mu      sync.Mutex
	changed sync.Cond
	waiting []edge.Submission
	offered []edge.Submission // everything that was taken, in order
	offers  int               // calls of Offer
	stored  int
	held    bool
	closed  bool
	delay   time.Duration                // of each commit
	failure error                        // of commits
	refuse  func(*edge.Submission) error // nil takes everything
}

func newCommitter(t testing.TB) *committer {
	s := &committer{done: make(chan struct{})}
	s.changed.L = &s.mu
	go s.run()
	t.Cleanup(func() {
		s.mu.Lock()
		s.closed = true
		s.changed.Broadcast()
		s.mu.Unlock()
		<-s.done
	})
	return s
}

func (s *committer) Offer(_ context.Context, submission *edge.Submission) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offers++
	s.changed.Broadcast()
	if s.refuse != nil {
		if err := s.refuse(submission); err != nil {
			return err
		}
	}
	if submission.Fault != nil && !submission.KeepRefused {
		return submission.Fault
	}
	kept := *submission
	kept.Telemetry = nil // ours only until Offer returns
	s.offered = append(s.offered, kept)
	s.waiting = append(s.waiting, kept)
	return nil
}

func (s *committer) run() {
	defer close(s.done)
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		for (len(s.waiting) == 0 || s.held) && !s.closed {
			s.changed.Wait()
		}
		if s.closed {
			return
		}
		if s.delay > 0 {
			s.mu.Unlock()
			<-time.After(s.delay)
			s.mu.Lock()
		}
		batch, failure := s.waiting, s.failure
		s.waiting = nil
		if failure == nil {
			s.stored += len(batch)
		}
		s.mu.Unlock()
		reply(batch, failure)
		s.mu.Lock()
		s.changed.Broadcast()
	}
}

func reply(batch []edge.Submission, failure error) {
	var asked []edge.Replier
	for i := range batch {
		if batch[i].Replier == nil {
			continue
		}
		receipt := edge.Receipt{Refused: batch[i].Fault != nil}
		if batch[i].Replier.Reply(batch[i].Token, receipt, failure) {
			asked = append(asked, batch[i].Replier)
		}
	}
	for _, replier := range asked {
		replier.Flush()
	}
}

// set changes the committer under its lock.
func (s *committer) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	s.changed.Broadcast()
}

// await waits until the condition holds.
func (s *committer) await(t testing.TB, what string, holds func() bool) {
	t.Helper()
	expired := false
	timer := time.AfterFunc(patience, func() { s.set(func() { expired = true }) })
	defer timer.Stop()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !holds() {
		if expired {
			t.Fatalf("%s: offered %d, stored %d", what, len(s.offered), s.stored)
		}
		s.changed.Wait()
	}
}

// policy is an [broker.Authorizer] made of two functions; nil ones admit.
type policy struct {
	authenticate func(*broker.Login) error
	allow        func(clientID, topic string, access broker.Access) bool
}

func (p policy) Authenticate(_ context.Context, login *broker.Login) error {
	if p.authenticate == nil {
		return nil
	}
	return p.authenticate(login)
}

func (p policy) Allow(clientID, topic string, access broker.Access) bool {
	return p.allow == nil || p.allow(clientID, topic, access)
}

// rig is a running broker.
type rig struct {
	*broker.Broker
	address  string
	ingest   *committer
	observer *observe.Observer
	stop     func() // stops it and waits; called by the test's end at the latest
}

func start(t testing.TB, change func(*broker.Settings)) *rig {
	t.Helper()
	return startWith(t, change, policy{}, listen(t))
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return listener
}

func startWith(t testing.TB, change func(*broker.Settings), authorizer broker.Authorizer, listener net.Listener) *rig {
	t.Helper()
	settings := broker.NewDefaultSettings()
	if change != nil {
		change(&settings)
	}
	r := &rig{address: listener.Addr().String(), ingest: newCommitter(t), observer: observe.NewDiscard()}
	r.Broker = broker.New(settings, r.ingest, authorizer, r.observer)
	r.stop = runAll(t, r.Broker, listener)
	t.Cleanup(r.stop)
	return r
}

// runAll runs a broker with one listener until stop is called.
func runAll(t testing.TB, b *broker.Broker, listener net.Listener) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { report(t, b.Run(ctx)) })
	running.Go(func() { report(t, b.Serve(ctx, listener)) })
	return func() {
		cancel()
		within(t, patience, "stop", running.Wait)
	}
}

// pipeListener accepts connections that live in memory, and so in a synctest
// bubble.
type pipeListener struct {
	offered chan net.Conn
	closed  chan struct{}
	once    sync.Once
}

func newPipeListener() *pipeListener {
	return &pipeListener{offered: make(chan net.Conn), closed: make(chan struct{})}
}

func (l *pipeListener) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.offered <- theirs
	return ours
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case socket := <-l.offered:
		return socket, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func report(t testing.TB, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// within fails the test when work does not end in time.
func within(t testing.TB, limit time.Duration, what string, work func()) {
	t.Helper()
	if !ends(limit, work) {
		t.Fatalf("%s did not end within %v", what, limit)
	}
}

// ends reports whether work ends within the limit. Work that does not is left
// behind: the test fails or, with stock mochi, has shown what it was to show.
func ends(limit time.Duration, work func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

// metric reads one series from a scrape.
func (r *rig) metric(t testing.TB, series string) string {
	t.Helper()
	recorder := httptest.NewRecorder()
	r.observer.Metrics.Handler().ServeHTTP(recorder, httptest.NewRequest("GET", "/metrics", nil))
	body, err := io.ReadAll(recorder.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if value, found := strings.CutPrefix(line, "gateway_"+series+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return "absent"
}

// expectMetric waits until a series has the value. What is counted after the
// client was told is not there at once.
func (r *rig) expectMetric(t testing.TB, series, want string) {
	t.Helper()
	if err := eventually(func() error {
		if got := r.metric(t, series); got != want {
			return fmt.Errorf("%s is %s, want %s", series, got, want)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// eventually polls until the check passes. It is for what another goroutine does
// without telling anybody.
func eventually(check func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(5 * time.Millisecond)
	}
}
