-- One row: who this file is, and the totals as of position counted. Frames
-- above it are counted again at start.
CREATE TABLE ledger(
  id INTEGER PRIMARY KEY CHECK (id = 1),
  log INTEGER NOT NULL,             -- ten bits in every correlation id of this file
  counted INTEGER NOT NULL,         -- position up to which the totals below count
  replay_from INTEGER NOT NULL,     -- first position that a start has to read again
  accepted INTEGER NOT NULL,        -- records ever stored
  unrouted INTEGER NOT NULL,        -- of those, owed to no sink
  ingress_refused INTEGER NOT NULL, -- ever kept as dead letters of ingress; also the last one's number
  ingress_evicted INTEGER NOT NULL, -- of those, evicted by the bound
  attempt_bytes INTEGER NOT NULL    -- what the rows of attempt take
) STRICT;

-- One row per commit. The body comes last, so that the other columns are read
-- without its overflow pages.
CREATE TABLE frame(
  id INTEGER PRIMARY KEY,     -- position of the first record
  n INTEGER NOT NULL,         -- records; their positions follow one another
  committed INTEGER NOT NULL, -- Unix microseconds
  owed INTEGER NOT NULL,      -- the owed set of all records, 0 when they differ
  raw INTEGER NOT NULL,       -- bytes of the body before compression
  body BLOB NOT NULL          -- see frame.go
) STRICT;

-- The sets of sinks that records are owed to. A set is never changed.
CREATE TABLE owed(
  id INTEGER PRIMARY KEY,
  sinks TEXT NOT NULL -- ids in ascending order, separated by commas
) STRICT;

CREATE TABLE sink(
  id INTEGER PRIMARY KEY, -- never used twice
  name TEXT NOT NULL UNIQUE,
  kind TEXT NOT NULL,
  removed INTEGER NOT NULL,
  start INTEGER NOT NULL,        -- records from here on say themselves whether they are owed
  backlog_from INTEGER NOT NULL, -- records from here up to start are owed as well
  cursor INTEGER NOT NULL,       -- every record below is decided
  settled BLOB NOT NULL,         -- ranges above the cursor that are decided; see spans.go
  counted INTEGER NOT NULL,      -- position up to which owed counts
  owed INTEGER NOT NULL,
  delivered INTEGER NOT NULL,
  dead INTEGER NOT NULL,
  held INTEGER NOT NULL,
  discarded INTEGER NOT NULL,
  expired INTEGER NOT NULL
) STRICT;

CREATE TABLE death(
  sink INTEGER NOT NULL,
  reason TEXT NOT NULL,
  now INTEGER NOT NULL,  -- dead letters with this reason
  ever INTEGER NOT NULL, -- records that ever became one
  PRIMARY KEY (sink, reason)
) STRICT, WITHOUT ROWID;

CREATE TABLE dead(
  sink INTEGER NOT NULL,     -- 0 is ingress
  position INTEGER NOT NULL, -- for ingress a number of its own
  device TEXT NOT NULL,
  reason TEXT NOT NULL,
  status TEXT NOT NULL,
  excerpt TEXT NOT NULL,
  attempts INTEGER NOT NULL,
  first_at INTEGER NOT NULL, -- Unix microseconds
  last_at INTEGER NOT NULL,
  requeued INTEGER NOT NULL,
  history TEXT NOT NULL, -- its last attempts, JSON
  body BLOB NOT NULL,    -- a frame of one record
  PRIMARY KEY (sink, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX dead_requeued ON dead(sink, position) WHERE requeued = 1;

CREATE TABLE attempt(
  id INTEGER PRIMARY KEY, -- Unix microseconds of its end, made unique
  sink INTEGER NOT NULL,
  number INTEGER NOT NULL,
  first INTEGER NOT NULL,
  last INTEGER NOT NULL,
  records INTEGER NOT NULL,
  slot INTEGER NOT NULL,
  slots INTEGER NOT NULL,
  started INTEGER NOT NULL, -- Unix microseconds
  ended INTEGER NOT NULL,
  class INTEGER NOT NULL,
  status TEXT NOT NULL,
  excerpt TEXT NOT NULL
) STRICT;

-- What the idempotency window knows of one device.
CREATE TABLE identity_window(
  device TEXT PRIMARY KEY,
  body BLOB NOT NULL -- see window_row.go
) STRICT, WITHOUT ROWID;
