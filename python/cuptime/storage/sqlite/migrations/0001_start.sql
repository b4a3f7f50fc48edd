-- The first schema. Instants are UTC milliseconds. Integer keys are given in insertion order; there is no index on an
-- exact due time (the wheel holds that order, a start scans the table). Every row carries the epoch of the owner that
-- wrote it last.

CREATE TABLE shards (
    shard_id   INTEGER PRIMARY KEY,
    epoch      INTEGER NOT NULL,
    owner      TEXT NOT NULL,
    claimed_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE groups (
    group_seq         INTEGER PRIMARY KEY,
    group_id          INTEGER NOT NULL UNIQUE,
    shard_id          INTEGER NOT NULL,
    epoch             INTEGER NOT NULL,
    park              TEXT NOT NULL,
    latitude          REAL NOT NULL,
    longitude         REAL NOT NULL,
    capacity          INTEGER NOT NULL,
    min_size          INTEGER NOT NULL,
    deadline_ms       INTEGER NOT NULL,
    purchase_limit    INTEGER NOT NULL,
    pack_out_after_ms INTEGER NOT NULL,
    deliver_within_ms INTEGER NOT NULL,
    state             INTEGER NOT NULL,
    member_count      INTEGER NOT NULL,
    created_ms        INTEGER NOT NULL,
    completed_ms      INTEGER NOT NULL,
    etag              INTEGER NOT NULL
) STRICT;

-- For lists by state and for the completed groups that wait for their decisions.
CREATE INDEX groups_by_state ON groups (state);

-- order_id = group_seq << 20 | number: the orders of a group are one range of the key.
CREATE TABLE orders (
    order_id      INTEGER PRIMARY KEY,
    user_id       INTEGER NOT NULL,
    request_id    TEXT NOT NULL,
    fingerprint   INTEGER NOT NULL,
    sku           TEXT NOT NULL,
    quantity      INTEGER NOT NULL,
    created_ms    INTEGER NOT NULL,
    rule_revision INTEGER NOT NULL,
    state         INTEGER NOT NULL,
    body          BLOB NOT NULL,
    moved_ms      INTEGER NOT NULL,  -- when it was cancelled or released
    epoch         INTEGER NOT NULL
) STRICT;

CREATE TABLE refusals (
    refusal_id  INTEGER PRIMARY KEY,
    request_id  TEXT NOT NULL UNIQUE,
    fingerprint INTEGER NOT NULL,
    group_id    INTEGER NOT NULL,
    user_id     INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    created_ms  INTEGER NOT NULL,
    status      BLOB NOT NULL,
    epoch       INTEGER NOT NULL
) STRICT;

-- Refusals are made in time's order: this index only ever grows at its end. The start and the sweep read by it.
CREATE INDEX refusals_by_age ON refusals (created_ms);

-- An append-only ledger: the latest row of an order is its decision. Rows are never deleted, so the highest sequence is
-- always there and AUTOINCREMENT would only cost.
CREATE TABLE decisions (
    sequence      INTEGER PRIMARY KEY,
    order_id      INTEGER NOT NULL,
    attempt       INTEGER NOT NULL,
    outcome       INTEGER NOT NULL,
    shop_id       INTEGER NOT NULL,
    rider_id      INTEGER NOT NULL,
    priority      INTEGER NOT NULL,
    completed_ms  INTEGER NOT NULL,
    decided_ms    INTEGER NOT NULL,
    rule_revision INTEGER NOT NULL,
    sku           TEXT NOT NULL,
    quantity      INTEGER NOT NULL,
    cold          INTEGER NOT NULL,
    pack_out_ms   INTEGER NOT NULL,
    pickup_ms     INTEGER NOT NULL,
    body          BLOB NOT NULL,
    epoch         INTEGER NOT NULL,
    UNIQUE (order_id, attempt, outcome)
) STRICT;

-- No order is decided twice: one standing assignment for each, whatever a fault does.
CREATE TABLE assignments (
    order_id INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL,
    epoch    INTEGER NOT NULL
) STRICT;

CREATE TABLE interventions (
    order_id    INTEGER PRIMARY KEY,
    attempts    INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL,
    resolved_ms INTEGER NOT NULL,
    resolution  TEXT NOT NULL,
    note        TEXT NOT NULL,
    epoch       INTEGER NOT NULL
) STRICT;

-- The queue people work through; what they resolved is not in it.
CREATE INDEX interventions_open ON interventions (order_id) WHERE resolved_ms = 0;

CREATE TABLE shops (
    shop_id        INTEGER PRIMARY KEY,
    body           BLOB NOT NULL,
    daily_capacity INTEGER NOT NULL,
    fridge_slots   INTEGER NOT NULL,
    updated_ms     INTEGER NOT NULL,
    etag           INTEGER NOT NULL,
    epoch          INTEGER NOT NULL
) STRICT;

CREATE TABLE stock (
    shop_id INTEGER NOT NULL,
    sku     TEXT NOT NULL,
    on_hand INTEGER NOT NULL,
    epoch   INTEGER NOT NULL,
    PRIMARY KEY (shop_id, sku)
) STRICT, WITHOUT ROWID;

CREATE TABLE riders (
    rider_id   INTEGER PRIMARY KEY,
    body       BLOB NOT NULL,
    max_load   INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    etag       INTEGER NOT NULL,
    epoch      INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    task_id                INTEGER PRIMARY KEY,
    queue                  TEXT NOT NULL,
    payload                BLOB NOT NULL,
    due_ms                 INTEGER NOT NULL,
    priority               INTEGER NOT NULL,
    max_retries            INTEGER NOT NULL,
    backoff_ms             INTEGER NOT NULL,
    state                  INTEGER NOT NULL,
    created_ms             INTEGER NOT NULL,
    updated_ms             INTEGER NOT NULL,
    scheduled_ms           INTEGER NOT NULL,
    retry_count            INTEGER NOT NULL,
    context_group_id       INTEGER,  -- NULL: no business context
    context_sku_version    TEXT NOT NULL,
    context_stock_snapshot INTEGER NOT NULL,
    context_timestamp_ms   INTEGER NOT NULL,
    trigger_id             TEXT NOT NULL,
    trigger_ms             INTEGER NOT NULL,
    execution_id           TEXT NOT NULL,
    attempt                INTEGER NOT NULL,
    lease_until_ms         INTEGER NOT NULL,
    worker                 TEXT NOT NULL,
    result_hash            BLOB NOT NULL,
    result                 BLOB NOT NULL,
    error_code             TEXT NOT NULL,
    error_message          TEXT NOT NULL,
    retriable              INTEGER NOT NULL,
    failed_input           BLOB NOT NULL,
    schedule_seq           INTEGER NOT NULL,
    generation             INTEGER NOT NULL,
    nominal_ms             INTEGER NOT NULL,
    traceparent            TEXT NOT NULL,
    epoch                  INTEGER NOT NULL
) STRICT;

-- One firing, one task.
CREATE UNIQUE INDEX tasks_of_schedules ON tasks (schedule_seq, generation, nominal_ms) WHERE schedule_seq > 0;
-- An equal hash already executed returns the stored result.
CREATE INDEX tasks_executed ON tasks (result_hash) WHERE state = 4 AND result_hash != x'';

CREATE TABLE schedules (
    schedule_seq     INTEGER PRIMARY KEY,
    schedule_id      TEXT NOT NULL,
    timing_kind      INTEGER NOT NULL,
    expression       TEXT NOT NULL,
    value_ms         INTEGER NOT NULL,
    time_zone        TEXT NOT NULL,
    start_ms         INTEGER NOT NULL,
    end_ms           INTEGER NOT NULL,
    target           BLOB NOT NULL,
    state            INTEGER NOT NULL,
    generation       INTEGER NOT NULL,
    anchor_ms        INTEGER NOT NULL,
    planned_until_ms INTEGER NOT NULL,
    next_ms          INTEGER NOT NULL,
    fire_count       INTEGER NOT NULL,
    note             TEXT NOT NULL,
    created_ms       INTEGER NOT NULL,
    updated_ms       INTEGER NOT NULL,
    epoch            INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX schedules_live ON schedules (schedule_id) WHERE state != 4;
-- For the last one that was unregistered.
CREATE INDEX schedules_by_id ON schedules (schedule_id);

CREATE TABLE rule_revisions (
    revision   INTEGER PRIMARY KEY,
    digest     TEXT NOT NULL,
    source     TEXT NOT NULL,
    note       TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    rule_count INTEGER NOT NULL,
    epoch      INTEGER NOT NULL
) STRICT;

CREATE TABLE requests (
    request_id  TEXT PRIMARY KEY NOT NULL,
    method      TEXT NOT NULL,
    fingerprint INTEGER NOT NULL,
    response    BLOB NOT NULL,
    expires_ms  INTEGER NOT NULL,
    epoch       INTEGER NOT NULL
) STRICT;

CREATE INDEX requests_by_expiry ON requests (expires_ms);

-- Counts the commits whose outcome was in doubt and that were overwritten (see writer.py).
CREATE TABLE voided_commits (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    count INTEGER NOT NULL
) STRICT;

INSERT INTO voided_commits VALUES (1, 0);
