package broker_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"combotto.io/gateway/server/mqttwire"
)

func TestGuard_M26WebSocket(t *testing.T) {
	t.Parallel()
	scenario := func(t testing.TB, address string) {
		socket, _, err := webSocketDial(address, "http://evil.example")
		if err == nil {
			_ = socket.Close()
			t.Fatal("a page of another site may connect")
		}
	}
	r := start(t, nil)
	server := httptest.NewServer(r.WebSocketHandler())
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	scenario(t, address)
	bypassed(t, "websocket", scenario)

	t.Run("same site", func(t *testing.T) {
		socket := welcomeOverWebSocket(t, address, "http://"+address)
		packet := mqttwire.PublishPacket{Topic: []byte(telemetryTopic), QoS: 1, ID: 7, Payload: []byte(good)}
		publish := packet.Append(nil, mqttwire.Version5)
		exchange(t, socket, publish[:5], "") // packets need not keep to messages
		exchange(t, socket, publish[5:], "40020007")
		exchange(t, socket, []byte(mqttwire.PingreqPacket+mqttwire.PingreqPacket), "d000d000")
	})
	t.Run("large message", func(t *testing.T) {
		socket := welcomeOverWebSocket(t, address, "")
		_ = socket.WriteMessage(websocket.BinaryMessage, make([]byte, 256<<10+1)) // refused while it is written
		wantWebSocketEnd(t, socket)
	})
	t.Run("text", func(t *testing.T) {
		socket := welcomeOverWebSocket(t, address, "")
		if err := socket.WriteMessage(websocket.TextMessage, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		wantWebSocketEnd(t, socket)
	})
	t.Run("other subprotocol", func(t *testing.T) {
		_, response, err := websocket.DefaultDialer.Dial("ws://"+address, nil)
		if err == nil || response == nil || response.StatusCode != http.StatusBadRequest {
			t.Errorf("got %v, %v", response, err)
		}
	})
}

func webSocketDial(address, origin string) (*websocket.Conn, *http.Response, error) {
	dialer := websocket.Dialer{Subprotocols: []string{"mqtt"}, HandshakeTimeout: patience}
	header := http.Header{}
	if origin != "" {
		header.Set("Origin", origin)
	}
	return dialer.Dial("ws://"+address+"/", header)
}

func welcomeOverWebSocket(t *testing.T, address, origin string) *websocket.Conn {
	t.Helper()
	socket, _, err := webSocketDial(address, origin)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	packet := clean(mqttwire.Version5, "browser")
	exchange(t, socket, packet.Append(nil), "20")
	return socket
}

// exchange sends bytes and compares what comes back, given as a prefix in hex;
// nothing is awaited without one.
func exchange(t *testing.T, socket *websocket.Conn, data []byte, prefix string) {
	t.Helper()
	if err := socket.WriteMessage(websocket.BinaryMessage, data); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for len(got)*2 < len(prefix) {
		_ = socket.SetReadDeadline(time.Now().Add(patience))
		_, message, err := socket.ReadMessage()
		if err != nil {
			t.Fatalf("after %x: %v", got, err)
		}
		got = append(got, message...)
	}
	if !strings.HasPrefix(hexOf(got), prefix) {
		t.Fatalf("got %x, want %s", got, prefix)
	}
}

func wantWebSocketEnd(t *testing.T, socket *websocket.Conn) {
	t.Helper()
	_ = socket.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, _, err := socket.ReadMessage(); err != nil {
			if timeout, ok := err.(interface{ Timeout() bool }); ok && timeout.Timeout() {
				t.Error("still open")
			}
			return
		}
	}
}
