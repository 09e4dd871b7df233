package main

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// report gathers what was seen.
type report struct {
	lines   []line
	details bytes.Buffer // further tables, as markdown
	raw     bytes.Buffer // every measurement, as benchstat reads it
	fsync   []time.Duration
}

// line is one figure of the table.
type line struct{ figure, least, aim, seen, how string }

func (r *report) add(figure, least, aim, seen, how string) {
	r.lines = append(r.lines, line{figure, least, aim, seen, how})
}

// sample notes one measurement.
func (r *report) sample(name string, value float64, unit string) {
	fmt.Fprintf(&r.raw, "Benchmark%s 1 %g %s\n", strings.ReplaceAll(name, " ", "_"), value, unit)
}

func (r *report) print(out io.Writer, c chosen) {
	fmt.Fprintf(out, "Medians of %d interleaved rounds of %v; %s, %d cores.", c.rounds, c.length, runtime.Version(), runtime.NumCPU())
	if len(r.fsync) > 0 {
		fmt.Fprintf(out, " Raw 4 KiB pwrite + fsync in the same folder: p50 %.2f ms, p99 %.2f ms.", milliseconds(r.fsync, 0.5), milliseconds(r.fsync, 0.99))
	}
	fmt.Fprintf(out, "\n\n| figure | at least | aim | seen | measured as |\n|---|---|---|---|---|\n")
	for _, line := range r.lines {
		fmt.Fprintf(out, "| %s | %s | %s | **%s** | %s |\n", line.figure, line.least, line.aim, line.seen, line.how)
	}
	fmt.Fprintf(out, "\n%s", r.details.Bytes())
}

// spread writes the lowest and the highest of some values.
func spread(values []float64, format string) string {
	if len(values) == 0 {
		return "-"
	}
	return fmt.Sprintf(format+" to "+format, slices.Min(values), slices.Max(values))
}

// ratios divides round by round, so that whatever else the machine did in a
// round falls on both.
func ratios(values, others []float64) []float64 {
	var ratios []float64
	for i := range min(len(values), len(others)) {
		ratios = append(ratios, values[i]/others[i])
	}
	return ratios
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

func milliseconds(times []time.Duration, share float64) float64 {
	if len(times) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(times))
	return float64(sorted[min(len(sorted)-1, int(share*float64(len(sorted))))].Microseconds()) / 1000
}

func mebibytes(bytes int64) float64 { return float64(bytes) / (1 << 20) }
