-- How long the bucket is that a task is triggered and delivered with, in milliseconds; 0 is none.
ALTER TABLE tasks ADD COLUMN bucket_ms INTEGER NOT NULL DEFAULT 0;
