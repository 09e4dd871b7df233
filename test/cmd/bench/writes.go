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
	// writesRate is the load under which writes to the device are counted.
	writesRate = 100
	// writesDisk is so large that nothing of the queue shrinks with it. Its image has
	// holes.
	writesDisk = 8 << 30
)

// writing is a gateway whose writes are counted.
type writing struct {
	*server
	interval string        // between two commits
	folder   string        // of the disk
	disk     *harness.Disk // which it has for itself; nil where none can be had
}

// written are bytes, or KiB for each message.
type written struct {
	device  float64 // all that reached it, the journal of the file system included
	process float64 // what the gateway wrote itself
}

// writes counts what two gateways write at a low rate, both at the same time: they
// have nearly nothing to do. It does so twice: right after the start, and once the
// WAL is used again from its beginning, which is how a gateway spends its life.
func (b *bench) writes(ctx context.Context) (err error) {
	var both []*writing
	defer func() {
		for _, w := range both {
			err = errors.Join(err, w.end())
		}
	}()
	for _, interval := range []string{"0s", "50ms"} {
		w, err := b.newWriting(interval)
		if err != nil {
			return err
		}
		both = append(both, w)
		if _, err := w.ready(ctx); err != nil {
			return err
		}
	}
	growing, err := b.countWrites(ctx, both, "growing", 6*b.length)
	if err != nil {
		return err
	}
	for _, w := range both {
		if err := b.growWAL(ctx, w.server); err != nil {
			return err
		}
	}
	length := 10 * b.length // a checkpoint at least, where each message has a commit
	going, err := b.countWrites(ctx, both, "going", length)
	if err != nil {
		return err
	}
	pair := func(all []written, of func(written) float64) string {
		return fmt.Sprintf("%.1f KiB / %.1f KiB", of(all[0]), of(all[1]))
	}
	device, process := func(w written) float64 { return w.device }, func(w written) float64 { return w.process }
	seen, how := pair(going, process), "what the gateway writes itself; a disk that could count the journal of its file system, too, needs root"
	if both[0].disk != nil {
		seen, how = pair(going, device), fmt.Sprintf("ext4 on a loop device, journal included; %s while the WAL still grows, the first 16 MiB after a start; the gateway itself writes %s", pair(growing, device), pair(going, process))
	}
	b.report.add("bytes written to the device per message at 100 msg/s, commit_interval 0 / 50 ms", "20 KiB / 5 KiB", "17 KiB / 4 KiB", seen, fmt.Sprintf("%s; %v, 50 devices", how, length))
	return nil
}

// newWriting prepares a gateway on a disk of its own.
func (b *bench) newWriting(interval string) (*writing, error) {
	s, err := b.newGateway(b.collectors.takes)
	if err != nil {
		return nil, err
	}
	s.gateway.Config += "queue: {commit_interval: " + interval + "}\n"
	w := &writing{server: s, interval: interval}
	if w.folder, err = b.newFolder("disk"); err != nil {
		return nil, err
	}
	if w.disk, err = harness.NewDisk(w.folder, writesDisk); err != nil {
		fmt.Fprintf(os.Stderr, "bench: the journal of the file system is not counted: %v\n", err)
		w.disk = nil
		return w, nil
	}
	s.gateway.Volume = w.disk.Path()
	return w, nil
}

func (w *writing) end() error {
	err := w.stop()
	if w.disk != nil {
		err = errors.Join(err, w.disk.Unmount())
	}
	if err != nil {
		return err // not everything below the folder is ours to remove
	}
	return os.RemoveAll(w.folder)
}

// countWrites returns what each gateway causes to be written for a message.
func (b *bench) countWrites(ctx context.Context, both []*writing, name string, length time.Duration) (perMessage []written, err error) {
	ctx, cancel := context.WithTimeout(ctx, length+time.Minute)
	defer cancel()
	var before []written
	var loads []*harness.Load
	defer func() {
		for _, load := range loads {
			err = errors.Join(err, load.Kill())
		}
	}()
	for _, w := range both {
		already, err := w.written()
		if err != nil {
			return nil, err
		}
		load, err := b.binaries.StartLoad(w.dir, name, w.address, "--connections", connections, "--rate", fmt.Sprint(writesRate), "--duration", length.String(), "--prefix", name)
		if err != nil {
			return nil, err
		}
		before, loads = append(before, already), append(loads, load)
	}
	for i, w := range both {
		summary, err := loads[i].Finish(ctx)
		if err != nil {
			return nil, err
		}
		after, err := w.written()
		if err != nil {
			return nil, err
		}
		kibibytes := 1024 * float64(summary.Acknowledged)
		each := written{device: (after.device - before[i].device) / kibibytes, process: (after.process - before[i].process) / kibibytes}
		perMessage = append(perMessage, each)
		b.report.sample("writes/"+name+"/"+w.interval, each.process, "KiB/msg")
		if w.disk != nil {
			b.report.sample("writes/"+name+"/"+w.interval, each.device, "device-KiB/msg")
		}
	}
	return perMessage, nil
}

// written returns what was written so far.
func (w *writing) written() (written, error) {
	process, err := writtenBytes(w.process)
	if err != nil || w.disk == nil {
		return written{process: float64(process)}, err
	}
	device, err := w.disk.WrittenBytes()
	return written{device: float64(device), process: float64(process)}, err
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
