package rpc

import (
	"encoding/json"
	"net/http"
	"sync"
)

// Health answers /healthz and /readyz. It exists before anything else is built,
// so that a start that takes time can be watched.
type Health struct {
	mu       sync.Mutex
	names    []string
	checks   map[string]func() Part // by name; nil until the part is built
	stopping bool
	failed   string
}

// Part is one component as /readyz shows it.
type Part struct {
	Name     string `json:"name"`
	Ready    bool   `json:"ready"`
	Degraded bool   `json:"degraded,omitempty"` // works, but something it depends on does not
	Detail   string `json:"detail,omitempty"`
}

// Details that a part shows while it is not at work; any other detail of a part
// that is not ready is a fault.
const (
	PartStarting = "starting"
	PartStopping = "stopping"
)

// NewHealth awaits every named part.
func NewHealth(names ...string) *Health {
	return &Health{names: names, checks: map[string]func() Part{}}
}

// Report has check asked about a part from now on. It must be quick, and must
// not look at the world outside: a sink that is down is degraded, not unready.
func (h *Health) Report(name string, check func() Part) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks[name] = check
}

// Stop makes /readyz answer 503 from now on.
func (h *Health) Stop() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.stopping = true
}

// Fail makes /healthz answer 500: the process can not serve any more.
func (h *Health) Fail(why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = why
}

// Ready reports whether every part is ready, and the parts.
func (h *Health) Ready() (bool, []Part) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ready, parts := h.failed == "", make([]Part, 0, len(h.names))
	for _, name := range h.names {
		part := Part{Detail: PartStarting}
		switch check := h.checks[name]; {
		case h.stopping:
			part.Detail = PartStopping
		case check != nil:
			part = check()
		}
		part.Name = name
		ready = ready && part.Ready
		parts = append(parts, part)
	}
	return ready, parts
}

func (h *Health) healthz(w http.ResponseWriter, _ *http.Request) {
	h.mu.Lock()
	failed := h.failed
	h.mu.Unlock()
	if failed != "" {
		writeJSON(w, http.StatusInternalServerError, map[string]string{"status": "failed", "detail": failed})
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
}

func (h *Health) readyz(w http.ResponseWriter, _ *http.Request) {
	ready, parts := h.Ready()
	status, word := http.StatusOK, "ready"
	if !ready {
		status, word = http.StatusServiceUnavailable, "not_ready"
	}
	writeJSON(w, status, struct {
		Status string `json:"status"`
		Parts  []Part `json:"parts"`
	}{word, parts})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client is gone, there is nobody to tell
}
