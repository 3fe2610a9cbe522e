//! Rules that hold for the stored records at any time.
//!
//! Those about roll-ups (U1) are asked twice: of everything at the end of a test, and of a range at a time by
//! [`verify`](crate::verify). A comment stands where the condition of the range belongs, and they also tell the quarter of an
//! hour (`at`).

use std::sync::LazyLock;

use pg::Audit;

/// Rules for the sums from `$1` up to, not including, `$2`: beginnings of quarters, or absent.
pub(super) static AUDITS_OF_HOURS: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| of_range("hours"));

/// Rules for longer spans from `$1` up to, not including, `$2`: beginnings of days, or absent.
pub(super) static AUDITS_OF_DAYS: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| of_range("days"));

/// The rules that a comment says to be about such spans, with the condition of a range in its place.
fn of_range(spans: &str) -> Vec<(&'static str, String)> {
    let asked = AUDITS.iter().filter(|audit| audit.sql.contains(&format!("/* {spans} of ")));
    let ranged = asked.map(|audit| {
        let mut sql = audit.sql.to_owned();
        for column in ["bucket", "occurred_at"] {
            let range =
                format!("{column} >= coalesce($1, '-infinity') AND {column} < coalesce($2, 'infinity')");
            sql = sql.replace(&format!("/* {spans} of {column} */ true"), &range);
        }
        (audit.rule, sql)
    });
    ranged.collect()
}

