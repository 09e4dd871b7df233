package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"combotto.io/gateway/test/harness"
)

// reference is the subject that ratios refer to.
const reference = 1

// print writes the tables.
func (b *bench) print(out io.Writer, f *footprint) {
	stock := median(b.subjects[reference].phases[0].rates)
	fmt.Fprintf(out, "QoS 1, %s connections, window %s, 174-byte varied JSON, every message with its own identity; median of %d rounds of %v.\n\n",
		connections, window, len(b.subjects[0].phases[0].rates), b.length)
	fmt.Fprintln(out, "| what | acknowledged msg/s | lowest, highest round | of stock mochi | PUBACK p99 | durable at ack | generator CPU | allocations per message |")
	fmt.Fprintln(out, "|---|---|---|---|---|---|---|---|")
	for _, subject := range b.subjects {
		for _, phase := range subject.phases {
			name, allocations := subject.name, "-"
			if phase.name != "" {
				name += ", " + phase.name
			}
			if len(phase.allocations) > 0 {
				allocations = fmt.Sprintf("%.2f", median(phase.allocations))
			}
			fmt.Fprintf(out, "| %s | %.0f | %.0f, %.0f | %.2f | %.1f ms | %s | %.1f us/msg | %s |\n", name, median(phase.rates), slices.Min(phase.rates), slices.Max(phase.rates),
				median(phase.rates)/stock, median(phase.p99), subject.durable, median(phase.generator), allocations)
		}
	}
	fmt.Fprintf(out, "\nOne connection, one message in flight, beside 4 KiB pwrite + fsync in the same folder.\n\n")
	fmt.Fprintln(out, "| what | PUBACK p50 | PUBACK p99 | fsync p50 | fsync p99 |")
	fmt.Fprintln(out, "|---|---|---|---|---|")
	for _, subject := range b.subjects {
		p50, p99 := pick(subject.single, func(s harness.Summary) float64 { return s.P50 }), pick(subject.single, func(s harness.Summary) float64 { return s.P99 })
		fmt.Fprintf(out, "| %s | %.2f ms | %.2f ms | %.2f ms | %.2f ms |\n", subject.name, median(p50), median(p99), milliseconds(subject.fsync, 0.5), milliseconds(subject.fsync, 0.99))
	}
	fmt.Fprintf(out, "\n| the gateway takes | |\n|---|---|\n")
	fmt.Fprintf(out, "| memory, idle | %.1f MiB |\n", mebibytes(f.idleRSS))
	fmt.Fprintf(out, "| memory with %d idle connections | %.1f MiB, %.1f KiB for each |\n", idleConnections, mebibytes(f.connectedRSS), float64(f.connectedRSS-f.idleRSS)/1024/idleConnections)
	fmt.Fprintf(out, "| disk at full load (%d messages) | %.1f bytes per message |\n", fullMessages, f.bytesFull)
	fmt.Fprintf(out, "| disk at %d messages per second (%.0f s) | %.1f bytes per message |\n", trickleRate, f.trickleSeconds, f.bytesTrickle)
}

func pick(summaries []harness.Summary, value func(harness.Summary) float64) []float64 {
	var values []float64
	for _, summary := range summaries {
		values = append(values, value(summary))
	}
	return values
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

func milliseconds(times []time.Duration, share float64) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[min(len(sorted)-1, int(share*float64(len(sorted))))].Microseconds()) / 1000
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
