package rpc

import (
	"bytes"
	_ "embed"
	"html/template"
	"net/http"
	"time"
)

//go:embed home.html
var homeHTML string

var homeTemplate = template.Must(template.New("home").Parse(homeHTML))

// Home is what the page at / tells a person who has just started the gateway.
// The admin UI will take its place.
type Home struct {
	GatewayID   string
	Version     string
	StartedAt   string // RFC 3339
	Development bool
	Doors       []HomeDoor
	Commands    []HomeCommand
	Sinks       []HomeSink
}

// HomeDoor is one address that takes messages or answers operators.
type HomeDoor struct{ Name, URL, Note string }

// HomeCommand is one command to copy.
type HomeCommand struct{ Title, Text string }

// HomeSink is one destination and where it writes.
type HomeSink struct{ Name, Kind, Target string }

// homePage renders the page once: nothing on it changes while the gateway runs.
func homePage(home Home) (http.HandlerFunc, error) {
	var page bytes.Buffer
	if err := homeTemplate.Execute(&page, home); err != nil {
		return nil, err
	}
	rendered := time.Now()
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		http.ServeContent(w, r, "", rendered, bytes.NewReader(page.Bytes()))
	}, nil
}
