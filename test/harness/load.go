package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"combotto.io/gateway/test/acklog"
)

// Summary is what the load generator says of itself at the end.
type Summary struct {
	Sent         int64   `json:"sent"`
	Acknowledged int64   `json:"acknowledged"`
	Refused      int64   `json:"refused"`
	Resent       int64   `json:"resent"`
	OutOfOrder   int64   `json:"out_of_order"`
	Broken       int     `json:"broken"`
	Seconds      float64 `json:"seconds"`
	Rate         float64 `json:"rate"`
	P50          float64 `json:"p50_ms"`
	P99          float64 `json:"p99_ms"`
	Max          float64 `json:"max_ms"`
	CPU          float64 `json:"cpu_us_per_message"`
}

// Progress is what the load generator says of itself with --report.
type Progress struct {
	Acknowledged int64 `json:"acknowledged"`
	Connected    int   `json:"connected"` // a connection that is not has its acknowledgements in the log
}

// Load is a run of the load generator.
type Load struct {
	*Process
	stdout  *lastLine
	logPath string
}

// lastLine keeps the last whole line that is written to it.
type lastLine struct {
	mu   sync.Mutex
	line []byte
	rest []byte
}

func (l *lastLine) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for part := range bytes.Lines(text) {
		l.rest = append(l.rest, part...)
		if bytes.HasSuffix(part, []byte{'\n'}) {
			l.line, l.rest = append(l.line[:0], l.rest...), l.rest[:0]
		}
	}
	return len(text), nil
}

func (l *lastLine) decode(value any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return json.Unmarshal(l.line, value)
}

// StartLoad starts the generator against a broker. Its log of acknowledgements
// and its output lie in dir under the name.
func (b *Binaries) StartLoad(dir, name, broker string, args ...string) (*Load, error) {
	load := &Load{stdout: &lastLine{}, logPath: filepath.Join(dir, name+".acks")}
	command := exec.Command(b.Path("load"), append([]string{"--broker", broker, "--log", load.logPath}, args...)...)
	command.Stdout = load.stdout
	process, err := Start("load", filepath.Join(dir, name+".log"), command)
	load.Process = process
	return load, err
}

// StartIdle starts a generator that only connects and stays. Its log says
// "connected" once all connections are admitted.
func (b *Binaries) StartIdle(log, broker string, args ...string) (*Process, error) {
	return Start("load", log, exec.Command(b.Path("load"), append([]string{"--broker", broker, "--idle"}, args...)...))
}

// Finish waits until the generator has ended by itself and returns its summary.
func (l *Load) Finish(ctx context.Context) (Summary, error) {
	var summary Summary
	code, err := l.Wait(ctx)
	if err != nil {
		return summary, err
	}
	if code != 0 {
		return summary, fmt.Errorf("load exits with %d: %s", code, l.LogTail())
	}
	return summary, l.stdout.decode(&summary)
}

// Progress returns how far the generator is; nothing before its first report.
func (l *Load) Progress() Progress {
	var progress Progress
	_ = l.stdout.decode(&progress) // The line that says that it is connected is one, too.
	return progress
}

// LogPath returns where the log of acknowledgements lies.
func (l *Load) LogPath() string { return l.logPath }

// Acknowledged reads the evidence: identities, and when each was acknowledged.
func (l *Load) Acknowledged() ([]acklog.Identity, []time.Duration, error) {
	header, entries, err := acklog.Read(l.logPath)
	if err != nil {
		return nil, nil, err
	}
	var identities []acklog.Identity
	var times []time.Duration
	for _, entry := range entries {
		if !entry.Sent {
			identities, times = append(identities, header.Identity(entry)), append(times, entry.At)
		}
	}
	return identities, times, nil
}

// StartReceiver starts a receiver process that writes to a file, and waits
// until it listens.
func (b *Binaries) StartReceiver(ctx context.Context, address, file string) (*Process, error) {
	return b.startReceiver(ctx, address, file+".log", "--out", file)
}

// StartCounter starts a receiver process that counts records and keeps none, and
// waits until it listens.
func (b *Binaries) StartCounter(ctx context.Context, address, log string, mark int64) (*Process, error) {
	return b.startReceiver(ctx, address, log, "--mark", fmt.Sprint(mark))
}

// Count is what a counter has received; times are on the machine's monotonic
// clock.
type Count struct {
	Records int64         `json:"records"`
	First   time.Duration `json:"first"`
	Marked  time.Duration `json:"marked"`
}

// ReadCount asks a counter.
func ReadCount(ctx context.Context, address string) (Count, error) {
	var count Count
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, nil)
	if err != nil {
		return count, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return count, err
	}
	defer response.Body.Close()
	return count, json.NewDecoder(response.Body).Decode(&count)
}

// AwaitReceived waits until a receiver that writes has written what senders that
// are gone had sent. One that is not there has nothing left to write.
func AwaitReceived(ctx context.Context, address string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address, nil)
	if err != nil {
		return err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("wait until only we are connected to the receiver: %w", err)
	}
	return response.Body.Close()
}

func (b *Binaries) startReceiver(ctx context.Context, address, log string, args ...string) (*Process, error) {
	command := exec.Command(b.Path("receiver"), append([]string{"--addr", address}, args...)...)
	process, err := Start("receiver", log, command)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err = Poll(ctx, "a receiver at "+address, func() (bool, error) { return CanConnect(address), nil })
	if err != nil {
		return nil, errors.Join(err, process.Kill(), errors.New(process.LogTail()))
	}
	return process, nil
}
