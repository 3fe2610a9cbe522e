//! Rules that hold for the stored records at any time.

use pg::Audit;

/// What must be true of usage records. Whole tables are read: for tests and for the audit command.
pub const AUDITS: &[Audit] = &[
    Audit {
        rule: "usage: record ids are unique",
        sql: "SELECT 'record ' || id AS subject, count(*) || ' records have this id' AS detail
              FROM usage.records GROUP BY id HAVING count(*) > 1 LIMIT 100",
    },
    Audit {
        rule: "usage: record ids were drawn from their sequence",
        sql: "SELECT 'record ' || record.id AS subject, 'the sequence stands at ' || drawn.last_value AS detail
              FROM usage.records AS record, usage.record_ids AS drawn
              WHERE record.id > drawn.last_value OR NOT drawn.is_called LIMIT 100",
    },
    Audit {
        rule: "usage: nothing is recorded more than 5 minutes before it occurs",
        sql: "SELECT 'record ' || id || ' of ' || user_id AS subject,
                     'recorded at ' || recorded_at || ', occurred at ' || occurred_at AS detail
              FROM usage.records WHERE occurred_at > recorded_at + interval '5 minutes' LIMIT 100",
    },
    // 10^12 tokens (a total may be the sum of two counts), 10^9 credits in micro-credits, 10^6 dollars in nano-dollars.
    Audit {
        rule: "usage: counts and amounts are within the limits of one event",
        sql: "SELECT 'record ' || id || ' of ' || user_id AS subject,
                     'tokens ' || tokens_used || ' (' || prompt_tokens || ' and ' || completion_tokens || '), credits '
                     || credits_charged || ', cost ' || cost_usd AS detail
              FROM usage.records
              WHERE greatest(prompt_tokens, completion_tokens) > 1000000000000 OR tokens_used > 2000000000000
                 OR credits_charged > 1000000000000000 OR cost_usd > 1000000000000000 LIMIT 100",
    },
];
