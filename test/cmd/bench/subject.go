package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"combotto.io/gateway/test/harness"
)

// subject is a broker to measure, and what was measured of it.
type subject struct {
	name    string
	durable string
	start   func(context.Context) (*server, error)
	phases  []phase

	single []harness.Summary // one message in flight
	fsync  []time.Duration   // beside it, in the same folder
}

// phase is a measurement of one start of a subject.
type phase struct {
	name   string
	before func(context.Context, *server) error // nil when there is nothing to do

	rates, p99, generator, allocations []float64 // by round
}

// server is a subject that runs.
type server struct {
	dir     string
	address string
	process *harness.Process
	gateway *harness.Gateway // nil when it is none
	sink    string           // address that the gateway's sink posts to
	helpers []*harness.Process
}

// stop ends the server and its helpers, and clears its folder.
func (s *server) stop() error {
	var err error
	for _, helper := range append(s.helpers, s.process) {
		err = errors.Join(err, helper.Kill())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// allocations returns how many objects the gateway has allocated so far; 0 for
// others.
func (s *server) allocations(ctx context.Context) float64 {
	if s.gateway == nil {
		return 0
	}
	values, err := s.gateway.Metrics(ctx)
	if err != nil {
		return 0
	}
	return values["go_memstats_mallocs_total"]
}

func (b *bench) allSubjects() []*subject {
	subjects := []*subject{
		{name: "gateway", durable: "yes", start: b.startGateway(b.collectors.takes), phases: []phase{
			{name: "HTTP sink paused"},
			{name: "HTTP sink draining", before: b.startDraining},
		}},
		{name: "stock mochi, stores nothing", durable: "no", start: b.startMochi, phases: []phase{{}}},
		{name: "gateway, collector away", durable: "yes", start: b.startGateway(b.collectors.away), phases: []phase{{}}},
		{name: "gateway, collector hangs", durable: "yes", start: b.startGateway(b.collectors.hangs), phases: []phase{{}}},
	}
	if _, err := exec.LookPath("mosquitto"); err != nil {
		fmt.Fprintf(os.Stderr, "bench: without mosquitto: %v: apt-get install mosquitto\n", err)
		return subjects
	}
	return append(subjects, &subject{name: "mosquitto, snapshots", durable: "no", start: b.startMosquitto, phases: []phase{{}}})
}

// newGateway prepares a gateway whose sink is away and whose traces go to a
// collector.
func (b *bench) newGateway(collector string) (*server, error) {
	dir, err := b.folder("gateway")
	if err != nil {
		return nil, err
	}
	gateway, err := b.binaries.NewGateway(dir)
	if err != nil {
		return nil, err
	}
	sink, err := harness.FreeAddress()
	if err != nil {
		return nil, err
	}
	gateway.SetSinks(harness.HTTPSinkYAML("analytics", sink))
	gateway.Env = []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector,
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01",
	}
	return &server{dir: dir, address: gateway.MQTTAddr, gateway: gateway, sink: sink}, nil
}

func (b *bench) startGateway(collector string) func(context.Context) (*server, error) {
	return func(ctx context.Context) (*server, error) {
		s, err := b.newGateway(collector)
		if err != nil {
			return nil, err
		}
		if err := s.gateway.Start(ctx); err != nil {
			return nil, err
		}
		s.process = s.gateway.Process()
		return s, nil
	}
}

// startDraining brings the sink back, so that the backlog of the phase before is
// delivered beside the new load.
func (b *bench) startDraining(ctx context.Context, s *server) error {
	receiver, err := b.binaries.StartReceiver(ctx, s.sink, filepath.Join(s.dir, "received.txt"))
	if err != nil {
		return err
	}
	s.helpers = append(s.helpers, receiver)
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return harness.Poll(ctx, "the first delivery", func() (bool, error) {
		values, err := s.gateway.Metrics(ctx)
		return values[`gateway_sink_delivered_messages_total{sink="analytics"}`] > 0, err
	})
}

func (b *bench) startMochi(ctx context.Context) (*server, error) {
	dir, err := b.folder("mochi")
	if err != nil {
		return nil, err
	}
	address, err := harness.FreeAddress()
	if err != nil {
		return nil, err
	}
	return startBroker(ctx, dir, address, exec.Command(b.binaries.Path("stockmochi"), "--addr", address))
}

// mosquittoConf keeps messages as a mosquitto that is asked for it does, and
// turns off the delay of small packets that it has by default.
const mosquittoConf = `listener %s 127.0.0.1
allow_anonymous true
persistence true
persistence_location %s/
set_tcp_nodelay true
max_inflight_messages 0
user root
`

func (b *bench) startMosquitto(ctx context.Context) (*server, error) {
	dir, err := b.folder("mosquitto")
	if err != nil {
		return nil, err
	}
	address, err := harness.FreeAddress()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "mosquitto.conf")
	port := address[len("127.0.0.1:"):]
	if err := os.WriteFile(config, fmt.Appendf(nil, mosquittoConf, port, dir), 0o600); err != nil {
		return nil, err
	}
	return startBroker(ctx, dir, address, exec.Command("mosquitto", "-c", config))
}

// startBroker starts a broker that is ready when it listens.
func startBroker(ctx context.Context, dir, address string, command *exec.Cmd) (*server, error) {
	process, err := harness.Start("broker", filepath.Join(dir, "broker.log"), command)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if err := harness.Poll(ctx, "a broker at "+address, func() (bool, error) { return harness.CanConnect(address), nil }); err != nil {
		return nil, errors.Join(err, process.Kill(), errors.New(process.LogTail()))
	}
	return &server{dir: dir, address: address, process: process}, nil
}
