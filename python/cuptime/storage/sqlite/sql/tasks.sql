-- Tasks. States: 1 PENDING, 2 SCHEDULED, 3 TRIGGERED, 4 EXECUTED, 5 FAILED, 6 CANCELLED.
-- A set of states is a mask with bit `state` set. `ended_ms` is 0 below 4, else `updated_ms` and at least 1; statements
-- between two states that live leave it out, which spares them the indexes that begin with it.

-- part: task_columns
task_id, queue, payload, due_ms, priority, max_retries, backoff_ms, state, created_ms, updated_ms, scheduled_ms,
retry_count, context_group_id, context_sku_version, context_stock_snapshot, context_timestamp_ms, trigger_id, trigger_ms,
execution_id, attempt, lease_until_ms, worker, result_hash, result, error_code, error_message, retriable, failed_input,
schedule_seq, generation, nominal_ms, traceparent, overlap, buffered_ms, bucket_ms

-- name: insert_tasks
INSERT INTO tasks ({task_columns}, epoch, ended_ms)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25,
    ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36, iif(?8 > 3, max(?10, 1), 0))
ON CONFLICT (schedule_seq, generation, nominal_ms) WHERE schedule_seq > 0 DO NOTHING;

-- Those below take their rows as one JSON array and so are one step of the engine, however many rows: the writer
-- does not hand the interpreter lock to and fro for each.
--
-- A task that triggers belongs to nobody yet: what an earlier attempt left is taken off, so that its worker can neither
-- extend the lease nor complete the task.
-- name: move_tasks_to_triggered
UPDATE tasks
SET state = 3, updated_ms = ?2, trigger_ms = ?2, trigger_id = ?3, execution_id = '', lease_until_ms = 0, worker = '',
    ended_ms = 0, epoch = ?5
FROM json_each(?1) AS given
WHERE task_id = given.value ->> 0 AND due_ms = given.value ->> 1 AND (1 << state) & ?4
RETURNING task_id;

-- name: move_tasks_to_scheduled
UPDATE tasks SET state = 2, updated_ms = ?2, scheduled_ms = ?2, ended_ms = 0, epoch = ?4
FROM json_each(?1) AS given
WHERE task_id = given.value ->> 0 AND due_ms = given.value ->> 1 AND (1 << state) & ?3
RETURNING task_id;

-- name: move_tasks_to_cancelled
UPDATE tasks SET state = 6, updated_ms = ?2, ended_ms = max(?2, 1), epoch = ?4
FROM json_each(?1) AS given
WHERE task_id = given.value ->> 0 AND due_ms = given.value ->> 1 AND (1 << state) & ?3
RETURNING task_id;

-- What triggers goes to its worker in the same row change; with "" for the worker it waits.
-- name: trigger_tasks
UPDATE tasks
SET state = 3, updated_ms = ?2, trigger_ms = ?2, trigger_id = ?3, execution_id = given.value ->> 2,
    lease_until_ms = given.value ->> 3, attempt = given.value ->> 4, worker = given.value ->> 5, epoch = ?4
FROM json_each(?1) AS given
WHERE task_id = given.value ->> 0 AND due_ms = given.value ->> 1 AND state = 2
RETURNING task_id;

-- name: execute_tasks
UPDATE tasks
SET state = 4, updated_ms = ?2, ended_ms = max(?2, 1), lease_until_ms = 0, result = unhex(given.value ->> 2),
    failed_input = x'', epoch = ?3
FROM json_each(?1) AS given
WHERE task_id = given.value ->> 0 AND state = 3 AND execution_id = given.value ->> 1
RETURNING task_id;

-- name: execute_task
UPDATE tasks
SET state = 4, updated_ms = ?4, ended_ms = max(?4, 1), lease_until_ms = 0, result = ?3, failed_input = x'', epoch = ?5
WHERE task_id = ?1 AND state = 3 AND execution_id = ?2;

-- name: lease_tasks
UPDATE tasks
SET execution_id = given.value ->> 1, lease_until_ms = given.value ->> 2, attempt = given.value ->> 3, worker = ?2,
    updated_ms = ?3, epoch = ?4
FROM json_each(?1) AS given
WHERE task_id = given.value ->> 0 AND state = 3
RETURNING task_id;

-- name: extend_leases
UPDATE tasks SET lease_until_ms = given.value ->> 2, epoch = ?2
FROM json_each(?1) AS given
WHERE task_id = given.value ->> 0 AND state = 3 AND execution_id = given.value ->> 1
RETURNING task_id;

