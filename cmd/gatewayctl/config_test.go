package main

import (
	"testing"

	adminv1 "combotto.io/gateway/gen/go/gateway/admin/v1"
)

func TestConfigExplain(t *testing.T) {
	t.Parallel()
	g := &fakeGateway{values: []*adminv1.ConfigValue{
		{Key: "http.addr", Value: "127.0.0.1:8080", Layer: adminv1.ConfigLayer_CONFIG_LAYER_FLAG, Origin: "--http-addr"},
		{Key: "ops.addr", Layer: adminv1.ConfigLayer_CONFIG_LAYER_DEFAULT},
		{Key: "sinks.up.http.token", Secret: true, Layer: adminv1.ConfigLayer_CONFIG_LAYER_FILE, Origin: "gateway.yaml:7"},
	}}
	expect(t, result{Stdout: text(`
		KEY                  VALUE           LAYER    ORIGIN
		http.addr            127.0.0.1:8080  flag     --http-addr
		ops.addr             ""              default  -
		sinks.up.http.token  [redacted]      file     gateway.yaml:7
	`)}, trimmed(command(t, g, "", "config", "explain", "--prefix", "h")))
	if g.prefix != "h" {
		t.Errorf("asked for the prefix %q, want h", g.prefix)
	}
}
