package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"combotto.io/gateway/test/harness"
)

const (
	// fewWaiting is the backlog that a large one is compared with.
	fewWaiting = 10_000
	// firstMark is how many arrivals the first of a drain are: fewer than wait, so
	// that no batch lingers until others fill it. They take some 30 ms, in which a
	// gateway, its sink and the connection between them are still warming up.
	firstMark = 7_500
	// drainMark is about a second of work. A backlog of 10^4 is gone long before, so
	// that the large one is compared with one of a third more than the mark.
	drainMark = 250_000
	// drains are how many starts make up one round: two cores that others use, too,
	// are rarely quiet.
	drains = 2
	// settling is how long a gateway has run before its sink appears. A start looks
	// at all frames in the background, which takes a tenth of a second with 10^7
	// messages, and is not what a drain is about.
	settling = 500 * time.Millisecond
	// mixedSizes are the messages of the commits of a backlog, in turn.
	mixedSizes = "1,3,10,30,100,300,1000,2000"
	// killAfter is how long a load runs before its gateway is killed.
	killAfter = 300 * time.Millisecond
)

// waiting is a gateway with a backlog, and what was measured of it by round.
type waiting struct {
	*server
	clean, killed        []float64 // seconds from the start of the process until it is ready
	ingest, drain, first []float64 // messages per second
}

// backlog compares a gateway for which many messages wait with one for which few
// do.
func (b *bench) backlog(ctx context.Context) (err error) {
	template, err := b.prefilled(ctx, "--messages", fmt.Sprint(fewWaiting), "--sizes", mixedSizes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, template.stop()) }()
	large, err := b.prefilled(ctx, "--messages", fmt.Sprint(b.waiting), "--sizes", mixedSizes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, large.stop()) }()
	many, few := &waiting{server: large}, &waiting{}
	for range b.rounds {
		if err := errors.Join(b.measureDisk(), b.ingestOn(ctx, many), b.killAndStart(ctx, many)); err != nil {
			return err
		}
		if err := b.onCopy(ctx, template, few, b.ingestOn); err != nil {
			return err
		}
	}
	mark := int64(min(drainMark, b.waiting/(4*b.rounds*drains))) // so that most of them wait to the end
	some, err := b.prefilled(ctx, "--messages", fmt.Sprint(mark*4/3), "--sizes", mixedSizes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, some.stop()) }()
	for range b.rounds {
		if err := b.measureDisk(); err != nil {
			return err
		}
		for _, piece := range []struct {
			messages  int64
			beside    *server
			many, few *[]float64
		}{{mark, some, &many.drain, &few.drain}, {firstMark, template, &many.first, &few.first}} {
			ofMany, ofFew, err := b.drainRound(ctx, many.server, piece.beside, piece.messages)
			if err != nil {
				return err
			}
			*piece.many, *piece.few = append(*piece.many, ofMany), append(*piece.few, ofFew)
		}
	}
	b.reportBacklog(many, few, mark)
	return nil
}

func (b *bench) reportBacklog(many, few *waiting, mark int64) {
	for name, values := range map[string][]float64{"backlog/many/ingest": many.ingest, "backlog/few/ingest": few.ingest, "backlog/many/drain": many.drain, "backlog/few/drain": few.drain,
		"backlog/many/first": many.first, "backlog/few/first": few.first} {
		for _, value := range values {
			b.report.sample(name, value, "msg/s")
		}
	}
	ingest, drain, first := ratios(many.ingest, few.ingest), ratios(many.drain, few.drain), ratios(many.first, few.first)
	messages := strings.Replace(fmt.Sprintf("%.0g", float64(b.chosen.waiting)), "1e+0", "10^", 1)
	b.report.add("ingest rate with "+messages+" messages waiting (distinct identities, window active, mixed frame sizes) / with 10^4", "0.9", "1.0", fmt.Sprintf("%.2f", median(ingest)),
		fmt.Sprintf("%.0f / %.0f msg/s; rounds %s", median(many.ingest), median(few.ingest), spread(ingest, "%.2f")))
	b.report.add(fmt.Sprintf("drain rate with %s messages waiting, the same / with %d; of the first %d / with 10^4", messages, mark*4/3, firstMark), "0.9", "1.0", fmt.Sprintf("%.2f; %.2f", median(drain), median(first)),
		fmt.Sprintf("%.0f / %.0f msg/s over %d messages, rounds %s; %.0f / %.0f msg/s over the first %d, rounds %s", median(many.drain), median(few.drain), mark, spread(drain, "%.2f"),
			median(many.first), median(few.first), firstMark, spread(first, "%.2f")))
	b.report.add("start to ready with "+messages+" waiting", "1 s", "0.3 s", fmt.Sprintf("%.2f s", median(many.killed)),
		fmt.Sprintf("after SIGKILL under full load, rounds %s s; after an orderly stop %.2f s", spread(many.killed, "%.2f"), median(many.clean)))
}

