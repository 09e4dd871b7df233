package gateway

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/rpc"
)

// localCallers and localClients admit everybody who is on this machine, and
// nobody else. They are the only way in until identities exist, and only --dev
// uses them.
type (
	localCallers struct{}
	localClients struct{}
)

// Authenticate implements [rpc.Authenticator]. The name that the request was
// made to must be local too: otherwise a page on the web could let its own name
// point here and talk to the gateway through its reader's browser.
func (localCallers) Authenticate(r *http.Request) (rpc.Caller, error) {
	if !isLoopback(r.RemoteAddr) || !isLocalName(r.Host) {
		return rpc.Caller{}, notLocal()
	}
	return rpc.Caller{Name: "development", Operator: true}, nil
}

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
