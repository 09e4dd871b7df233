// Command bench measures the gateway beside the brokers that people compare it
// with, in one run of interleaved rounds, and prints markdown: what was seen
// beside what was promised.
//
//	cd test && go run ./cmd/bench
//	go run ./cmd/bench --row ingest --rounds 5 --raw new.txt
//
// The gateway does all of its work: validation, idempotency, metrics, 1 % of
// traces, and a commit to disk before each acknowledgement. Ratios of one run
// mean something; absolute figures belong to the machine and its neighbours.
// --raw writes every measurement in the form that benchstat reads, and --other
// measures another build of the gateway in the same rounds.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"combotto.io/gateway/test/harness"
)

// The load of most rows.
const (
	connections = "50"
	window      = "100"
)

// chosen are the flags.
type chosen struct {
	rounds  int
	length  time.Duration // of one measurement
	waiting int           // messages, in the row backlog
	dir     string
	rows    string
	raw     string
	into    string
	other   string
	quick   bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c chosen
	flag.IntVar(&c.rounds, "rounds", 5, "interleaved `rounds` of each measurement")
	flag.DurationVar(&c.length, "length", 4*time.Second, "how `long` each measurement takes")
	flag.IntVar(&c.waiting, "backlog", 10_000_000, "`messages` that wait in the row backlog")
	flag.StringVar(&c.dir, "dir", "", "`folder` on the disk to measure; empty takes a temporary one")
	flag.StringVar(&c.rows, "row", "", "measure only these `rows`, separated by commas: "+strings.Join(names(), ", "))
	flag.StringVar(&c.raw, "raw", "", "`file` for every measurement, as benchstat reads it")
	flag.StringVar(&c.into, "into", "", "markdown `file` whose part between two marks is replaced by the result")
	flag.StringVar(&c.other, "other", "", "another build of the gateway, measured in the same rounds: `path` of the program")
	flag.BoolVar(&c.quick, "quick", false, "two short rounds and a small backlog: to see that it works, not how fast it is")
	flag.Parse()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// row is what one --row measures: one line of the table or several.
type row struct {
	name    string
	measure func(*bench, context.Context) error
}

func rows() []row {
	return []row{
		{"ingest", (*bench).ingest},
		{"window", (*bench).window},
		{"append", (*bench).append},
		{"puback", (*bench).puback},
		{"backlog", (*bench).backlog},
		{"disk", (*bench).disk},
		{"hour", (*bench).hour},
		{"writes", (*bench).writes},
		{"connections", (*bench).connections},
	}
}

func names() []string {
	var names []string
	for _, row := range rows() {
		names = append(names, row.name)
	}
	return names
}

// bench is one run.
type bench struct {
	chosen
	binaries   *harness.Binaries
	folder     string // of everything that is written
	collectors *collectors
	report     report
}

func run(ctx context.Context, c chosen) (err error) {
	if c.quick {
		c.rounds, c.length, c.waiting = 2, time.Second, 200_000
	}
	wanted := rows()
	if c.rows != "" {
		asked := strings.Split(c.rows, ",")
		for _, name := range asked {
			if !slices.Contains(names(), name) {
				return fmt.Errorf("there is no row %q; there are %s", name, strings.Join(names(), ", "))
			}
		}
		wanted = slices.DeleteFunc(wanted, func(row row) bool { return !slices.Contains(asked, row.name) })
	}
	if c.rounds < 1 || c.length <= 0 || c.waiting < 1 {
		return errors.New("rounds, length and backlog are larger than 0")
	}
	b := &bench{chosen: c}
	if b.folder, err = os.MkdirTemp(c.dir, "gateway-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.folder)) }()
	if b.binaries, err = harness.Build(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.binaries.Remove()) }()
	if b.collectors, err = newCollectors(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.collectors.close()) }()

	began := time.Now()
	for _, row := range wanted {
		fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(began).Seconds(), row.name)
		if err := row.measure(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	fmt.Fprintf(os.Stderr, "%4.0f s  done\n", time.Since(began).Seconds())
	return b.report.publish(b.chosen)
}

// newFolder makes a folder for one start of one subject.
func (b *bench) newFolder(name string) (string, error) { return os.MkdirTemp(b.folder, name+"-") }

// load runs the generator to its end. It must not be refused anything.
func (b *bench) load(ctx context.Context, s *server, args ...string) (harness.Summary, error) {
	load, err := b.binaries.StartLoad(s.dir, "load", s.address, args...)
	if err != nil {
		return harness.Summary{}, err
	}
	defer func() { _ = load.Kill() }() // It has ended already, or the error says why not.
	ctx, cancel := context.WithTimeout(ctx, 10*b.length+time.Minute)
	defer cancel()
	summary, err := load.Finish(ctx)
	if err == nil && (summary.Acknowledged == 0 || summary.Refused > 0 || summary.Broken > 0) {
		err = fmt.Errorf("the load failed: %+v\n%s", summary, s.log())
	}
	return summary, err
}
