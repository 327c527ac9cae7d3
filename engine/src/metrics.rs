//! Every metric: its name, its labels, what it counts. Labels come from closed sets only; none holds an address.

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

/// Facts recorded. Labels: `outcome` (accepted, retry, failed, suppressed, unknown, abandoned), `channel`, `provider`, `class`.
pub const MESSAGES: &str = "fanfare_messages_total";
/// Direct messages taken in. Labels: `channel`, `class`, `verdict` (accepted, refused, duplicate).
pub const DIRECT: &str = "fanfare_direct_total";
/// Time a stage took. Label: `stage` (claim, load, render, permit, intent, send, record, freeze, feed, apply, inbox).
pub const STAGE_SECONDS: &str = "fanfare_stage_seconds";
/// From the acceptance of a direct message to its first byte.
pub const URGENT_SECONDS: &str = "fanfare_urgent_seconds";
/// Hints in a lane. Label: `lane`.
pub const QUEUE_DEPTH: &str = "fanfare_queue_depth";
/// Hints that were delivered and not acknowledged. Label: `lane`.
pub const QUEUE_PENDING: &str = "fanfare_queue_pending";
/// Age of the oldest hint. Label: `lane`.
pub const QUEUE_OLDEST_SECONDS: &str = "fanfare_queue_oldest_seconds";
/// Chunks that this process works on.
pub const CHUNKS_AT_WORK: &str = "fanfare_chunks_at_work";
/// Requests on the wire.
pub const IN_FLIGHT: &str = "fanfare_requests_in_flight";
/// Intents that were void because nothing was on the wire within a second.
pub const VOIDED: &str = "fanfare_intents_voided_total";
/// 0 closed, 1 half-open, 2 open. Labels: `account` (slug), `account_id`.
pub const BREAKER: &str = "fanfare_breaker_state";
/// Requests a second that an account is allowed now, over all processes. Labels: `account` (slug), `account_id`.
pub const PACE: &str = "fanfare_account_pace";
/// Webhooks stored, by `provider` and `verdict` (stored, forged, rejected).
pub const WEBHOOKS: &str = "fanfare_webhooks_total";
/// Events applied. Label: `kind`.
pub const EVENTS: &str = "fanfare_events_total";
/// What else feedback came to. Label: `effect` (repeated, orphan, foreign, suppressed, resumed, settled).
pub const FEEDBACK: &str = "fanfare_feedback_total";
/// Opens and clicks by links of our own. Label: `verdict` (person, dropped, or why it is taken for a machine).
pub const VISITS: &str = "fanfare_visits_total";
/// Webhooks that were committed together.
pub const INBOX_COMMIT_ROWS: &str = "fanfare_inbox_commit_rows";
/// From the storage of a webhook to its application.
pub const WEBHOOK_LAG_SECONDS: &str = "fanfare_webhook_lag_seconds";
/// Database connections, by `state` (idle, used).
pub const POOL: &str = "fanfare_database_connections";
/// Times that the process asked for memory.
pub const ALLOCATIONS: &str = "fanfare_allocations_total";
/// Runs of the duties of upkeep. Labels: `task`, `result` (done, failed).
pub const UPKEEP: &str = "fanfare_upkeep_runs_total";
/// Chunk counters that differed from the rows they sum up: should stay 0.
pub const REPAIRED: &str = "fanfare_counters_repaired_total";

/// Tells the recorder what each metric means.
pub fn describe() {
    describe_counter!(MESSAGES, "Facts recorded about attempts");
    describe_counter!(DIRECT, "Direct messages taken in");
    describe_histogram!(STAGE_SECONDS, Unit::Seconds, "Time a stage of the pipeline took");
    describe_histogram!(
        URGENT_SECONDS,
        Unit::Seconds,
        "From the acceptance of a direct message to its first byte"
    );
    describe_gauge!(QUEUE_DEPTH, "Hints in a lane");
    describe_gauge!(QUEUE_PENDING, "Hints delivered and not acknowledged");
    describe_gauge!(QUEUE_OLDEST_SECONDS, Unit::Seconds, "Age of the oldest hint of a lane");
    describe_gauge!(CHUNKS_AT_WORK, "Chunks that this process works on");
    describe_gauge!(IN_FLIGHT, "Requests on the wire");
    describe_counter!(VOIDED, "Intents voided because nothing was on the wire within a second");
    describe_gauge!(BREAKER, "Circuit breaker of an account: 0 closed, 1 half-open, 2 open");
    describe_gauge!(PACE, "Requests a second that an account is allowed now, over all processes");
    describe_counter!(WEBHOOKS, "Webhooks by what became of them");
    describe_counter!(EVENTS, "Delivery events applied");
    describe_counter!(FEEDBACK, "Items of webhooks and look-ups by what they came to, beside events");
    describe_counter!(VISITS, "Opens and clicks by links of our own, by whom they are taken for");
    describe_histogram!(INBOX_COMMIT_ROWS, "Webhooks committed together");
    describe_histogram!(
        WEBHOOK_LAG_SECONDS,
        Unit::Seconds,
        "From the storage of a webhook to its application"
    );
    describe_gauge!(POOL, "Database connections by state");
    describe_counter!(ALLOCATIONS, "Times that the process asked for memory");
    describe_counter!(UPKEEP, "Runs of the duties of upkeep");
    describe_counter!(REPAIRED, "Chunk counters that differed from their rows");
}
