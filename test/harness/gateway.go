package harness

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Gateway is a gateway with a data folder, which may be started many times.
type Gateway struct {
	Binary   string // path of the program; NewGateway takes the ordinary one
	Dir      string // holds everything of this gateway
	Volume   string // holds its data and what the file sink writes; empty is Dir
	HTTPAddr string
	MQTTAddr string
	Config   string   // YAML; empty starts without a file
	Args     []string // further flags of serve
	Env      []string // further variables
	Wrapper  []string // command that runs the gateway's, such as strace with its flags

	process *Process
}

// NewGateway prepares a gateway in development mode, on free ports, below dir.
// Nothing runs before Start.
func (b *Binaries) NewGateway(dir string) (*Gateway, error) {
	http, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	mqtt, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	return &Gateway{Binary: b.Path("gateway"), Dir: dir, HTTPAddr: http, MQTTAddr: mqtt, Args: []string{"--dev"}}, nil
}

// DataDir returns the data folder.
func (g *Gateway) DataDir() string { return filepath.Join(cmp.Or(g.Volume, g.Dir), "data") }

// OutDir returns the folder of the file sink of SinksYAML.
func (g *Gateway) OutDir() string { return filepath.Join(cmp.Or(g.Volume, g.Dir), "out") }

// URL returns an address below the HTTP listener.
func (g *Gateway) URL(path string) string { return "http://" + g.HTTPAddr + path }

// FileSinkYAML configures the sink "archive", which writes to OutDir.
func (g *Gateway) FileSinkYAML() string {
	return fmt.Sprintf("  - {name: archive, kind: file, file: {dir: %q}}\n", g.OutDir())
}

// HTTPSinkYAML configures a sink that posts NDJSON to an address.
func HTTPSinkYAML(name, address string) string {
	return fmt.Sprintf("  - {name: %s, kind: http, http: {url: \"http://%s/ingest\", format: ndjson}}\n", name, address)
}

// SetSinks makes the configuration from lines of FileSinkYAML and HTTPSinkYAML.
func (g *Gateway) SetSinks(sinks ...string) {
	g.Config = "gateway_id: e2e\nsinks:\n" + strings.Join(sinks, "")
}

// Launch starts the process and does not wait for it to be ready.
func (g *Gateway) Launch() (*Process, error) {
	args := []string{"serve", "--data-dir", g.DataDir(), "--http-addr", g.HTTPAddr, "--mqtt-addr", g.MQTTAddr}
	if g.Config != "" {
		path := filepath.Join(g.Dir, "gateway.yaml")
		if err := os.WriteFile(path, []byte(g.Config), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "--config", path)
	}
	line := slices.Concat(g.Wrapper, []string{g.Binary}, args, g.Args)
	command := exec.Command(line[0], line[1:]...)
	// A collector of the machine's must not get into a test.
	command.Env = append(withoutPrefix(os.Environ(), "OTEL_", "GATEWAY_"), g.Env...)
	return Start("gateway", filepath.Join(g.Dir, "gateway.log"), command)
}

func withoutPrefix(environment []string, prefixes ...string) []string {
	var kept []string
variables:
	for _, variable := range environment {
		for _, prefix := range prefixes {
			if strings.HasPrefix(variable, prefix) {
				continue variables
			}
		}
		kept = append(kept, variable)
	}
	return kept
}

// startLimit is how long a gateway may take to be ready.
const startLimit = 20 * time.Second

// startInterval is how often it is asked, so that a benchmark can tell how long
// it took.
const startInterval = 2 * time.Millisecond

// Begin starts the process as Start does, and does not wait.
func (g *Gateway) Begin() error {
	process, err := g.Launch()
	if err != nil {
		return err
	}
	g.process = process
	return nil
}

// Start starts the process and waits until it is ready.
func (g *Gateway) Start(ctx context.Context) error {
	if err := g.Begin(); err != nil {
		return err
	}
	process := g.process
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	err := pollEvery(ctx, startInterval, "a ready gateway", func() (bool, error) {
		select {
		case <-process.Exited():
			cancel()
			return false, errors.New("the process has ended")
		default:
		}
		status, err := g.get(ctx, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz answers %d", status)
		}
		return err == nil, err
	})
	if err != nil {
		return errors.Join(err, process.Kill(), errors.New(process.LogTail()))
	}
	return nil
}

func (g *Gateway) get(ctx context.Context, path string) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL(path), nil)
	if err != nil {
		return 0, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	return response.StatusCode, response.Body.Close()
}

// Process returns the process of the last Start.
func (g *Gateway) Process() *Process { return g.process }

// Kill ends the gateway with SIGKILL. It may be called when nothing runs.
func (g *Gateway) Kill() error {
	if g.process == nil {
		return nil
	}
	return g.process.Kill()
}

// stopLimit is how long an orderly stop may take before a test gives up on it.
const stopLimit = 30 * time.Second

// Stop ends the gateway with SIGTERM and returns its exit code.
func (g *Gateway) Stop(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	return g.process.Terminate(ctx)
}

// Metrics reads /metrics: value by name with labels, as they are written there.
func (g *Gateway) Metrics(ctx context.Context) (map[string]float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, g.URL("/metrics"), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("/metrics answers %d", response.StatusCode)
	}
	values := map[string]float64{}
	for scanner := bufio.NewScanner(response.Body); ; {
		if !scanner.Scan() {
			return values, scanner.Err()
		}
		name, text, found := cutLast(scanner.Text(), " ")
		if value, err := strconv.ParseFloat(text, 64); found && err == nil && !strings.HasPrefix(name, "#") {
			values[name] = value
		}
	}
}

// AwaitDrained waits until nothing is owed to any sink any more.
func (g *Gateway) AwaitDrained(ctx context.Context) error {
	return Poll(ctx, "empty queues", func() (bool, error) {
		values, err := g.Metrics(ctx)
		if err != nil {
			return false, err
		}
		sinks, waiting := 0, 0.0
		for name, value := range values {
			if strings.HasPrefix(name, "gateway_queue_depth_messages{") {
				sinks++
				waiting += value
			}
		}
		return sinks > 0 && waiting == 0, fmt.Errorf("%.0f deliveries wait for %d sinks", waiting, sinks)
	})
}

func cutLast(text, separator string) (before, after string, found bool) {
	i := strings.LastIndex(text, separator)
	if i < 0 {
		return text, "", false
	}
	return text[:i], text[i+len(separator):], true
}
