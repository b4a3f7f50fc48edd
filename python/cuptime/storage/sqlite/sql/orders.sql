-- Orders, and the refusals of those that were not admitted. An order's group is the high bits of its id.

-- part: order_columns
order_id, user_id, request_id, fingerprint, sku, quantity, created_ms, rule_revision, state, body

-- name: insert_orders
INSERT INTO orders ({order_columns}, moved_ms, epoch) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?);

-- name: move_order
UPDATE orders SET state = ?3, moved_ms = ?4, epoch = ?5 WHERE order_id = ?1 AND state = ?2;

-- name: release_orders
UPDATE orders SET state = 3, moved_ms = ?3, epoch = ?4 WHERE order_id >= ?1 AND order_id < ?2 AND state = 1;

-- name: order
SELECT {order_columns} FROM orders WHERE order_id = ?;

-- name: orders_between
SELECT {order_columns} FROM orders WHERE order_id > ?1 AND order_id < ?2 ORDER BY order_id LIMIT ?3;

-- The loop over groups is outside: neither groups that ended before nor their orders are read. ?5 is ?2 less a margin. The
-- plus sign keeps the planner from beginning at ?1 again for each group.
-- name: orders_since
SELECT {order_columns}
FROM (
    SELECT group_seq FROM groups INDEXED BY groups_by_end
    WHERE (ended_ms = 0 OR ended_ms >= ?5)
        AND +group_seq >= ?1 >> ?4 AND deadline_ms >= ?5 AND (completed_ms = 0 OR completed_ms >= ?5)
    ORDER BY group_seq
) AS possible
CROSS JOIN orders
    ON orders.order_id > possible.group_seq << ?4 AND orders.order_id < (possible.group_seq + 1) << ?4
WHERE +orders.order_id > ?1 AND orders.created_ms >= ?2
ORDER BY possible.group_seq, orders.order_id LIMIT ?3;

-- The loop over groups is outside (CROSS JOIN fixes that), so rows come in the order of their ids without a sort.
-- name: undecided_orders
SELECT {order_columns}
FROM (SELECT group_seq FROM groups WHERE state = 2 AND group_seq >= ?1 >> ?3 ORDER BY group_seq) AS completed
CROSS JOIN orders
    ON orders.order_id > completed.group_seq << ?3 AND orders.order_id < (completed.group_seq + 1) << ?3
WHERE +orders.order_id > ?1 AND orders.state = 1
    AND NOT EXISTS (SELECT 1 FROM decisions WHERE decisions.order_id = orders.order_id)
ORDER BY completed.group_seq, orders.order_id LIMIT ?2;

-- name: count_orders
SELECT count(*) FROM orders;

-- part: refusal_columns
request_id, fingerprint, group_id, user_id, reason, created_ms, status

-- name: insert_refusals
INSERT INTO refusals ({refusal_columns}, epoch) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
ON CONFLICT (request_id) DO UPDATE SET
    fingerprint = excluded.fingerprint, group_id = excluded.group_id, user_id = excluded.user_id,
    reason = excluded.reason, created_ms = excluded.created_ms, status = excluded.status, epoch = excluded.epoch
WHERE created_ms < excluded.created_ms - ?9;

-- name: refusal
SELECT {refusal_columns} FROM refusals WHERE request_id = ?;

-- name: refusals_since
SELECT {refusal_columns} FROM refusals WHERE created_ms >= ?1 ORDER BY created_ms, refusal_id LIMIT ?2;

-- name: forget_refusals
DELETE FROM refusals
WHERE refusal_id IN (SELECT refusal_id FROM refusals WHERE created_ms < ?1 ORDER BY created_ms, refusal_id LIMIT ?2);

-- name: count_refusals
SELECT count(*) FROM refusals;