-- The stored task must be in a state of the mask ?37 and have the execution id ?38 (NULL: any).
-- name: replace_task
UPDATE tasks
SET ({task_columns}, epoch) = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20,
    ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34, ?35, ?36),
    ended_ms = iif(?8 > 3, max(?10, 1), 0)
WHERE task_id = ?1 AND (1 << state) & ?37 AND (?38 IS NULL OR execution_id = ?38);

-- By the partial index of what lives, so that a change reads none of the firings that are kept.
-- name: cancel_tasks_of_schedule
UPDATE tasks INDEXED BY firings_live
SET state = 6, updated_ms = ?3, ended_ms = max(?3, 1), epoch = ?4
WHERE schedule_seq = ?1 AND schedule_seq > 0 AND ended_ms = 0 AND generation < ?2 AND state IN (1, 2)
RETURNING task_id;

-- name: skip_firings
UPDATE tasks
SET state = 6, updated_ms = ?2, ended_ms = max(?2, 1), lease_until_ms = 0, error_code = 'OVERLAP_SKIPPED', epoch = ?3
FROM json_each(?1) AS given
WHERE task_id = given.value AND state = 2 AND overlap > 0
RETURNING task_id, schedule_seq;

-- name: buffer_firings
UPDATE tasks SET buffered_ms = ?2, epoch = ?3
FROM json_each(?1) AS given
WHERE task_id = given.value AND state = 2 AND overlap > 0 AND buffered_ms = 0
RETURNING task_id, schedule_seq;

-- name: cancel_firings
UPDATE tasks
SET state = 6, updated_ms = ?2, ended_ms = max(?2, 1), lease_until_ms = 0, error_code = 'OVERLAP_CANCELLED',
    epoch = ?3
FROM json_each(?1) AS given
WHERE task_id = given.value AND state IN (2, 3) AND overlap > 0
RETURNING task_id, schedule_seq;

-- By the partial index, which has nothing in it but what its condition says.
-- name: running_firings
SELECT {task_columns} FROM tasks
WHERE overlap > 0 AND state IN (2, 3) AND task_id > ?1 AND (state = 3 OR retry_count > 0)
ORDER BY task_id LIMIT ?2;

-- name: task
SELECT {task_columns} FROM tasks WHERE task_id = ?;

-- name: tasks_by_id
SELECT {task_columns} FROM tasks WHERE task_id IN (SELECT value FROM json_each(?)) ORDER BY task_id;

-- name: tasks_where
SELECT {task_columns} FROM tasks
WHERE task_id > ?1 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR queue = ?4)
    AND (?5 IS NULL OR due_ms >= ?5) AND (?6 IS NULL OR due_ms <= ?6)
ORDER BY task_id LIMIT ?2;

-- name: tasks_of_schedule_where
SELECT {task_columns} FROM tasks INDEXED BY tasks_of_schedules
WHERE schedule_seq = ?7 AND schedule_seq > 0
    AND task_id > ?1 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR queue = ?4)
    AND (?5 IS NULL OR due_ms >= ?5) AND (?6 IS NULL OR due_ms <= ?6)
ORDER BY task_id LIMIT ?2;

-- As before, for a state before the end.
-- name: live_firings_where
SELECT {task_columns} FROM tasks INDEXED BY firings_live
WHERE schedule_seq = ?7 AND schedule_seq > 0 AND ended_ms = 0
    AND task_id > ?1 AND state = ?3 AND (?4 IS NULL OR queue = ?4)
    AND (?5 IS NULL OR due_ms >= ?5) AND (?6 IS NULL OR due_ms <= ?6)
ORDER BY task_id LIMIT ?2;

-- name: waiting_tasks
SELECT task_id, due_ms, state, lease_until_ms, bucket_ms FROM tasks INDEXED BY tasks_live
WHERE ended_ms = 0 AND task_id > ?1 ORDER BY task_id LIMIT ?2;

-- name: executed_result
SELECT {task_columns} FROM tasks
WHERE result_hash = ? AND context_group_id IS NOT NULL AND result_hash != x'' AND state = 4 ORDER BY task_id LIMIT 1;

-- name: last_task_id
SELECT max(coalesce((SELECT max(task_id) FROM tasks), 0), last_id) FROM forgotten WHERE kind = 'tasks';

-- name: count_tasks
SELECT count(*) FROM tasks;
