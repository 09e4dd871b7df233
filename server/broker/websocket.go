package broker

import (
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"

	"combotto.io/gateway/server/mqttwire"
)

// webSocketProtocol is the subprotocol that the standard asks for.
const webSocketProtocol = "mqtt"

// WebSocketHandler serves MQTT over WebSocket. It is for whoever runs an HTTP
// server to mount; nothing is served unless somebody does. A browser may connect
// only from a page of the same host, and no message may be larger than a packet.
// The handler returns when the connection has ended.
func (b *Broker) WebSocketHandler() http.Handler {
	upgrader := websocket.Upgrader{ // without CheckOrigin it compares Origin with Host
		HandshakeTimeout: b.settings.ConnectTimeout,
		ReadBufferSize:   readBufferBytes,
		WriteBufferSize:  readBufferBytes,
		Subprotocols:     []string{webSocketProtocol},
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(websocket.Subprotocols(r), webSocketProtocol) {
			http.Error(w, "the subprotocol must be "+webSocketProtocol, http.StatusBadRequest)
			return
		}
		upgraded, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			b.metrics.refused(mqttwire.NotAuthorized)
			return // Upgrade has answered
		}
		upgraded.SetReadLimit(int64(b.settings.MaxPacketBytes))
		if ctx, c := b.register(&webSocket{Conn: upgraded}); c != nil {
			defer b.unregister(c)
			b.serve(ctx, c)
		}
	})
}

// webSocket is a stream of the bytes in binary messages.
type webSocket struct {
	*websocket.Conn
	message io.Reader // nil between messages
}

// Read implements [net.Conn].
func (s *webSocket) Read(data []byte) (int, error) {
	for {
		if s.message == nil {
			kind, message, err := s.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, mqttwire.Refuse(mqttwire.ProtocolError, "a WebSocket message that is not binary")
			}
			s.message = message
		}
		n, err := s.message.Read(data)
		if err == io.EOF {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// Write implements [net.Conn].
func (s *webSocket) Write(data []byte) (int, error) {
	if err := s.WriteMessage(websocket.BinaryMessage, data); err != nil {
		return 0, err
	}
	return len(data), nil
}

// SetDeadline implements [net.Conn].
func (s *webSocket) SetDeadline(at time.Time) error {
	if err := s.SetReadDeadline(at); err != nil {
		return err
	}
	return s.SetWriteDeadline(at)
}

var _ net.Conn = (*webSocket)(nil)
