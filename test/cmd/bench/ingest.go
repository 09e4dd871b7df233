package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"combotto.io/gateway/test/harness"
)

// throughput lets every subject work in each round, so that whatever else the
// machine does falls on all of them.
func (b *bench) throughput(ctx context.Context, subjects []*subject, args ...string) error {
	for range b.rounds {
		if err := b.measureDisk(); err != nil {
			return err
		}
		for _, subject := range subjects {
			err := b.measure(ctx, subject, args)
			if err != nil && ctx.Err() == nil && subject.moody {
				fmt.Fprintf(os.Stderr, "bench: once more, without the connections that it gives up: %s: %v\n", subject.name, err)
				subject.lenient = true
				if err = b.measure(ctx, subject, args); err != nil && ctx.Err() == nil {
					fmt.Fprintf(os.Stderr, "bench: left out of this round: %s\n", subject.name)
					subject.leaveOut()
					err = nil
				}
			}
			if err != nil {
				return fmt.Errorf("%s: %w", subject.name, err)
			}
		}
	}
	return nil
}

// measure starts a subject for its phases.
func (b *bench) measure(ctx context.Context, subject *subject, args []string) error {
	server, err := subject.start(ctx)
	if err != nil {
		return err
	}
	for phase := range subject.phases {
		err = errors.Join(err, b.phase(ctx, subject, server, phase, args))
	}
	return errors.Join(err, server.stop())
}

// phase is one measurement of a server that runs.
func (b *bench) phase(ctx context.Context, subject *subject, server *server, phase int, args []string) error {
	measured := &subject.phases[phase]
	if measured.before != nil {
		if err := measured.before(ctx, server); err != nil {
			return err
		}
	}
	before, err := server.counted(ctx)
	if err != nil {
		return err
	}
	summary, err := b.load(ctx, server, append([]string{"--duration", b.length.String(), "--prefix", fmt.Sprintf("p%d", phase)}, args...)...)
	if err != nil && (!subject.lenient || summary.Acknowledged == 0) {
		return err
	}
	after, err := server.counted(ctx)
	if err != nil {
		return err
	}
	cpu := float64((after.cpu - before.cpu).Microseconds()) / float64(summary.Acknowledged)
	measured.cpu = append(measured.cpu, cpu)
	measured.rates = append(measured.rates, summary.Rate)
	measured.p50 = append(measured.p50, summary.P50)
	measured.p99 = append(measured.p99, summary.P99)
	measured.generator = append(measured.generator, summary.CPU)
	name := subject.name + measured.name
	b.report.sample(name, summary.Rate, "msg/s")
	b.report.sample(name, cpu, "cpu-us/msg")
	b.report.sample(name, summary.P50, "p50-ms")
	b.report.sample(name, summary.P99, "p99-ms")
	if server.gateway != nil {
		allocations := (after.allocations - before.allocations) / float64(summary.Acknowledged)
		measured.allocations = append(measured.allocations, allocations)
		measured.delivered = append(measured.delivered, (after.delivered-before.delivered)/summary.Seconds)
		b.report.sample(name, allocations, "allocs/msg")
	}
	return nil
}

