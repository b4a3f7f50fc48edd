-- Groups. `shard_id` and `epoch` come last in the bindings. States: 1 OPEN, 2 COMPLETED, 3 FAILED, 4 DECIDED; from 3 on it
-- has its end, `ended_ms`.

-- part: group_columns
group_seq, group_id, park, latitude, longitude, capacity, min_size, deadline_ms, purchase_limit, pack_out_after_ms,
deliver_within_ms, state, member_count, created_ms, completed_ms, etag

-- name: insert_group
INSERT INTO groups ({group_columns}, shard_id, epoch, ended_ms)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18,
    iif(?12 > 2, max(?14, ?15, 1), 0)
WHERE NOT EXISTS (SELECT 1 FROM groups WHERE group_id = ?2);

-- name: set_member_count
UPDATE groups SET member_count = ?2, epoch = ?3 WHERE group_seq = ?1;

-- name: move_group
UPDATE groups
SET state = ?4, completed_ms = iif(?2 = 0, completed_ms, ?2), member_count = ?3, etag = etag + 1, epoch = ?6,
    ended_ms = iif(?4 > 2, max(?7, 1), 0)
WHERE group_seq = ?1 AND (1 << state) & ?5;

-- name: group_by_seq
SELECT {group_columns} FROM groups WHERE group_seq = ?;

-- name: group_by_id
SELECT {group_columns} FROM groups WHERE group_id = ?;

-- name: groups_newest
SELECT {group_columns} FROM groups
WHERE group_seq < ?1 AND (?3 IS NULL OR park = ?3)
ORDER BY group_seq DESC LIMIT ?2;

-- name: groups_newest_in_state
SELECT {group_columns} FROM groups INDEXED BY groups_by_state
WHERE state = ?4 AND group_seq < ?1 AND (?3 IS NULL OR park = ?3)
ORDER BY group_seq DESC LIMIT ?2;

-- name: last_group_seq
SELECT max(coalesce((SELECT max(group_seq) FROM groups), 0), last_id) FROM forgotten WHERE kind = 'groups';

-- name: count_groups
SELECT count(*) FROM groups;