/// Rules for usage records. Whole tables are read: for tests and for the audit command.
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
                     'tokens ' || tokens_used || ' (' || prompt_tokens || ' and ' || completion_tokens || '), '
                     || trim_scale(credits_charged * 0.000001) || ' credits, ' || trim_scale(cost_usd * 0.000000001)
                     || ' USD' AS detail
              FROM usage.records
              WHERE greatest(abs(prompt_tokens), abs(completion_tokens)) > 1000000000000
                 OR abs(tokens_used) > 2000000000000 OR abs(credits_charged) > 1000000000000000
                 OR abs(cost_usd) > 1000000000000000 LIMIT 100",
    },
    Audit {
        rule: "usage: the size of a record is that of its texts",
        sql: "SELECT 'record ' || id || ' of ' || user_id AS subject, size_bytes || ' bytes' AS detail FROM usage.records
              WHERE size_bytes <> octet_length(concat(session_id, trace_id, endpoint, event_type, model_name, provider,
                  tool_name, operation_name, calculation_method, event_id, quantities, billing_metadata, request_data,
                  response_data)) LIMIT 100",
    },
    Audit {
        rule: "usage U1: roll-ups are the sums of records by user, quarter of an hour and dimensions",
        sql: "SELECT coalesce(user_id, 'all users') AS subject, user_id AS user_id, bucket AS at,
                     to_char(bucket, 'YYYY-MM-DD HH24:MITZH, ')
                     || concat_ws(' ', event_type, nullif(model, ''), nullif(provider, ''), nullif(tool, ''))
                     || ': the roll-up has ' || sum(records) || ' records, ' || sum(tokens_used) || ' tokens, '
                     || trim_scale(sum(credits_charged) * 0.000001) || ' credits, '
                     || trim_scale(sum(credits_deducted) * 0.000001) || ' deducted and '
                     || trim_scale(sum(cost_usd) * 0.000000001) || ' USD too many' AS detail
              FROM (
                  SELECT user_id, bucket, event_type, model, provider, tool, records, tokens_used, prompt_tokens,
                         completion_tokens, credits_charged, credits_deducted, cost_usd
                  FROM usage.rollups_15m
                  WHERE bucket >= (SELECT dropped_before FROM usage.retention) AND /* hours of bucket */ true
                  UNION ALL
                  SELECT user_id, date_bin('15 minutes', occurred_at, '2000-01-01 00:00:00+00'), event_type,
                         coalesce(model_name, ''), coalesce(provider, ''), coalesce(tool_name, ''), -sign, -tokens_used,
                         -prompt_tokens, -completion_tokens, -credits_charged,
                         CASE WHEN charge_seq IS NOT NULL THEN credits_uncollected - credits_charged
                              WHEN correction_of IS NULL THEN 0
                              ELSE coalesce((
                                  SELECT taken.credits_charged - taken.credits_uncollected FROM usage.records AS taken
                                  WHERE taken.user_id = record.user_id AND taken.occurred_at = record.occurred_at
                                    AND taken.id = record.correction_of AND taken.charge_seq IS NOT NULL), 0) END,
                         -cost_usd
                  FROM usage.records AS record
                  WHERE occurred_at >= (SELECT dropped_before FROM usage.retention)
                  AND /* hours of occurred_at */ true) AS both_ways
              GROUP BY user_id, bucket, event_type, model, provider, tool
              HAVING sum(records) <> 0 OR sum(tokens_used) <> 0 OR sum(prompt_tokens) <> 0
                  OR sum(completion_tokens) <> 0 OR sum(credits_charged) <> 0 OR sum(credits_deducted) <> 0
                  OR sum(cost_usd) <> 0
              ORDER BY subject, at LIMIT 20",
    },
    Audit {
        rule: "usage U1: roll-ups across users, with what is still to be added, are the sums over the users",
        sql: "SELECT coalesce(NULL::text, 'all users') AS subject, NULL::text AS user_id, bucket AS at,
                     to_char(bucket, 'YYYY-MM-DD HH24:MITZH, ')
                     || concat_ws(' ', event_type, nullif(model, ''), nullif(provider, ''), nullif(tool, ''))
                     || ': the roll-up has ' || sum(records) || ' records, ' || sum(tokens_used) || ' tokens, '
                     || trim_scale(sum(credits_charged) * 0.000001) || ' credits, '
                     || trim_scale(sum(credits_deducted) * 0.000001) || ' deducted and '
                     || trim_scale(sum(cost_usd) * 0.000000001) || ' USD too many' AS detail
              FROM (
                  SELECT bucket, event_type, model, provider, tool, records, tokens_used, prompt_tokens,
                         completion_tokens, credits_charged, credits_deducted, cost_usd
                  FROM usage.rollups_all WHERE /* hours of bucket */ true
                  UNION ALL
                  SELECT bucket, event_type, model, provider, tool, records, tokens_used, prompt_tokens,
                         completion_tokens, credits_charged, credits_deducted, cost_usd
                  FROM usage.rollup_deltas WHERE /* hours of bucket */ true
                  UNION ALL
                  SELECT bucket, event_type, model, provider, tool, -records, -tokens_used, -prompt_tokens,
                         -completion_tokens, -credits_charged, -credits_deducted, -cost_usd
                  FROM usage.rollups_15m WHERE /* hours of bucket */ true) AS both_ways
              GROUP BY bucket, event_type, model, provider, tool
              HAVING sum(records) <> 0 OR sum(tokens_used) <> 0 OR sum(prompt_tokens) <> 0
                  OR sum(completion_tokens) <> 0 OR sum(credits_charged) <> 0 OR sum(credits_deducted) <> 0
                  OR sum(cost_usd) <> 0
              ORDER BY subject, at LIMIT 20",
    },
    Audit {
        rule: "usage U1: longer spans across users are the sums of their quarters of an hour",
        sql: "SELECT coalesce(NULL::text, 'all users') AS subject, NULL::text AS user_id, bucket AS at,
                     to_char(bucket, 'YYYY-MM-DD HH24:MITZH, ')
                     || concat_ws(' ', event_type, nullif(model, ''), nullif(provider, ''), nullif(tool, ''))
                     || ': the span of ' || hours || ' hours has ' || sum(records) || ' records, ' || sum(tokens_used)
                     || ' tokens, '
                     || trim_scale(sum(credits_charged) * 0.000001) || ' credits, '
                     || trim_scale(sum(credits_deducted) * 0.000001) || ' deducted and '
                     || trim_scale(sum(cost_usd) * 0.000000001) || ' USD too many' AS detail
              FROM (
                  SELECT hours, bucket, event_type, model, provider, tool, records, tokens_used, prompt_tokens,
                         completion_tokens, credits_charged, credits_deducted, cost_usd
                  FROM usage.rollups_all_hours WHERE hours IN (1, 4, 24) AND /* days of bucket */ true
                  UNION ALL
                  SELECT span.hours, date_bin(make_interval(hours => span.hours), bucket, '2000-01-01 00:00:00+00'),
                         event_type, model, provider, tool, -records, -tokens_used, -prompt_tokens, -completion_tokens,
                         -credits_charged, -credits_deducted, -cost_usd
                  FROM usage.rollups_all CROSS JOIN unnest('{1,4,24}'::int[]) AS span (hours)
                  WHERE /* days of bucket */ true) AS both_ways
              GROUP BY hours, bucket, event_type, model, provider, tool
              HAVING sum(records) <> 0 OR sum(tokens_used) <> 0 OR sum(prompt_tokens) <> 0
                  OR sum(completion_tokens) <> 0 OR sum(credits_charged) <> 0 OR sum(credits_deducted) <> 0
                  OR sum(cost_usd) <> 0
              ORDER BY subject, at LIMIT 20",
    },
    Audit {
        rule: "usage U1: the users of an hour, with those still to be noted, are those who have sums in it",
        sql: "SELECT 'all users' AS subject, NULL::text AS user_id, bucket AS at,
                     to_char(bucket, 'YYYY-MM-DD HH24:MITZH, ')
                     || concat_ws(' ', event_type, nullif(model, ''), nullif(provider, ''), nullif(tool, ''))
                     || ': of the users '
                     || coalesce('with numbers from ' || (thousand << 10) || ' on', 'without number') || ' '
                     || bit_count(expected & ~coming & ~kept) + greatest(strangers - strangers_coming, 0)
                     || ' are missing and '
                     || bit_count(kept & ~expected) || ' have no sums' AS detail
                  FROM (
                      SELECT bucket, event_type, model, provider, tool, thousand,
                             coalesce(bit_or(users) FILTER (WHERE source = 'sums'), 0::bit(1024)) AS expected,
                             coalesce(bit_or(users) FILTER (WHERE source = 'coming'), 0::bit(1024)) AS coming,
                             coalesce(bit_or(users) FILTER (WHERE source = 'kept'), 0::bit(1024)) AS kept,
                             count(DISTINCT stranger) FILTER (WHERE source = 'sums') AS strangers,
                             count(DISTINCT stranger) FILTER (WHERE source = 'coming') AS strangers_coming
                      FROM (
                          SELECT 'sums' AS source, date_bin('1 hour', bucket, '2000-01-01 00:00:00+00') AS bucket, event_type,
                          model, provider,
                                 tool, number >> 10 AS thousand, set_bit(0::bit(1024), number & 1023, 1) AS users,
                                 CASE WHEN number IS NULL THEN user_id END AS stranger
                          FROM usage.rollups_15m LEFT JOIN usage.user_numbers USING (user_id)
                          WHERE /* hours of bucket */ true UNION ALL 
                          SELECT 'coming' AS source, date_bin('1 hour', bucket, '2000-01-01 00:00:00+00') AS bucket,
                          event_type, model, provider,
                                 tool, number >> 10 AS thousand, set_bit(0::bit(1024), number & 1023, 1) AS users,
                                 CASE WHEN number IS NULL THEN user_id END AS stranger
                          FROM usage.presence_deltas LEFT JOIN usage.user_numbers USING (user_id)
                          WHERE /* hours of bucket */ true
                          UNION ALL
                          SELECT 'kept', bucket, event_type, model, provider, tool, thousand, users, NULL
                          FROM usage.presence WHERE hours = 1 AND /* hours of bucket */ true) AS both_ways
                      GROUP BY bucket, event_type, model, provider, tool, thousand) AS hours
                  WHERE bit_count(expected & ~coming & ~kept) + bit_count(kept & ~expected) > 0
                  OR strangers > strangers_coming
                  ORDER BY at LIMIT 20",
    },
    Audit {
        rule: "usage U1: the users of longer spans are those of their hours",
        sql: "SELECT 'all users' AS subject, NULL::text AS user_id, bucket AS at,
                     to_char(bucket, 'YYYY-MM-DD HH24:MITZH, ')
                     || concat_ws(' ', event_type, nullif(model, ''), nullif(provider, ''), nullif(tool, ''))
                     || ': in the span of '
                     || hours || ' hours ' || bit_count(expected & ~kept) || ' users are missing and '
                     || bit_count(kept & ~expected) || ' too many' AS detail
                  FROM (
                      SELECT hours, bucket, event_type, model, provider, tool, thousand,
                             coalesce(bit_or(users) FILTER (WHERE of_hours), 0::bit(1024)) AS expected,
                             coalesce(bit_or(users) FILTER (WHERE NOT of_hours), 0::bit(1024)) AS kept
                      FROM (
                          SELECT true AS of_hours, span.hours,
                                 date_bin(make_interval(hours => span.hours), bucket, '2000-01-01 00:00:00+00') AS bucket,
                                 event_type, model, provider, tool, thousand, users
                          FROM usage.presence CROSS JOIN unnest('{4,24}'::int[]) AS span (hours)
                          WHERE presence.hours = 1 AND /* days of bucket */ true
                          UNION ALL
                          SELECT false, hours, bucket, event_type, model, provider, tool, thousand, users
                          FROM usage.presence WHERE hours IN (4, 24) AND /* days of bucket */ true) AS both_ways
                      GROUP BY hours, bucket, event_type, model, provider, tool, thousand) AS spans
                  WHERE expected <> kept ORDER BY at LIMIT 20",
    },
    // Rounded up once, in whole numbers: a quotient with decimals could be rounded on the way.
    Audit {
        rule: "usage U5: a charge that was rated is what its price comes to",
        sql: "SELECT user_id AS subject, user_id, date_bin('15 minutes', occurred_at, '2000-01-01 00:00:00+00') AS at,
                     'record ' || id || ' is charged ' || trim_scale(credits_charged * 0.000001) || ' credits, and version '
                     || price_id || ' of the price comes to ' || coalesce(trim_scale(again * 0.000001) || ' credits',
                     'nothing') AS detail
                  FROM (SELECT *, (
                      SELECT CASE WHEN count(*) = count(rate.charge_pico)
                                  THEN div(coalesce(sum(used.value::numeric * rate.charge_pico), 0) + 999999, 1000000) END
                      FROM jsonb_each_text(record.quantities) AS used
                      LEFT JOIN usage.price_rates AS rate
                        ON rate.price_id = record.price_id AND rate.token_class = used.key
                  ) AS again FROM usage.records AS record WHERE price_id IS NOT NULL
                  AND /* hours of occurred_at */ true) AS rated
                  WHERE again IS DISTINCT FROM credits_charged
                  ORDER BY subject, occurred_at, id LIMIT 20",
    },
    Audit {
        rule: "usage U3: an event id of a class of callers stands for one record",
        sql: "SELECT 'event ' || event_id || ' of ' || user_id AS subject, count(*) || ' records' AS detail
              FROM usage.records WHERE event_id IS NOT NULL
              GROUP BY user_id, event_id, recorded_by HAVING count(*) > 1 LIMIT 100",
    },
    Audit {
        rule: "usage U3: each event id that is known leads to its record, each correction to what it takes back",
        sql: "SELECT 'event ' || claim.event_id || ' of ' || claim.user_id AS subject,
                     'record ' || claim.record_id || ' at ' || claim.occurred_at || ' is not it' AS detail
              FROM (SELECT user_id, event_id, record_id, occurred_at, caller FROM usage.dedupe
                    UNION ALL SELECT user_id, event_id, record_id, occurred_at, caller FROM usage.dedupe_shared) AS claim
              LEFT JOIN usage.records AS record
                ON record.user_id = claim.user_id AND record.occurred_at = claim.occurred_at
               AND record.id = claim.record_id
              WHERE coalesce(record.event_id, 'correction:' || record.correction_of) IS DISTINCT FROM claim.event_id
                 OR claim.caller <> record.recorded_by
              LIMIT 100",
    },
    Audit {
        rule: "usage U3: each record with an event id is known by it",
        sql: "SELECT 'record ' || record.id || ' of ' || record.user_id AS subject,
                     'event ' || coalesce(record.event_id, 'correction:' || record.correction_of) AS detail
              FROM usage.records AS record
              WHERE coalesce(record.event_id, 'correction:' || record.correction_of) IS NOT NULL
                AND NOT EXISTS (
                    SELECT FROM usage.dedupe AS claim
                    WHERE claim.user_id = record.user_id AND claim.record_id = record.id
                      AND claim.event_id = coalesce(record.event_id, 'correction:' || record.correction_of))
                AND NOT EXISTS (
                    SELECT FROM usage.dedupe_shared AS claim
                    WHERE claim.user_id = record.user_id AND claim.record_id = record.id
                      AND claim.event_id = record.event_id)
                AND record.occurred_at >= (
                    SELECT coalesce(min(occurred_at), 'infinity') FROM usage.dedupe)
              LIMIT 100",
    },
    Audit {
        rule: "usage U3: a correction has the figures of its record, negated",
        sql: "SELECT 'record ' || taken.id || ' of ' || taken.user_id AS subject,
                     'it takes back record ' || taken.correction_of AS detail
              FROM usage.records AS taken
              LEFT JOIN usage.records AS record
                ON record.user_id = taken.user_id AND record.occurred_at = taken.occurred_at
               AND record.id = taken.correction_of
              WHERE taken.sign = -1
                AND (record.sign, record.event_type, record.model_name, record.provider, record.tool_name,
                     record.tokens_used, record.prompt_tokens, record.completion_tokens, record.credits_charged,
                     record.cost_usd)
                    IS DISTINCT FROM
                    (1::smallint, taken.event_type, taken.model_name, taken.provider, taken.tool_name,
                     -taken.tokens_used, -taken.prompt_tokens, -taken.completion_tokens, -taken.credits_charged,
                     -taken.cost_usd)
              LIMIT 100",
    },
    Audit {
        rule: "usage: a price has rates of known classes, and one that is retired has none",
        sql: "SELECT 'price ' || price.id AS subject,
                     coalesce('its rates are of ' || string_agg(rate.token_class, ' '), 'it has no rate') AS detail
              FROM usage.prices AS price LEFT JOIN usage.price_rates AS rate ON rate.price_id = price.id
              GROUP BY price.id, price.retired
              HAVING (count(rate.price_id) = 0) <> price.retired
                  OR NOT coalesce(bool_and(rate.token_class IN (
                         'input', 'cache_read', 'cache_write_5m', 'cache_write_1h', 'output', 'reasoning', 'audio_in',
                         'audio_out', 'image', 'request', 'second', 'token')), true)
              LIMIT 100",
    },
    Audit {
        rule: "usage: nobody but the service itself puts a price that begins before it was put",
        sql: "SELECT 'price ' || id AS subject, 'put at ' || created_at || ' by ' || actor || ', begins at ' || valid_from
                     AS detail
              FROM usage.prices WHERE valid_from < created_at AND actor <> 'system' LIMIT 100",
    },
    Audit {
        rule: "usage: an alias leads to a model that has or had a price, and not to another alias",
        sql: "SELECT concat_ws(' ', nullif(alias.provider, ''), alias.model) AS subject,
                     'it leads to ' || concat_ws(' ', nullif(alias.to_provider, ''), alias.to_model) AS detail
              FROM usage.model_aliases AS alias
              WHERE NOT EXISTS (
                        SELECT FROM usage.prices AS price
                        WHERE price.provider = alias.to_provider AND price.model = alias.to_model)
                 OR EXISTS (
                        SELECT FROM usage.model_aliases AS further
                        WHERE further.provider = alias.to_provider AND further.model = alias.to_model)
              LIMIT 100",
    },
    Audit {
        rule: "usage: there is one price book",
        sql: "SELECT 'the price book' AS subject, count(*) || ' rows' AS detail
              FROM usage.price_book HAVING count(*) <> 1",
    },
];
