package queuefile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"combotto.io/gateway/server/edge"
)

const testLog = 0x2A5

func codec(t testing.TB) (*Encoder, *Decoder) {
	t.Helper()
	encoder, err := NewEncoder()
	if err != nil {
		t.Fatal(err)
	}
	decoder, err := NewDecoder(&Logs{Current: testLog})
	if err != nil {
		t.Fatal(err)
	}
	return encoder, decoder
}

// samples are records with everything that a record can have, at first and up.
func samples(first edge.Position) (records []edge.Record, owed []uint32) {
	at := time.Date(2026, 11, 22, 18, 0, 0, 123456000, time.UTC)
	records = []edge.Record{
		{Device: "dev-1", Source: edge.SourceMQTT, Encoding: edge.EncodingJSON, ReceivedAt: at, Payload: []byte(`{"a":1}`)},
		{
			Device: "dev-2", Source: edge.SourceRPC, Encoding: edge.EncodingProtobuf, ReceivedAt: at.Add(-time.Hour), Verified: true, Revision: 3,
			Identity:    edge.Identity{MessageID: "m", BootID: "b-1", Sequence: edge.MaxSequence, HasSequence: true, Explicit: true},
			TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Payload: []byte("\x00\xff"),
		},
		{Device: "dev-1", Source: edge.SourceBridge, Encoding: edge.EncodingJSON, ReceivedAt: at.Add(time.Minute), Identity: edge.Identity{Sequence: 0, HasSequence: true}, Payload: []byte{}},
		{Device: "dev-1", Source: edge.SourceHTTP, Encoding: edge.EncodingJSON, Identity: edge.Identity{BootID: "b-1", Sequence: 7, HasSequence: true}, Payload: bytes.Repeat([]byte("long "), 2000)},
	}
	for i := range records {
		record := &records[i]
		record.Position = first + edge.Position(i)
		record.Correlation = edge.NewCorrelationID(record.ReceivedAt, record.Position, 0, testLog)
		owed = append(owed, uint32(i*i+1))
	}
	return records, owed
}

func encode(e *Encoder, records []edge.Record, owed []uint32) []byte {
	e.Reset()
	for i := range records {
		e.Add(&records[i], owed[i])
	}
	return e.Body(records[0].Position)
}

func TestDecoder_Decode(t *testing.T) {
	encoder, decoder := codec(t)

	t.Run("ReturnsWhatWasEncoded", func(t *testing.T) {
		records, owed := samples(1 << 40)
		for count := 1; count <= len(records); count++ { // small frames stay uncompressed
			got, err := decoder.decode(1<<40, count, encode(encoder, records[:count], owed))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(records[:count], got.Records); diff != "" {
				t.Errorf("%d records: %s", count, diff)
			}
			if diff := cmp.Diff(owed[:count], got.Owed); diff != "" {
				t.Errorf("%d records: %s", count, diff)
			}
		}
	})

	t.Run("KnowsWhetherAllAreOwedAlike", func(t *testing.T) {
		records, _ := samples(1)
		for _, row := range []struct{ first, second, want uint32 }{{5, 5, 5}, {5, 6, OwedMixed}, {1, 2, OwedMixed}} {
			encode(encoder, records[:3], []uint32{row.first, row.second, row.second})
			if encoder.owed != row.want {
				t.Errorf("sets %d and %d: got %d, want %d", row.first, row.second, encoder.owed, row.want)
			}
		}
	})

	t.Run("NoticesEveryFlippedBit", func(t *testing.T) {
		records, owed := samples(1)
		body := encode(encoder, records, owed)
		for bit := range 8 * len(body) {
			flipped := bytes.Clone(body)
			flipped[bit/8] ^= 1 << (bit % 8)
			var damage *DamageError
			if _, err := decoder.decode(1, len(records), flipped); !errors.As(err, &damage) || damage.Frame != 1 {
				t.Fatalf("bit %d: got %v, want a DamageError", bit, err)
			}
		}
		for size := range body {
			if _, err := decoder.decode(1, len(records), body[:size]); err == nil {
				t.Fatalf("the first %d bytes were accepted", size)
			}
		}
	})

	t.Run("NoticesAnotherPlace", func(t *testing.T) {
		records, owed := samples(1)
		body := encode(encoder, records, owed)
		for _, place := range []struct{ first, count int }{{2, 4}, {1, 3}, {1, 5}, {1, 0}, {1, -1}, {1, math.MaxInt}} {
			if _, err := decoder.decode(edge.Position(place.first), place.count, body); err == nil {
				t.Errorf("accepted as %d records at %d", place.count, place.first)
			}
		}
	})
}