// prefilled prepares a gateway that does not run, with a backlog.
func (b *bench) prefilled(ctx context.Context, args ...string) (*server, error) {
	s, err := b.newGateway(b.collectors.takes)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, b.binaries.Path("prefill"), append([]string{"--data", s.gateway.DataDir(), "--sink", sinkName}, args...)...)
	if output, err := command.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("prefill: %w\n%s", err, output)
	}
	// A start makes the reserve again, in no time; a copy of it would keep the disk
	// busy while others are measured.
	return s, os.Remove(filepath.Join(s.gateway.DataDir(), "queue.db-reserve"))
}

// ready starts the gateway and returns how long that took, in seconds.
func (s *server) ready(ctx context.Context) (float64, error) {
	began := time.Now()
	if err := s.gateway.Start(ctx); err != nil {
		return 0, err
	}
	took := time.Since(began).Seconds()
	s.process = s.gateway.Process()
	return took, nil
}

// halt kills the gateway and its helpers, and keeps the folder.
func (s *server) halt() error {
	err := s.gateway.Kill()
	for _, helper := range s.helpers {
		err = errors.Join(err, helper.Kill())
	}
	s.helpers = nil
	return err
}

// onCopy measures a gateway with a copy of a backlog.
func (b *bench) onCopy(ctx context.Context, template *server, w *waiting, measure func(context.Context, *waiting) error) (err error) {
	s, err := b.newGateway(b.collectors.takes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := os.CopyFS(s.gateway.DataDir(), os.DirFS(template.gateway.DataDir())); err != nil {
		return err
	}
	w.server = s
	return measure(ctx, w)
}

// ingestOn measures ingest; the gateway runs afterwards.
func (b *bench) ingestOn(ctx context.Context, w *waiting) error {
	took, err := w.ready(ctx)
	if err != nil {
		return err
	}
	w.clean = append(w.clean, took)
	summary, err := b.load(ctx, w.server, "--connections", connections, "--window", window, "--duration", b.length.String())
	w.ingest = append(w.ingest, summary.Rate)
	return err
}

// killAndStart kills the gateway under full load and measures the start; it is
// stopped in order afterwards.
func (b *bench) killAndStart(ctx context.Context, w *waiting) error {
	load, err := b.binaries.StartLoad(w.dir, "killed", w.address, "--connections", connections, "--window", window)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
	case <-time.After(killAfter):
	}
	if err := errors.Join(ctx.Err(), w.gateway.Kill(), load.Kill()); err != nil {
		return err
	}
	took, err := w.ready(ctx)
	if err != nil {
		return err
	}
	w.killed = append(w.killed, took)
	_, err = w.gateway.Stop(ctx)
	return err
}

// drainRound measures several drains of both in turn, and returns the medians.
func (b *bench) drainRound(ctx context.Context, many, template *server, messages int64) (ofMany, ofFew float64, err error) {
	fromMany, fromFew := &waiting{server: many}, &waiting{}
	drain := func(ctx context.Context, w *waiting) error {
		rate, err := b.drainFirst(ctx, w.server, messages)
		w.drain = append(w.drain, rate)
		return err
	}
	both := []func() error{
		func() error { return errors.Join(drain(ctx, fromMany), many.halt()) },
		func() error { return b.onCopy(ctx, template, fromFew, drain) },
	}
	for range drains {
		if err := errors.Join(both[0](), both[1]()); err != nil {
			return 0, 0, err
		}
		slices.Reverse(both) // whoever comes first may find the machine in another state
	}
	return median(fromMany.drain), median(fromFew.drain), nil
}

// drainFirst starts a gateway and then its receiver, and returns the rate at which
// the first so many messages arrive.
func (b *bench) drainFirst(ctx context.Context, s *server, messages int64) (rate float64, err error) {
	if _, err := s.ready(ctx); err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(settling):
	}
	if err := b.startCounter(ctx, s, messages); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return rate, harness.Poll(ctx, "deliveries", func() (bool, error) {
		count, err := harness.ReadCount(ctx, s.sink)
		if err != nil || count.Marked == 0 {
			return false, err
		}
		rate = float64(messages) / (count.Marked - count.First).Seconds()
		return true, nil
	})
}

// restBytes returns what the queue of a gateway that does not run takes on disk,
// without the reserve, which is the same whatever the queue holds.
func (s *server) restBytes() (bytes int64, err error) {
	for _, name := range []string{"queue.db", "queue.db-wal", "queue.db-shm"} {
		info, err := os.Stat(filepath.Join(s.gateway.DataDir(), name))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		if err == nil {
			bytes += info.Size()
		}
	}
	return bytes, nil
}
