package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"combotto.io/gateway/test/harness"
)

const (
	payloadBytes = 174
	diskMessages = 300_000
	// randomMessages are more, because what the queue knows of devices is counted,
	// too, and does not grow with them.
	randomMessages = 1_000_000
	// writesRate is the load under which writes to the device are counted.
	writesRate = 100
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

// writes counts what two gateways write to the device at a low rate, both at the
// same time: they have nearly nothing to do.
func (b *bench) writes(ctx context.Context) (err error) {
	perMessage := map[string]float64{}
	length := 6 * b.length // several checkpoints
	type run struct {
		interval string
		server   *server
		load     *harness.Load
		before   int64
	}
	var runs []*run
	defer func() {
		for _, run := range runs {
			err = errors.Join(err, run.load.Kill(), run.server.stop())
		}
	}()
	for _, interval := range []string{"0s", "50ms"} {
		s, err := b.newGateway(b.collectors.takes)
		if err != nil {
			return err
		}
		s.gateway.Config += "queue: {commit_interval: " + interval + "}\n"
		if _, err := s.ready(ctx); err != nil {
			return err
		}
		before, err := writtenBytes(s.process)
		if err != nil {
			return err
		}
		load, err := b.binaries.StartLoad(s.dir, "load", s.address, "--connections", connections, "--rate", fmt.Sprint(writesRate), "--duration", length.String())
		if err != nil {
			return err
		}
		runs = append(runs, &run{interval, s, load, before})
	}
	ctx, cancel := context.WithTimeout(ctx, length+time.Minute)
	defer cancel()
	for _, run := range runs {
		summary, err := run.load.Finish(ctx)
		if err != nil {
			return err
		}
		after, err := writtenBytes(run.server.process)
		if err != nil {
			return err
		}
		perMessage[run.interval] = float64(after-run.before) / float64(summary.Acknowledged) / 1024
		b.report.sample("writes/"+run.interval, perMessage[run.interval], "KiB/msg")
	}
	b.report.add("bytes written to the device per message at 100 msg/s, commit_interval 0 / 50 ms", "20 KiB / 5 KiB", "17 KiB / 4 KiB",
		fmt.Sprintf("%.1f KiB / %.1f KiB", perMessage["0s"], perMessage["50ms"]), fmt.Sprintf("write_bytes of /proc/PID/io, %v, 50 devices", length))
	return nil
}

// writtenBytes returns what a process has caused to be written to storage.
func writtenBytes(process *harness.Process) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", process.PID()))
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		if value, found := bytes.CutPrefix(bytes.TrimSpace(line), []byte("write_bytes: ")); found {
			return strconv.ParseInt(string(value), 10, 64)
		}
	}
	return 0, errors.New("/proc/PID/io has no write_bytes")
}
