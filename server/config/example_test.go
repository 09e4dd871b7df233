package config_test

import (
	"fmt"
	"os"

	"combotto.io/gateway/server/config"
)

func ExampleLoad() {
	settings, explanation, err := config.Load(config.Sources{
		Environ: []string{"GATEWAY_DEV=true", "GATEWAY_HTTP__ADDR=127.0.0.1:9080"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(settings.HTTP.Addr, settings.Sinks[0].Name)
	for _, value := range explanation.Values {
		if value.Layer != config.LayerDefault {
			fmt.Println(value.Key, value.Text, value.Layer, value.Origin)
		}
	}
	// Output:
	// 127.0.0.1:9080 archive
	// dev true environment GATEWAY_DEV
	// http.addr 127.0.0.1:9080 environment GATEWAY_HTTP__ADDR
}

func ExampleExplanation_Render() {
	_, explanation, err := config.Load(config.Sources{Environ: []string{
		"GATEWAY_SINKS__UP__KIND=http", "GATEWAY_SINKS__UP__HTTP__URL=https://up.example", "GATEWAY_SINKS__UP__HTTP__TOKEN=hidden",
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	explanation.Values = explanation.Values[len(explanation.Values)-5:]
	if err := explanation.Render(os.Stdout); err != nil {
		fmt.Println(err)
	}
	// Output:
	// KEY                    VALUE               LAYER        ORIGIN
	// sinks.up.http.url      https://up.example  environment  GATEWAY_SINKS__UP__HTTP__URL
	// sinks.up.http.format   ndjson              default      -
	// sinks.up.http.token    [redacted]          environment  GATEWAY_SINKS__UP__HTTP__TOKEN
	// sinks.up.http.headers  ""                  default      -
	// sinks.up.http.timeout  30s                 default      -
}
