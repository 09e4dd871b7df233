package rpc

import (
	"compress/gzip"
	"context"
	"io"
	"net/http"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"connectrpc.com/validate"

	"combotto.io/gateway/gen/go/gateway/access/v1/accessv1connect"
	"combotto.io/gateway/gen/go/gateway/admin/v1/adminv1connect"
	"combotto.io/gateway/gen/go/gateway/analytics/v1/analyticsv1connect"
	"combotto.io/gateway/gen/go/gateway/control/v1/controlv1connect"
	"combotto.io/gateway/gen/go/gateway/device/v1/devicev1connect"
	"combotto.io/gateway/gen/go/gateway/dlq/v1/dlqv1connect"
	"combotto.io/gateway/gen/go/gateway/operation/v1/operationv1connect"
	"combotto.io/gateway/gen/go/gateway/sink/v1/sinkv1connect"
	"combotto.io/gateway/gen/go/gateway/telemetry/v1/telemetryv1connect"
	"combotto.io/gateway/server/edge"
)

// maxRequestBytes is the body limit of Publish and some room for its framing.
const maxRequestBytes = edge.MaxBatchBytes + 64<<10

// Services lists every service that reflection shows.
var Services = []string{
	telemetryv1connect.TelemetryServiceName,
	devicev1connect.DeviceServiceName,
	controlv1connect.ControlServiceName,
	dlqv1connect.DLQServiceName,
	operationv1connect.OperationServiceName,
	sinkv1connect.SinkServiceName,
	accessv1connect.AccessServiceName,
	adminv1connect.AdminServiceName,
	analyticsv1connect.AnalyticsServiceName,
}

// routes builds the handler of everything, outermost last.
func (s *Server) routes() (http.Handler, error) {
	guarded := http.NewServeMux()
	s.mountServices(guarded)
	guarded.HandleFunc("POST /ingest/{device_id}", s.ingest)
	guarded.Handle("GET /metrics", s.Observer.Metrics.Handler())
	home, err := homePage(s.settings.Home)
	if err != nil {
		return nil, err
	}
	guarded.HandleFunc("GET /{$}", home)

	open := http.NewServeMux()
	s.mountProbes(open)
	// A page of another origin must not make a browser act in its owner's name.
	open.Handle("/", http.NewCrossOriginProtection().Handler(s.authenticate(limitBodies(guarded))))
	return s.identify(open), nil
}

// OpsHandler returns what --ops-addr serves: probes and metrics, nothing else.
func (s *Server) OpsHandler() http.Handler {
	mux := http.NewServeMux()
	s.mountProbes(mux)
	mux.Handle("GET /metrics", s.Observer.Metrics.Handler())
	return mux
}

// StartingHandler answers probes while the rest of the gateway is being built.
func StartingHandler(health *Health) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", health.healthz)
	mux.HandleFunc("GET /readyz", health.readyz)
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the gateway is starting: see /readyz", http.StatusServiceUnavailable)
	})
	return mux
}

func (s *Server) mountProbes(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", s.Health.healthz)
	mux.HandleFunc("GET /readyz", s.Health.readyz)
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, s.settings.Version)
	})
}

// mountServices mounts every service of the contracts. A method that is not
// built yet answers UNIMPLEMENTED through its generated handler.
func (s *Server) mountServices(mux *http.ServeMux) {
	options := []connect.HandlerOption{
		connect.WithInterceptors(errorInterceptor{s}, builtInterceptor{}, budgetInterceptor{}, validate.NewInterceptor()),
		connect.WithCompression("gzip", s.expanders.gzip, func() connect.Compressor { return gzip.NewWriter(io.Discard) }),
		connect.WithReadMaxBytes(maxRequestBytes),
		connect.WithCompressMinBytes(1024),
		connect.WithRecover(s.recovered),
	}
	mux.Handle(telemetryv1connect.NewTelemetryServiceHandler(&telemetryService{server: s}, options...))
	mux.Handle(adminv1connect.NewAdminServiceHandler(&adminService{server: s}, options...))
	mux.Handle(dlqv1connect.NewDLQServiceHandler(&dlqService{server: s}, options...))
	mux.Handle(sinkv1connect.NewSinkServiceHandler(&sinkService{server: s}, options...))
	mux.Handle(devicev1connect.NewDeviceServiceHandler(devicev1connect.UnimplementedDeviceServiceHandler{}, options...))
	mux.Handle(controlv1connect.NewControlServiceHandler(controlv1connect.UnimplementedControlServiceHandler{}, options...))
	mux.Handle(operationv1connect.NewOperationServiceHandler(operationv1connect.UnimplementedOperationServiceHandler{}, options...))
	mux.Handle(accessv1connect.NewAccessServiceHandler(accessv1connect.UnimplementedAccessServiceHandler{}, options...))
	mux.Handle(analyticsv1connect.NewAnalyticsServiceHandler(analyticsv1connect.UnimplementedAnalyticsServiceHandler{}, options...))
	mux.Handle(grpchealth.NewHandler(s))
	reflector := grpcreflect.NewStaticReflector(Services...)
	mux.Handle(grpcreflect.NewHandlerV1(reflector))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector))
}

// Check implements [grpchealth.Checker]: every service is as ready as the
// gateway is.
func (s *Server) Check(_ context.Context, request *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	known := request.Service == ""
	for _, service := range Services {
		known = known || service == request.Service
	}
	if !known {
		return nil, connect.NewError(connect.CodeNotFound, nil)
	}
	status := grpchealth.StatusNotServing
	if ready, _ := s.Health.Ready(); ready {
		status = grpchealth.StatusServing
	}
	return &grpchealth.CheckResponse{Status: status}, nil
}
