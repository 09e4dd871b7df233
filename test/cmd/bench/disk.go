package main

import (
	"context"
	"errors"
	"fmt"
)

const (
	payloadBytes = 174
	diskMessages = 300_000
	// randomMessages are more, because what the queue knows of devices is counted,
	// too, and does not grow with them.
	randomMessages = 1_000_000
)

// disk measures what messages take on disk at rest.
func (b *bench) disk(ctx context.Context) error {
	full, err := b.atFullLoad(ctx)
	if err != nil {
		return err
	}
	random, err := b.prefilled(ctx, "--messages", fmt.Sprint(randomMessages), "--payload", "random")
	if err != nil {
		return err
	}
	noise, err := random.restBytes()
	if err = errors.Join(err, random.stop()); err != nil {
		return err
	}
	ratio := float64(noise) / randomMessages / payloadBytes
	b.report.sample("disk/random", ratio, "disk/payload")
	b.report.add("bytes on disk at rest / payload bytes, varied JSON at full load", "0.40", "0.20", fmt.Sprintf("%.2f", full), fmt.Sprintf("queue.db* after an orderly stop, %d messages through the door", diskMessages))
	b.report.add("the same, random bytes", "1.12", "1.05", fmt.Sprintf("%.2f", ratio), fmt.Sprintf("%d messages of %d bytes through the append API, 1,000 in a commit", randomMessages, payloadBytes))
	return nil
}

// atFullLoad stores messages for a sink that is away and ends the gateway in
// order.
func (b *bench) atFullLoad(ctx context.Context) (ratio float64, err error) {
	s, err := b.startGateway(b.collectors.takes)(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	summary, err := b.load(ctx, s, "--connections", connections, "--window", window, "--count", fmt.Sprint(diskMessages))
	if err != nil {
		return 0, err
	}
	if _, err := s.gateway.Stop(ctx); err != nil {
		return 0, err
	}
	stored, err := s.restBytes()
	ratio = float64(stored) / float64(summary.Acknowledged) / payloadBytes
	b.report.sample("disk/json", ratio, "disk/payload")
	return ratio, err
}
