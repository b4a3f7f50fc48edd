-- The audit of schedules: who changed what, and when. Rows are appended, and the oldest are dropped after their time.
-- The newest stays, so that the next sequence is one more than the last.
CREATE TABLE schedule_changes (
    sequence     INTEGER PRIMARY KEY,
    schedule_seq INTEGER NOT NULL,
    schedule_id  TEXT NOT NULL,
    kind         INTEGER NOT NULL,
    at_ms        INTEGER NOT NULL,
    generation   INTEGER NOT NULL,
    actor        TEXT NOT NULL,
    peer         TEXT NOT NULL,
    request_id   TEXT NOT NULL,
    detail       TEXT NOT NULL,
    before_body  BLOB NOT NULL,
    after_body   BLOB NOT NULL,
    epoch        INTEGER NOT NULL
) STRICT;

CREATE INDEX schedule_changes_by_id ON schedule_changes (schedule_id, sequence);