// ingest is the load of many devices on each broker.
func (b *bench) ingest(ctx context.Context) error {
	gateway := &subject{name: "gateway", durable: "yes", start: b.startGateway(b.collectors.takes), phases: []phase{
		{name: ", HTTP sink paused"},
		{name: ", HTTP sink draining", before: b.startDraining},
	}}
	mochi := &subject{name: "stock mochi, stores nothing", durable: "no", start: b.startMochi, phases: []phase{{}}}
	if b.other != "" {
		other := &subject{name: "other gateway", durable: "yes", start: b.startOther, phases: slices.Clone(gateway.phases)}
		return b.compare(ctx, gateway, other, mochi)
	}
	nats, err := b.newNATS(ctx)
	if err != nil {
		return err
	}
	away := &subject{name: "gateway, trace collector away", durable: "yes", start: b.startGateway(b.collectors.away), phases: []phase{{}}}
	hangs := &subject{name: "gateway, trace collector hangs", durable: "yes", start: b.startGateway(b.collectors.hangs), phases: []phase{{}}}
	subjects := append([]*subject{gateway, mochi, nats, away, hangs}, b.mosquitto()...)
	if err := b.throughput(ctx, subjects, "--connections", connections, "--window", window); err != nil {
		return err
	}
	paused, draining, stock := &gateway.phases[0], &gateway.phases[1], &mochi.phases[0]
	r := &b.report
	r.add("durable QoS 1 / stock mochi storing nothing", "1.0", "2.0", fmt.Sprintf("%.2f", median(ratios(paused.rates, stock.rates))),
		fmt.Sprintf("%.0f / %.0f msg/s; rounds %s", median(paused.rates), median(stock.rates), spread(ratios(paused.rates, stock.rates), "%.2f")))
	r.add("the same with the sink draining", "0.6", "1.0", fmt.Sprintf("%.2f", median(ratios(draining.rates, stock.rates))),
		fmt.Sprintf("%.0f in and %.0f out / %.0f msg/s; rounds %s", median(draining.rates), median(draining.delivered), median(stock.rates), spread(ratios(draining.rates, stock.rates), "%.2f")))
	r.add("durable QoS 1 / NATS 2.15 MQTT with JetStream sync always", "20", "60", fmt.Sprintf("%.0f", median(ratios(paused.rates, nats.phases[0].rates))),
		fmt.Sprintf("%.0f / %.0f msg/s; rounds %s", median(paused.rates), median(nats.phases[0].rates), spread(ratios(paused.rates, nats.phases[0].rates), "%.0f")))
	r.add("allocations per MQTT message on the ingest path", "12", "6", fmt.Sprintf("%.2f", median(paused.allocations)), "go_memstats_mallocs_total over the paused load, all of the process")
	b.tableOfSubjects(subjects, median(stock.rates))
	return nil
}

// compare measures two builds of the gateway, with stock mochi for a scale.
func (b *bench) compare(ctx context.Context, subjects ...*subject) error {
	if err := b.throughput(ctx, subjects, "--connections", connections, "--window", window); err != nil {
		return err
	}
	gateway, other := subjects[0], subjects[1]
	for i := range gateway.phases {
		rates, cpu := ratios(gateway.phases[i].rates, other.phases[i].rates), ratios(gateway.phases[i].cpu, other.phases[i].cpu)
		b.report.add("gateway / other gateway"+gateway.phases[i].name, "", "", fmt.Sprintf("%.2f", median(rates)),
			fmt.Sprintf("rounds %s; processor time per message %.2f, rounds %s", spread(rates, "%.2f"), median(cpu), spread(cpu, "%.2f")))
	}
	b.tableOfSubjects(subjects, median(subjects[len(subjects)-1].phases[0].rates))
	return nil
}

func (b *bench) tableOfSubjects(subjects []*subject, stock float64) {
	out := &b.report.details
	fmt.Fprintf(out, "QoS 1, %s connections, window %s, 174-byte varied JSON, every message with its own identity:\n\n", connections, window)
	fmt.Fprintln(out, "| what | acknowledged msg/s | lowest to highest round | of stock mochi | PUBACK p99 | durable at ack | CPU, generator's CPU | allocations per message |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|")
	for _, subject := range subjects {
		for _, phase := range subject.phases {
			allocations := "-"
			if len(phase.allocations) > 0 {
				allocations = fmt.Sprintf("%.2f", median(phase.allocations))
			}
			fmt.Fprintf(out, "| %s%s | %.0f | %s | %.2f | %.1f ms | %s | %.1f, %.1f us/msg | %s |\n", subject.name, phase.name, median(phase.rates), spread(phase.rates, "%.0f"),
				median(phase.rates)/stock, median(phase.p99), subject.durable, median(phase.cpu), median(phase.generator), allocations)
		}
	}
	fmt.Fprintln(out)
}

// growStep is how many messages at full load make the WAL clearly longer, as long as
// it grows at all.
const growStep = "300000"

