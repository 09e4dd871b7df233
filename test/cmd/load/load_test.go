package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/test/rawmqtt"
	"combotto.io/gateway/test/telemetry"
)

func TestPacket(t *testing.T) {
	const device, bootID, number = "load-00007", "abcdef01", 1999
	series := telemetry.NewSeries(device, bootID)
	payload := series.Template()
	series.Fill(payload, number)
	for _, version := range []byte{rawmqtt.Version311, rawmqtt.Version5} {
		want := rawmqtt.Publish(version, "devices/"+device+"/telemetry", 7, payload)
		if got := newPacket(version, device, bootID).appendTo(nil, 7, number); string(got) != string(want) {
			t.Errorf("version %d:\n%q, want\n%q", version, got, want)
		}
	}
}

func TestSettings_MessageOf(t *testing.T) {
	plain, repeating := &settings{}, &settings{repeat: 3}
	var messages, repeated []uint32
	for number := range int64(8) {
		messages, repeated = append(messages, plain.messageOf(number)), append(repeated, repeating.messageOf(number))
	}
	if diff := cmp.Diff([]uint32{0, 1, 2, 3, 4, 5, 6, 7}, messages); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]uint32{0, 1, 1, 2, 3, 3, 4, 5}, repeated); diff != "" {
		t.Error(diff)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.observe(time.Duration(i+1)*time.Millisecond, 1)
	}
	for share, want := range map[float64]float64{0.5: 500, 0.99: 990, 1: 1000} {
		if got := h.quantile(share); got < want || got > want*1.04 {
			t.Errorf("quantile %v is %v ms, want %v or up to a 32nd above", share, got, want)
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
