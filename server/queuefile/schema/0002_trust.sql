-- What is needed to keep the queue's word when clocks, disks and room fail.

-- Gateway time, saved together with the clocks that lead on from it after a
-- restart; see server/queue/clock.go. All in Unix microseconds, and 0 while unknown. From now
-- on frame.committed and attempt.id are gateway time; they were the wall clock,
-- where gateway time begins.
ALTER TABLE ledger ADD COLUMN gateway_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN wall_time INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN boot_time INTEGER NOT NULL DEFAULT 0; -- since the machine started
ALTER TABLE ledger ADD COLUMN boot_id TEXT NOT NULL DEFAULT '';     -- of that start

-- What tells whether a row is what was written; see checksum.go. NULL until the
-- row is saved for the first time after this migration.
ALTER TABLE ledger ADD COLUMN checksum INTEGER;
ALTER TABLE owed ADD COLUMN checksum INTEGER;
ALTER TABLE sink ADD COLUMN checksum INTEGER;        -- of where it is
ALTER TABLE sink ADD COLUMN counts_checksum INTEGER; -- of what it counts; 0 when that is known to be wrong

ALTER TABLE ledger ADD COLUMN quarantined INTEGER NOT NULL DEFAULT 0;  -- records ever found damaged
ALTER TABLE ledger ADD COLUMN salvaged INTEGER NOT NULL DEFAULT 0;     -- files ever replaced because of damage
ALTER TABLE ledger ADD COLUMN skipped INTEGER NOT NULL DEFAULT 0;      -- positions that nothing was ever stored at
ALTER TABLE ledger ADD COLUMN cursors_lost INTEGER NOT NULL DEFAULT 0; -- 1: a sink that is new gets all there is

-- Gateway time at which this file was made from a backup, 0 when it was not. What
-- came between the backup and then is not recognised when it comes again.
ALTER TABLE ledger ADD COLUMN restored_at INTEGER NOT NULL DEFAULT 0;

ALTER TABLE ledger ADD COLUMN counts_checksum INTEGER; -- of what it counts; 0 when that is known to be wrong
ALTER TABLE death ADD COLUMN checksum INTEGER;         -- the same

-- The logs of this file before it took the place of another one, and that of the
-- ledger once more, with the highest position, for when the ledger is lost.
CREATE TABLE earlier_log(
  before INTEGER PRIMARY KEY, -- positions below, and not of an earlier one
  letters INTEGER NOT NULL,   -- numbers of refused messages below
  log INTEGER NOT NULL,       -- as in ledger
  checksum INTEGER NOT NULL
) STRICT;

-- Batches that go out under a name made from their members: committed before the
-- first attempt, repeated as they are after a crash.
ALTER TABLE sink ADD COLUMN sealed BLOB NOT NULL DEFAULT x''; -- see seal.go
ALTER TABLE sink ADD COLUMN removed_at INTEGER NOT NULL DEFAULT 0; -- gateway time, 0 while the sink is served
ALTER TABLE sink ADD COLUMN removed_by TEXT NOT NULL DEFAULT '';   -- who deleted it; empty for a policy

-- What was given up, in stretches. Every record that is given up is in one.
CREATE TABLE loss(
  id INTEGER PRIMARY KEY,
  sink INTEGER NOT NULL,
  kind INTEGER NOT NULL,           -- discarded, expired, quarantined; see loss.go
  reason TEXT NOT NULL,            -- the policy, or the operator's words
  actor TEXT NOT NULL,             -- who gave them up; empty for a policy
  first INTEGER NOT NULL,          -- positions
  last INTEGER NOT NULL,
  first_received INTEGER NOT NULL, -- Unix microseconds
  last_received INTEGER NOT NULL,
  at INTEGER NOT NULL,             -- gateway time of the last of them
  count INTEGER NOT NULL,
  devices TEXT NOT NULL            -- JSON: device to count; see loss.go
) STRICT;

CREATE INDEX loss_reason ON loss(sink, kind, reason);

-- Frames and dead letters whose bytes are not what was written, moved here as
-- they are. When there are many, those that were found first lose their bodies.
CREATE TABLE quarantine(
  sink INTEGER NOT NULL,     -- of a dead letter; -1 for a frame
  position INTEGER NOT NULL, -- of the first record
  n INTEGER NOT NULL,        -- records
  committed INTEGER NOT NULL,
  owed INTEGER NOT NULL,
  raw INTEGER NOT NULL,
  body BLOB NOT NULL,
  reason TEXT NOT NULL,      -- what is wrong
  found INTEGER NOT NULL,    -- Unix microseconds
  PRIMARY KEY (sink, position)
) STRICT, WITHOUT ROWID;
