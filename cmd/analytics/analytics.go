// Command analytics runs the reference receiver of package server/analytics: a
// place to send records to, and a witness of what arrived.
//
// Exit codes: 0 clean stop, 1 failure, 2 usage.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"combotto.io/gateway/server/analytics"
)

const (
	exitFailed = 1
	exitUsage  = 2

	headerTimeout = 10 * time.Second
	readTimeout   = time.Minute
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 5 * time.Second
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options are the flags.
type options struct {
	address  string
	record   string
	remember int
	faults   analytics.Faults
}

func parse(arguments []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("analytics", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.address, "addr", "127.0.0.1:8090", "`HOST:PORT` to listen on")
	flags.StringVar(&o.record, "record", "", "append every accepted record to `FILE`, one line each")
	flags.IntVar(&o.remember, "remember", 1<<20, "tell duplicates among the last `N` records")
	flags.IntVar(&o.faults.Status, "fail-status", 0, "answer every request with this HTTP `status`")
	flags.DurationVar((*time.Duration)(&o.faults.For), "fail-for", 0, "stop failing after this `duration`; 0 fails until PUT /faults")
	flags.DurationVar((*time.Duration)(&o.faults.RetryAfter), "fail-retry-after", 0, "`duration` to send as Retry-After")
	flags.DurationVar((*time.Duration)(&o.faults.Delay), "fail-delay", 0, "`duration` to wait before every answer")
	flags.StringVar(&o.faults.RejectDevice, "fail-device", "", "reject the records of this device `id`")
	flags.StringVar(&o.faults.RejectMetric, "fail-metric", "", "reject records that hold this metric `name`")
	flags.BoolVar(&o.faults.Whole, "fail-whole", false, "answer 422 to a request that holds such a record, instead of naming it")
	if err := flags.Parse(arguments); err != nil {
		return options{}, err
	}
	err := o.faults.Check()
	switch {
	case flags.NArg() > 0:
		err = fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case o.remember < 1:
		err = errors.New("-remember must be at least 1")
	}
	if err != nil {
		fmt.Fprintln(stderr, "analytics:", err)
	}
	return o, err
}

func run(ctx context.Context, arguments []string, stdout, stderr io.Writer) int {
	o, err := parse(arguments, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		return exitUsage
	}
	if err := serve(ctx, o, stdout); err != nil {
		fmt.Fprintln(stderr, "analytics:", err)
		return exitFailed
	}
	return 0
}

func serve(ctx context.Context, o options, stdout io.Writer) (err error) {
	settings := analytics.Settings{Remember: o.remember, Faults: o.faults}
	if o.record != "" {
		file, openErr := os.OpenFile(o.record, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
		if openErr != nil {
			return fmt.Errorf("open record file: %w", openErr)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		settings.Record = file
	}
	listener, err := net.Listen("tcp", o.address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Fprintf(stdout, "receiving on http://%s/ingest\n", listener.Addr())
	server := &http.Server{
		Handler:           analytics.New(settings).Handler(),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		Protocols:         new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true) // for gRPC
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	select {
	case err := <-stopped:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	if err := server.Shutdown(draining); err != nil {
		_ = server.Close() // requests that will not end, such as delayed ones
	}
	<-stopped
	return nil
}