// TestDecoder_Decode_Version1 reads what the first schema has stored.
func TestDecoder_Decode_Version1(t *testing.T) {
	_, decoder := codec(t)
	stored := []byte{1, codecRaw, 22,
		flagBootID | flagSequence, 0x11, 0, 1, 'd', 2, 5, 0, 1, 'b', 7, 1, 'x', // received 1 us after 1970, owed set 5, sequence 7
		flagBootID | flagSequence, 0x11, 1, 0, 5, 1, 9, 0}
	stored[2] = byte(len(stored) - 3)
	got, err := decoder.decode(1, 2, binary.LittleEndian.AppendUint64(stored, checksum(1, 2, stored)))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []uint64{7, 9} {
		if record := got.Records[i]; record.Identity.Sequence != want || record.Device != "d" || record.Identity.BootID != "b" || got.Owed[i] != 5 {
			t.Errorf("got %+v, owed set %d", record, got.Owed[i])
		}
	}
}

// FuzzDecoder_Decode gives frames whose checksum is right, because no others
// reach the decoder's inside.
func FuzzDecoder_Decode(f *testing.F) {
	encoder, decoder := codec(f)
	records, owed := samples(1)
	for count := 1; count <= len(records); count++ {
		body := encode(encoder, records[:count], owed)
		f.Add(count, body[:len(body)-checksumBytes])
	}
	f.Add(1, []byte{frameVersion, codecRaw, 6, 0, 0, 0, 0, 0, 0})
	f.Add(2, []byte{frameVersion, codecRaw, 14, flagBootID, 0x11, 0, 1, 'd', 0, 1, 2, 0, 0x11, 1, 0, 1, 0})
	f.Add(1, []byte{frameVersion, codecZstd, 0xFF, 0xFF, 0xFF, 0x0F, 0x28, 0xB5, 0x2F, 0xFD})
	f.Add(1, []byte{frameVersion, codecRaw, 4, flagSame, 0, 0, 0}) // like no record before
	f.Add(2, []byte{1, codecRaw, 14, flagSequence, 0x11, 0, 1, 'd', 0, 1, 9, 0, 0, 0x11, 1, 0, 1, 0})
	f.Add(1<<40, []byte{frameVersion, codecRaw, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F})
	f.Fuzz(func(t *testing.T, count int, stored []byte) {
		body := binary.LittleEndian.AppendUint64(bytes.Clone(stored), checksum(1, count, stored))
		decoded, err := decoder.decode(1, count, body)
		if err != nil {
			var damage *DamageError
			if !errors.As(err, &damage) {
				t.Errorf("got %v, want a DamageError", err)
			}
			return
		}
		// Whatever was read is read again after it was written once more.
		again, err := decoder.decode(1, count, encode(encoder, decoded.Records, decoded.Owed))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(decoded.Records, again.Records); diff != "" {
			t.Error(diff)
		}
	})
}

func BenchmarkEncoder(b *testing.B) {
	encoder, decoder := codec(b)
	const count = 1000
	records := make([]edge.Record, count)
	raw := 0
	for i := range records {
		payload := fmt.Appendf(nil, `{"schema_version":1,"boot_id":"b%03d","sequence":%d,"metrics":{"temperature_c":%.2f,"humidity":%.1f,"battery_mv":%d,"rssi":%d}}`,
			i%50, i, 20+float64(i*7919%1000)/100, 40+float64(i*104729%300)/10, 3300+i*31%700, -40-i*13%60)
		raw += len(payload)
		records[i] = edge.Record{
			Device: edge.DeviceID(fmt.Sprintf("device-%02d", i%50)), Source: edge.SourceMQTT, Encoding: edge.EncodingJSON,
			Identity:   edge.Identity{BootID: fmt.Sprintf("b%03d", i%50), Sequence: uint64(i), HasSequence: true},
			ReceivedAt: time.UnixMicro(1790000000000000 + int64(i)*3).UTC(), Payload: payload,
		}
	}
	records[0].Position = 1
	owed := make([]uint32, count)
	body := encode(encoder, records, owed)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			encode(encoder, records, owed)
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/msg")
		b.ReportMetric(float64(len(body))/float64(raw), "stored/payload")
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := decoder.decode(1, count, body); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/msg")
	})
}
