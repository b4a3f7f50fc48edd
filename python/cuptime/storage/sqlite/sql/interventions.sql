-- Orders that wait for a person. One that was resolved may be opened again.

-- part: intervention_columns
order_id, attempts, created_ms, resolved_ms, resolution, note

-- name: open_intervention
INSERT INTO interventions ({intervention_columns}, epoch) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (order_id) DO UPDATE SET
    attempts = excluded.attempts, created_ms = excluded.created_ms, resolved_ms = excluded.resolved_ms,
    resolution = excluded.resolution, note = excluded.note, epoch = excluded.epoch
WHERE resolved_ms != 0;

-- name: resolve_intervention
UPDATE interventions SET resolved_ms = ?2, resolution = ?3, note = ?4, epoch = ?5
WHERE order_id = ?1 AND resolved_ms = 0;

-- name: intervention
SELECT {intervention_columns} FROM interventions WHERE order_id = ?;

-- name: open_interventions
SELECT {intervention_columns} FROM interventions
WHERE resolved_ms = 0 AND order_id > ?1 ORDER BY order_id LIMIT ?2;

-- name: count_open_interventions
SELECT count(*) FROM interventions WHERE resolved_ms = 0;

-- name: count_interventions
SELECT count(*) FROM interventions;
