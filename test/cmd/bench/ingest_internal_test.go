package main

import (
	"testing"

	"combotto.io/gateway/test/harness"
)

// TestBlocking compiles what make bench builds: nothing else does.
func TestBlocking(t *testing.T) {
	harness.Must(t, harness.CompileOverlay(t.Context(), blocking))
}
