-- An assignment is live while it takes capacity, a fridge slot or load; then it is retired, and what it took from the
-- stock for good is added to `used`. So a start reads what is live and nothing else. The index grows at its end, as
-- sequences do, and holds live rows only.
ALTER TABLE assignments ADD COLUMN live INTEGER NOT NULL DEFAULT 1;

CREATE INDEX assignments_live ON assignments (sequence) WHERE live = 1;

-- On hand is a level as of an instant: what was packed out before it is not in it any more.
ALTER TABLE stock ADD COLUMN set_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE stock ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
