package queue_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/edgetest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
)

const (
	crashPath    = "QUEUE_CRASH_PATH"  // in the environment of the process that is killed
	crashCycle   = "QUEUE_CRASH_CYCLE" // tells the cycles' messages apart
	crashCycles  = 20
	crashSenders = 8
)

// TestQueue_Killed kills a process that appends and delivers as fast as it can,
// again and again on the same file, and looks for every message whose answer had
// left the process.
func TestQueue_Killed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "queue.db")
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	answered := map[string]bool{}
	for cycle := range crashCycles {
		life := time.Duration(5+random.IntN(60)) * time.Millisecond
		for _, message := range killedAfter(t, path, cycle, life) {
			answered[message] = true
		}
	}
	q := start(t, queue.Settings{Path: path}, 1)
	stored := map[string]bool{}
	for after := edge.Position(0); after < q.Head(); {
		records, next, err := q.Read(t.Context(), after, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range records {
			name := fmt.Sprintf("%s/%s/%d", record.Device, record.Identity.BootID, record.Identity.Sequence)
			if stored[name] {
				t.Errorf("seed %d: %s is stored twice", seed, name)
			}
			stored[name] = true
		}
		after = next
	}
	lost := 0
	for message := range answered {
		if !stored[message] {
			lost++
			t.Logf("lost: %s", message)
		}
	}
	t.Logf("%d messages answered in %d lives, %d stored", len(answered), crashCycles, len(stored))
	if lost > 0 || len(answered) < crashCycles {
		t.Errorf("seed %d: %d of %d answered messages are lost", seed, lost, len(answered))
	}
	q.recount(t)
	if got := q.sink(1); got.Owed != int64(len(stored)) || got.Delivered == 0 {
		t.Errorf("got %+v, want %d owed and some delivered", got, len(stored))
	}
}

// killedAfter runs one life of the process and returns what it said was
// answered.
func killedAfter(t *testing.T, path string, cycle int, life time.Duration) (answered []string) {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), crashPath+"="+path, fmt.Sprintf("%s=%d", crashCycle, cycle))
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("the process says %q", lines.Text())
	}
	killer := time.AfterFunc(life, func() { _ = command.Process.Kill() })
	defer killer.Stop()
	for lines.Scan() {
		answered = append(answered, lines.Text())
	}
	_ = command.Wait() // killed, as it should be
	if len(answered) > 0 {
		answered = answered[:len(answered)-1] // the last line may be cut off
	}
	return answered
}

// liveUntilKilled is the process that is killed.
func liveUntilKilled() error {
	ctx := context.Background()
	q, err := queue.Open(ctx, queue.Settings{Path: os.Getenv(crashPath)}, observe.NewDiscard())
	if err != nil {
		return err
	}
	if _, err := q.EnsureSinks(ctx, specs(1)); err != nil {
		return err
	}
	failed := make(chan error, crashSenders+2)
	go func() { failed <- q.Run(ctx) }()
	go func() { failed <- deliverAll(ctx, q) }()
	fmt.Println("ready")
	for sender := range crashSenders {
		go func() { failed <- sendAll(ctx, q, sender) }()
	}
	return <-failed
}

func deliverAll(ctx context.Context, q *queue.Queue) error {
	for {
		leased, err := q.Lease(ctx, 1, edge.LeaseLimit{Records: 100, Bytes: 1 << 20})
		if err != nil {
			return err
		}
		settlement := edge.Settlement{Attempt: attempt(leased, edge.Delivered), Acked: leased[1:]}
		settlement.Dead = []edge.Death{{Delivery: leased[0], Reason: edge.DeathRejected}}
		if err := q.Settle(ctx, 1, settlement); err != nil {
			return err
		}
	}
}

// sendAll keeps 20 messages under way and prints each one that is answered.
func sendAll(ctx context.Context, q *queue.Queue, sender int) error {
	printer := &printer{device: edge.DeviceID(fmt.Sprintf("dev-%d", sender)), boot: "boot-" + os.Getenv(crashCycle), window: make(chan struct{}, 20)}
	for n := 0; ; n++ {
		printer.window <- struct{}{}
		record := edgetest.Record(printer.device, n)
		record.Identity.BootID = printer.boot
		if err := q.Append(ctx, edge.Entry{Record: record, Owed: []edge.SinkID{1}, Replier: printer, Token: uint64(n)}); err != nil {
			return err
		}
	}
}

type printer struct {
	device edge.DeviceID
	boot   string
	window chan struct{}

	mu   sync.Mutex
	text []byte
}

func (p *printer) Reply(token uint64, _ edge.Receipt, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	<-p.window
	if err != nil {
		return false
	}
	first := len(p.text) == 0
	p.text = fmt.Appendf(p.text, "%s/%s/%d\n", p.device, p.boot, token)
	return first
}

func (p *printer) Flush() {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = os.Stdout.Write(p.text) // whoever reads kills us soon
	p.text = p.text[:0]
}
