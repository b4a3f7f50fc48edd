-- Rule-set revisions; the highest is the active one.

-- part: revision_columns
revision, digest, source, note, created_ms, rule_count, revision = (SELECT max(revision) FROM rule_revisions)

-- name: insert_rule_revision
INSERT INTO rule_revisions (revision, digest, source, note, created_ms, rule_count, epoch)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
WHERE ?1 = (SELECT coalesce(max(revision), 0) + 1 FROM rule_revisions);

-- name: rule_revision
SELECT {revision_columns} FROM rule_revisions WHERE revision = ?;

-- name: active_rule_revision
SELECT {revision_columns} FROM rule_revisions ORDER BY revision DESC LIMIT 1;

-- name: rule_revisions
SELECT {revision_columns} FROM rule_revisions WHERE revision < ?1 ORDER BY revision DESC LIMIT ?2;

-- name: last_rule_revision
SELECT coalesce(max(revision), 0) FROM rule_revisions;

-- name: count_rule_revisions
SELECT count(*) FROM rule_revisions;
