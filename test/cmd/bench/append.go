package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// appendBenchmarks are those of server/queue that are compared: the queue with as
// many unanswered messages as the load of the row ingest, and a row per message
// in commits of the sizes that do best.
const (
	appendBenchmarks = "^(BenchmarkQueue_Append|BenchmarkRowPerMessage)$/^(unanswered=5000|unanswered=20000|commit=256|commit=1024|commit=4096)$"
	appendMessages   = 500_000
	appendPrefix     = "BenchmarkQueue_Append/"
	rowPrefix        = "BenchmarkRowPerMessage/"
)

// append compares the queue's API with plain inserts through the same driver.
func (b *bench) append(ctx context.Context) error {
	program := filepath.Join(b.folder, "queue.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", program, "./server/queue")
	build.Dir = b.binaries.Root()
	if output, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, output)
	}
	messages := appendMessages
	if b.quick {
		messages /= 10
	}
	rates := map[string][]float64{}
	for range b.rounds {
		if err := b.measureDisk(); err != nil {
			return err
		}
		run := exec.CommandContext(ctx, program, "-test.run", "^$", "-test.bench", appendBenchmarks, "-test.benchtime", fmt.Sprintf("%dx", messages))
		run.Env = append(run.Environ(), "TMPDIR="+b.folder)
		run.Dir = b.folder
		output, err := run.CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		b.report.raw.Write(output)
		readRates(output, rates)
	}
	queue, inserts := best(rates, appendPrefix), best(rates, rowPrefix)
	if queue == "" || inserts == "" {
		return fmt.Errorf("the benchmarks have other names: %v", slices.Sorted(maps.Keys(rates)))
	}
	b.report.add("append API / best row-per-message insert with the same driver, FULL", "2", "4", fmt.Sprintf("%.2f", median(ratios(rates[queue], rates[inserts]))),
		fmt.Sprintf("%.0f (%s) / %.0f (%s) msg/s; rounds %s", median(rates[queue]), strings.TrimPrefix(queue, appendPrefix), median(rates[inserts]), strings.TrimPrefix(inserts, rowPrefix), spread(ratios(rates[queue], rates[inserts]), "%.2f")))
	return nil
}

// readRates adds the figures in msg/s of what go test -bench prints.
func readRates(output []byte, rates map[string][]float64) {
	for scanner := bufio.NewScanner(bytes.NewReader(output)); scanner.Scan(); {
		fields := strings.Fields(scanner.Text())
		unit := slices.Index(fields, "msg/s")
		if unit < 1 {
			continue
		}
		name, _, _ := strings.Cut(fields[0], "-")
		if rate, err := strconv.ParseFloat(fields[unit-1], 64); err == nil {
			rates[name] = append(rates[name], rate)
		}
	}
}

// best returns the name with the highest median among those with a prefix.
func best(rates map[string][]float64, prefix string) (found string) {
	for name, values := range rates {
		if strings.HasPrefix(name, prefix) && (found == "" || median(values) > median(rates[found])) {
			found = name
		}
	}
	return found
}
