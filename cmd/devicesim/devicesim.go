// Command devicesim runs simulated boards against an MQTT broker and tells
// every ten seconds, as a JSON log line, what they did.
//
//	devicesim --broker mqtt://127.0.0.1:1883 --devices 20 --behaviour normal,bursty,faulty,offline
//
// It exits with 0 when the boards have finished, after --duration or on
// SIGINT or SIGTERM; with 1 when none of them ever reached the broker; with 2
// when the flags make no sense.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"combotto.io/gateway/server/fleet"
	"combotto.io/gateway/server/observe"
)

// Exit codes.
const (
	exitFinished = 0
	exitFailed   = 1
	exitUsage    = 2
)

// version is set by the linker: see the Makefile.
var version = "dev"

// summaryInterval is how often the state of the fleet is logged.
const summaryInterval = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags, understood.
type options struct {
	settings    fleet.Settings
	duration    time.Duration
	showVersion bool
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	chosen, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitFinished
	case err != nil:
		fmt.Fprintln(stderr, "devicesim:", err)
		return exitUsage
	case chosen.showVersion:
		fmt.Fprintln(stdout, version)
		return exitFinished
	}
	observer, err := observe.New(ctx, observe.Settings{Service: "devicesim", Version: version, LogWriter: stdout})
	if err != nil {
		fmt.Fprintln(stderr, "devicesim:", err)
		return exitUsage
	}
	defer func() { _ = observer.Shutdown(context.WithoutCancel(ctx)) }() // No spans of ours wait.
	boards, err := fleet.New(chosen.settings, observer)
	if err != nil {
		fmt.Fprintln(stderr, "devicesim:", err)
		return exitUsage
	}
	if chosen.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, chosen.duration)
		defer cancel()
	}
	observer.Log.Info("started", "broker", chosen.settings.Broker, "devices", chosen.settings.Devices, "seed", boards.Seed())
	return simulate(ctx, boards, observer)
}

// simulate runs the boards and reports on them until they have finished.
func simulate(ctx context.Context, boards *fleet.Fleet, observer *observe.Observer) int {
	finished := make(chan error, 1)
	go func() { finished <- boards.Run(ctx) }()
	ticker := time.NewTicker(summaryInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			observer.Log.Info("running", "fleet", boards.Stats())
		case err := <-finished:
			stats := boards.Stats()
			observer.Log.Info("finished", "fleet", stats)
			if err != nil {
				observer.Log.Error("the fleet failed", "error", err)
				return exitFailed
			}
			if stats.Connects == 0 {
				observer.Log.Error("no board reached the broker", "hint", "is the gateway up, and is --broker its MQTT address?")
				return exitFailed
			}
			return exitFinished
		}
	}
}

// parse reads the flags. It has said what is wrong, or printed the help, when it
// fails with flag.ErrHelp.
func parse(args []string, stderr io.Writer) (*options, error) {
	chosen := &options{}
	flags := flag.NewFlagSet("devicesim", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&chosen.settings.Broker, "broker", "mqtt://127.0.0.1:1883", "MQTT `URL` of the gateway")
	flags.IntVar(&chosen.settings.Devices, "devices", 5, "`number` of boards")
	flags.StringVar(&chosen.settings.Prefix, "prefix", "sim", "`beginning` of the device ids")
	flags.DurationVar(&chosen.settings.Interval, "interval", time.Second, "`time` between two messages of a board")
	flags.IntVar(&chosen.settings.Buffer, "buffer", 256, "`number` of unacknowledged messages that a board has room for")
	flags.Uint64Var(&chosen.settings.Seed, "seed", 0, "the same `seed` gives the same boards; 0 takes a random one")
	flags.DurationVar(&chosen.duration, "duration", 0, "stop after this `time`; 0 runs until SIGINT or SIGTERM")
	flags.BoolVar(&chosen.showVersion, "version", false, "print the version and exit")
	mix := flags.String("behaviour", "normal", "comma-separated `mix` of normal, bursty, faulty, offline, dealt out in turn")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(stderr, "usage: devicesim [flags]")
		flags.SetOutput(stderr)
		flags.PrintDefaults()
	}
	if err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if chosen.duration < 0 {
		return nil, fmt.Errorf("duration: %v is below 0", chosen.duration)
	}
	chosen.settings.Behaviours, err = fleet.ParseBehaviours(*mix)
	return chosen, err
}
