package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
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

// The part of a document that the benchmark writes.
const (
	markBegin = "<!-- written by test/cmd/bench --into -->\n"
	markEnd   = "<!-- end of what test/cmd/bench wrote -->\n"
)

// publish prints the report and writes the files that were asked for.
func (r *report) publish(c chosen) error {
	var text bytes.Buffer
	r.print(&text, c)
	if _, err := os.Stdout.Write(text.Bytes()); err != nil {
		return err
	}
	if c.raw != "" {
		if err := os.WriteFile(c.raw, r.raw.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if c.into == "" {
		return nil
	}
	document, err := os.ReadFile(c.into)
	if err != nil {
		return err
	}
	before, rest, begins := bytes.Cut(document, []byte(markBegin))
	_, after, ends := bytes.Cut(rest, []byte(markEnd))
	if !begins || !ends {
		return fmt.Errorf("%s lacks the lines %q and %q", c.into, markBegin, markEnd)
	}
	return os.WriteFile(c.into, slices.Concat(before, []byte(markBegin), text.Bytes(), []byte(markEnd), after), 0o644)
}

// machine says in a few words what was measured on.
func machine() string {
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d cores, %s, %s/%s, %s", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version())
}

func (r *report) print(out io.Writer, c chosen) {
	fmt.Fprintf(out, "Measured on %s: %s. Where there are rounds, medians of %d interleaved ones of %v.", time.Now().UTC().Format(time.DateOnly), machine(), c.rounds, c.length)
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
		if others[i] > 0 { // it was not left out
			ratios = append(ratios, values[i]/others[i])
		}
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
