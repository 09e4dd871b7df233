package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const (
	hourSeconds  = 3600
	hourMessages = 100 * hourSeconds
	hourDevices  = "500"
)

// hour looks at the backlog of an hour of outage at 100 messages per second, and
// at one of as many messages that came at full load. The hour passes in virtual
// time (test/backlog), on a file system in memory where there is one: 360,000
// times waiting for the disk would take minutes and change nothing.
func (b *bench) hour(ctx context.Context) (err error) {
	slow, err := b.newGateway(b.collectors.takes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, slow.stop()) }()
	seconds := hourSeconds
	if b.quick {
		seconds /= 60
	}
	messages := int64(seconds * hourMessages / hourSeconds)
	if err := b.passHour(ctx, slow.gateway.DataDir(), seconds); err != nil {
		return err
	}
	full, err := b.prefilled(ctx, "--messages", fmt.Sprint(messages), "--devices", hourDevices, "--sizes", "2000")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, full.stop()) }()
	stored, err := slow.restBytes()
	if err != nil {
		return err
	}
	rest := float64(stored) / float64(messages) / payloadBytes
	b.report.sample("hour", rest, "disk/payload")
	b.report.add("bytes on disk at rest / payload bytes after an hour at 100 msg/s, 500 devices, sink down", "0.40", "0.20", fmt.Sprintf("%.2f", rest),
		fmt.Sprintf("simulated: %d commits of one message in virtual time", messages))

	return b.drainHour(ctx, slow, full, messages)
}

// drainHour drains copies of both backlogs.
func (b *bench) drainHour(ctx context.Context, slow, full *server, messages int64) error {
	drained := messages * 3 / 4
	after, beside := &waiting{}, &waiting{}
	measure := func(ctx context.Context, w *waiting) error {
		rate, err := b.drainFirst(ctx, w.server, drained)
		w.drain = append(w.drain, rate)
		return err
	}
	for range b.rounds {
		if err := errors.Join(b.onCopy(ctx, slow, after, measure), b.onCopy(ctx, full, beside, measure)); err != nil {
			return err
		}
	}
	for i := range after.drain {
		b.report.sample("hour/drain", after.drain[i], "msg/s")
		b.report.sample("full/drain", beside.drain[i], "msg/s")
	}
	rates := ratios(after.drain, beside.drain)
	b.report.add("drain rate of that backlog / of one written at full load", "0.5", "0.9", fmt.Sprintf("%.2f", median(rates)),
		fmt.Sprintf("%.0f / %.0f msg/s over the first %d messages; rounds %s", median(after.drain), median(beside.drain), drained, spread(rates, "%.2f")))
	return nil
}

// passHour fills a data folder.
func (b *bench) passHour(ctx context.Context, data string, seconds int) (err error) {
	program := filepath.Join(b.folder, "backlog.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, "./backlog")
	build.Dir = filepath.Join(b.binaries.Root(), "test")
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	memory := "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		memory = b.folder
	}
	dir, err := os.MkdirTemp(memory, "gateway-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	pass := exec.CommandContext(ctx, program, "-test.run", "^TestHour$", "-test.timeout", "5m")
	pass.Env = append(pass.Environ(), "BACKLOG_DIR="+dir, fmt.Sprintf("BACKLOG_SECONDS=%d", seconds))
	if output, err := pass.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	if err := os.MkdirAll(data, 0o700); err != nil {
		return err
	}
	// Of its files only the database goes on: it was closed in order.
	content, err := os.ReadFile(filepath.Join(dir, "queue.db"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(data, "queue.db"), content, 0o600)
}
