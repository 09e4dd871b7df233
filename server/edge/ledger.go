package edge

// LedgerTotal is the account of everything, beside those of the sinks.
const LedgerTotal = "total"

// Ledger accounts for every record that was accepted, as counted anew from what is
// stored. What is not stored any more is taken from the counters.
type Ledger struct {
	Accepted   int64 // owed to at least one sink, or unrouted
	Unrouted   int64
	Stored     int64 // records that were read
	Sinks      []SinkLedger
	Mismatches []LedgerMismatch // the first 1,000
	Found      int64            // mismatches; 0 when everything agrees and balances
}

// SinkLedger is the account of one sink. Owed = Delivered + Dead + Held +
// Discarded + Expired + Pending.
type SinkLedger struct {
	Sink                                                     SinkID
	Name                                                     string
	Owed, Delivered, Dead, Held, Discarded, Expired, Pending int64
}

// LedgerMismatch is a counter that is not what it should be.
type LedgerMismatch struct {
	Account   string // LedgerTotal, or the name of a sink, or IngressName
	Field     string // pending_count, dead_count.rejected, checksum
	Counted   int64  // what the counter says
	Recounted int64  // what is stored
}
