package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
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

// Load is a run of the load generator.
type Load struct {
	*Process
	stdout  *bytes.Buffer // read after the end
	logPath string
}

// StartLoad starts the generator against a broker. Its log of acknowledgements
// and its output lie in dir under the name.
func (b *Binaries) StartLoad(dir, name, broker string, args ...string) (*Load, error) {
	load := &Load{stdout: &bytes.Buffer{}, logPath: filepath.Join(dir, name+".acks")}
	command := exec.Command(b.Path("load"), append([]string{"--broker", broker, "--log", load.logPath}, args...)...)
	command.Stdout = load.stdout
	process, err := Start("load", filepath.Join(dir, name+".log"), command)
	load.Process = process
	return load, err
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
	lines := bytes.Split(bytes.TrimSpace(l.stdout.Bytes()), []byte{'\n'})
	return summary, json.Unmarshal(lines[len(lines)-1], &summary)
}

// Acknowledged reads the evidence: identities, and when each was acknowledged.
func (l *Load) Acknowledged() ([]acklog.Identity, []time.Duration, error) {
	header, entries, err := acklog.Read(l.logPath)
	if err != nil {
		return nil, nil, err
	}
	identities, times := make([]acklog.Identity, len(entries)), make([]time.Duration, len(entries))
	for i, entry := range entries {
		identities[i], times[i] = header.Identity(entry), entry.At
	}
	return identities, times, nil
}

// StartReceiver starts a receiver process that writes to a file, and waits
// until it listens.
func (b *Binaries) StartReceiver(ctx context.Context, address, file string) (*Process, error) {
	command := exec.Command(b.Path("receiver"), "--addr", address, "--out", file)
	process, err := Start("receiver", file+".log", command)
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
