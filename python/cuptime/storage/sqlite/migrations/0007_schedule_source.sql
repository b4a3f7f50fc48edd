-- Which entry of the watched folder registered a schedule; empty when a call did.
ALTER TABLE schedules ADD COLUMN source TEXT NOT NULL DEFAULT '';

CREATE INDEX schedules_sourced ON schedules (schedule_seq) WHERE source != '' AND state != 4;
