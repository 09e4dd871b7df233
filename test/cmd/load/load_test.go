package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestPacket(t *testing.T) {
	template := newPacket(4, "load-00007", "abcdef01")
	seen := map[string]bool{}
	for sequence := range uint32(2000) {
		packet := template.appendTo(nil, 7, sequence)
		text := string(packet[len(packet)-payloadBytes:])
		var message struct {
			BootID   string         `json:"boot_id"`
			Sequence uint64         `json:"sequence"`
			Metrics  map[string]any `json:"metrics"`
		}
		if err := json.Unmarshal([]byte(text), &message); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if message.BootID != "abcdef01" || message.Sequence != firstSequence+uint64(sequence) || len(message.Metrics) != 5 {
			t.Fatalf("sequence %d: %s", sequence, text)
		}
		metrics := text[strings.Index(text, "metrics"):]
		if seen[metrics] {
			t.Fatalf("sequence %d repeats %s", sequence, metrics)
		}
		seen[metrics] = true
		if again := template.appendTo(nil, 7, sequence); string(again) != string(packet) {
			t.Fatalf("sequence %d is encoded differently the second time", sequence)
		}
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.observe(time.Duration(i+1)*time.Millisecond, 1)
	}
	for share, want := range map[float64]float64{0.5: 500, 0.99: 990, 1: 1000} {
		if got := h.quantile(share); got < want || got > want*1.13 {
			t.Errorf("quantile %v is %v ms, want %v or up to an eighth above", share, got, want)
		}
	}
}

// BenchmarkAppend is what one message costs before the kernel sees it.
func BenchmarkAppend(b *testing.B) {
	template, out := newPacket(4, "load-00007", "abcdef01"), make([]byte, 0, 1024)
	for i := 0; b.Loop(); i++ {
		out = template.appendTo(out[:0], uint16(i), uint32(i))
	}
}
