// Package gateway is the composition root: it builds every part from the
// configuration, connects them, starts them in the order in which they need
// each other and stops them in reverse. Wiring is plain code, innermost first;
// nothing else in the tree knows more than its neighbours.
//
// Run is the whole life of one gateway; several may live in one process, on
// different data folders. Tests of single parts belong to their packages; the
// tests of the whole are in test/, with real processes.
package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"
	"time"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/config"
	"combotto.io/gateway/server/dispatch"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/ingest"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/queuefile"
	"combotto.io/gateway/server/rpc"
)

// ErrUsage says that the gateway cannot run as it was asked to; starting it
// again without a change is useless.
var ErrUsage = errors.New("cannot start like this")

// Options are what cmd hands over.
type Options struct {
	Config      *config.Config
	Explanation *config.Explanation
	Build       Build
	Log         io.Writer // JSON lines
	Banner      io.Writer // a few lines for a person: URLs and commands
}

// Build says which source the binary was made from.
type Build struct{ Version, Commit, At string }

// time returns when that was; zero when nobody knows.
func (b Build) time() time.Time {
	at, _ := time.Parse(time.RFC3339, b.At) // an error comes with the zero time
	return at.UTC()
}

// Run builds the gateway, serves until ctx ends, and stops in order. It fails
// with an error that wraps [ErrInUse], [ErrUsage] or a *config.Error where
// starting again is useless.
func Run(ctx context.Context, options Options) error {
	folder, err := openDataDir(options.Config.DataDir)
	if err != nil {
		return err
	}
	defer func() { _ = folder.close() }()
	id, err := folder.gatewayID(options.Config.GatewayID)
	if err != nil {
		return err
	}
	observer, err := observe.New(ctx, observe.Settings{
		Version: options.Build.Version, Commit: options.Build.Commit, GatewayID: string(id),
		LogWriter: options.Log, LogLevel: options.Config.Log.Level,
	})
	if err != nil {
		return err
	}
	defer func() { _ = observer.Shutdown(context.WithoutCancel(ctx)) }()
	g := &gateway{Options: options, folder: folder, id: id, startedAt: time.Now().UTC(), observer: observer}
	return g.run(ctx)
}

// gateway holds the parts while they are built and run.
type gateway struct {
	Options
	folder    *dataDir
	id        edge.GatewayID
	startedAt time.Time
	observer  *observe.Observer

	doors      *doors
	health     *rpc.Health
	budget     int64 // queue.max_bytes, which may be a share of the disk, in bytes; 0 is unlimited
	queue      *queue.Queue
	plan       *edge.Plan
	sinks      *sinks
	dispatcher *dispatch.Dispatcher
	pipeline   *ingest.Pipeline
	broker     *broker.Broker
	rpc        *rpc.Server
}

// Parts of /readyz, in the order in which they start.
const (
	partQueue    = "queue"
	partDispatch = "dispatch"
	partBroker   = "broker"
)

// run opens the doors' addresses first, so that a start can be watched and a
// taken port is known before anything else is touched.
func (g *gateway) run(ctx context.Context) error {
	g.health = rpc.NewHealth(g.parts()...)
	doors, err := openDoors(g.Config, g.health, g.observer.Log)
	if err != nil {
		return err
	}
	g.doors = doors
	defer doors.close()
	if err := g.build(ctx); err != nil {
		return errors.Join(err, g.abandon())
	}
	defer g.sinks.close()
	g.observer.Log.InfoContext(ctx, "gateway started", "gateway_id", g.id, "version", g.Build.Version,
		"http", doors.http.listener.Addr().String(), "data_dir", g.Config.DataDir)
	g.banner()
	err = runStages(ctx, g.stages(), g.stopping, g.isFatal)
	if err != nil {
		g.observer.Log.ErrorContext(ctx, "gateway failed", "error", err.Error())
		return err
	}
	g.observer.Log.InfoContext(ctx, "gateway stopped")
	return nil
}

// isFatal tells whether nothing may touch the queue's file any more.
func (g *gateway) isFatal(err error) bool {
	_, fatal := errors.AsType[*queue.FatalError](err)
	if fatal {
		g.health.Fail(err.Error())
	}
	return fatal
}

// abandon lets go of what was built before a part could not be.
func (g *gateway) abandon() error {
	if g.sinks != nil {
		g.sinks.close()
	}
	if g.queue != nil {
		return g.queue.Close()
	}
	return nil
}

// build makes the parts, innermost first.
func (g *gateway) build(ctx context.Context) (err error) {
	if g.queue, err = g.openQueue(ctx); queuefile.IsNewer(err) || queuefile.IsLink(err) {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	} else if queuefile.IsInUse(err) {
		return fmt.Errorf("%w: %w", ErrInUse, err)
	} else if err != nil {
		return err
	}
	if g.sinks, err = openSinks(ctx, g.Config.Sinks, g.id, g.Build.Version, g.budget, g.queue, g.observer); err != nil {
		return fmt.Errorf("open sinks: %w", err)
	}
	g.plan = edge.NewPlan(g.sinks.planned)
	g.dispatcher = dispatch.New(g.plan, g.queue, g.sinks.byID, g.observer)
	g.pipeline = ingest.New(ingest.Settings{MaxPayloadBytes: int(g.Config.Ingest.MaxPayload), Believe: g.queue.Believe}, g.plan, g.queue, g.observer)
	g.broker = broker.New(g.brokerSettings(), g.pipeline, localClients{}, g.observer)
	if g.rpc, err = rpc.New(g.rpcSettings(), rpc.Dependencies{
		Authenticator: localCallers{}, Submitter: g.pipeline, Messages: g.queue, DeadLetters: g.queue, Losses: g.queue, Forecaster: g.queue, Auditor: g.queue, Backups: g.queue, Lanes: g.dispatcher,
		MQTTConnections: g.broker.Connections, Health: g.health, Observer: g.observer,
	}); err != nil {
		return fmt.Errorf("build services: %w", err)
	}
	g.observer.Metrics.Collect(g.collect)
	g.observer.Metrics.Gauge("config_last_reload_successful").Set(1)
	g.observer.Metrics.Gauge("config_last_reload_success_timestamp_seconds").Set(float64(g.startedAt.Unix()))
	g.doors.http.set(g.rpc.Handler())
	if g.doors.ops != nil {
		g.doors.ops.set(g.rpc.OpsHandler())
	}
	return nil
}

