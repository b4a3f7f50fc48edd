"""Every limit of the service in one place. A queue, loop or request without one is a fault."""

from __future__ import annotations

from typing import Final

# --- requests ---------------------------------------------------------------------------------------------------
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
METADATA_BYTES_MAX: Final = 8 * 1024
CONCURRENT_RPCS_MAX: Final = 2_000
CALL_BYTES_IN_FLIGHT_MAX: Final = 256 * 1024 * 1024
CONCURRENT_STREAMS_MAX: Final = 1_000
BATCH_MAX: Final = 1_000
PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1_000
REQUEST_ID_CHARS_MAX: Final = 64
REQUEST_ID_WINDOW_MS: Final = 24 * 3_600_000
CLOSED_LATE_MS: Final = 3_600_000
REQUEST_IDS_KEPT_MAX: Final = 2_000_000
DEADLINE_DEFAULT_MS: Final = 5_000
HTTP_BODY_BYTES_MAX: Final = 256 * 1024
HTTP_CALLS_MAX: Final = 500
FILTER_CHARS_MAX: Final = 1_000

# --- intake -----------------------------------------------------------------------------------------------------
INTAKE_BATCH_MAX: Final = 4_096
INTAKE_PENDING_MAX: Final = 20_000
GROUP_ID_MIN: Final = 10_000
GROUP_CAPACITY_MAX: Final = 5_000
GROUPS_OPEN_MAX: Final = 100_000
ORDER_NUMBER_BITS: Final = 20
ORDER_QUANTITY_MAX: Final = 100
ORDER_BYTES_MAX: Final = 4_096
LABEL_CHARS_MAX: Final = 64
SKU_CHARS_MAX: Final = 64
TIMESTAMP_SKEW_MS_MAX: Final = 24 * 3_600_000

# --- decisions --------------------------------------------------------------------------------------------------
DECISION_BUDGET_MS: Final = 300
DECISION_BATCH_ORDERS_MAX: Final = 500
DECISION_PART_ORDERS_MAX: Final = 1_250
DECISION_PENDING_GROUPS_MAX: Final = 50_000
RESERVE_TRIES_MAX: Final = 3
PROVISIONAL_MAX: Final = 10_000
IMPROVE_ORDERS_MAX: Final = 500
DISPATCH_RETRIES_MAX: Final = 3
INTERVENTIONS_OPEN_MAX: Final = 1_000_000
SHOPS_MAX: Final = 10_000
RIDERS_MAX: Final = 50_000
SKUS_PER_SHOP_MAX: Final = 500

# --- tasks ------------------------------------------------------------------------------------------------------
TASKS_PENDING_MAX: Final = 10_000_000
TASK_PAYLOAD_BYTES_MAX: Final = 64 * 1024
TASK_RESULT_BYTES_MAX: Final = 64 * 1024
TASK_ERROR_MESSAGE_CHARS_MAX: Final = 4_096
TASK_RETRIES_DEFAULT: Final = 2
TASK_RETRIES_MAX: Final = 100
TASK_BACKOFF_DEFAULT_MS: Final = 1_000
TASK_BACKOFF_MAX_MS: Final = 3_600_000
TASK_DUE_AHEAD_MAX_MS: Final = 10 * 366 * 86_400_000
TRIGGER_BATCH_MAX: Final = 2_048
READY_TASKS_HELD_MAX: Final = 100_000
BUCKET_MS: Final = 60_000
BUCKET_TASKS_MAX: Final = 500
BUCKET_BYTES_MAX: Final = 1024 * 1024
LEASE_DEFAULT_MS: Final = 30_000
LEASE_MIN_MS: Final = 1_000
LEASE_MAX_MS: Final = 600_000
WORKER_CREDITS_MAX: Final = 10_000
WORKER_QUEUES_MAX: Final = 64
WORKERS_MAX: Final = 1_000

# --- schedules --------------------------------------------------------------------------------------------------
SCHEDULES_MAX: Final = 1_000_000
TRIGGER_WINDOW_MS: Final = 300_000
PLAN_PERIOD_MS: Final = 60_000
FIRINGS_PER_WINDOW_MAX: Final = 30_000
EVERY_MIN_MS: Final = 10
PREVIEW_MAX: Final = 1_000
CRON_CHARS_MAX: Final = 200
SCHEDULE_LABELS_MAX: Final = 16
MISFIRE_MS: Final = 1_000
CATCH_UP_WINDOW_DEFAULT_MS: Final = 300_000
CATCH_UP_WINDOW_MAX_MS: Final = 7 * 86_400_000
CATCH_UP_LIMIT_MAX: Final = 1_000
JITTER_MAX_MS: Final = 86_400_000
BACKFILL_FIRINGS_MAX: Final = 1_000
BUFFERED_FIRINGS_MAX: Final = 1_000
SCHEDULE_FILE_ENTRIES_MAX: Final = 10_000
SCHEDULE_CHANGES_KEPT_MS: Final = 90 * 86_400_000
SCHEDULE_CHANGES_KEPT_MAX: Final = 1_000_000
ACTOR_CHARS_MAX: Final = 128

# --- rules ------------------------------------------------------------------------------------------------------
RULE_SOURCE_BYTES_MAX: Final = 1024 * 1024
SCHEDULE_SOURCES_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of all files of a watched folder together; each has at most RULE_SOURCE_BYTES_MAX."""
RULE_YAML_DEPTH_MAX: Final = 16
RULE_YAML_NODES_MAX: Final = 120_000
RULES_MAX: Final = 10_000
RULE_CONDITION_CHARS_MAX: Final = 4_096
RULE_REVISIONS_KEPT_MAX: Final = 10_000
RULE_NAMESPACES_MAX: Final = 100
RULE_VARIABLES_MAX: Final = 100
"""In one namespace."""

# --- storage ----------------------------------------------------------------------------------------------------
WRITER_PENDING_UNITS_MAX: Final = 20_000
COMMIT_UNITS_MAX: Final = 2_000
COMMIT_ROWS_MAX: Final = 20_000
BUSY_TIMEOUT_MS: Final = 5_000
WAL_PAGES_BEFORE_CHECKPOINT: Final = 4_000
FORGET_ROWS_MAX: Final = 2_000
FORGET_ORDERS_MAX: Final = 200
FORGET_TASKS_MAX: Final = 500
RETAIN_DAYS_MAX: Final = 3_650
READERS: Final = 2
READS_PENDING_MAX: Final = 20_000

# --- watchers ---------------------------------------------------------------------------------------------------
WATCHERS_MAX: Final = 1_000
WATCH_QUEUE_MAX: Final = 1_000

# --- gate -------------------------------------------------------------------------------------------------------
GATE_BATCH_MAX: Final = 500
GATE_TOMBSTONE_MS: Final = 600_000
GATE_TIMEOUT_MS: Final = 1_000
GATE_CONNECTIONS_MAX: Final = 8
GATE_RESERVATIONS_MAX: Final = 5_000_000
