//! Rules about stored data that hold across domains. What only one domain can break is audited by that domain.
//!
//! The one place outside the stores that reads tables, and of two schemas at once: it is asked by tests and operators, never
//! by a request.

use pg::Audit;

/// One event for each change of posted, in the order of the journal (L17).
///
/// The outbox knows nothing of what happened before it existed, of what was removed from it in order of age, and of what a
/// caller booked who writes no events ([`credits::execute`] alone). So the comparison begins, for each user,
///
/// - with the first entry, if the event of the user's creation was written by the same transaction as that entry;
/// - else with the entry that the oldest credit event left in the outbox tells of.
///
/// From there on to the newest entry, every change has its event and every credit event its change, in the same order and
/// with the same kind, amount, balance, transaction and instant. An account without credit events, and without such a
/// creation, is not compared. An account that events are written for must not be booked on without: that is found too.
const TOLD: Audit = Audit {
    rule: "flows L17: one event for each change of posted, in the order of the journal",
    sql: "WITH told AS MATERIALIZED ( \
            SELECT user_id, id, event_type, payload, created_at, row_number() OVER (PARTITION BY user_id ORDER BY id) AS nth \
            FROM webhooks.events WHERE event_type LIKE 'credit\\_%' AND event_type <> 'credit_low'), \
          begins AS ( \
            SELECT v.user_id, e.seq FROM webhooks.events v JOIN credits.entries e ON e.user_id = v.user_id \
            WHERE v.event_type = 'user_created' AND e.seq = 1 AND e.xmin = v.xmin \
            UNION ALL \
            SELECT t.user_id, e.seq FROM told t JOIN credits.entries e ON e.user_id = t.user_id \
            WHERE t.nth = 1 AND 'txn_' || e.transaction_id = t.payload ->> 'transaction_id' \
              AND e.balance_after = (t.payload ->> 'balance_after')::numeric * 1000000), \
          moved AS ( \
            SELECT e.*, row_number() OVER (PARTITION BY e.user_id ORDER BY e.seq) AS nth \
            FROM credits.entries e JOIN (SELECT user_id, min(seq) AS first FROM begins GROUP BY user_id) AS b \
              ON b.user_id = e.user_id WHERE e.seq >= b.first AND e.type NOT IN ('hold', 'release')) \
          SELECT DISTINCT ON (subject) * FROM ( \
            SELECT coalesce(m.user_id, t.user_id) AS subject, format('change %s: entry %s is %s of %s credits at %s and leaves %s \
              credits; event %s is %s: %s at %s', coalesce(m.nth, t.nth), m.seq, m.type, trim_scale(m.amount * 0.000001), \
              m.created_at, trim_scale(m.balance_after * 0.000001), t.id, t.event_type, t.payload, t.created_at) AS detail, coalesce(m.nth, t.nth) AS place \
            FROM moved m FULL JOIN told t ON t.user_id = m.user_id AND t.nth = m.nth \
            WHERE m.user_id IS NULL OR t.user_id IS NULL \
              OR t.event_type IS DISTINCT FROM CASE m.type WHEN 'consume' THEN 'credit_consumed' \
                WHEN 'capture' THEN 'credit_consumed' WHEN 'recharge' THEN 'credit_recharged' \
                WHEN 'grant' THEN 'credit_granted' WHEN 'refund' THEN 'credit_refunded' \
                WHEN 'expire' THEN 'credit_expired' WHEN 'adjust' THEN 'credit_adjusted' END \
              OR (t.payload ->> 'amount')::numeric * 1000000 IS DISTINCT FROM m.amount \
              OR (t.payload ->> 'balance_after')::numeric * 1000000 IS DISTINCT FROM m.balance_after \
              OR t.payload ->> 'transaction_id' IS DISTINCT FROM 'txn_' || m.transaction_id \
              OR t.created_at <> m.created_at) AS broken \
          ORDER BY subject, place LIMIT 20",
};

/// The name of the rule that charges and records tell the same.
pub(crate) const CHARGED_RULE: &str = "flows U2: a charged usage record and its entry tell the same";

/// Every charge of a usage record has its entry, and every entry of a charge its record, with equal amounts (U2): of records
/// and of entries that meet a condition. What was recorded in months that were dropped is gone: its entries are not compared.
macro_rules! charged {
    ($records:literal, $entries:literal) => {
        concat!(
            "SELECT coalesce(r.user_id, e.user_id) AS subject, coalesce(r.charge_seq, e.seq) AS seq, \
               format('record %s is charged %s less %s credits by entry %s (%s); entry %s of %s is %s credits (%s)', r.id, \
               trim_scale(r.credits_charged * 0.000001), trim_scale(r.credits_uncollected * 0.000001), r.charge_seq, \
               r.charge_transaction, e.seq, e.usage_record_id, trim_scale(e.amount * 0.000001), e.transaction_id) AS detail \
             FROM (SELECT * FROM usage.records WHERE charge_seq IS NOT NULL AND ",
            $records,
            ") AS r FULL JOIN (SELECT * FROM credits.entries WHERE metered AND ",
            $entries,
            ") AS e ON e.user_id = r.user_id AND e.seq = r.charge_seq AND e.usage_record_id = r.id \
             WHERE e.user_id IS NULL \
               OR r.user_id IS NULL AND NOT EXISTS ( \
                 SELECT FROM usage.retention WHERE dropped_before > e.created_at - interval '36 d') \
               OR r.charge_transaction <> e.transaction_id OR r.sign <> 1 \
               OR r.credits_charged - r.credits_uncollected <> e.amount \
             ORDER BY subject, seq, r.id LIMIT 20"
        )
    };
}

/// [`CHARGED_RULE`] of the users behind `$1`, up to `$2` if there is an end.
pub(crate) const CHARGED_OF_USERS: &str = charged!(
    "user_id > $1 AND ($2 IS NULL OR user_id <= $2)",
    "user_id > $1 AND ($2 IS NULL OR user_id <= $2)"
);

const CHARGED: Audit = Audit { rule: CHARGED_RULE, sql: charged!("true", "true") };

/// Every answer under an idempotency key that has an entry names the transaction of that entry, and an answer without a
/// transaction is a refusal: a repeat shows what was done, and no refusal is mistaken for an effect.
const ANSWERED: Audit = Audit {
    rule: "flows K2: the answer of a key tells what its transaction did",
    sql: "SELECT a.user_id AS subject, format('key %s of transaction %s: entry %s is of %s; answer %s', a.key, a.transaction_id, \
            a.answer ->> 'entry_seq', e.transaction_id, left(a.answer::text, 80)) AS detail \
          FROM idempotency.answers a LEFT JOIN credits.entries e \
            ON e.user_id = a.user_id AND e.seq = (a.answer ->> 'entry_seq')::bigint \
          WHERE a.answer IS NOT NULL AND (\
            (a.transaction_id IS NULL) <> (a.answer #> '{result,refused}' IS NOT NULL) \
            OR a.answer ->> 'entry_seq' IS NOT NULL AND e.transaction_id IS DISTINCT FROM a.transaction_id) LIMIT 20",
};

/// The rules across domains.
pub const AUDITS: &[Audit] = &[TOLD, CHARGED, ANSWERED];
