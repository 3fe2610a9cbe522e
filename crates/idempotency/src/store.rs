//! All SQL of idempotency keys.

pub mod answers;
mod personal;

pub use personal::PERSONAL_DATA;

/// Rules about stored answers.
pub const AUDITS: &[pg::Audit] = &[pg::Audit {
    rule: "idempotency K1: an answer is a JSON object with its version",
    sql: "SELECT user_id AS subject, format('key %s: %s', key, left(answer::text, 80)) AS detail FROM idempotency.answers \
          WHERE answer IS NOT NULL AND jsonb_typeof(answer -> 'v') IS DISTINCT FROM 'number' LIMIT 20",
}];
