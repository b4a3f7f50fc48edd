-- The ledger of decisions, and which assignment of an order stands.

-- part: decision_columns
decisions.sequence, decisions.order_id, attempt, outcome, shop_id, rider_id, priority, completed_ms, decided_ms,
rule_revision, sku, quantity, cold, pack_out_ms, pickup_ms, body

-- name: insert_decisions
INSERT INTO decisions (sequence, order_id, attempt, outcome, shop_id, rider_id, priority, completed_ms, decided_ms,
    rule_revision, sku, quantity, cold, pack_out_ms, pickup_ms, body, epoch)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (order_id, attempt, outcome) DO NOTHING;

-- name: insert_assignments
INSERT INTO assignments (order_id, sequence, epoch) VALUES (?, ?, ?)
ON CONFLICT (order_id) DO NOTHING;

-- name: delete_assignment
DELETE FROM assignments WHERE order_id = ? RETURNING live;

-- Cups of live assignments that are to be retired, by shop and SKU, unless the stock was counted after their pack-out.
-- name: cups_to_retire
SELECT decisions.shop_id, decisions.sku, sum(decisions.quantity)
FROM json_each(?1) AS given
CROSS JOIN assignments ON assignments.order_id = given.value AND assignments.live = 1
CROSS JOIN decisions ON decisions.sequence = assignments.sequence
CROSS JOIN stock ON stock.shop_id = decisions.shop_id AND stock.sku = decisions.sku
WHERE stock.set_ms <= decisions.pack_out_ms
GROUP BY decisions.shop_id, decisions.sku;

-- name: retire_assignments
UPDATE assignments SET live = 0, epoch = ?2
WHERE order_id IN (SELECT value FROM json_each(?1)) AND live = 1;

-- name: latest_decision
SELECT {decision_columns} FROM decisions WHERE order_id = ? ORDER BY sequence DESC LIMIT 1;

-- name: decisions_after
SELECT {decision_columns} FROM decisions WHERE sequence > ?1 ORDER BY sequence LIMIT ?2;

-- The plus signs keep the planner from walking the whole ledger: the orders of one group are few.
-- name: decisions_of_group
SELECT {decision_columns} FROM decisions
WHERE order_id > ?3 AND order_id < ?4 AND +sequence > ?1
ORDER BY +sequence LIMIT ?2;

-- name: standing_assignments
SELECT {decision_columns} FROM decisions
CROSS JOIN assignments ON assignments.order_id = decisions.order_id AND assignments.sequence = decisions.sequence
WHERE decisions.sequence > ?1
ORDER BY decisions.sequence LIMIT ?2;

-- name: live_assignments
SELECT {decision_columns} FROM assignments INDEXED BY assignments_live
CROSS JOIN decisions ON decisions.sequence = assignments.sequence
WHERE assignments.live = 1 AND assignments.sequence > ?1
ORDER BY assignments.sequence LIMIT ?2;

-- name: last_decision
SELECT max(coalesce((SELECT max(sequence) FROM decisions), 0), last_id) FROM forgotten WHERE kind = 'decisions';

-- name: count_decisions
SELECT count(*) FROM decisions;

-- name: count_assignments
SELECT count(*) FROM assignments;
