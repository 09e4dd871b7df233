package config

import (
	"fmt"
	"net"
	"path/filepath"

	"combotto.io/gateway/server/edge"
)

// CheckServe tells whether the gateway may open its doors with this
// configuration. Commands that only read the configuration do not ask.
func (c *Config) CheckServe() error {
	if c.Dev {
		return nil
	}
	return &Error{[]Problem{{
		Key: "dev", Message: "serving without it needs identity, which is not built yet: nobody could be told from anybody else",
		Hint: "for development on this machine use --dev, which listens on loopback only",
	}}}
}

// checkTogether holds values against each other; each of them alone is valid.
func (l *loader) checkTogether(c *Config) {
	l.checkListeners(c)
	if c.Simulate > 0 && c.MQTT.Addr == "" {
		l.fault("simulate", "simulated devices publish over mqtt.addr, which is empty", "set --mqtt-addr, or --simulate 0")
	}
	if len(c.Sinks) > maxSinks {
		l.problems.add(Problem{Key: "sinks", Message: fmt.Sprintf("%d sinks, at most %d are allowed", len(c.Sinks), maxSinks)})
	}
	folders := map[string]string{} // folder -> path of the key that names it
	for index, sink := range c.Sinks {
		path := sinkPath(index)
		if out := sink.Concurrency * sink.Batch.Count; out > edge.MaxLeased {
			l.fault(path+".batch.count", fmt.Sprintf("times concurrency %d is %d, at most %d are allowed", sink.Concurrency, out, edge.MaxLeased), "lower one of the two")
		}
		if lag := path + ".max_lag_bytes"; sink.Required && l.winners[lag].layer != LayerDefault {
			l.fault(lag, "has no effect while required is true", "set required: false as well, if its oldest messages may expire")
		}
		if sink.Kind != KindFile {
			continue
		}
		folder := filepath.Clean(sink.File.Dir)
		if other, taken := folders[folder]; taken {
			l.fault(path+".file.dir", folder+" is also "+other, "give each file sink a folder of its own")
		}
		folders[folder] = path + ".file.dir"
	}
}

// checkListeners also holds development mode to loopback, since it admits
// everybody who can reach it.
func (l *loader) checkListeners(c *Config) {
	taken := map[string]string{} // address -> path of the key that names it
	for _, listener := range []struct{ path, address string }{
		{"http.addr", c.HTTP.Addr}, {"mqtt.addr", c.MQTT.Addr}, {"mqtt.websocket_addr", c.MQTT.WebSocketAddr}, {"ops.addr", c.Ops.Addr},
	} {
		if listener.address == "" {
			continue
		}
		if c.Dev && !isLoopback(listener.address) {
			l.fault(listener.path, "is not a loopback address, and dev admits everybody", "use 127.0.0.1, ::1 or localhost with --dev")
		}
		if other, clash := taken[listener.address]; clash && !anyPort(listener.address) {
			l.fault(listener.path, "is also "+other, "give each listener a port of its own")
		}
		taken[listener.address] = listener.path
	}
}

func anyPort(address string) bool {
	_, port, _ := net.SplitHostPort(address) // the address was checked when it was set
	return port == "0"
}

// fault adds a problem of a key that has a winner.
func (l *loader) fault(path, message, hint string) {
	l.problems.add(Problem{Key: path, Message: message, Origin: l.winners[path].origin, Hint: hint})
}
