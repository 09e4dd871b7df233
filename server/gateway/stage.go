package gateway

import (
	"context"
	"errors"
	"fmt"
)

// stage is a part of the gateway that runs until its context ends and returns
// when its goroutines are gone.
type stage struct {
	name string
	run  func(ctx context.Context) error
}

// runStages starts the stages in order and, when ctx ends or one of them fails,
// stops them in reverse order: each is told to stop only when every later one
// has returned. So the doors are closed while the queue can still answer, and
// the queue outlives everybody who uses it.
//
// An error that abandon accepts ends everything at once: nothing is told to
// stop, because stopping in order could make the damage worse. The caller must
// exit the process then.
func runStages(ctx context.Context, stages []stage, stopping func(), abandon func(error) bool) error {
	type end struct {
		index int
		err   error
	}
	ends := make(chan end, len(stages))
	cancels := make([]context.CancelFunc, len(stages))
	for i, s := range stages {
		stageCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancels[i] = cancel
		defer cancel()
		go func() { ends <- end{i, s.run(stageCtx)} }()
	}
	ended := make([]bool, len(stages))
	var failures []error
	note := func(e end) {
		ended[e.index] = true
		if e.err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", stages[e.index].name, e.err))
		}
	}
	select {
	case <-ctx.Done():
	case e := <-ends:
		if note(e); e.err == nil {
			failures = append(failures, fmt.Errorf("%s: ended unexpectedly", stages[e.index].name))
		}
	}
	stopping()
	for i := len(stages) - 1; i >= 0; i-- {
		for cancels[i](); !ended[i] && !abandonAny(failures, abandon); {
			note(<-ends)
		}
	}
	return errors.Join(failures...)
}

func abandonAny(failures []error, abandon func(error) bool) bool {
	for _, err := range failures {
		if abandon(err) {
			return true
		}
	}
	return false
}
