-- What becomes of a firing that is due while an earlier one runs (Overlap; 0 is allow all), and when it began to wait.
ALTER TABLE tasks ADD COLUMN overlap INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tasks ADD COLUMN buffered_ms INTEGER NOT NULL DEFAULT 0;

-- A start reads what runs under an overlap policy. Only such firings are in it, while they wait or run.
CREATE INDEX tasks_overlapping ON tasks (task_id) WHERE overlap > 0 AND state IN (2, 3);

ALTER TABLE schedules ADD COLUMN skipped_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE schedules ADD COLUMN buffered_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE schedules ADD COLUMN cancelled_count INTEGER NOT NULL DEFAULT 0;
