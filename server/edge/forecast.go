package edge

import (
	"math"
	"time"
)

// Never is how long something takes that does not happen at the present rate.
const Never time.Duration = math.MaxInt64

// Forecast is what will happen to the queue if everything goes on as it did.
type Forecast struct {
	// Window is what the rates were measured over: what was asked for, or less
	// after a start. 0 when it is too early to tell anything.
	Window     time.Duration
	IngestRate float64 // records stored per second
	// Growth is by how many bytes per second that grew which cannot be removed:
	// records that some sink is still owed, and all behind them. Records that every
	// sink has go before anything is refused, so they do not count. Negative while
	// it shrinks.
	Growth     float64
	TimeToFull time.Duration // until the doors refuse; 0 while they do, [Never] while it does not grow
	Sinks      []SinkForecast
}

// SinkForecast is what will happen to one sink.
type SinkForecast struct {
	Sink         SinkID
	Name         string
	DeliveryRate float64       // records confirmed per second
	TimeToDrain  time.Duration // until nothing waits; [Never] while the backlog does not shrink
	// FirstLoss is the record that the sink's limits would give up first, and
	// FirstLossAt when that would be. Zero when none would.
	FirstLoss   CorrelationID
	FirstLossAt time.Time
}