// growWAL loads a gateway until its WAL is used again from its beginning. Before
// that every commit makes the file longer, which costs the file system a commit of
// its own.
func (b *bench) growWAL(ctx context.Context, s *server) error {
	for step, length := 0, int64(-1); ; step++ {
		info, err := os.Stat(filepath.Join(s.gateway.DataDir(), "queue.db-wal"))
		if err != nil {
			return err
		}
		if info.Size() == length {
			return nil
		}
		length = info.Size()
		if _, err := b.load(ctx, s, "--connections", connections, "--window", window, "--count", growStep, "--prefix", fmt.Sprintf("grow%d", step)); err != nil {
			return err
		}
	}
}

// puback is one client with one message in flight, beside the disk itself, once
// the WAL is as large as it gets.
func (b *bench) puback(ctx context.Context) error {
	gateway := &subject{name: "gateway", durable: "yes", start: b.startGateway(b.collectors.takes), phases: []phase{{before: b.growWAL}}}
	fresh := &subject{name: "gateway, its WAL still grows", durable: "yes", start: b.startGateway(b.collectors.takes), phases: []phase{{}}}
	mochi := &subject{name: "stock mochi, stores nothing", durable: "no", start: b.startMochi, phases: []phase{{}}}
	subjects := append([]*subject{gateway, fresh, mochi}, b.mosquitto()...)
	if b.other != "" {
		subjects = slices.Insert(subjects, 1, &subject{name: "other gateway", durable: "yes", start: b.startOther, phases: []phase{{before: b.growWAL}}})
	}
	disk := len(b.report.fsync)
	if err := b.throughput(ctx, subjects, "--connections", "1", "--window", "1"); err != nil {
		return err
	}
	fsync, p50 := milliseconds(b.report.fsync[disk:], 0.5), median(gateway.phases[0].p50)
	b.report.add("PUBACK p50, one client, window 1, idle", fmt.Sprintf("1.5 x raw fsync + 0.3 ms = %.2f ms", 1.5*fsync+0.3), fmt.Sprintf("1.2 x + 0.2 ms = %.2f ms", 1.2*fsync+0.2),
		fmt.Sprintf("%.2f ms", p50), fmt.Sprintf("rounds %s ms; fsync p50 %.2f ms in the same rounds", spread(gateway.phases[0].p50, "%.2f"), fsync))
	out := &b.report.details
	fmt.Fprintf(out, "One connection, one message in flight:\n\n| what | PUBACK p50 | PUBACK p99 |\n|---|---|---|\n")
	for _, subject := range subjects {
		fmt.Fprintf(out, "| %s | %.2f ms | %.2f ms |\n", subject.name, median(subject.phases[0].p50), median(subject.phases[0].p99))
	}
	fmt.Fprintln(out)
	return nil
}

// window compares acknowledgements that follow the commit with a broker that
// waits for the commit of each message before it reads the next: the same
// gateway, whose connections may have one unanswered message.
func (b *bench) window(ctx context.Context) error {
	binary, err := b.binaries.BuildOverlay(ctx, "gateway-blocking", blocking)
	if err != nil {
		return err
	}
	deferred := &subject{name: "one connection", durable: "yes", start: b.startGateway(b.collectors.takes), phases: []phase{{}}}
	waits := &subject{name: "one connection, blocking", durable: "yes", phases: []phase{{}}, start: func(ctx context.Context) (*server, error) {
		return b.startBinary(ctx, binary, b.collectors.takes)
	}}
	if err := b.throughput(ctx, []*subject{deferred, waits}, "--connections", "1", "--window", window); err != nil {
		return err
	}
	quick, slow := deferred.phases[0].rates, waits.phases[0].rates
	b.report.add("deferred / blocking acknowledgement, one connection, window 100", "20", "40", fmt.Sprintf("%.0f", median(ratios(quick, slow))),
		fmt.Sprintf("%.0f / %.0f msg/s; rounds %s; blocking is a build that reads the next PUBLISH after the commit of the one before", median(quick), median(slow), spread(ratios(quick, slow), "%.0f")))
	return nil
}

// blocking makes a gateway that is the same but for one number.
var blocking = harness.Overlay{Changes: []harness.Change{{
	File: "server/broker/settings.go", Old: "MaxUnanswered:            1024,", New: "MaxUnanswered:            1,",
}}}
