package gateway

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// until returns a stage that notes its end in log and then returns err.
func until(log chan<- string, name string, err error) stage {
	return stage{name, func(ctx context.Context) error {
		<-ctx.Done()
		log <- name
		return err
	}}
}

func drain(log chan string) (lines []string) {
	close(log)
	for line := range log {
		lines = append(lines, line)
	}
	return lines
}

func never(error) bool { return false }

func TestRunStages(t *testing.T) {
	t.Run("StopsInReverseOrder", func(t *testing.T) {
		log := make(chan string, 9)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := runStages(ctx, []stage{until(log, "queue", nil), until(log, "dispatch", nil), until(log, "doors", nil)},
			func() { log <- "stopping" }, never)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"stopping", "doors", "dispatch", "queue"}, drain(log)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("AFailureStopsTheOthers", func(t *testing.T) {
		log := make(chan string, 9)
		broken := errors.New("broken")
		failing := stage{"dispatch", func(context.Context) error { return broken }}
		err := runStages(t.Context(), []stage{until(log, "queue", nil), failing, until(log, "doors", nil)}, func() {}, never)
		if !errors.Is(err, broken) || !strings.Contains(err.Error(), "dispatch: broken") {
			t.Errorf("got %v", err)
		}
		if diff := cmp.Diff([]string{"doors", "queue"}, drain(log)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("AnEndWithoutCauseIsAFailure", func(t *testing.T) {
		ends := stage{"doors", func(context.Context) error { return nil }}
		if err := runStages(t.Context(), []stage{ends}, func() {}, never); err == nil || !strings.Contains(err.Error(), "doors: ended unexpectedly") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("AFatalErrorWaitsForNobody", func(t *testing.T) {
		fatal := errors.New("disk gone")
		release := make(chan struct{})
		stuck := stage{"doors", func(context.Context) error { <-release; return nil }}
		defer close(release)
		err := runStages(t.Context(), []stage{{"queue", func(context.Context) error { return fatal }}, stuck}, func() {},
			func(err error) bool { return errors.Is(err, fatal) })
		if !errors.Is(err, fatal) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("EveryFailureIsReported", func(t *testing.T) {
		log := make(chan string, 9)
		first, second := errors.New("first"), errors.New("second")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := runStages(ctx, []stage{until(log, "a", first), until(log, "b", second)}, func() {}, never)
		if !errors.Is(err, first) || !errors.Is(err, second) {
			t.Errorf("got %v", err)
		}
		if got := drain(log); !slices.Equal(got, []string{"b", "a"}) {
			t.Errorf("got %v", got)
		}
	})
}
