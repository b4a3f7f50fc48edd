-- Who owns a shard, and under which epoch.

-- name: shard_epoch
SELECT epoch, owner FROM shards WHERE shard_id = ?;

-- name: put_shard
INSERT INTO shards (shard_id, epoch, owner, claimed_ms) VALUES (?, ?, ?, ?)
ON CONFLICT (shard_id) DO UPDATE SET epoch = excluded.epoch, owner = excluded.owner, claimed_ms = excluded.claimed_ms;

-- name: void_commit
UPDATE voided_commits SET count = count + 1;
