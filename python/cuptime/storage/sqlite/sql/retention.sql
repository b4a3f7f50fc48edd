-- What is past its retention, and its removal. ?2 is everywhere the instant before which it must have ended.

-- An order holds itself and its group back while it waits for its decision, a retry or a person, while its assignment
-- takes something, and while anything happened to it since.
-- part: held
orders.created_ms >= ?2 OR orders.moved_ms >= ?2
OR coalesce((SELECT live FROM assignments WHERE assignments.order_id = orders.order_id), orders.state = 1)
OR EXISTS (SELECT 1 FROM decisions WHERE decisions.order_id = orders.order_id AND decided_ms >= ?2)
OR EXISTS (
    SELECT 1 FROM interventions
    WHERE interventions.order_id = orders.order_id AND (resolved_ms = 0 OR resolved_ms >= ?2)
)

-- part: of_group
orders.order_id > groups.group_seq << ?1 AND orders.order_id < (groups.group_seq + 1) << ?1

-- While its deadline is to come a group is kept: the task of the deadline names it.
-- name: ended_groups
SELECT ended_ms, group_seq,
    deadline_ms >= ?2 OR EXISTS (SELECT 1 FROM orders WHERE {of_group} AND ({held}))
FROM groups INDEXED BY groups_by_end
WHERE ended_ms >= max(?3, 1) AND ended_ms < ?2 AND (ended_ms > ?3 OR group_seq > ?4)
ORDER BY ended_ms, group_seq LIMIT ?5;

-- name: orders_to_forget
SELECT orders.order_id
FROM json_each(?3) AS given
CROSS JOIN groups
    ON groups.group_seq = given.value AND ended_ms > 0 AND ended_ms < ?2 AND deadline_ms < ?2
CROSS JOIN orders ON {of_group}
WHERE NOT ({held}) LIMIT ?4;

-- name: forget_orders
DELETE FROM orders WHERE order_id IN (SELECT value FROM json_each(?)) RETURNING order_id;

-- name: forget_decisions
DELETE FROM decisions WHERE order_id IN (SELECT value FROM json_each(?)) RETURNING sequence;

-- name: forget_assignments
DELETE FROM assignments WHERE order_id IN (SELECT value FROM json_each(?)) RETURNING order_id;

-- name: forget_interventions
DELETE FROM interventions WHERE order_id IN (SELECT value FROM json_each(?)) RETURNING order_id;

-- name: forget_groups
DELETE FROM groups
WHERE group_seq IN (SELECT value FROM json_each(?3)) AND ended_ms > 0 AND ended_ms < ?2 AND deadline_ms < ?2
    AND NOT EXISTS (SELECT 1 FROM orders WHERE {of_group})
RETURNING group_seq;

-- The result of a task with a business context is wanted as long as an equal one may come or waits. One may come until
-- the instant of the context is a day old, which it is before ?2.
-- part: wanted
context_group_id IS NOT NULL AND (
    context_timestamp_ms >= ?2
    OR EXISTS (
        SELECT 1 FROM tasks AS equal
        WHERE equal.result_hash = tasks.result_hash AND equal.context_group_id IS NOT NULL AND equal.ended_ms = 0
    )
)

-- name: ended_tasks
SELECT ended_ms, task_id, {wanted}
FROM tasks INDEXED BY tasks_ended
WHERE ended_ms >= max(?3, 1) AND ended_ms > 0 AND ended_ms < ?2 AND (ended_ms > ?3 OR task_id > ?4)
ORDER BY ended_ms, task_id LIMIT ?5;

-- name: forget_tasks
DELETE FROM tasks
WHERE task_id IN (SELECT value FROM json_each(?3)) AND ended_ms > 0 AND ended_ms < ?2 AND NOT ({wanted})
RETURNING task_id, schedule_seq, generation, nominal_ms;

-- name: note_forgotten_firings
INSERT INTO forgotten_firings (schedule_seq, generation, nominal_ms, epoch) VALUES (?, ?, ?, ?)
ON CONFLICT (schedule_seq) DO UPDATE SET
    nominal_ms = iif(excluded.generation > generation, excluded.nominal_ms, max(excluded.nominal_ms, nominal_ms)),
    generation = excluded.generation, epoch = excluded.epoch
WHERE excluded.generation >= generation;

-- name: forgotten_firings
SELECT nominal_ms FROM forgotten_firings WHERE schedule_seq = ? AND generation = ?;

-- A schedule is kept as long as one of its tasks, which names it.
-- name: forget_schedules
DELETE FROM schedules
WHERE schedule_seq IN (
    SELECT schedule_seq FROM schedules INDEXED BY schedules_ended
    WHERE state = 4 AND updated_ms < ?1 AND NOT EXISTS (
        SELECT 1 FROM tasks INDEXED BY tasks_of_schedules
        WHERE tasks.schedule_seq = schedules.schedule_seq AND tasks.schedule_seq > 0
    )
    ORDER BY updated_ms, schedule_seq LIMIT ?2
)
RETURNING schedule_seq;

-- name: forget_firings_of_schedules
DELETE FROM forgotten_firings WHERE schedule_seq IN (SELECT value FROM json_each(?));

-- name: note_forgotten
UPDATE forgotten SET last_id = max(last_id, ?2), rows = rows + ?3, epoch = ?4 WHERE kind = ?1;

-- name: forgotten
SELECT kind, rows FROM forgotten;

-- name: last_forgotten_decision
SELECT last_id FROM forgotten WHERE kind = 'decisions';
