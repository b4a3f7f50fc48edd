-- When a task or a group came to its end; 0 while it lives. The statements of a task's way leave the column alone until
-- then, so of these indexes one row is written when a task is made, and one taken out and one appended when it ends. A
-- start reads what lives, retention what ended first, and neither reads anything else.
ALTER TABLE tasks ADD COLUMN ended_ms INTEGER NOT NULL DEFAULT 0;
UPDATE tasks SET ended_ms = max(updated_ms, 1) WHERE state > 3;
CREATE INDEX tasks_live ON tasks (task_id) WHERE ended_ms = 0;
CREATE INDEX tasks_ended ON tasks (ended_ms) WHERE ended_ms > 0;

-- An equal hash already executed returns the stored result. Only a task with a business context can have an equal one,
-- and its hash never changes.
DROP INDEX tasks_executed;
CREATE INDEX tasks_by_hash ON tasks (result_hash) WHERE context_group_id IS NOT NULL;

ALTER TABLE groups ADD COLUMN ended_ms INTEGER NOT NULL DEFAULT 0;
UPDATE groups SET ended_ms = max(created_ms, completed_ms, 1) WHERE state > 2;
CREATE INDEX groups_by_end ON groups (ended_ms);

CREATE INDEX schedules_ended ON schedules (updated_ms) WHERE state = 4;

-- What retention took out: the highest id that is gone, so that none is given twice and a watcher hears of it, and how
-- many rows in all.
CREATE TABLE forgotten (
    kind    TEXT PRIMARY KEY NOT NULL,
    last_id INTEGER NOT NULL,
    rows    INTEGER NOT NULL,
    epoch   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO forgotten VALUES
    ('groups', 0, 0, 0), ('orders', 0, 0, 0), ('decisions', 0, 0, 0), ('assignments', 0, 0, 0),
    ('interventions', 0, 0, 0), ('tasks', 0, 0, 0), ('schedules', 0, 0, 0);

-- Up to which nominal time firings of a schedule's generation are gone: a backfill cannot know which of them there were.
CREATE TABLE forgotten_firings (
    schedule_seq INTEGER PRIMARY KEY,
    generation   INTEGER NOT NULL,
    nominal_ms   INTEGER NOT NULL,
    epoch        INTEGER NOT NULL
) STRICT;
