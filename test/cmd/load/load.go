// Command load publishes telemetry as fast as it is acknowledged, or at a given
// rate, and keeps evidence of every acknowledgement.
//
//	load --broker 127.0.0.1:1883 --connections 50 --window 100 --duration 10s --log acks
//	load --reconnect --report 2ms --repeat 10 --log acks
//
// It speaks MQTT itself, with packets that are encoded once and patched, so that
// it takes little of the machine that it measures: about a microsecond for a
// message. Each message carries the boot id of the run and its device's
// sequence, and its content follows from these, so that a message that is sent
// again after a reconnect is the same message.
//
// It prints a line {"connected": N} and, at the end, one line with the summary.
// With --report there are lines {"acknowledged": N, "connected": N} between: a
// connection that is not counted has its acknowledgements in the log. With
// --repeat some messages are sent twice in a row, as devices do.
// It exits with 0 when it has finished, also because the gateway went away; with
// 1 when it could not connect or write its log; with 2 on wrong flags.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"combotto.io/gateway/test/acklog"
	"combotto.io/gateway/test/rawmqtt"
	"combotto.io/gateway/test/telemetry"
)

// settings are the flags.
type settings struct {
	broker      string
	connections int
	devices     int // dealt out to the connections in turn
	window      int
	version     byte
	rate        float64
	count       int64
	duration    time.Duration
	logPath     string
	prefix      string
	bootID      string
	repeat      int64 // every which message is the one before once more; 0 is none
	report      time.Duration
	reconnect   bool
	idle        bool
	sources     int
}

// messageOf returns which message of its device a number stands for: without
// repetitions each its own.
func (s *settings) messageOf(number int64) uint32 {
	if s.repeat == 0 {
		return uint32(number)
	}
	return uint32(number - (number+1)/s.repeat)
}

