package config_test

import (
	"math"
	"testing"

	"pgregory.net/rapid"

	"combotto.io/gateway/server/config"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]config.Size{"0": 0, "7": 7, "7B": 7, "64KiB": 64 << 10, "3MiB": 3 << 20, "2GiB": 2 << 30, "8TiB": 8 << 40} {
		if got, err := config.ParseSize(text); got != want || err != nil {
			t.Errorf("%q: got %d, error %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-1", "1.5MiB", "64MB", "64 MiB", "MiB", "1MiBi", "9223372036854775808", "8388608TiB"} {
		if got, err := config.ParseSize(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

func TestSize_String(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := config.Size(rapid.Int64Range(0, math.MaxInt64).Draw(t, "size"))
		if got, err := config.ParseSize(size.String()); got != size || err != nil {
			t.Errorf("%d is written as %s and read as %d, error %v", size, size, got, err)
		}
	})
}

func TestCapacity_Of(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		text  string
		total int64
		want  int64
	}{
		{"80%", 1000, 800}, {"1%", 99, 0}, {"95%", math.MaxInt64, 8762203435012037016}, {"64MiB", 5, 64 << 20},
	} {
		capacity, err := config.ParseCapacity(row.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := capacity.Of(row.total); got != row.want {
			t.Errorf("%s of %d: got %d, want %d", row.text, row.total, got, row.want)
		}
		if got := capacity.String(); got != row.text {
			t.Errorf("got %s, want %s", got, row.text)
		}
	}
	for _, text := range []string{"0%", "96%", "8.5%", "%", "1023KiB", "lots"} {
		if got, err := config.ParseCapacity(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
