// Command bench measures the gateway beside the broker that it builds on and
// beside mosquitto, in one run of interleaved rounds, and prints markdown:
//
//	cd test && go run ./cmd/bench --rounds 3 --seconds 5
//
// The gateway does all of its work: validation, idempotency, metrics, 1 % of
// traces, and a commit to disk before each acknowledgement. Ratios of one run
// mean something; absolute figures belong to the machine and its neighbours.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"combotto.io/gateway/test/harness"
)

// The load of the throughput table.
const (
	connections = "50"
	window      = "100"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	rounds := flag.Int("rounds", 3, "interleaved `rounds` of the throughput table")
	seconds := flag.Int("seconds", 5, "`seconds` of each measurement")
	dir := flag.String("dir", "", "`folder` on the disk to measure; empty takes a temporary one")
	flag.Parse()
	if *rounds < 1 || *seconds < 1 {
		fmt.Fprintln(os.Stderr, "bench: --rounds and --seconds are at least 1")
		os.Exit(2)
	}
	if err := run(ctx, os.Stdout, *rounds, time.Duration(*seconds)*time.Second, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// bench is one run.
type bench struct {
	binaries   *harness.Binaries
	dir        string
	length     time.Duration // of one measurement
	collectors *collectors
	subjects   []*subject
}

func run(ctx context.Context, out io.Writer, rounds int, length time.Duration, parent string) (err error) {
	dir, err := os.MkdirTemp(parent, "gateway-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	binaries, err := harness.Build(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, binaries.Remove()) }()
	collectors, err := newCollectors()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, collectors.close()) }()
	b := &bench{binaries: binaries, dir: dir, length: length, collectors: collectors}
	b.subjects = b.allSubjects()

	if err := b.throughput(ctx, rounds); err != nil {
		return err
	}
	if err := b.latency(ctx, rounds); err != nil {
		return err
	}
	footprint, err := b.footprint(ctx)
	if err != nil {
		return err
	}
	b.print(out, footprint)
	return nil
}

// folder makes a new folder for one start of one subject.
func (b *bench) folder(name string) (string, error) {
	return os.MkdirTemp(b.dir, name+"-")
}

// load runs the generator to its end.
func (b *bench) load(ctx context.Context, dir, address string, args ...string) (harness.Summary, error) {
	load, err := b.binaries.StartLoad(dir, "load", address, args...)
	if err != nil {
		return harness.Summary{}, err
	}
	defer func() { _ = load.Kill() }() // It has ended already, or the error says why not.
	ctx, cancel := context.WithTimeout(ctx, b.length+time.Minute)
	defer cancel()
	return load.Finish(ctx)
}

// throughput lets every subject work in each round, so that whatever else the
// machine does falls on all of them.
func (b *bench) throughput(ctx context.Context, rounds int) error {
	for range rounds {
		for _, subject := range b.subjects {
			server, err := subject.start(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", subject.name, err)
			}
			for phase := range subject.phases {
				err = errors.Join(err, b.phase(ctx, subject, server, phase))
			}
			if err = errors.Join(err, server.stop()); err != nil {
				return fmt.Errorf("%s: %w", subject.name, err)
			}
		}
	}
	return nil
}

// phase is one measurement of a server that runs.
func (b *bench) phase(ctx context.Context, subject *subject, server *server, phase int) error {
	measured := &subject.phases[phase]
	if measured.before != nil {
		if err := measured.before(ctx, server); err != nil {
			return err
		}
	}
	allocations := server.allocations(ctx)
	summary, err := b.load(ctx, server.dir, server.address, "--connections", connections, "--window", window, "--duration", b.length.String(), "--prefix", fmt.Sprintf("p%d", phase))
	if err != nil {
		return err
	}
	if summary.Acknowledged == 0 || summary.Refused > 0 || summary.Broken > 0 {
		return fmt.Errorf("the load failed: %+v", summary)
	}
	measured.rates = append(measured.rates, summary.Rate)
	measured.p99 = append(measured.p99, summary.P99)
	measured.generator = append(measured.generator, summary.CPU)
	if allocations > 0 {
		measured.allocations = append(measured.allocations, (server.allocations(ctx)-allocations)/float64(summary.Acknowledged))
	}
	return nil
}

// latency measures PUBACK with one message in flight, beside the disk itself in
// the same folder and in the same rounds.
func (b *bench) latency(ctx context.Context, rounds int) error {
	for range rounds {
		for _, subject := range b.subjects {
			server, err := subject.start(ctx)
			if err != nil {
				return fmt.Errorf("%s: %w", subject.name, err)
			}
			fsync, err := fsyncTimes(filepath.Join(server.dir, "fsync"), b.length/5)
			if err == nil {
				subject.fsync = append(subject.fsync, fsync...)
				var summary harness.Summary
				summary, err = b.load(ctx, server.dir, server.address, "--connections", "1", "--window", "1", "--duration", (b.length / 2).String())
				subject.single = append(subject.single, summary)
			}
			if err = errors.Join(err, server.stop()); err != nil {
				return fmt.Errorf("%s: %w", subject.name, err)
			}
		}
	}
	return nil
}