// parts names what /readyz waits for, in the order of starting.
func (g *gateway) parts() []string {
	if g.Config.MQTT.Addr == "" && g.Config.MQTT.WebSocketAddr == "" {
		return []string{partQueue, partDispatch}
	}
	return []string{partQueue, partDispatch, partBroker}
}

// stages lists what runs, in the order of starting.
func (g *gateway) stages() []stage {
	stages := []stage{
		{"queue", g.reporting(partQueue, g.queueHealth, g.queue.Run)},
		{"files", g.watchFiles},
		{"dispatch", g.reporting(partDispatch, g.dispatchHealth, g.dispatcher.Run)},
		{"broker", g.reporting(partBroker, brokerHealth, func(ctx context.Context) error { return g.doors.serveMQTT(ctx, g.broker) })},
		{"http", func(ctx context.Context) error { return g.doors.http.serve(ctx, g.rpc.StopStreams) }},
	}
	if g.doors.ops != nil { // last to go, so that a probe sees the stop
		stages = slices.Insert(stages, 0, stage{"ops", func(ctx context.Context) error { return g.doors.ops.serve(ctx, func() {}) }})
	}
	if g.Config.Simulate > 0 {
		stages = append(stages, stage{"simulation", g.simulate})
	}
	return stages
}

// reporting lets a part be asked about its health from the moment it runs.
func (g *gateway) reporting(part string, health func() rpc.Part, run func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		g.health.Report(part, health)
		return run(ctx)
	}
}

// stopping is called once, before the first stage is stopped.
func (g *gateway) stopping() {
	g.health.Stop()
	g.observer.Log.Info("gateway stopping")
}

func (g *gateway) queueHealth() rpc.Part {
	room := g.queue.Room()
	switch {
	case room.Refusal != nil:
		return rpc.Part{Detail: room.Refusal.Message + "; " + room.Refusal.Hint}
	case room.Filling:
		return rpc.Part{Ready: true, Degraded: true, Detail: room.Warning + ": gatewayctl forecast tells when it is full"}
	}
	return rpc.Part{Ready: true}
}

// dispatchHealth says which sink is down. It has no say in readiness: the
// gateway goes on taking messages for it.
func (g *gateway) dispatchHealth() rpc.Part {
	for _, lane := range g.dispatcher.Stats() {
		if lane.State == edge.LaneWaiting || lane.State == edge.LanePaused {
			return rpc.Part{Ready: true, Degraded: true, Detail: fmt.Sprintf("sink %s is %s: gatewayctl status says why", g.sinks.name(lane.Sink), lane.State)}
		}
	}
	return rpc.Part{Ready: true}
}

func brokerHealth() rpc.Part { return rpc.Part{Ready: true} }

// openQueue opens queue.db in the data folder.
func (g *gateway) openQueue(ctx context.Context) (*queue.Queue, error) {
	var err error
	if g.budget, err = capacity(g.Config.Queue.MaxBytes, g.Config.DataDir); err != nil {
		return nil, err
	}
	known, err := g.folder.hadQueue()
	if err != nil {
		return nil, err
	}
	opened, err := queue.Open(ctx, queue.Settings{
		Path: QueuePath(g.Config.DataDir), Known: known, MaxBytes: g.budget,
		CommitInterval: g.Config.Queue.CommitInterval, RetentionDelivered: g.Config.Retention.Delivered,
		RetentionDeliveredBytes: g.Config.Retention.DeliveredBytes.Of(g.budget), RetentionUndelivered: time.Duration(g.Config.Retention.Undelivered),
		RetentionRemovedSink: time.Duration(g.Config.Retention.RemovedSink),
		BuiltAt:              g.Build.time(), Uptime: queue.MachineUptime,
	}, g.observer)
	if err != nil || known {
		return opened, err
	}
	if err := g.folder.rememberQueue(); err != nil {
		g.observer.Log.Warn("the next start would not notice that the queue was removed", "error", err)
	}
	return opened, nil
}

// capacity resolves a share of the file system that folder lies on.
func capacity(share config.Capacity, folder string) (int64, error) {
	var system syscall.Statfs_t
	if err := syscall.Statfs(folder, &system); err != nil {
		return 0, fmt.Errorf("measure the file system of %s: %w", folder, err)
	}
	return share.Of(int64(system.Blocks) * int64(system.Bsize)), nil
}

// brokerSettings are the defaults, with what the operator may set.
func (g *gateway) brokerSettings() broker.Settings {
	settings := broker.NewDefaultSettings()
	settings.MaxConnections = g.Config.MQTT.MaxConnections
	settings.MaxConnectionsPerAddress = g.Config.MQTT.MaxConnections // development mode has one address only
	settings.MaxSessions = 2 * g.Config.MQTT.MaxConnections
	settings.FullGrace = g.Config.MQTT.FullGrace
	settings.DefaultEncoding = g.Config.Ingest.DefaultEncoding
	return settings
}
