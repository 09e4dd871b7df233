package observe_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/observe"
)

func TestObserver_Log(t *testing.T) {
	trace, _ := observe.ParseTraceParent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ctx := observe.WithCorrelation(observe.ContextWith(t.Context(), trace), "0197")
	ids := map[string]any{
		"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331", "correlation_id": "0197",
	}
	tests := map[string]struct {
		write func(log *slog.Logger)
		want  map[string]any
	}{
		"NothingInTheContext": {
			write: func(log *slog.Logger) { log.InfoContext(t.Context(), "hello", "n", 1) },
			want:  map[string]any{"level": "INFO", "msg": "hello", "n": 1.0},
		},
		"IDs": {
			write: func(log *slog.Logger) { log.ErrorContext(ctx, "hello", "error", errors.New("no")) },
			want:  with(ids, "level", "ERROR", "msg", "hello", "error", "no"),
		},
		"AttributesStay": {
			write: func(log *slog.Logger) { log.With("sink", "archive").InfoContext(ctx, "hello") },
			want:  with(ids, "level", "INFO", "msg", "hello", "sink", "archive"),
		},
		"IDsStayOutOfGroups": {
			write: func(log *slog.Logger) {
				log.With("a", 1).WithGroup("g").With("b", 2).WithGroup("h").InfoContext(ctx, "hello", "c", 3)
			},
			want: with(ids, "level", "INFO", "msg", "hello", "a", 1.0,
				"g", map[string]any{"b": 2.0, "h": map[string]any{"c": 3.0}}),
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			observer, log := newObserver(t)
			test.write(observer.Log)
			var got map[string]any
			if err := json.Unmarshal(log.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			delete(got, "time")
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func with(base map[string]any, pairs ...any) map[string]any {
	all := make(map[string]any)
	for key, value := range base {
		all[key] = value
	}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i].(string)] = pairs[i+1]
	}
	return all
}

func TestObserver_Log_Level(t *testing.T) {
	var log bytes.Buffer
	level := new(slog.LevelVar)
	level.Set(slog.LevelWarn)
	observer, err := observe.New(t.Context(), observe.Settings{LogWriter: &log, LogLevel: level})
	if err != nil {
		t.Fatal(err)
	}
	observer.Log.Info("too low")
	if log.Len() > 0 {
		t.Errorf("logged %s", &log)
	}
	level.Set(slog.LevelDebug)
	observer.Log.Debug("low enough now")
	if log.Len() == 0 {
		t.Error("the level cannot be turned")
	}
}
