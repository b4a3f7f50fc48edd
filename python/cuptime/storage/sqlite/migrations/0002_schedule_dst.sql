-- What a schedule does where the clock is set (DstPolicy); 1 is vixie.
ALTER TABLE schedules ADD COLUMN dst INTEGER NOT NULL DEFAULT 1;
