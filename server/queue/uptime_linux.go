package queue

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MachineUptime is the [Uptime] of this machine.
func MachineUptime() (boot string, up time.Duration, ok bool) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0, false
	}
	var at unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &at); err != nil {
		return "", 0, false
	}
	boot = strings.TrimSpace(string(id))
	return boot, time.Duration(at.Nano()), boot != ""
}
