package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/fleet"
	"combotto.io/gateway/server/rpc"
	"combotto.io/gateway/server/wire"
)

// localCallers and localClients admit everybody who is on this machine, and
// nobody else. They are the only way in until identities exist, and only --dev
// uses them.
type (
	localCallers struct{}
	localClients struct{}
)

// Authenticate implements [rpc.Authenticator].
func (localCallers) Authenticate(r *http.Request) (rpc.Caller, error) {
	if !isLocal(r) {
		return rpc.Caller{}, notLocal()
	}
	return rpc.Caller{Name: "development", Operator: true}, nil
}

// onlyLocal answers requests of this machine only, also where nobody is asked
// who they are: probes, the ops address, MQTT over WebSocket.
func onlyLocal(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r) {
			wire.NewProblem(notLocal(), "").Write(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// isLocal looks at where a request comes from, and at the name it was made to:
// a page on the web could let a name of its own point here and talk to the
// gateway through its reader's browser.
func isLocal(r *http.Request) bool { return isLoopback(r.RemoteAddr) && isLocalName(r.Host) }

// Authenticate implements [broker.Authorizer].
func (localClients) Authenticate(_ context.Context, login *broker.Login) error {
	if login.Remote == nil || !isLoopback(login.Remote.String()) {
		return notLocal()
	}
	return nil
}

// Allow implements [broker.Authorizer]: any client may do anything.
func (localClients) Allow(string, string, broker.Access) bool { return true }

func notLocal() error {
	return &edge.Error{
		Code: edge.Forbidden, Reason: edge.ReasonUnauthorized,
		Message: "in development mode only this machine is served, under the name localhost or a loopback address",
		Hint:    "use 127.0.0.1 or localhost",
	}
}

func isLoopback(address string) bool {
	endpoint, err := netip.ParseAddrPort(address)
	return err == nil && endpoint.Addr().Unmap().IsLoopback()
}

func isLocalName(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	address, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && address.IsLoopback() || strings.EqualFold(host, "localhost")
}

// simulate runs boards that publish over the real MQTT listener.
func (g *gateway) simulate(ctx context.Context) error {
	boards, err := fleet.New(fleet.Settings{
		Broker: "mqtt://" + g.doors.mqtt.Addr().String(), Devices: g.Config.Simulate,
		Behaviours: []fleet.Behaviour{fleet.Normal},
	}, g.observer)
	if err != nil {
		return err
	}
	return boards.Run(ctx)
}
