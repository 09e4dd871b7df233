package queue_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"combotto.io/gateway/server/edge"
	"combotto.io/gateway/server/observe"
	"combotto.io/gateway/server/queue"
	"combotto.io/gateway/server/sqlite"
)

// telemetry is a realistic message of 174 bytes; no two are alike.
func telemetry(device, n int) []byte {
	text := fmt.Appendf(nil, `{"schema_version":1,"boot_id":"b%03d","sequence":%d,"observed_at_ms":%d,"metrics":{"temperature_c":%.2f,"humidity":%.1f,"battery_mv":%d,"rssi":%d}`,
		device, n, 1790000000000+n*17, 20+float64(n*7919%1000)/100, 40+float64(n*104729%300)/10, 3300+n*31%700, -40-n*13%60)
	for len(text) < 173 {
		text = append(text, ' ')
	}
	return append(text, '}')
}

// window is a connection with a number of unanswered messages, like those of a
// benchmark over MQTT.
type window struct {
	mu      sync.Mutex
	changed sync.Cond
	free    int
	failed  error
	asked   bool
}

func (w *window) Reply(_ uint64, _ edge.Receipt, err error) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free++
	if err != nil {
		w.failed = err
	}
	asked := w.asked
	w.asked = true
	return !asked
}

func (w *window) Flush() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = false
	w.changed.Signal()
}

// BenchmarkQueue_Append measures durable messages per second with as many
// unanswered messages as a row says, over 50 connections, identity window,
// compression and receipts included. No sink delivers.
func BenchmarkQueue_Append(b *testing.B) {
	for _, unanswered := range []int{50, 500, 5000, 20000} {
		b.Run(fmt.Sprintf("unanswered=%d", unanswered), func(b *testing.B) {
			q, err := queue.Open(b.Context(), queue.Settings{Path: filepath.Join(b.TempDir(), "queue.db")}, observe.NewDiscard())
			if err != nil {
				b.Fatal(err)
			}
			ids, err := q.EnsureSinks(b.Context(), []queue.SinkSpec{{Name: "paused", Kind: "http"}})
			if err != nil {
				b.Fatal(err)
			}
			ctx, cancel := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- q.Run(ctx) }()
			const connections = 50
			payloads := make([][][]byte, connections)
			for c := range payloads {
				for n := range b.N/connections + 1 {
					payloads[c] = append(payloads[c], telemetry(c, n))
				}
			}
			b.ReportAllocs()
			b.ResetTimer()
			var publishers sync.WaitGroup
			for c := range connections {
				publishers.Go(func() { publish(b, q, c, unanswered/connections, payloads[c], ids) })
			}
			publishers.Wait()
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			cancel()
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

func publish(b *testing.B, q *queue.Queue, connection, unanswered int, payloads [][]byte, owed []edge.SinkID) {
	w := &window{free: unanswered}
	w.changed.L = &w.mu
	device, boot := edge.DeviceID(fmt.Sprintf("device-%02d", connection)), fmt.Sprintf("b%03d", connection)
	for n, payload := range payloads {
		w.mu.Lock()
		for w.free == 0 {
			w.changed.Wait()
		}
		w.free--
		w.mu.Unlock()
		entry := edge.Entry{
			Record: edge.Record{
				Device: device, Source: edge.SourceMQTT, Encoding: edge.EncodingJSON, ReceivedAt: time.Now(),
				Identity: edge.Identity{BootID: boot, Sequence: uint64(n), HasSequence: true}, Payload: payload,
			},
			Owed: owed, Replier: w,
		}
		if err := q.Append(b.Context(), entry); err != nil {
			b.Error(err)
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.free < unanswered {
		w.changed.Wait()
	}
	if w.failed != nil {
		b.Error(w.failed)
	}
}

// BenchmarkRowPerMessage is what the same file does with one row per message and
// nothing else: no identity, no receipt, no sink.
func BenchmarkRowPerMessage(b *testing.B) {
	for _, perCommit := range []int{1, 64, 256, 1024, 4096} {
		b.Run(fmt.Sprintf("commit=%d", perCommit), func(b *testing.B) {
			db, err := sqlite.Open(b.Context(), sqlite.Settings{Path: filepath.Join(b.TempDir(), "rows.db"), Migrations: rowSchema})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			payload := telemetry(1, 1)
			b.ResetTimer()
			for done := 0; done < b.N; {
				err := db.Write(b.Context(), func(conn *sqlite.Conn) error {
					for range min(perCommit, b.N-done) {
						done++
						if err := conn.Exec("INSERT INTO message(device, received, payload) VALUES(?, ?, ?)", "device-01", int64(done), payload); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
				if done/perCommit%64 == 63 {
					if _, err := db.Checkpoint(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
