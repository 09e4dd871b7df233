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
	moody   bool // gives up connections when the machine is busy
	lenient bool // it has done so: what the others get counts
	start   func(context.Context) (*server, error)
	phases  []phase
}

// phase is a measurement of one start of a subject.
type phase struct {
	name   string
	before func(context.Context, *server) error // nil when there is nothing to do

	// By round; the last two only of a gateway.
	rates, p50, p99, generator []float64
	cpu                        []float64 // microseconds per acknowledged message
	allocations, delivered     []float64 // per acknowledged message, per second
}

// leaveOut keeps the rounds of all subjects together: ratios pass over a zero.
func (s *subject) leaveOut() {
	for i := range s.phases {
		phase := &s.phases[i]
		for _, values := range []*[]float64{&phase.rates, &phase.p50, &phase.p99, &phase.generator, &phase.cpu} {
			*values = append(*values, 0)
		}
	}
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
	if s.process != nil {
		err = s.process.Kill()
	}
	for _, helper := range s.helpers {
		err = errors.Join(err, helper.Kill())
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// log returns the end of what the server printed.
func (s *server) log() string {
	if s.process == nil {
		return ""
	}
	return s.process.LogTail()
}

// counts are what a server has used since its start, and what a gateway has
// counted; zeros for others.
type counts struct {
	cpu                    time.Duration
	allocations, delivered float64
}

func (s *server) counted(ctx context.Context) (counts, error) {
	cpu, err := s.process.CPU()
	if err != nil || s.gateway == nil {
		return counts{cpu: cpu}, err
	}
	values, err := s.gateway.Metrics(ctx)
	return counts{cpu: cpu, allocations: values["go_memstats_mallocs_total"], delivered: values[deliveredMetric]}, err
}

const (
	sinkName        = "analytics"
	deliveredMetric = `gateway_sink_delivered_messages_total{sink="` + sinkName + `"}`
)

// mosquitto is a subject where the program is installed.
func (b *bench) mosquitto() []*subject {
	if _, err := exec.LookPath("mosquitto"); err != nil {
		fmt.Fprintf(os.Stderr, "bench: without mosquitto: %v: apt-get install mosquitto\n", err)
		return nil
	}
	return []*subject{{name: "mosquitto, snapshots", durable: "no", start: b.startMosquitto, phases: []phase{{}}}}
}

// newGateway prepares a gateway in a new folder, whose sink is away and whose
// traces go to a collector.
func (b *bench) newGateway(collector string) (*server, error) {
	dir, err := b.newFolder("gateway")
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
	gateway.SetSinks(harness.HTTPSinkYAML(sinkName, sink))
	gateway.Env = []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector,
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.01",
	}
	return &server{dir: dir, address: gateway.MQTTAddr, gateway: gateway, sink: sink}, nil
}

func (b *bench) startGateway(collector string) func(context.Context) (*server, error) {
	return func(ctx context.Context) (*server, error) {
		return b.startBinary(ctx, b.binaries.Path("gateway"), collector)
	}
}

func (b *bench) startOther(ctx context.Context) (*server, error) {
	return b.startBinary(ctx, b.other, b.collectors.takes)
}

// startBinary starts a build of the gateway in a new folder.
func (b *bench) startBinary(ctx context.Context, binary, collector string) (*server, error) {
	s, err := b.newGateway(collector)
	if err != nil {
		return nil, err
	}
	s.gateway.Binary = binary
	if err := s.gateway.Start(ctx); err != nil {
		return nil, err
	}
	s.process = s.gateway.Process()
	return s, nil
}

// startDraining brings the sink back, so that the backlog of the phase before is
// delivered beside the new load.
func (b *bench) startDraining(ctx context.Context, s *server) error {
	if err := b.startCounter(ctx, s, 0); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return harness.Poll(ctx, "the first delivery", func() (bool, error) {
		values, err := s.gateway.Metrics(ctx)
		return values[deliveredMetric] > 0, err
	})
}

// startCounter starts the receiver of a gateway's sink.
func (b *bench) startCounter(ctx context.Context, s *server, mark int64) error {
	receiver, err := b.binaries.StartCounter(ctx, s.sink, filepath.Join(s.dir, "receiver.log"), mark)
	if err == nil {
		s.helpers = append(s.helpers, receiver)
	}
	return err
}

func (b *bench) startMochi(ctx context.Context) (*server, error) {
	dir, err := b.newFolder("mochi")
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
	dir, err := b.newFolder("mosquitto")
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

// natsConf makes each message durable before it is acknowledged.
const natsConf = `server_name: bench
listen: 127.0.0.1:-1
jetstream { store_dir: %q, sync_interval: always }
mqtt { listen: %q }
`

// newNATS builds the server of NATS, whose module stays apart from ours.
func (b *bench) newNATS(ctx context.Context) (*subject, error) {
	binary, err := b.binaries.BuildPeer(ctx, "nats", "github.com/nats-io/nats-server/v2")
	if err != nil {
		return nil, err
	}
	return &subject{name: "NATS 2.15, JetStream, sync always", durable: "yes", moody: true, phases: []phase{{}}, start: func(ctx context.Context) (*server, error) {
		dir, err := b.newFolder("nats")
		if err != nil {
			return nil, err
		}
		address, err := harness.FreeAddress()
		if err != nil {
			return nil, err
		}
		config := filepath.Join(dir, "nats.conf")
		if err := os.WriteFile(config, fmt.Appendf(nil, natsConf, filepath.Join(dir, "store"), address), 0o600); err != nil {
			return nil, err
		}
		s, err := startBroker(ctx, dir, address, exec.Command(binary, "-c", config))
		if err != nil {
			return nil, err
		}
		// Its streams are made when the first client comes.
		_, err = b.load(ctx, s, "--connections", "1", "--window", "1", "--count", "10", "--prefix", "warm")
		if err != nil {
			return nil, errors.Join(err, s.stop())
		}
		return s, nil
	}}, nil
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
