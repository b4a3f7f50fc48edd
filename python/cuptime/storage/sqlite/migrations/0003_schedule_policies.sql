-- How a schedule fires, beside when: `policy` is what differs from the defaults, as JSON; `labels` has a line `key=value`
-- for each, with a line break before the first and after the last.
ALTER TABLE schedules ADD COLUMN policy TEXT NOT NULL DEFAULT '';
ALTER TABLE schedules ADD COLUMN labels TEXT NOT NULL DEFAULT '';
ALTER TABLE schedules ADD COLUMN run_count INTEGER NOT NULL DEFAULT 0;
ALTER TABLE schedules ADD COLUMN missed_count INTEGER NOT NULL DEFAULT 0;
