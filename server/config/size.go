package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes. Its text is a whole number with an optional unit of
// 1024: B, KiB, MiB, GiB or TiB.
type Size int64

// sizeUnits are in order: each is 1024 of the one before it.
var sizeUnits = [...]string{"B", "KiB", "MiB", "GiB", "TiB"}

const sizePattern = `^[0-9]{1,18}(B|KiB|MiB|GiB|TiB)?$`

// ParseSize reads the text of a size.
func ParseSize(text string) (Size, error) {
	digits := strings.TrimRight(text, "BKMGTi")
	number, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || number < 0 {
		return 0, fmt.Errorf("%q is no size like 64MiB", text)
	}
	unit := text[len(digits):]
	for i, name := range sizeUnits {
		if unit != name && (unit != "" || name != "B") {
			continue
		}
		if number > math.MaxInt64>>(10*i) {
			return 0, fmt.Errorf("%q is too large", text)
		}
		return Size(number << (10 * i)), nil
	}
	return 0, fmt.Errorf("%q is no size like 64MiB", text)
}

// String returns the text with the largest unit that loses nothing.
func (s Size) String() string {
	unit, number := 0, int64(s)
	for number != 0 && number%1024 == 0 && unit < len(sizeUnits)-1 {
		unit, number = unit+1, number/1024
	}
	return strconv.FormatInt(number, 10) + sizeUnits[unit]
}

// MarshalText writes the text.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Capacity is a size, or a share of something that is only known later.
type Capacity struct {
	Size    Size // when Percent is 0
	Percent int  // 1 to 95
}

// The bounds of a capacity. A file system that fills up entirely harms more than
// the gateway, so that a share stops short of it.
const (
	minCapacity        = 1 << 20
	maxCapacityPercent = 95
	capacityPattern    = `^([1-9]|[1-8][0-9]|9[0-5])%$|^[0-9]{1,18}(B|KiB|MiB|GiB|TiB)?$`
)

// ParseCapacity reads 80% or 64MiB.
func ParseCapacity(text string) (Capacity, error) {
	if digits, share := strings.CutSuffix(text, "%"); share {
		percent, err := strconv.Atoi(digits)
		if err != nil || percent < 1 || percent > maxCapacityPercent {
			return Capacity{}, fmt.Errorf("%q is no share from 1%% to %d%%", text, maxCapacityPercent)
		}
		return Capacity{Percent: percent}, nil
	}
	size, err := ParseSize(text)
	if err == nil && size < minCapacity {
		err = fmt.Errorf("%q is less than %s", text, Size(minCapacity))
	}
	return Capacity{Size: size}, err
}

// Of returns the number of bytes, given how many there are in all.
func (c Capacity) Of(total int64) int64 {
	if c.Percent == 0 {
		return int64(c.Size)
	}
	percent := int64(c.Percent)
	return total/100*percent + total%100*percent/100 // in two parts, so that it cannot overflow
}

func (c Capacity) String() string {
	if c.Percent == 0 {
		return c.Size.String()
	}
	return strconv.Itoa(c.Percent) + "%"
}

// MarshalText writes the text.
func (c Capacity) MarshalText() ([]byte, error) { return []byte(c.String()), nil }
