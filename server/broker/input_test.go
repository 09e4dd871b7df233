package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"combotto.io/gateway/server/broker"
	"combotto.io/gateway/server/mqttwire"
)

func hexOf(data []byte) string { return hex.EncodeToString(data) }

// certificates makes a server and a client that trust each other.
func certificates(t *testing.T) (server, client *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	own := []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}
	return &tls.Config{Certificates: own, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert},
		&tls.Config{Certificates: own, RootCAs: pool}
}

func tlsListener(t *testing.T, config *tls.Config) net.Listener {
	return tls.NewListener(listen(t), config)
}

func tlsDial(t *testing.T, address string, config *tls.Config) net.Conn {
	t.Helper()
	socket, err := tls.Dial("tcp", address, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	return socket
}

func TestConnect_Refused(t *testing.T) {
	r := start(t, nil)
	auth := clean(mqttwire.Version5, "auth")
	auth.Properties = mqttwire.Properties{{ID: mqttwire.AuthenticationMethod, Value: []byte("SCRAM")}}
	for name, test := range map[string]struct {
		first string // hex
		want  string // hex, empty when the connection only ends
	}{
		"not CONNECT":               {"c000", ""},
		"not MQTT":                  {"100b0003414243040200000000", ""},
		"GET over HTTP":             {hexOf([]byte("GET / HTTP/1.1\r\n\r\n")), ""},
		"version 6":                 {"100d00044d51545406020000000000", "2003008400"},
		"version 3 by another name": {"100c00044d5154540302000000" + "00", "20020001"},
		"reserved flag":             {"100d00044d51545405030000000000", "2003008100"},
		"empty id with a session":   {"100c00044d5154540400000000" + "00", "20020002"},
		"authentication method":     {hexOf(auth.Append(nil)), "2003008c00"},
		"CONNECT of 17 KiB":         {"10" + "80880144" + "00044d515454", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := dial(t, r.address)
			first, err := hex.DecodeString(test.first)
			if err != nil {
				t.Fatal(err)
			}
			c.send(first)
			if test.want != "" {
				c.expect(test.want)
			}
			c.closed()
		})
	}
}

func TestPacket_Refused(t *testing.T) {
	r := start(t, nil)
	for name, test := range map[string]struct{ packet, want string }{
		"second CONNECT":          {"100d00044d51545405020000000000", "e00182"},
		"CONNACK from a client":   {"2003000000", "e00182"},
		"AUTH":                    {"f000", "e00182"},
		"packet type 0":           {"0000", "e00181"},
		"QoS 3":                   {"360600016100010078", "e00181"},
		"wildcard topic":          {"300600032f232f0078", "e00181"},
		"no topic and no alias":   {"3003000000", "e00181"},
		"unknown topic alias":     {"3006000003230001", "e00182"},
		"topic alias 11":          {"300700016103" + "23000b", "e00194"},
		"subscription id":         {"30060001610" + "20b01", "e00182"},
		"bad UTF-8":               {"30040001ff00", "e00181"},
		"payload is not UTF-8":    {"300700016102" + "0101ff", "e00199"},
		"PUBREL flags":            {"60020001", "e00181"},
		"length of five bytes":    {"30ffffffff01", "e00181"},
		"reason of DISCONNECT":    {"e0018e", "e00182"},
		"session expiry from 0":   {"e007000511000000ff", "e00182"},
		"SUBSCRIBE without":       {"8203000100", "e00182"},
		"UNSUBSCRIBE without":     {"a203000100", "e00182"},
		"acknowledgement of none": {"40020001c000", "d000"},
		"PUBREC of none":          {"50020001", "6203000192"},
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, r.address, clean(mqttwire.Version5, "device"))
			packet, err := hex.DecodeString(test.packet)
			if err != nil {
				t.Fatal(err)
			}
			c.send(packet)
			c.expect(test.want)
			if test.want[:2] == "e0" {
				c.closed()
			}
		})
	}
}

func TestPacket_Size(t *testing.T) {
	r := start(t, nil)
	for extra, want := range map[int]string{-1: "40020001", 0: "40020001", 1: "e00195"} {
		c := connect(t, r.address, clean(mqttwire.Version5, "device"))
		overhead := len(c.publishBytes("x", 1, 1, strings.Repeat("x", 200<<10))) - 200<<10
		c.publish("x", 1, 1, strings.Repeat("x", 256<<10-overhead+extra))
		c.expect(want)
	}
	c := connect(t, r.address, clean(mqttwire.Version311, "device"))
	c.publish("x", 1, 1, strings.Repeat("x", 256<<10))
	c.closed()
}

func TestStatus_Size(t *testing.T) {
	r := start(t, nil)
	c := connect(t, r.address, clean(mqttwire.Version5, "device"))
	for size, want := range map[int]string{1023: "40020001", 1024: "4003000199"} {
		c.publish("devices/dev-1/status", 1, 1, strings.Repeat("x", size))
		c.expect(want)
	}
}

// TestBroker_Garbage sends truncated, bit-flipped and random packets, and expects
// that nobody else is disturbed.
func TestBroker_Garbage(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := mathrand.New(mathrand.NewPCG(seed, seed))
	r := start(t, func(s *broker.Settings) { s.ConnectTimeout = time.Second })
	witness := connect(t, r.address, clean(mqttwire.Version5, "witness"))
	for _, version := range []mqttwire.Version{mqttwire.Version311, mqttwire.Version5} {
		hello := lasting(version, "garbage")
		hello.Will = &mqttwire.Will{Topic: telemetryTopic, Payload: []byte(good)}
		subscribe := mqttwire.SubscribePacket{ID: 1, Filters: []mqttwire.Subscription{{Filter: "a/#", QoS: 2}}}
		publish := mqttwire.PublishPacket{Topic: []byte(telemetryTopic), QoS: 2, ID: 1, Payload: []byte(good)}
		whole := publish.Append(subscribe.Append(hello.Append(nil), version), version)
		for i := range 300 {
			data := append([]byte(nil), whole...)
			switch i % 3 {
			case 0:
				data = data[:random.IntN(len(data))]
			case 1:
				data[random.IntN(len(data))] ^= 1 << random.IntN(8)
			default:
				for at := len(hello.Append(nil)); at < len(data); at++ {
					data[at] = byte(random.Uint32())
				}
			}
			c := dial(t, r.address)
			c.send(data)
			_ = c.socket.(*net.TCPConn).CloseWrite()
			if !c.dropped(patience) {
				t.Fatalf("still open after %x", data)
			}
			_ = c.socket.Close()
		}
	}
	witness.silent()
	connect(t, r.address, clean(mqttwire.Version5, "garbage")).silent()
	r.expectMetric(t, "mqtt_panics_total", "0")
	r.expectMetric(t, "mqtt_connections", fmt.Sprint(2))
}