// drainLimit is how long the last acknowledgements are waited for.
const drainLimit = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(2)
	}
	if err := run(ctx, chosen, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func parse(args []string) (*settings, error) {
	chosen := &settings{}
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.StringVar(&chosen.broker, "broker", "127.0.0.1:1883", "`host:port` of the MQTT listener")
	flags.IntVar(&chosen.connections, "connections", 50, "`number` of connections")
	flags.IntVar(&chosen.devices, "devices", 0, "`number` of devices; 0 is one for each connection")
	flags.IntVar(&chosen.window, "window", 100, "unacknowledged messages of a connection")
	version := flags.String("mqtt", "3.1.1", "`version` of the protocol: 3.1.1 or 5")
	flags.Float64Var(&chosen.rate, "rate", 0, "messages per second in all; 0 is as many as are acknowledged")
	flags.Int64Var(&chosen.count, "count", 0, "messages in all; 0 is no limit")
	flags.DurationVar(&chosen.duration, "duration", 0, "how long to send; 0 is until SIGTERM")
	flags.StringVar(&chosen.logPath, "log", "", "`file` of every acknowledged identity; empty keeps none")
	flags.StringVar(&chosen.prefix, "prefix", "load", "`beginning` of device ids")
	flags.StringVar(&chosen.bootID, "boot-id", "", "eight characters; empty takes the clock")
	flags.Int64Var(&chosen.repeat, "repeat", 0, "send every `k`th message of a device as the one before once more")
	flags.DurationVar(&chosen.report, "report", 0, "`interval` of lines that say how far it is; 0 prints none")
	flags.BoolVar(&chosen.reconnect, "reconnect", false, "connect when the gateway comes, and again when it went away, and send what is unacknowledged")
	flags.BoolVar(&chosen.idle, "idle", false, "only connect, and stay")
	flags.IntVar(&chosen.sources, "sources", 0, "connect from so many loopback addresses in turn; 0 leaves it to the system")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	chosen.version = rawmqtt.Version311
	if *version == "5" {
		chosen.version = rawmqtt.Version5
	}
	if chosen.devices == 0 {
		chosen.devices = chosen.connections
	}
	if chosen.bootID == "" {
		chosen.bootID = fmt.Sprintf("%08x", uint32(time.Now().UnixMilli()))
	}
	switch {
	case chosen.connections < 1 || chosen.devices < chosen.connections:
		return nil, errors.New("every connection needs a device")
	case chosen.window < 1 || chosen.window > maxWindow:
		return nil, fmt.Errorf("window: 1 to %d", maxWindow)
	case *version != "3.1.1" && *version != "5":
		return nil, errors.New("mqtt: 3.1.1 or 5")
	case chosen.repeat < 0 || chosen.repeat == 1:
		return nil, errors.New("repeat: 2 or more")
	case chosen.sources < 0 || chosen.sources > 250:
		return nil, errors.New("sources: 0 to 250")
	case len(chosen.bootID) != 8:
		return nil, errors.New("boot-id: eight characters")
	}
	return chosen, nil
}

// summary is what the run came to.
type summary struct {
	Connections  int     `json:"connections"`
	Window       int     `json:"window"`
	Sent         int64   `json:"sent"`
	Acknowledged int64   `json:"acknowledged"`
	Refused      int64   `json:"refused"`
	Resent       int64   `json:"resent"`
	OutOfOrder   int64   `json:"out_of_order"` // acknowledgements that overtook an earlier message
	Broken       int     `json:"broken"`       // connections that the other side ended
	Seconds      float64 `json:"seconds"`      // from the first message to the last acknowledgement
	Rate         float64 `json:"rate"`         // acknowledged per second
	P50          float64 `json:"p50_ms"`
	P99          float64 `json:"p99_ms"`
	Max          float64 `json:"max_ms"`
	CPU          float64 `json:"cpu_us_per_message"` // of this process
}

func run(ctx context.Context, chosen *settings, stdout io.Writer) error {
	var log *acklog.Writer
	if chosen.logPath != "" {
		var err error
		header := acklog.Header{Prefix: chosen.prefix, BootID: chosen.bootID, FirstSequence: telemetry.FirstSequence}
		if log, err = acklog.Create(chosen.logPath, header); err != nil {
			return err
		}
	}
	senders := make([]*sender, chosen.connections)
	for i := range senders {
		senders[i] = newSender(chosen, i, log)
		if err := senders[i].connect(ctx); err != nil && !(chosen.reconnect && senders[i].reconnect(ctx)) {
			return fmt.Errorf("connection %d: %w", i, err)
		}
		defer senders[i].conn.Close()
	}
	fmt.Fprintf(stdout, "{\"connected\": %d}\n", len(senders))
	if chosen.idle {
		<-ctx.Done()
	} else {
		end := report(chosen.report, senders, stdout)
		err := sendAll(ctx, chosen, senders)
		end()
		if err != nil {
			return err
		}
	}
	if log != nil {
		if err := log.Close(); err != nil {
			return fmt.Errorf("close acknowledgement log: %w", err)
		}
	}
	return json.NewEncoder(stdout).Encode(summarize(chosen, senders))
}

// progress is a line of --report.
type progress struct {
	Acknowledged int64 `json:"acknowledged"`
	Connected    int   `json:"connected"`
}

// report prints how far the senders are, until end is called.
func report(interval time.Duration, senders []*sender, stdout io.Writer) (end func()) {
	if interval == 0 {
		return func() {}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		for {
			select {
			case <-stop:
				return
			case <-ticker.C:
			}
			var now progress
			for _, sender := range senders {
				now.Acknowledged += sender.reported.acknowledged.Load()
				if sender.reported.connected.Load() {
					now.Connected++
				}
			}
			_ = json.NewEncoder(stdout).Encode(now) // Nobody reads any more.
		}
	}()
	return func() {
		close(stop)
		<-stopped
	}
}

// sendAll lets every sender work on a goroutine of its own.
func sendAll(ctx context.Context, chosen *settings, senders []*sender) error {
	if chosen.duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, chosen.duration)
		defer cancel()
	}
	var (
		group  sync.WaitGroup
		failed atomic.Pointer[error]
		start  = time.Now()
	)
	for _, sender := range senders {
		group.Go(func() {
			if err := sender.run(ctx, start); err != nil {
				failed.Store(&err)
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

func summarize(chosen *settings, senders []*sender) summary {
	total := summary{Connections: len(senders), Window: chosen.window}
	var latencies histogram
	var first, last time.Duration
	for _, sender := range senders {
		total.Sent += sender.next
		total.Acknowledged += sender.acknowledged
		total.Refused += sender.refused
		total.Resent += sender.resent
		total.OutOfOrder += sender.outOfOrder
		if sender.broken {
			total.Broken++
		}
		if sender.firstAt > 0 && (first == 0 || sender.firstAt < first) {
			first = sender.firstAt
		}
		last = max(last, sender.lastAt)
		latencies.merge(&sender.latencies)
	}
	if total.Acknowledged > 0 {
		total.Seconds = (last - first).Seconds()
		total.Rate = float64(total.Acknowledged) / total.Seconds
		total.CPU = float64(processCPU().Microseconds()) / float64(total.Sent)
	}
	total.P50, total.P99, total.Max = latencies.quantile(0.5), latencies.quantile(0.99), latencies.quantile(1)
	return total
}

func processCPU() time.Duration {
	var usage syscall.Rusage
	// Asking for the calling process cannot fail.
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
