package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/config"
	"combotto.io/gateway/server/rpc"
)

// doors are the addresses that the gateway listens on. Those that speak HTTP
// answer probes from the moment they are open.
type doors struct {
	mqtt, webSocket net.Listener // nil when turned off
	http, ops       *httpDoor    // ops is nil when turned off
	log             *slog.Logger
}

// openDoors binds every configured address.
func openDoors(settings *config.Config, health *rpc.Health, log *slog.Logger) (_ *doors, err error) {
	d := &doors{log: log}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.http, err = openHTTP("http.addr", settings.HTTP.Addr, health, log); err != nil {
		return nil, err
	}
	if d.ops, err = openHTTP("ops.addr", settings.Ops.Addr, health, log); err != nil {
		return nil, err
	}
	if d.mqtt, err = listen("mqtt.addr", settings.MQTT.Addr); err != nil {
		return nil, err
	}
	d.webSocket, err = listen("mqtt.websocket_addr", settings.MQTT.WebSocketAddr)
	return d, err
}

// listen binds an address; an empty one means that the door is turned off.
func listen(key, address string) (net.Listener, error) {
	if address == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w (is another gateway or broker running there?)", key, err)
	}
	return listener, nil
}

// close closes whatever is still open; every part may be closed already.
func (d *doors) close() {
	for _, listener := range []net.Listener{d.mqtt, d.webSocket} {
		if listener != nil {
			_ = listener.Close()
		}
	}
	for _, door := range []*httpDoor{d.http, d.ops} {
		if door != nil {
			_ = door.server.Close()
		}
	}
}

// serveMQTT lets the broker accept until ctx ends.
func (d *doors) serveMQTT(ctx context.Context, b *broker.Broker) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return b.Run(ctx) })
	if d.mqtt != nil {
		group.Go(func() error { return b.Serve(ctx, d.mqtt) })
	}
	if d.webSocket != nil {
		group.Go(func() error {
			server := rpc.NewHTTPServer(onlyLocal(b.WebSocketHandler()), d.log)
			defer context.AfterFunc(ctx, func() { _ = server.Close() })()
			if err := server.Serve(rpc.Limit(d.webSocket)); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
	}
	return group.Wait()
}

// httpDoor is an address that speaks HTTP. What it serves is replaced once the
// gateway is built.
type httpDoor struct {
	listener net.Listener
	server   *http.Server
	handler  atomic.Pointer[http.Handler]
	ended    chan error // how Serve ended
}

func openHTTP(key, address string, health *rpc.Health, log *slog.Logger) (*httpDoor, error) {
	listener, err := listen(key, address)
	if listener == nil {
		return nil, err
	}
	door := &httpDoor{listener: listener, ended: make(chan error, 1)}
	door.set(rpc.StartingHandler(health))
	door.server = rpc.NewHTTPServer(onlyLocal(door), log)
	go func() { door.ended <- door.server.Serve(rpc.Limit(listener)) }()
	return door, nil
}

func (d *httpDoor) set(handler http.Handler) { d.handler.Store(&handler) }

func (d *httpDoor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*d.handler.Load()).ServeHTTP(w, r)
}

// serve waits until ctx ends, calls stopping, and lets requests under way
// finish.
func (d *httpDoor) serve(ctx context.Context, stopping func()) error {
	select {
	case err := <-d.ended:
		return err
	case <-ctx.Done():
	}
	stopping()
	err := rpc.Shutdown(d.server)
	<-d.ended // http.ErrServerClosed, as asked
	return err
}
