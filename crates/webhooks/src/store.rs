//! All SQL of the outbox.

pub mod events;
mod personal;
pub mod receivers;

pub use personal::PERSONAL_DATA;

/// Rules about stored events.
pub const AUDITS: &[pg::Audit] = &[pg::Audit {
    rule: "W1 credit events carry the balance after",
    sql: "SELECT user_id AS subject, 'event ' || id || ' has no balance_after' AS detail FROM webhooks.events \
          WHERE event_type LIKE 'credit_%' AND NOT payload ? 'balance_after' LIMIT 20",
}];
