package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"combotto.io/gateway/test/harness"
)

const (
	// The gateway's limit for one address is lower than that for all of them.
	idleConnections = 10_000
	idleSources     = "4"
	settleTime      = 4 * time.Second // before memory is read
)

// connections compares what connections take that have nothing to say.
func (b *bench) connections(ctx context.Context) error {
	count := idleConnections
	if b.quick {
		count /= 10
	}
	gateway, idle, err := b.memoryOf(ctx, b.startGateway(b.collectors.takes), count)
	if err != nil {
		return err
	}
	mochi, _, err := b.memoryOf(ctx, b.startMochi, count)
	if err != nil {
		return err
	}
	b.report.sample("connections/gateway", gateway, "KiB/connection")
	b.report.sample("connections/mochi", mochi, "KiB/connection")
	b.report.add(fmt.Sprintf("RSS per idle MQTT connection, %d of them / the same on stock mochi", count), "1.0", "0.5", fmt.Sprintf("%.2f", gateway/mochi),
		fmt.Sprintf("%.1f / %.1f KiB; the gateway without connections takes %.1f MiB", gateway, mochi, mebibytes(idle)))
	return nil
}

// memoryOf returns the KiB that a connection takes, and the bytes of the process
// without any.
func (b *bench) memoryOf(ctx context.Context, start func(context.Context) (*server, error), count int) (each float64, idle int64, err error) {
	s, err := start(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if idle, err = settledRSS(ctx, s.process); err != nil {
		return 0, 0, err
	}
	load, err := b.binaries.StartIdle(filepath.Join(s.dir, "idle.log"), s.address, "--connections", fmt.Sprint(count), "--sources", idleSources)
	if err != nil {
		return 0, 0, err
	}
	s.helpers = append(s.helpers, load)
	limit, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err = harness.Poll(limit, "the connections", func() (bool, error) {
		select {
		case <-load.Exited():
			cancel()
		default:
		}
		return strings.Contains(load.Log(), "connected"), nil
	})
	if err != nil {
		return 0, 0, errors.Join(err, errors.New(load.LogTail()))
	}
	connected, err := settledRSS(ctx, s.process)
	return float64(connected-idle) / 1024 / float64(count), idle, err
}

func settledRSS(ctx context.Context, process *harness.Process) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settleTime):
	}
	return process.RSS()
}
