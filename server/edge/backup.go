package edge

// Backup is a copy of a queue that was verified.
type Backup struct {
	Path        string
	Bytes       int64
	Records     int64
	DeadLetters int64
}
