package observe

// The attributes of spans. They have one prefix, so that they are found together
// and never collide with those of OpenTelemetry.
const (
	AttributeDevice      = "gateway.device_id"
	AttributeSource      = "gateway.source" // the door
	AttributeCorrelation = "gateway.correlation_id"
	AttributeSink        = "gateway.sink"     // its name
	AttributeAttempt     = "gateway.attempt"  // its number, 1 for the first
	AttributeOutcome     = "gateway.outcome"  // of the attempt
	AttributeStatus      = "gateway.status"   // the receiver's own word
	AttributeMessages    = "gateway.messages" // of the commit
)
