//! Rules about stored data that hold across domains. What only one domain can break is audited by that domain.
//!
//! The one place outside the stores that reads tables, and of two schemas at once: it is asked by tests and operators, never
//! by a request.

use pg::Audit;

/// One event for each change of posted, in the order of the journal (L17): every credit event has its entry, and every entry
/// that was booked while a receiver wanted its event has one, with the same kind, amount, balance, transaction and instant.
///
/// Events of entries that were booked at other times may exist: earlier versions wrote all of them.
const TOLD: Audit = Audit {
    rule: "flows L17: one event for each change of posted, in the order of the journal",
    sql: "WITH moved AS ( \
            SELECT e.*, 'txn_' || e.transaction_id AS txn, k.event_type, row_number() OVER ( \
                PARTITION BY e.user_id, e.transaction_id, k.event_type, e.balance_after ORDER BY e.seq) AS nth \
            FROM credits.entries e, LATERAL (SELECT CASE e.type WHEN 'consume' THEN 'credit_consumed' \
                WHEN 'capture' THEN 'credit_consumed' WHEN 'recharge' THEN 'credit_recharged' \
                WHEN 'grant' THEN 'credit_granted' WHEN 'refund' THEN 'credit_refunded' \
                WHEN 'expire' THEN 'credit_expired' WHEN 'adjust' THEN 'credit_adjusted' END AS event_type) AS k \
            WHERE e.type NOT IN ('hold', 'release')), \
          told AS ( \
            SELECT v.*, payload ->> 'transaction_id' AS txn, (payload ->> 'balance_after')::numeric * 1000000 AS balance_after, \
              row_number() OVER (PARTITION BY user_id, payload ->> 'transaction_id', event_type, payload ->> 'balance_after' \
                ORDER BY id) AS nth \
            FROM webhooks.events v WHERE event_type LIKE 'credit\\_%' AND event_type <> 'credit_low'), \
          pairs AS ( \
            SELECT coalesce(m.user_id, t.user_id) AS subject, m.seq, m.type, m.amount, m.balance_after, m.created_at, \
              m.booked_at, m.event_type, t.id, t.event_type AS told_type, t.payload, t.created_at AS told_at, \
              lag(m.seq) OVER (PARTITION BY t.user_id ORDER BY t.id) AS seq_before \
            FROM moved m FULL JOIN told t ON t.user_id = m.user_id AND t.txn = m.txn AND t.event_type = m.event_type \
              AND t.balance_after = m.balance_after AND t.nth = m.nth) \
          SELECT DISTINCT ON (subject) subject, format('entry %s is %s of %s credits at %s and leaves %s credits; event %s is %s: \
            %s at %s, after that of entry %s', seq, type, trim_scale(amount * 0.000001), created_at, \
            trim_scale(balance_after * 0.000001), id, told_type, payload, told_at, seq_before) AS detail \
          FROM pairs \
          WHERE seq IS NULL \
            OR id IS NOT NULL AND (seq < seq_before OR created_at <> told_at \
              OR (payload ->> 'amount')::numeric * 1000000 IS DISTINCT FROM amount) \
            OR id IS NULL AND EXISTS (SELECT FROM webhooks.receivers r \
              WHERE booked_at >= r.wanted_from AND (booked_at < r.wanted_until OR r.wanted_until IS NULL) \
                AND (r.only_user_id = subject OR r.only_user_id IS NULL) \
                AND (event_type = ANY (r.event_types) OR r.event_types IS NULL)) \
          ORDER BY subject, seq, id LIMIT 20",
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
