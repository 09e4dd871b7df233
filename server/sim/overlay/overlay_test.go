package overlay_test

import (
	"strings"
	"testing"

	"combotto.io/gateway/server/sim/overlay"
)

// here is a text of this package that overlays of the test replace.
const here = "func Root() (string, error) {"

func TestOverlay_Compile(t *testing.T) {
	root, err := overlay.Root()
	if err != nil {
		t.Fatal(err)
	}
	compile := func(o overlay.Overlay) error { return o.Compile(t.Context(), root, t.TempDir()) }
	change := func(old, instead string) overlay.Overlay {
		return overlay.Overlay{Changes: []overlay.Change{{File: "server/sim/overlay/overlay.go", Old: old, New: instead}}}
	}
	t.Run("WhatCompiles", func(t *testing.T) {
		whole := change(here, "const planted = added\n\n"+here)
		whole.Added = map[string]string{"server/sim/overlay/added.go": "package overlay\n\nconst added = 1\n"}
		if err := compile(whole); err != nil {
			t.Error(err)
		}
	})
	t.Run("WhatDoesNot", func(t *testing.T) {
		if err := compile(change(here, "const planted = added\n\n"+here)); err == nil || !strings.Contains(err.Error(), "undefined: added") {
			t.Errorf("got %v, want an error of the compiler", err)
		}
	})
	t.Run("TextIsGone", func(t *testing.T) {
		if err := compile(change("func Root() int {", "")); err == nil || !strings.Contains(err.Error(), "holds this text 0 times") {
			t.Errorf("got %v, want an error that says which text is gone", err)
		}
	})
}
