//! What a request may hold. Equal to `python/cuptime/domain/limits.py`; a test compares the two.

/// Entries of one batch or of one message of a stream.
pub const BATCH_MAX: usize = 1_000;
/// Characters of a request id.
pub const REQUEST_ID_CHARS_MAX: usize = 64;
/// How long a request id is remembered.
pub const REQUEST_ID_WINDOW_MS: i64 = 24 * 3_600_000;
/// Request ids remembered; beyond it the oldest are forgotten.
pub const REQUEST_IDS_KEPT_MAX: usize = 2_000_000;
/// Smallest group id.
pub const GROUP_ID_MIN: i64 = 10_000;
/// Most members of a group.
pub const GROUP_CAPACITY_MAX: i64 = 5_000;
/// Bits of an order id that are the order's number in its group.
pub const ORDER_NUMBER_BITS: u32 = 20;
/// Cups of one order.
pub const ORDER_QUANTITY_MAX: i64 = 100;
/// Characters of a SKU.
pub const SKU_CHARS_MAX: usize = 64;
/// How far a caller's clock may be from ours.
pub const TIMESTAMP_SKEW_MS_MAX: i64 = 24 * 3_600_000;
/// Bytes of one order, fields this build does not know included.
pub const ORDER_BYTES_MAX: usize = 4_096;
/// Characters of tier, ice level and time slot.
pub const LABEL_CHARS_MAX: usize = 64;
/// Characters of a SKU version.
pub const SKU_VERSION_CHARS_MAX: usize = 32;
/// Highest credit score.
pub const CREDIT_SCORE_MAX: i64 = 1_000;
/// Closed groups remembered after they are forgotten, to tell "closed" from "never was".
pub const CLOSED_GROUPS_KEPT_MAX: usize = 100_000;
/// Orders a group may ever have had, cancelled ones included.
pub const ORDER_NUMBER_MAX: i64 = (1 << ORDER_NUMBER_BITS) - 1;

/// Names and values, for the test that compares them.
pub const ALL: [(&str, i64); 12] = [
    ("BATCH_MAX", BATCH_MAX as i64),
    ("REQUEST_ID_CHARS_MAX", REQUEST_ID_CHARS_MAX as i64),
    ("REQUEST_ID_WINDOW_MS", REQUEST_ID_WINDOW_MS),
    ("REQUEST_IDS_KEPT_MAX", REQUEST_IDS_KEPT_MAX as i64),
    ("GROUP_ID_MIN", GROUP_ID_MIN),
    ("GROUP_CAPACITY_MAX", GROUP_CAPACITY_MAX),
    ("ORDER_NUMBER_BITS", ORDER_NUMBER_BITS as i64),
    ("ORDER_QUANTITY_MAX", ORDER_QUANTITY_MAX),
    ("SKU_CHARS_MAX", SKU_CHARS_MAX as i64),
    ("TIMESTAMP_SKEW_MS_MAX", TIMESTAMP_SKEW_MS_MAX),
    ("ORDER_BYTES_MAX", ORDER_BYTES_MAX as i64),
    ("LABEL_CHARS_MAX", LABEL_CHARS_MAX as i64),
];
