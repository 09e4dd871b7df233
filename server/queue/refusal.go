package queue

import (
	"errors"
	"fmt"
	"strconv"
	"syscall"

	"combotto.io/gateway/server/edge"
)

// refusal says why nothing is taken, and who holds the room; nil when something
// is.
func (s *space) refusal(held holder) *edge.Error {
	if !s.full.closed() {
		return nil
	}
	refused := edge.NewFull()
	refused.Details = map[string]string{"free_bytes": strconv.FormatInt(s.usage.free, 10)}
	switch {
	case s.full.struck && s.cause != nil && !errors.Is(s.cause, syscall.ENOSPC):
		refused.Message = fmt.Sprintf("the gateway's disk takes no more: %v", s.cause)
		refused.Hint = "look at the quota, the mount and the limits of the file system of data_dir"
	case s.full.reached:
		refused.Details["limit_bytes"] = strconv.FormatInt(s.full.limit, 10)
		refused.Message = fmt.Sprintf("the gateway's storage is full: %s of %s are in use", bytesText(s.usage.taken()), bytesText(s.full.limit))
		refused.Hint = "raise queue.max_bytes"
	default:
		refused.Message = fmt.Sprintf("the gateway's disk is full: %s are free", bytesText(s.usage.free))
		refused.Hint = "free space on the disk of data_dir"
	}
	if held.sink == "" {
		return refused
	}
	refused.Details["sink"], refused.Details["sink_holds_bytes"] = held.sink, strconv.FormatInt(held.bytes, 10)
	if refused.Details["limit_bytes"] != "" {
		refused.Message = fmt.Sprintf("the gateway's storage is full: sink %s holds %s of %s", held.sink, bytesText(held.bytes), bytesText(s.full.limit))
	} else {
		refused.Message += fmt.Sprintf(", sink %s holds %s", held.sink, bytesText(held.bytes))
	}
	if held.letters > 0 {
		refused.Details["dead_letters"] = strconv.FormatInt(held.letters, 10)
		refused.Message += held.lettersText()
	}
	switch {
	case held.removed:
		refused.Hint += fmt.Sprintf(", or give up what the removed sink is still owed: gatewayctl sink delete %s --discard", held.sink)
	case held.letters > 0:
		until := "they stay until they are delivered, or until the sink is deleted"
		if held.bounded {
			until = "the oldest make room by themselves"
		}
		refused.Hint += fmt.Sprintf(", or see why %s has refused them: gatewayctl dlq list --sink %s; %s", held.sink, held.sink, until)
	default:
		refused.Hint += fmt.Sprintf(", or see why %s does not take its messages: gatewayctl status", held.sink)
	}
	return refused
}

// warning says that the queue is filling up, and who holds the room.
func (s *space) warning(held holder) string {
	if !s.full.warned {
		return ""
	}
	text := fmt.Sprintf("%s of %s are in use", bytesText(s.usage.taken()), bytesText(s.full.limit))
	if held.sink != "" {
		text += fmt.Sprintf(", sink %s holds %s%s", held.sink, bytesText(held.bytes), held.lettersText())
	}
	return text
}

// lettersText says that it is dead letters that take the room, if it is.
func (h *holder) lettersText() string {
	if h.letters == 0 {
		return ""
	}
	return fmt.Sprintf(" in %d dead letters", h.letters)
}

// bytesText writes a number of bytes for a person.
func bytesText(bytes int64) string {
	if bytes < 1<<10 {
		return fmt.Sprintf("%d bytes", max(bytes, 0))
	}
	value, unit := float64(bytes)/(1<<10), 0
	for value >= 1<<10 && unit < 3 {
		value, unit = value/(1<<10), unit+1
	}
	return fmt.Sprintf("%.1f %s", value, [...]string{"KiB", "MiB", "GiB", "TiB"}[unit])
}
