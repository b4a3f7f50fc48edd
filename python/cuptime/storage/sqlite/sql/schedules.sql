-- Schedules. State 4 is UNREGISTERED.

-- part: schedule_columns
schedule_seq, schedule_id, timing_kind, expression, value_ms, time_zone, start_ms, end_ms, target, state, generation,
anchor_ms, planned_until_ms, next_ms, fire_count, note, created_ms, updated_ms, dst,
policy, labels, run_count, missed_count, source, skipped_count, buffered_count, cancelled_count

-- name: insert_schedule
INSERT INTO schedules ({schedule_columns}, epoch)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
    ?22, ?23, ?24, ?25, ?26, ?27, ?28
WHERE ?10 = 4 OR NOT EXISTS (SELECT 1 FROM schedules WHERE schedule_id = ?2 AND state != 4);

-- What the overlap policy did is counted by its own write; a schedule that was read before knows less of it.
-- name: replace_schedule
UPDATE schedules
SET ({schedule_columns}, epoch) = (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19,
    ?20, ?21, ?22, ?23, ?24, skipped_count, buffered_count, cancelled_count, ?25)
WHERE schedule_seq = ?1 AND generation = ?26;

-- name: count_overlaps
UPDATE schedules
SET skipped_count = skipped_count + ?2, buffered_count = buffered_count + ?3, cancelled_count = cancelled_count + ?4
WHERE schedule_seq = ?1;

-- name: advance_schedule
UPDATE schedules
SET planned_until_ms = ?3, next_ms = ?4, fire_count = fire_count + ?5, state = ?6, epoch = ?8,
    run_count = run_count + ?5, missed_count = missed_count + ?7
WHERE schedule_seq = ?1 AND generation = ?2;

-- name: schedule_live
SELECT {schedule_columns} FROM schedules WHERE schedule_id = ? AND state != 4;

-- name: schedule_last
SELECT {schedule_columns} FROM schedules WHERE schedule_id = ? ORDER BY schedule_seq DESC LIMIT 1;

-- name: schedule_by_seq
SELECT {schedule_columns} FROM schedules WHERE schedule_seq = ?;

-- name: schedules
SELECT {schedule_columns} FROM schedules
WHERE schedule_seq > ?1 AND (?3 IS NULL OR state = ?3) AND (?4 IS NULL OR instr(labels, ?4) > 0)
ORDER BY schedule_seq LIMIT ?2;

-- name: sourced_schedules
SELECT {schedule_columns} FROM schedules WHERE source != '' AND state != 4 AND schedule_seq > ?1
ORDER BY schedule_seq LIMIT ?2;

-- name: last_schedule_seq
SELECT max(coalesce((SELECT max(schedule_seq) FROM schedules), 0), last_id) FROM forgotten WHERE kind = 'schedules';

-- name: count_schedules
SELECT count(*) FROM schedules;

-- part: change_columns
sequence, schedule_seq, schedule_id, kind, at_ms, generation, actor, peer, request_id, detail, before_body, after_body

-- name: record_schedule_change
INSERT INTO schedule_changes ({change_columns}, epoch) VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: schedule_changes
SELECT {change_columns} FROM schedule_changes WHERE sequence < ?1 ORDER BY sequence DESC LIMIT ?2;

-- name: changes_of_schedule
SELECT {change_columns} FROM schedule_changes WHERE schedule_id = ?3 AND sequence < ?1 ORDER BY sequence DESC LIMIT ?2;

-- name: forget_schedule_changes
DELETE FROM schedule_changes WHERE sequence IN (
    SELECT sequence FROM schedule_changes
    WHERE sequence < (SELECT max(sequence) FROM schedule_changes)
        AND (at_ms < ?1 OR sequence <= (SELECT max(sequence) FROM schedule_changes) - ?2)
    ORDER BY sequence LIMIT ?3
);

-- name: count_schedule_changes
SELECT count(*) FROM schedule_changes;
