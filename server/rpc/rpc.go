// Package rpc is the door of everybody who speaks HTTP: devices that POST
// telemetry, clients and operators of the Connect, gRPC and gRPC-Web services,
// probes and scrapers.
//
// Every message that comes in passes the same [edge.Submitter] as those of
// every other door, and is answered after its commit. Handlers translate and
// nothing else: they keep no state beyond the request, and what they show is
// read from the interfaces below. Nobody is admitted without the
// [Authenticator]; /healthz, /readyz and /version alone ask for no credential.
//
// A Server is safe for concurrent use. Tests call its Handler through
// net/http/httptest.
package rpc

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"combotto.io/gateway/gen/go/gateway/admin/v1"
	"combotto.io/gateway/gen/go/gateway/sink/v1"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
)

// Settings say who the gateway is and what it shows of itself.
type Settings struct {
	GatewayID       edge.GatewayID
	Version         Version
	Development     bool
	StartedAt       time.Time
	DefaultEncoding edge.Encoding // of payloads that do not say
	Home            Home
	Listeners       []*adminv1.Listener
	Configuration   []*adminv1.ConfigValue // effective values, secrets left out
	Sinks           []*sinkv1.Sink         // definitions, without status
}

// Version is what GET /version answers.
type Version struct {
	Version        string   `json:"version"`
	Commit         string   `json:"commit"`
	BuiltAt        string   `json:"build_time"`
	Go             string   `json:"go"`
	SchemaVersions []int    `json:"schema_versions"`
	Services       []string `json:"services"`
}

// Messages shows what became of messages.
type Messages interface {
	// Journey finds a record by its correlation id; NotFound when it was never
	// accepted or is no longer kept.
	Journey(ctx context.Context, id edge.CorrelationID) (edge.Journey, error)
	// JourneyByIdentity finds a record by what its device called it.
	JourneyByIdentity(ctx context.Context, device edge.DeviceID, identity edge.Identity) (edge.Journey, error)
	// Read returns committed records after a position, waiting for one when there
	// is none, and the position to go on from.
	Read(ctx context.Context, after edge.Position, limit int) ([]edge.Record, edge.Position, error)
	// Head is the position of the newest committed record.
	Head() edge.Position
	// Stats is a snapshot of everything; it reads the file.
	Stats() edge.QueueStats
}

// Forecaster tells what will happen.
type Forecaster interface {
	// Forecast takes the rates of a window, of a minute to a day, that ends now.
	Forecast(window time.Duration) edge.Forecast
}

// Auditor counts what is stored.
type Auditor interface {
	// VerifyLedger counts everything that is stored and compares it with the
	// counters. It takes some seconds for a million records, and may run beside
	// everything else.
	VerifyLedger(ctx context.Context) (edge.Ledger, error)
}

// DeadLetters shows and requeues what was not delivered.
type DeadLetters interface {
	// DeadLetters lists those that match, in order of key, after a key.
	DeadLetters(ctx context.Context, filter edge.DeadLetterFilter, after edge.DeadLetterKey, limit int) ([]edge.DeadLetter, error)
	// DeadLetter reads one; NotFound when there is none.
	DeadLetter(ctx context.Context, key edge.DeadLetterKey) (edge.DeadLetter, error)
	// RequeueKeys gives the named ones back to their sinks, all or none.
	RequeueKeys(ctx context.Context, keys []edge.DeadLetterKey, validateOnly bool) (int, error)
	// RequeueMatching gives back those that match.
	RequeueMatching(ctx context.Context, filter edge.DeadLetterFilter, validateOnly bool) (int, error)
}

// Losses shows what was given up, and gives up what a removed sink is owed.
type Losses interface {
	// Losses lists those that match, newest first, that have a smaller id than
	// before; 0 is before the newest.
	Losses(ctx context.Context, filter edge.LossFilter, before int64, limit int) ([]edge.Loss, error)
	// DeleteSink discards the backlog and the dead letters of a removed sink, and
	// forgets its name. It returns how many records that are. With validateOnly it
	// only counts.
	DeleteSink(ctx context.Context, sink edge.SinkID, deletion edge.Deletion) (int64, error)
}

// Backups copies the queue while it is used.
type Backups interface {
	// Backup makes a file that is not there yet, verified and durable. It ends with
	// ctx, and the cause of that is its error when it is one for the caller.
	Backup(ctx context.Context, to string) (edge.Backup, error)
}

// Lanes shows what the dispatcher does.
type Lanes interface {
	Stats() []edge.LaneStats
}

// Dependencies are the parts that the handlers read from and write to.
type Dependencies struct {
	Authenticator   Authenticator
	Submitter       edge.Submitter
	Messages        Messages
	DeadLetters     DeadLetters
	Losses          Losses
	Forecaster      Forecaster
	Auditor         Auditor
	Backups         Backups
	Lanes           Lanes
	MQTTConnections func() int
	Health          *Health
	Observer        *observe.Observer
}

// Server holds the handlers.
type Server struct {
	settings Settings
	Dependencies
	totals    []ingestTotal
	doors     [len(edge.Sources) + 1]*observe.Door // by source
	handler   http.Handler
	expanders expanders
	// stopping ends when the server begins to stop: streams watch it, because a
	// graceful shutdown waits for them.
	stopping context.Context
	stop     context.CancelFunc
}

// New builds the handlers.
func New(settings Settings, dependencies Dependencies) (*Server, error) {
	s := &Server{settings: settings, Dependencies: dependencies, expanders: newExpanders()}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.totals = ingestTotals(dependencies.Observer.Metrics)
	for _, source := range edge.Sources {
		s.doors[source] = dependencies.Observer.Metrics.Door(source.String())
	}
	handler, err := s.routes()
	s.handler = handler
	return s, err
}

// Handler returns everything behind --http-addr.
func (s *Server) Handler() http.Handler { return s.handler }

// Limits of a connection. A client that sends its headers or its body too
// slowly is cut off; a stream lives as long as it likes.
const (
	readHeaderTimeout = 10 * time.Second
	readBodyTimeout   = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 64 << 10
	shutdownTimeout   = 3 * time.Second
	maxConnections    = 4096
)

// Limit bounds the connections that a listener accepts at a time; further ones
// wait.
func Limit(listener net.Listener) net.Listener {
	return netutil.LimitListener(listener, maxConnections)
}

// NewHTTPServer returns a server with the limits of this package. HTTP/2 without
// TLS is spoken to clients that begin with it, as gRPC clients do.
func NewHTTPServer(handler http.Handler, log *slog.Logger) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler: handler, Protocols: &protocols, ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes,
		HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 256}, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// Shutdown takes no more requests and lets those under way finish, for three
// seconds at most.
func Shutdown(server *http.Server) error {
	deadline, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(deadline); err != nil {
		return server.Close()
	}
	return nil
}

// StopStreams ends Tail and PublishStream, which would otherwise hold a
// shutdown up.
func (s *Server) StopStreams() { s.stop() }
