-- The firings of a schedule that live are few, and its kept ones may be hundreds of thousands: a change of the schedule
-- cancels the former without a look at the latter. Other tasks have no entry.
CREATE INDEX firings_live ON tasks (schedule_seq) WHERE schedule_seq > 0 AND ended_ms = 0;
