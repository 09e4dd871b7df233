package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"combotto.io/gateway/test/harness"
)

// footprint is what the gateway takes of the machine.
type footprint struct {
	idleRSS        int64
	connectedRSS   int64 // with idleConnections
	bytesFull      float64
	bytesTrickle   float64
	trickleSeconds float64
}

const (
	idleConnections = 1000
	fullMessages    = 300_000
	trickleRate     = 100
	settleTime      = 2 * time.Second // before memory is read
)

func (b *bench) footprint(ctx context.Context) (*footprint, error) {
	f := &footprint{}
	if err := b.measureMemory(ctx, f); err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	var err error
	if f.bytesFull, err = b.bytesPerMessage(ctx, "--connections", connections, "--window", window, "--count", fmt.Sprint(fullMessages)); err != nil {
		return nil, fmt.Errorf("bytes at full load: %w", err)
	}
	trickle := 3 * b.length
	f.trickleSeconds = trickle.Seconds()
	if f.bytesTrickle, err = b.bytesPerMessage(ctx, "--connections", "10", "--rate", fmt.Sprint(trickleRate), "--duration", trickle.String()); err != nil {
		return nil, fmt.Errorf("bytes at %d messages per second: %w", trickleRate, err)
	}
	return f, nil
}

// measureMemory reads the memory of a gateway that has nothing to do, and of one
// with many connections that have nothing to say.
func (b *bench) measureMemory(ctx context.Context, f *footprint) (err error) {
	s, err := b.startGateway(b.collectors.takes)(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if f.idleRSS, err = settledRSS(ctx, s.process); err != nil {
		return err
	}
	load, err := b.binaries.StartLoad(s.dir, "idle", s.address, "--connections", fmt.Sprint(idleConnections), "--idle")
	if err != nil {
		return err
	}
	s.helpers = append(s.helpers, load.Process)
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = harness.Poll(limit, "the connections", func() (bool, error) {
		values, err := s.gateway.Metrics(limit)
		return values["gateway_mqtt_connections"] >= idleConnections, err
	})
	if err != nil {
		return errors.Join(err, errors.New(load.LogTail()))
	}
	f.connectedRSS, err = settledRSS(ctx, s.process)
	return err
}

func settledRSS(ctx context.Context, process *harness.Process) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settleTime):
	}
	return process.RSS()
}

// bytesPerMessage stores messages for a sink that is away, ends the gateway in
// order, and looks at its data folder beside that of one that stored nothing.
func (b *bench) bytesPerMessage(ctx context.Context, args ...string) (float64, error) {
	empty, _, err := b.storedBytes(ctx)
	if err != nil {
		return 0, err
	}
	full, messages, err := b.storedBytes(ctx, args...)
	if err != nil {
		return 0, err
	}
	return float64(full-empty) / float64(messages), nil
}

func (b *bench) storedBytes(ctx context.Context, args ...string) (bytes, messages int64, err error) {
	s, err := b.startGateway(b.collectors.takes)(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if len(args) > 0 {
		summary, err := b.load(ctx, s.dir, s.address, args...)
		if err != nil {
			return 0, 0, err
		}
		messages = summary.Acknowledged
	}
	if _, err := s.gateway.Stop(ctx); err != nil {
		return 0, 0, err
	}
	files, err := filepath.Glob(filepath.Join(s.gateway.DataDir(), "queue.db*"))
	if err != nil {
		return 0, 0, err
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return 0, 0, err
		}
		bytes += info.Size()
	}
	return bytes, messages, nil
}

// fsyncTimes is the disk itself: 4 KiB over and over in one place, and fsync.
func fsyncTimes(path string, length time.Duration) ([]time.Duration, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	page := make([]byte, 4096)
	var times []time.Duration
	for end := time.Now().Add(length); time.Now().Before(end); {
		began := time.Now()
		if _, err := file.WriteAt(page, 0); err != nil {
			return nil, err
		}
		if err := file.Sync(); err != nil {
			return nil, err
		}
		times = append(times, time.Since(began))
	}
	return times, nil
}
